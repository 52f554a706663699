"""The databases that are backed up: made from a seed once, and kept. Nobody may write to them later: who writes, copies.

Schema: users, face_samples (an embedding and an image each, which nothing compresses), attendance (text rows with two
indexes). "mixed" has half of its bytes in each of the two; "text" has attendance only.

For upkeep: "upkeep" has three years of attendance, about 1 KiB a row, 955,000 of them in 1 GiB; "upkeep-free" is what it
is after the rows before CUTOFF were deleted, "upkeep-incremental" the same with auto_vacuum = INCREMENTAL.
"""

import datetime
import pathlib
import random
import sqlite3
import subprocess

MIB = 1 << 20
# Part of the file's name: a change of what is generated makes a new file.
VERSION = 1
USERS = 5000
ROWS_AT_ONCE = 5000
PAGE = 4096

SCHEMA = """
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT, created_at TEXT NOT NULL);
CREATE TABLE face_samples (
    id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users(id), embedding BLOB NOT NULL, image BLOB NOT NULL,
    captured_at TEXT NOT NULL);
CREATE TABLE attendance (
    id INTEGER PRIMARY KEY, user_id INTEGER NOT NULL REFERENCES users(id), date TEXT NOT NULL, time_in TEXT NOT NULL,
    time_out TEXT, confidence REAL NOT NULL, device TEXT NOT NULL, note TEXT);
CREATE INDEX idx_face_samples_user_id ON face_samples(user_id);
CREATE INDEX idx_attendance_user_date ON attendance(user_id, date);
CREATE INDEX idx_attendance_date ON attendance(date);
"""
EMBEDDING = 512 * 4  # bytes: 512 numbers of 32 bits
IMAGE = (8_000, 40_000)  # bytes, from and to
GIVEN = "Ana Ben Chidi Dana Emre Fatima Goran Hana Ivan Jun Kofi Lea Mei Nils Olga Priya Quinn Rosa Sami Tove".split()
FAMILY = "Abe Berg Costa Diaz Endo Fischer Gupta Haas Ito Jensen Kaya Lopez Moreau Novak Okafor Petrov Rossi Sato".split()
PLACES = ["main entrance", "north gate", "south gate", "canteen", "workshop", "laboratory", "car park", "warehouse"]
# Of upkeep: fixed, so that the file can be kept. The oldest 30 % of the days are before CUTOFF.
FIRST_DAY, DAYS = datetime.date(2023, 11, 24), 1095
CUTOFF = FIRST_DAY + datetime.timedelta(days=round(DAYS * 0.3))
SCANS = 955_000  # in 1024 MiB
TRACE = (400, 500)  # bytes of the terminal's record of a scan, from and to; twice as many as text
NOTES = ["late: train", "left early: doctor", "badge forgotten, let in", "shift swapped", "second scan", "visitor"]


def database(directory, kind, size):
    """The path of the database of that kind with about `size` MiB, in WAL mode, checkpointed."""
    path = pathlib.Path(directory) / f"{kind}-{size}MiB-{VERSION}.sqlite"
    if not path.exists():
        unfinished = path.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        if kind == "upkeep-free":
            copy(database(directory, "upkeep", size), unfinished)
            expire(unfinished)
        elif kind.startswith("upkeep"):
            generate_scans(unfinished, size, "INCREMENTAL" if kind == "upkeep-incremental" else "NONE")
            if kind == "upkeep-incremental":
                expire(unfinished)
        else:
            generate(unfinished, kind, size * MIB)
        unfinished.rename(path)
    return path


def copy(database, to):
    """A copy, sharing its blocks with the original where the filesystem can; what lay there, sidecars too, is gone."""
    for name in ("", "-wal", "-shm", "-journal"):
        pathlib.Path(f"{to}{name}").unlink(missing_ok=True)
    to.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "--reflink=auto", database, to], check=True)


def generate(path, kind, size):
    source = random.Random(20261123)
    connection = begun(path, source, "NONE")
    run = connection.execute
    written = pages(connection)
    day = datetime.date(2015, 1, 1)
    while written < size:
        # Turn about, so that compressible and incompressible pages lie mixed, as an application leaves them.
        rows = min(ROWS_AT_ONCE, (size - written) // 250 + 1)
        connection.executemany(
            "INSERT INTO attendance VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", (attendance(source, day) for _ in range(rows))
        )
        day += datetime.timedelta(days=1)
        text = pages(connection) - written
        while kind == "mixed" and pages(connection) - written < 2 * text:
            run("INSERT INTO face_samples VALUES (NULL, ?, ?, ?, ?)", sample(source, day))
        written = pages(connection)
    finish(connection)


def generate_scans(path, size, auto_vacuum):
    source = random.Random(20261123)
    connection = begun(path, source, auto_vacuum)
    rows = SCANS * size // 1024
    days = (FIRST_DAY + datetime.timedelta(days=DAYS * number // rows) for number in range(rows))
    connection.executemany(
        "INSERT INTO attendance VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)",
        ((*attendance(source, day)[:-1], source.randbytes(source.randint(*TRACE)).hex()) for day in days),
    )
    finish(connection)


def expire(path):
    """Deletes what is before CUTOFF, and gives nothing back."""
    connection = opened(path)
    connection.execute("BEGIN")
    connection.execute("DELETE FROM attendance WHERE date < ?", (str(CUTOFF),))
    finish(connection)


def opened(path, auto_vacuum=None):
    """Fast, and lost where the machine stops."""
    connection = sqlite3.connect(path, isolation_level=None)
    before = [f"page_size = {PAGE}", f"auto_vacuum = {auto_vacuum}"] if auto_vacuum else []
    for pragma in (*before, "journal_mode = OFF", "synchronous = OFF", "cache_size = -800000"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def begun(path, source, auto_vacuum):
    """A new database in the transaction that fills it: the schema, and the users."""
    connection = opened(path, auto_vacuum)
    connection.execute("BEGIN")
    for statement in SCHEMA.split(";"):
        connection.execute(statement)
    connection.executemany("INSERT INTO users VALUES (?, ?, ?, ?)", (user(source, n) for n in range(1, USERS + 1)))
    return connection


def finish(connection):
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()


def counts(path):
    """Rows of each table."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        tables = ("users", "face_samples", "attendance")
        return [connection.execute(f"SELECT count(*) FROM {table}").fetchone() for table in tables]
    finally:
        connection.close()


def pages(connection):
    """Bytes of the file so far."""
    return connection.execute("PRAGMA page_count").fetchone()[0] * PAGE


def user(source, number):
    given, family = source.choice(GIVEN), source.choice(FAMILY)
    email = f"{given}.{family}{number}@example.com".lower()
    return number, f"{given} {family}", email, f"2015-01-{1 + number % 28:02}T08:00:00Z"


def attendance(source, day):
    bits = source.getrandbits(48)
    return (
        1 + bits % USERS,
        str(day),
        f"{7 + (bits >> 13) % 3:02}:{(bits >> 15) % 60:02}:{(bits >> 21) % 60:02}",
        f"{16 + (bits >> 27) % 3:02}:{(bits >> 29) % 60:02}:{(bits >> 33) % 60:02}",
        0.8 + (bits >> 5) % 2000 / 10000,
        f"terminal {(bits >> 37) % 12}, {PLACES[(bits >> 40) % 8]}",
        NOTES[(bits >> 43) % 6] if bits & 7 == 0 else None,
    )


def sample(source, day):
    image = source.randbytes(source.randint(*IMAGE))
    return source.randint(1, USERS), source.randbytes(EMBEDDING), image, f"{day}T08:00:00Z"
