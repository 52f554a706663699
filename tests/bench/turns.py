"""What the application's writer and its reader have in common: turns with a pause after each, and how long each took.
Must never know what a turn does.

A program prints `ready` once it has settled, goes on until its input ends, and then prints a JSON list of [begun, seconds]
of each turn since it was ready; begun is the monotonic clock, and seconds is negative where it ended in SQLITE_BUSY.

The pause comes after each turn, however long that took: without a gap between them, nobody else would ever be let in where
a turn takes longer than the beat.
"""

import gc
import json
import select
import sqlite3
import time

SETTLING = 100  # turns


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
