"""Fills the write-ahead log: changes a share of a database's rows in transactions of 1000, and makes no checkpoint.
Somebody else must have it open: the last one to close it would make one.

log.py DATABASE --share SHARE
"""

import argparse
import sqlite3

ROWS = 1000


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("database")
    parser.add_argument("--share", type=float, required=True)
    options = parser.parse_args()
    connection = sqlite3.connect(options.database, isolation_level=None, timeout=60)
    run = connection.execute
    run("PRAGMA wal_autocheckpoint = 0")
    last = int(run("SELECT max(id) FROM attendance").fetchone()[0] * options.share)
    for first in range(0, last, ROWS):
        run("UPDATE attendance SET confidence = 1 - confidence WHERE id > ? AND id <= ?", (first, min(first + ROWS, last)))


main()
