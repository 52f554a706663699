"""Plays the application: another process, with another SQLite library, that uses the database all the time.

    application.py create PATH [options]   writes the attendance schema with rows, prints `ok`, and ends
    application.py serve PATH [options]    prints `ready`, then obeys one command a line on stdin

Commands, each answered with one line, `ok …` or `failed …`:

    write MS        begin to commit, a pause of MS milliseconds after each commit
    transact MS LONG   the same as many frameworks do it: BEGIN without IMMEDIATE, a read, LONG ms later what it writes
    browse LONG        by turns reads for LONG ms in one transaction and writes in the next, which it begins as `write` does
    pause           stop doing so; `ok N` names the last commit of this process (0: none)
    hold read       open a transaction that reads the state of now
    hold write      BEGIN IMMEDIATE: nobody else can write
    hold exclusive  BEGIN EXCLUSIVE
    upgrade         write and commit in the transaction that `hold read` began, as `transact` does; `ok N`
    release         end what `hold` began
    sql TEXT        run one statement by itself; `ok` and its first row as JSON, or `ok null`
    quit            close the connections as a well-behaved program does, and end

In between come, in the order of the events, `committed SEQ MILLISECONDS` after each commit that SQLite acknowledged (the
time is that of the whole transaction, its wait for the lock included) and `error MESSAGE` after each write that failed.
With --locking-mode exclusive the process takes the whole file before it is ready, and lets go only when it ends.

What a commit leaves can be checked in any copy of the file. Of every copy that is a state which existed:
  - journal.seq is 1, 2, 3 … without a gap, over all processes that write;
  - journal.sum of row n is journal.sum of row n - 1 plus move(n), and 0 before the first;
  - the ledger's accounts are journal.sum of the last row and its negative;
  - attendance has exactly one row with source = n for each n in the journal.
"""

import argparse
import datetime
import json
import os
import random
import select
import sqlite3
import sys
import time

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT, created_at TEXT NOT NULL);
CREATE TABLE face_samples (
    id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users(id), embedding BLOB NOT NULL, captured_at TEXT NOT NULL);
CREATE TABLE attendance (
    id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users(id), date TEXT NOT NULL, time_in TEXT NOT NULL,
    time_out TEXT, confidence REAL NOT NULL, source INTEGER);
