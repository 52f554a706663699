"""The ways to make and to restore a backup, as the shell scripts that somebody would write. Must never measure.

Each script runs by `sh -e` in an empty directory that has `result/` and `tmp/`; what it leaves in `result/` is the outcome,
and is on the disk when the script ends (`sync FILE` is fsync). `$DB` is the database, `$MADE` the directory in which the
backup to be restored was made. Programs that are not on the PATH are variables: `$LITEKEEPER`, `$LITESTREAM_0_3_13`, …
"""

import dataclasses
import pathlib

HERE = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True)
class Way:
    """One line of a table."""

    name: str
    script: str
    # Run before, and not measured.
    prepare: str = ""
    # The programs that it needs.
    tools: tuple[str, ...] = ()
    # litekeeper's table [backup]; None: another program.
    settings: str | None = None
    # More of litekeeper's configuration, behind the database's own table.
    more: str = ""
    # The program writes into the database: it gets a copy of its own, always the same one.
    changes_source: bool = False
    # Of a restore: the way that makes the backup.
    of: str = ""
    # Of a restore: what is checked of the result. Of a floor: why it is no way to do it.
    note: str = ""


def litekeeper(name, settings):
    return Way(
        f"litekeeper {name}",
        '"$LITEKEEPER" --config litekeeper.toml --json backup bench >report.json',
        settings=settings,
    )


BACKUP = [
    litekeeper("gzip 6", 'compression = "gzip"\nlevel = 6'),
    litekeeper("gzip 1", 'compression = "gzip"\nlevel = 1'),
    litekeeper("zstd 1", 'compression = "zstd"\nlevel = 1'),
    litekeeper("zstd 3", 'compression = "zstd"\nlevel = 3'),
    litekeeper("none", 'compression = "none"'),
    Way(
        "Connection.backup + gzip 9 (Python)",
        f"""python3 "{HERE}/connection_backup.py" "$DB" result/backup.sqlite.gz
        sync result/backup.sqlite.gz result""",
    ),
    Way(
        ".backup + pigz",
        """sqlite3 -cmd '.timeout 60000' "$DB" ".backup 'result/backup.sqlite'"
        pigz result/backup.sqlite
        sync result/backup.sqlite.gz result""",
        tools=("sqlite3", "pigz"),
    ),
    Way(
        "VACUUM INTO + gzip",
        """sqlite3 -cmd '.timeout 60000' "$DB" "VACUUM INTO 'result/backup.sqlite'"
        gzip result/backup.sqlite
        sync result/backup.sqlite.gz result""",
        tools=("sqlite3", "gzip"),
    ),
    Way(
        ".backup + zstd -T2",
        """sqlite3 -cmd '.timeout 60000' "$DB" ".backup 'result/backup.sqlite'"
        zstd -T2 --rm -q result/backup.sqlite
        sync result/backup.sqlite.zst result""",
        tools=("sqlite3", "zstd"),
    ),
    Way(
        ".backup + restic",
        """sqlite3 -cmd '.timeout 60000' "$DB" ".backup 'backup.sqlite'"
        restic -r result --no-cache -q backup backup.sqlite
        rm backup.sqlite""",
        prepare="restic -r result --no-cache -q init",
        tools=("sqlite3", "restic"),
    ),
    Way(
        # A server without an end: it is killed when it says that its first snapshot is written. Its intervals are as
        # short as they can be, so that it loses no time by waiting.
        "Litestream 0.3.13 snapshot",
        """mkfifo said
        "$LITESTREAM_0_3_13" replicate -config litestream.yml >said 2>&1 &
        grep -q -m 1 'snapshot written' said
        kill -9 $! || true
        wait $! || true""",
        prepare="""cat >litestream.yml <<END
dbs:
- path: $DB
  monitor-interval: 10ms
  replicas:
  - {type: file, path: $PWD/result, sync-interval: 10ms}
END""",
        tools=("litestream-0.3.13",),
        changes_source=True,
    ),
    Way(
        "Litestream 0.5.17 replicate -once",
        '"$LITESTREAM_0_5_17" replicate -once "$DB" "file://$PWD/result" >litestream.log 2>&1',
        tools=("litestream-0.5.17",),
        changes_source=True,
    ),
    Way(
        "cp + fsync",
        """cp "$DB" result/copy.sqlite
        sync result/copy.sqlite result""",
        note="floor: not consistent while somebody writes",
    ),
]


