"""What an application feels of a database's upkeep: its writer's and its reader's times while it is done, and what came of
it. Must never decide what is good."""

import dataclasses
import os
import sqlite3
import time

import beside
import data
import measure

# Seconds after the end of the upkeep that still count: what it leaves to be done falls on the application.
AFTER = 1.0
# The reader: pauses and its long transactions, in ms, and how many turns lie between two of these.
READER = {"pause": 3, "long": 100, "every": 50}


@dataclasses.dataclass
class Round:
    """Of one way. Seconds and bytes; times of those given up are in it, too."""

    wrote: list
    read: list
    # Shares of the time in which the two were at it.
    writing: float
    reading: float
    writer_busy: int
    reader_busy: int
    run: measure.Run
    # Bytes by which the file became smaller, and bytes that are free in it afterwards.
    smaller: int
    free: int


def feel(bench, way, original, copy, application):
    """One run on a fresh copy beside a writer, as `application` makes one of a database, and a reader."""
    data.copy(original, copy)
    size = os.stat(copy).st_size
    with application(copy, way) as writer, beside.Part("reader.py", copy, **READER) as reader:
        run = bench.run(way, copy)
        time.sleep(AFTER)
    # All have closed it, and the last one has moved the log into the file.
    free = inspect(way, copy, run)
    span = run.began, run.ended + AFTER
    wrote, read = (beside.within(part.taken, *span) for part in (writer, reader))
    return Round(
        wrote=[abs(seconds) for seconds in wrote],
        read=[abs(seconds) for seconds in read],
        writing=under_way(writer.taken, *span),
        reading=under_way(reader.taken, *span),
        writer_busy=sum(seconds < 0 for seconds in wrote),
        reader_busy=sum(seconds < 0 for seconds in read),
        run=run,
        smaller=size - os.stat(copy).st_size,
        free=free,
    )


def under_way(taken, began, ended):
    """The share of the time between the two that turns took."""
    parts = (min(ended, begun + abs(seconds)) - max(began, begun) for begun, seconds in taken)
    return sum(part for part in parts if part > 0) / (ended - began)


def inspect(way, database, run):
    """Bytes that are free in it; a way that did not do its work is no way, however little was felt of it."""
    connection = sqlite3.connect(database)
    try:
        if way.removes and run.finished:
            old = connection.execute("SELECT count(*) FROM attendance WHERE date < ?", (str(data.CUTOFF),)).fetchone()[0]
            if old:
                raise measure.Failed(f"{way.name}: {old} rows are still there: {said(run)}")
        return connection.execute("PRAGMA freelist_count").fetchone()[0] * data.PAGE
    finally:
        connection.close()


def said(run):
    """What litekeeper says that it did."""
    if not run.report:
        return ""
    problems = [problem["message"] for problem in run.report.get("problems", [])]
    return "; ".join([run.report.get("summary") or "", *problems]).strip("; ")


def held(run):
    """The longest time, in seconds, for which litekeeper says that it kept writers out; None where it says nothing."""
    found = list(longest((run.report or {}).get("detail")))
    return max(found) if found else None


def longest(detail):
    """All such figures in a report, wherever its job puts them."""
    if isinstance(detail, dict):
        for name, value in detail.items():
            if isinstance(value, dict) and value.get("times") == 0:
                continue
            if name in ("longest_seconds", "longest_transaction_ms"):
                yield value / 1000 if name.endswith("_ms") else value
            else:
                yield from longest(value)
    elif isinstance(detail, list):
        for value in detail:
            yield from longest(value)