CREATE INDEX idx_users_name ON users(name);
CREATE INDEX idx_users_created_at ON users(created_at);
CREATE INDEX idx_face_samples_user_id ON face_samples(user_id);
CREATE INDEX idx_attendance_user_date ON attendance(user_id, date);
CREATE INDEX idx_attendance_date ON attendance(date);
CREATE TABLE journal (seq INTEGER PRIMARY KEY, at REAL NOT NULL, sum INTEGER NOT NULL);
CREATE TABLE ledger (account TEXT PRIMARY KEY, balance INTEGER NOT NULL);
INSERT INTO ledger VALUES ('assets', 0), ('debts', 0);
"""


def say(line):
    """One line in one write, so that the reader sees it at once and whole."""
    os.write(1, (line.replace("\n", " ") + "\n").encode())


def connect(options):
    """Autocommit: transactions are begun and ended by our own statements alone."""
    connection = sqlite3.connect(options.path, timeout=options.busy_timeout / 1000, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA synchronous = {options.synchronous}")
    connection.execute(f"PRAGMA locking_mode = {options.locking_mode}")
    return connection


def create(options):
    connection = connect(options)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute(f"PRAGMA page_size = {options.page_size}")
    connection.execute(f"PRAGMA auto_vacuum = {options.auto_vacuum}")
    connection.execute(f"PRAGMA journal_mode = {options.journal_mode}")
    source = random.Random(options.seed)
    today = datetime.datetime.now(datetime.timezone.utc).date()
    days = options.years * 365
    connection.execute("BEGIN")
    for statement in SCHEMA.split(";"):
        connection.execute(statement)
    for user in range(1, options.users + 1):
        joined = f"{today - datetime.timedelta(days=days)}T08:00:00Z"
        connection.execute("INSERT INTO users VALUES (?, ?, ?, ?)", (user, f"User {user}", f"u{user}@example.com", joined))
        sample = (user, source.randbytes(512), joined)
        connection.execute("INSERT INTO face_samples (user_id, embedding, captured_at) VALUES (?, ?, ?)", sample)
    # Evenly over the years, the oldest first, the last one today.
    connection.executemany(
        "INSERT INTO attendance (user_id, date, time_in, time_out, confidence) VALUES (?, ?, ?, ?, ?)",
        (
            (
                source.randint(1, options.users),
                str(today - datetime.timedelta(days=days * (options.rows - 1 - n) // options.rows)),
                f"08:{source.randrange(60):02}:00",
                f"17:{source.randrange(60):02}:00",
                source.randint(800, 999) / 1000,
            )
            for n in range(options.rows)
        ),
    )
    connection.execute("COMMIT")
    connection.close()
    say("ok")


def move(seq):
    """What commit number `seq` moves from one account to the other: known to whoever checks, and never 0."""
    return seq * 7919 % 1000 + 1


class Application:
    def __init__(self, options):
        self.options = options
        self.connection = connect(options)
        if options.locking_mode == "exclusive":
            # The lock is taken by the first write.
            self.connection.execute("UPDATE ledger SET balance = balance")
        self.users = self.connection.execute("SELECT max(id) FROM users").fetchone()[0]
        self.pause = None
        # Of `transact`: seconds between the read and what follows it.
        self.thinks = None
        # Of `browse`: seconds of each transaction that only reads, and whether the next one does.
        self.browses = None
        self.browsed = False
        self.last = 0
        self.holder = None

    def serve(self):
        say("ready")
        unread = b""
        while True:
            readable, _, _ = select.select([0], [], [], self.pause)
            if not readable:
                self.browsed = self.browses is not None and not self.browsed
                if self.browsed:
                    self.read()
                else:
                    self.write()
                continue
            received = os.read(0, 65536)
            if not received:
                return
            *lines, unread = (unread + received).split(b"\n")
            for line in lines:
                verb, _, rest = line.decode().strip().partition(" ")
                if verb == "quit":
                    self.connection.close()
                    if self.holder:
                        self.holder.close()
                    say("ok")
                    return
                try:
                    say(f"ok {self.obey(verb, rest)}".rstrip())
                except (sqlite3.Error, ValueError) as error:
                    say(f"failed {type(error).__name__}: {error}")

    def obey(self, verb, rest):
        if verb in ("write", "transact", "browse"):
            self.refuse(self.holder, "writing while holding would wait for itself")
            self.thinks = self.browses = None
            if verb == "write":
                self.pause = float(rest) / 1000
            elif verb == "transact":
                self.pause, self.thinks = (float(word) / 1000 for word in rest.split())
            else:
                self.pause, self.browses = 0, float(rest) / 1000
            return ""
        if verb == "pause":
            self.pause = None
            return self.last
        if verb == "hold":
            self.refuse(self.pause is not None, "holding while writing would wait for itself")
            return self.hold(rest)
        if verb == "upgrade":
            self.refuse(not self.holder, "nothing is held")
            try:
                seq = self.add(self.holder.execute)
                self.holder.execute("COMMIT")
            finally:
                self.holder.close()
                self.holder = None
            self.last = seq
            return seq
        if verb == "release":
            self.refuse(not self.holder, "nothing is held")
            self.holder.close()
            self.holder = None
            return ""
        if verb == "sql":
            return json.dumps(self.connection.execute(rest).fetchone())
        raise ValueError(f"unknown command {verb}")

    @staticmethod
    def refuse(condition, why):
        if condition:
            raise ValueError(why)

    def hold(self, what):
        self.refuse(self.holder, "something is held already")
        begin = {
            # BEGIN alone reads nothing yet; the count takes the snapshot and the lock.
            "read": ["BEGIN", "SELECT count(*) FROM journal"],
            "write": ["BEGIN IMMEDIATE"],
            "exclusive": ["BEGIN EXCLUSIVE"],
        }.get(what)
        self.refuse(not begin, f"cannot hold {what}")
        holder = connect(self.options)
        try:
            for statement in begin:
                holder.execute(statement).fetchall()
        except sqlite3.Error:
            holder.close()
            raise
        self.holder = holder
        return ""

    def add(self, run, thinks=0):
        """The statements between BEGIN and COMMIT; the number of what will be committed."""
        seq, total = run("SELECT seq + 1, sum FROM journal ORDER BY seq DESC LIMIT 1").fetchone() or (1, 0)
        time.sleep(thinks)
        now = datetime.datetime.now(datetime.timezone.utc)
        run("INSERT INTO journal VALUES (?, ?, ?)", (seq, now.timestamp(), total + move(seq)))
        run("UPDATE ledger SET balance = balance + ? WHERE account = 'assets'", (move(seq),))
        run(
            "INSERT INTO attendance (user_id, date, time_in, confidence, source) VALUES (?, ?, ?, ?, ?)",
            (1 + seq % self.users, f"{now:%Y-%m-%d}", f"{now:%H:%M:%S}", 0.9, seq),
        )
        run("UPDATE ledger SET balance = balance - ? WHERE account = 'debts'", (move(seq),))
        return seq

    def read(self):
        """Always at work, as one is that gives answers all the time."""
        run, until = self.connection.execute, time.monotonic() + self.browses
        run("BEGIN")
        while time.monotonic() < until:
            run("SELECT count(*) FROM ledger").fetchone()
        run("COMMIT")

    def write(self):
        start = time.monotonic()
        run = self.connection.execute
        try:
            run("BEGIN IMMEDIATE" if self.thinks is None else "BEGIN")
            seq = self.add(run, self.thinks or 0)
            run("COMMIT")
        except sqlite3.Error as error:
            if self.connection.in_transaction:
                run("ROLLBACK")
            say(f"error {error}")
            return
        self.last = seq
        say(f"committed {seq} {(time.monotonic() - start) * 1000:.3f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["create", "serve"])
    parser.add_argument("path")
    parser.add_argument("--busy-timeout", type=int, default=5000, help="milliseconds")
    parser.add_argument("--synchronous", default="normal")
    parser.add_argument("--locking-mode", default="normal")
    parser.add_argument("--journal-mode", default="wal")
    parser.add_argument("--page-size", type=int, default=4096)
    parser.add_argument("--auto-vacuum", default="none")
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--years", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.mode == "create":
        create(options)
    else:
        Application(options).serve()


main()