def restore_of(compression):
    """Of a backup that the daily verification has found good."""
    return Way(
        f"litekeeper restore {compression}",
        """"$LITEKEEPER" --config "$MADE/litekeeper.toml" --json restore bench --to "$PWD/result/restored.sqlite" \\
            >report.json""",
        prepare="""grep -q '"ok": true' "$MADE"/result/bench/*.json ||
        "$LITEKEEPER" --config "$MADE/litekeeper.toml" --json verify bench >verified.json""",
        of=f"litekeeper {compression}",
        note="checksums; integrity_check was made by verify",
    )


def full_restore_of(compression):
    """Of a backup that was never verified: it is checked in full, as with this option."""
    return Way(
        f"litekeeper restore --full-check {compression}",
        """"$LITEKEEPER" --config "$MADE/litekeeper.toml" --json restore bench --full-check \\
            --to "$PWD/result/restored.sqlite" >report.json""",
        of=f"litekeeper {compression}",
        note="checksums, integrity_check, foreign keys, rows",
    )


RESTORE = [
    restore_of("gzip 6"),
    restore_of("zstd 3"),
    restore_of("none"),
    full_restore_of("gzip 6"),
    Way(
        "gunzip",
        """gunzip --stdout "$MADE"/result/bench/*.sqlite.gz >result/restored.sqlite
        sync result/restored.sqlite result""",
        tools=("gzip",),
        of="litekeeper gzip 6",
        note="gzip's CRC",
    ),
    Way(
        "gunzip + integrity_check",
        """gunzip --stdout "$MADE"/result/bench/*.sqlite.gz >result/restored.sqlite
        sync result/restored.sqlite result
        test "$(sqlite3 result/restored.sqlite 'PRAGMA integrity_check')" = ok""",
        tools=("gzip", "sqlite3"),
        of="litekeeper gzip 6",
        note="gzip's CRC, integrity_check",
    ),
    Way(
        "zstd -d",
        """zstd -d -q "$MADE"/result/backup.sqlite.zst -o result/restored.sqlite
        sync result/restored.sqlite result""",
        tools=("zstd",),
        of=".backup + zstd -T2",
        note="zstd's checksum",
    ),
    Way(
        "restic restore",
        """restic -r "$MADE/result" --no-cache -q restore latest --target result
        mv result/backup.sqlite result/restored.sqlite
        sync result/restored.sqlite result""",
        tools=("restic",),
        of=".backup + restic",
        note="checksums",
    ),
    Way(
        "Litestream 0.3.13 restore",
        """"$LITESTREAM_0_3_13" restore -o "$PWD/result/restored.sqlite" "file://$MADE/result" >litestream.log 2>&1
        sync result/restored.sqlite result""",
        tools=("litestream-0.3.13",),
        of="Litestream 0.3.13 snapshot",
        note="LZ4's checksum",
    ),
    Way(
        "Litestream 0.5.17 restore",
        """"$LITESTREAM_0_5_17" restore -o "$PWD/result/restored.sqlite" "file://$MADE/result" >litestream.log 2>&1
        sync result/restored.sqlite result""",
        tools=("litestream-0.5.17",),
        of="Litestream 0.5.17 replicate -once",
        note="checksums",
    ),
    Way(
        "cp + fsync",
        """cp "$MADE/result/copy.sqlite" result/restored.sqlite
        sync result/restored.sqlite result""",
        of="cp + fsync",
        note="nothing; the floor",
    ),
]

# What a writer feels of any program that computes on all cores and leaves the disk alone.
BUSY = Way(
    "only computing on all cores",
    "for core in $(seq $(nproc)); do timeout 10 sha256sum /dev/zero & done; wait",
    note="control",
)

# One of each kind of reading, and the two controls: the disk alone (cp), the cores alone.
BESIDE = [
    way
    for way in BACKUP
    if way.name not in ("litekeeper gzip 1", "litekeeper zstd 1", ".backup + zstd -T2", ".backup + restic")
] + [BUSY]

# litekeeper's configuration: everything in the directory of the run, and nothing by the clock.
CONFIGURATION = """\
[daemon]
state_dir = "{directory}/state"
listen = "off"
timezone = "UTC"
[backup]
dir = "{directory}/result"
schedule = "{schedule}"
{settings}
[verify]
schedule = "never"
[maintain]
schedule = "never"
[cleanup]
schedule = "never"
[health]
schedule = "never"
integrity_schedule = "never"
[watch]
schedule = "never"
[database.bench]
path = "{database}"
{more}
"""


def configuration(directory, database, way, schedule="never"):
    """The text of litekeeper.toml for one run."""
    return CONFIGURATION.format(
        directory=directory, database=database, settings=way.settings, schedule=schedule, more=way.more
    )
