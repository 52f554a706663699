"""What the application's writers and its reader have in common: their options, turns with a pause after each, and how long
each took. Must never know what a turn does.

A program prints `ready` once it has settled, goes on until its input ends, and then prints a JSON list of [begun, seconds]
of each turn since it was ready; begun is the monotonic clock, and seconds is negative where it ended in SQLITE_BUSY.

The pause comes after each turn, however long that took: without a gap between them, nobody else would ever be let in where
a turn takes longer than the beat.
"""

import argparse
import gc
import json
import select
import sqlite3
import time

SETTLING = 100  # turns


def arguments():
    """The options that all of them have."""
    parser = argparse.ArgumentParser()
    parser.add_argument("database")
    parser.add_argument("--pause", type=float, required=True)
    return parser


def writing(parser):
    """The options, with those of one that writes, and its connection."""
    parser.add_argument("--journal", required=True)
    parser.add_argument("--synchronous", required=True)
    parser.add_argument("--autocheckpoint", type=int)
    options = parser.parse_args()
    # As long a wait for a lock as Python's default, 5 s.
    connection = sqlite3.connect(options.database, isolation_level=None)
    mode = connection.execute(f"PRAGMA journal_mode = {options.journal}").fetchone()[0]
    if mode != options.journal:
        raise SystemExit(f"the database stays in journal mode {mode}")
    connection.execute(f"PRAGMA synchronous = {options.synchronous}")
    if options.autocheckpoint is not None:
        connection.execute(f"PRAGMA wal_autocheckpoint = {options.autocheckpoint}")
    return options, connection


def go_on(connection, pause, turn):
    """Takes turns, `pause` milliseconds apart. `turn(number)` gives the seconds that count, or None for all of it."""
    # Its pauses would be counted as the database's.
    gc.disable()
    for number in range(SETTLING):
        taken(connection, turn, number)
    print("ready", flush=True)
    turns = []
    while not select.select([0], [], [], pause / 1000)[0]:
        begun = time.monotonic()
        turns.append((begun, taken(connection, turn, len(turns))))
    connection.close()
    print(json.dumps(turns))


def taken(connection, turn, number):
    """Seconds; negative is SQLITE_BUSY."""
    begun = time.monotonic()
    try:
        counted = turn(number)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        return begun - time.monotonic()
    return time.monotonic() - begun if counted is None else counted
