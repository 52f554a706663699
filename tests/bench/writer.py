"""The application beside: commits small transactions, with a pause after each, and tells how long each took (turns.py).

writer.py DATABASE --pause MS --journal wal|delete --synchronous off|normal|full [--autocheckpoint PAGES]
"""

import argparse
import sqlite3

import turns


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("database")
    parser.add_argument("--pause", type=float, required=True)
    parser.add_argument("--journal", required=True)
    parser.add_argument("--synchronous", required=True)
    parser.add_argument("--autocheckpoint", type=int)
    options = parser.parse_args()
    # As long a wait for a lock as Python's default, 5 s.
    connection = sqlite3.connect(options.database, isolation_level=None)
    run = connection.execute
    mode = run(f"PRAGMA journal_mode = {options.journal}").fetchone()[0]
    if mode != options.journal:
        raise SystemExit(f"the database stays in journal mode {mode}")
    run(f"PRAGMA synchronous = {options.synchronous}")
    if options.autocheckpoint is not None:
        run(f"PRAGMA wal_autocheckpoint = {options.autocheckpoint}")

    def commit(number):
        run("BEGIN IMMEDIATE")
        run(
            "INSERT INTO attendance VALUES (NULL, ?, '2026-11-23', '08:00:00', NULL, 0.9, 'main entrance', NULL)",
            (1 + number * 37 % 5000,),
        )
        run("UPDATE users SET created_at = '2026-11-23T08:00:00Z' WHERE id = ?", (1 + number * 41 % 5000,))
        run("COMMIT")

    turns.go_on(connection, options.pause, commit)


main()
