"""The ways to do a database's upkeep: the plain commands, and litekeeper beside each. Must never measure.

As in ways.py, each script runs by `sh -e` in a directory of its own. The plain commands wait a minute for the application's
lock, so that they come to their end; what litekeeper's configuration does not say here is at its default.
"""

import dataclasses
import datetime
import pathlib

import data
import ways

HERE = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True, kw_only=True)
class Upkeep(ways.Way):
    """One line of the tables."""

    # What is done.
    group: str
    # The others of the group are compared with this one.
    is_plain: bool = False
    # The kind of database that it begins with (data.py).
    kind: str = "upkeep"
    journals: tuple[str, ...] = ("wal", "delete")
    # The application makes no checkpoints itself, as one that leaves them to its keeper.
    no_checkpoints: bool = False
    # Rows before the cutoff must be gone.
    removes: bool = False


def shell(group, name, sql, **more):
    """A statement in SQLite's own shell."""
    script = f"""sqlite3 -bail -cmd '.timeout 60000' "$DB" "{sql}" >/dev/null"""
    return Upkeep(name, script, group=group, tools=("sqlite3",), **more)


def plain(group, name, sql, **more):
    """The one that litekeeper is compared with."""
    return shell(group, name, sql, is_plain=True, **more)


def litekeeper(group, name, verb, more, **fields):
    """Without a report it failed; what the report says of it is shown."""
    script = f"""{run(verb)} >report.json || test -s report.json"""
    return Upkeep(f"litekeeper {name}", script, group=group, settings="", more=more, **fields)


def run(verb):
    return f'"$LITEKEEPER" --config litekeeper.toml --json {verb} bench'


def maintain(**settings):
    """[maintain] with these alone; what is not named is left out of the run."""
    named = {"vacuum": "never", "analyze": "never", "reindex": "never"} | settings
    return "\n".join(["[database.bench.maintain]", *(f'{name} = "{value}"' for name, value in named.items())])


# The days are counted back from now, and the rows have fixed dates.
KEEP = f"""[[database.bench.cleanup.rule]]
table = "attendance"
column = "date"
keep = "{(datetime.datetime.now(datetime.timezone.utc).date() - data.CUTOFF).days}d"
"""
# Pages of the log that wait for their checkpoint.
LOG = f'python3 -B "{HERE}/log.py" "$DB" --share 0.1'
LOGGED = {"journals": ("wal",), "no_checkpoints": True, "prepare": LOG}

INCREMENTAL = "upkeep-incremental"

UPKEEP = [
    Upkeep("without upkeep", "sleep 10", group="nothing"),
    plain("cleanup", "DELETE of 30 %", f"DELETE FROM attendance WHERE date < '{data.CUTOFF}'", removes=True),
    litekeeper("cleanup", "cleanup of 30 %", "cleanup", KEEP, removes=True),
    plain("space", "VACUUM", "VACUUM", kind="upkeep-free"),
    litekeeper("space", "vacuum = auto", "maintain", maintain(vacuum="auto"), kind="upkeep-free"),
    litekeeper("space", "vacuum = always", "maintain", maintain(vacuum="always"), kind="upkeep-free"),
    shell("space", "PRAGMA incremental_vacuum", "PRAGMA incremental_vacuum", kind=INCREMENTAL),
    litekeeper("space", "vacuum = incremental", "maintain", maintain(vacuum="incremental"), kind=INCREMENTAL),
    plain("statistics", "ANALYZE", "ANALYZE"),
    litekeeper("statistics", "analyze = auto", "maintain", maintain(analyze="auto")),
    litekeeper("statistics", "analyze = always", "maintain", maintain(analyze="always")),
    plain("indexes", "REINDEX", "REINDEX"),
    litekeeper("indexes", "reindex = always", "maintain", maintain(reindex="always")),
    plain("log", "wal_checkpoint(TRUNCATE)", "PRAGMA wal_checkpoint(TRUNCATE)", **LOGGED),
    litekeeper("log", "checkpoint", "maintain", maintain(max_wal="1MiB"), **LOGGED),
    # The second of two nights: the first one found and did what there was to do.
    litekeeper("nothing to do", "maintain, nothing to do", "maintain", "", prepare=f"{run('maintain')} >/dev/null"),
]

# Beside an application that reads before it writes.
DEFERRED = [way for way in UPKEEP if way.group in ("nothing", "cleanup", "space", "statistics", "indexes", "log")]
