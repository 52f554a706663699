"""The application beside: commits small transactions, with a pause after each, and keeps how long each took.

writer.py DATABASE --pause MS --journal wal|delete --synchronous off|normal|full

Prints `ready` once it has settled, goes on until its input ends, and then prints a JSON list of [begun, seconds] of each
transaction since it was ready; begun is the monotonic clock, and seconds is negative where it ended in SQLITE_BUSY.

The pause comes after each transaction, however long that took: without a gap between them, nobody else would ever be let in
where a transaction takes longer than the beat.
"""

import argparse
import gc
import json
import select
import sqlite3
import time

SETTLING = 100  # transactions


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("database")
    parser.add_argument("--pause", type=float, required=True)
    parser.add_argument("--journal", required=True)
    parser.add_argument("--synchronous", required=True)
    options = parser.parse_args()
    # As long a wait for a lock as Python's default, 5 s.
    connection = sqlite3.connect(options.database, isolation_level=None)
    mode = connection.execute(f"PRAGMA journal_mode = {options.journal}").fetchone()[0]
    if mode != options.journal:
        raise SystemExit(f"the database stays in journal mode {mode}")
    connection.execute(f"PRAGMA synchronous = {options.synchronous}")
    # Its pauses would be counted as the database's.
    gc.disable()
    for number in range(SETTLING):
        transaction(connection, number)
    print("ready", flush=True)
    taken = []
    while not select.select([0], [], [], options.pause / 1000)[0]:
        begun = time.monotonic()
        good = transaction(connection, len(taken))
        seconds = time.monotonic() - begun
        taken.append((begun, seconds if good else -seconds))
    connection.close()
    print(json.dumps(taken))


def transaction(connection, number):
    """Whether it was committed; False is SQLITE_BUSY."""
    run = connection.execute
    try:
        run("BEGIN IMMEDIATE")
        run(
            "INSERT INTO attendance VALUES (NULL, ?, '2026-11-23', '08:00:00', NULL, 0.9, 'main entrance', NULL)",
            (1 + number * 37 % 5000,),
        )
        run("UPDATE users SET created_at = '2026-11-23T08:00:00Z' WHERE id = ?", (1 + number * 41 % 5000,))
        run("COMMIT")
        return True
    except sqlite3.OperationalError as error:
        if connection.in_transaction:
            run("ROLLBACK")
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            return False
        raise


main()
