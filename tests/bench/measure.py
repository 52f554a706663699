"""One run of one way: its time, processor time, memory and bytes on disk. Must never know which way it is.

- time: from the start of the script to its end, by the monotonic clock.
- processor time: user and system of the script and of all that it started and waited for (wait4).
- memory: peak resident set of the largest process, as the kernel counted it (GNU time, so that the resident set of this
  Python is not in it, as it would be in wait4's figure for a child that it forked).
- scratch: the most bytes on disk at once, files that have lost their names included, less those of the result. Looked at
  every POLL seconds, so what comes and goes in between is missed.
- reading back: what litekeeper says of its verification of what it wrote, which no other way does.
"""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import threading
import time

import ways

POLL = 0.02  # seconds
# Seconds in litekeeper's report (--json, under "detail"); absent where nothing was read back.
READ_BACK = "read_back_seconds"


class Failed(Exception):
    """A way that did not work: a mistake of the benchmark or of the program, never a figure."""


@dataclasses.dataclass
class Run:
    """What was measured. Seconds and bytes."""

    began: float
    ended: float
    finished: bool  # False: killed at the limit
    cpu: float
    memory: int
    scratch: int
    size: int
    wal: int
    read_back: float = 0.0
    # What litekeeper printed (--json); None: another program.
    report: dict | None = None

    @property
    def whole(self):
        return self.ended - self.began

    @property
    def time(self):
        return self.whole - self.read_back


@dataclasses.dataclass
class Bench:
    """Where runs happen and with what."""

    directory: pathlib.Path
    programs: dict[str, str]  # the scripts' variables for programs: paths
    cold: bool
    limit: float  # seconds, after which a run is killed

    def run(self, way, database, made=None, place=None, inspect=None):
        """Runs the way once and lets `inspect` see its result. What it left is removed, but for a `place` of the caller."""
        keep, place = place, place or self.directory / "work"
        remove(place)
        remove(database.parent / f".{database.name}-litestream")
        for directory in ("result", "tmp", "state"):
            (place / directory).mkdir(parents=True)
        if way.settings is not None:
            (place / "litekeeper.toml").write_text(ways.configuration(place, database, way))
        variables = {"DB": database, "MADE": made or "", "TMPDIR": place / "tmp", "SQLITE_TMPDIR": place / "tmp"}
        environment = os.environ | self.programs | {name: str(value) for name, value in variables.items()}
        if way.prepare:
            subprocess.run(["sh", "-ec", way.prepare], cwd=place, env=environment, check=True, stdin=subprocess.DEVNULL)
        settle([database, *(made.rglob("*") if made else [])], self.cold)
        done = measured(way, place, database, environment, self.limit)
        if inspect:
            inspect(way, place / "result")
        if not keep:
            remove(place)
        return done


def remove(path):
    if path.exists():
        shutil.rmtree(path)


def settle(paths, cold):
    """The same state before each run: nothing left to be written, and what is read in the page cache, or nothing in it."""
    os.sync()
    if cold:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n")
        return
    for path in paths:
        if path.is_file():
            with open(path, "rb") as file:
                while file.read(1 << 20):
                    pass


def measured(way, place, database, environment, limit):
    command = ["/usr/bin/time", "--format=%M", "--output=memory", "sh", "-ec", way.script]
    with open(place / "said.txt", "wb") as said, Sampler(place, database) as sampler:
        streams = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said}
        began = time.monotonic()
        process = subprocess.Popen(command, cwd=place, env=environment, start_new_session=True, **streams)
        sampler.process = process.pid
        killer = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
        killer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            ended = time.monotonic()
            finished = killer.is_alive()
            killer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if finished and process.returncode:
        said = (place / "said.txt").read_text(errors="replace")[-2000:]
        raise Failed(f"{way.name}: exit status {process.returncode}\n{way.script}\n{said}")
    size = on_disk(place / "result")
    said = report(place / "report.json")
    return Run(
        began=began,
        ended=ended,
        finished=finished,
        cpu=usage.ru_utime + usage.ru_stime,
        memory=int((place / "memory").read_text().split()[-1]) * 1024 if finished else 0,
        scratch=max(0, sampler.disk - sampler.before - size),
        size=size,
        wal=sampler.wal,
        read_back=((said or {}).get("detail") or {}).get(READ_BACK) or 0.0,
        report=said,
    )


def report(file):
    return json.loads(file.read_text()) if file.exists() and file.stat().st_size else None


def on_disk(directory):
    """Bytes that the files in the directory take on the disk."""
    total = 0
    for folder, _, files in os.walk(directory):
        for name in files:
            try:
                total += os.lstat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


class Sampler:
    """Watches the disk while something runs: `disk` and `wal` are the most bytes seen, `before` what there was."""

    def __init__(self, place, database):
        self.places = (place, database.parent)
        self.log = f"{database}-wal"
        self.process = None
        self.wal = 0
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.before = self.disk = sum(on_disk(place) for place in self.places)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()
        self.look()

    def watch(self):
        while not self.stopped.wait(POLL):
            self.look()

    def look(self):
        nameless = sum(nameless_files(self.process).values()) if self.process else 0
        self.disk = max(self.disk, nameless + sum(on_disk(place) for place in self.places))
        try:
            self.wal = max(self.wal, os.stat(self.log).st_size)
        except FileNotFoundError:
            pass


def nameless_files(process):
    """Inode: bytes of the files that the process and its children hold open after their names were removed."""
    found = {}
    try:
        for entry in os.scandir(f"/proc/{process}/fd"):
            facts = os.stat(entry.path)
            if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 0:
                found[facts.st_ino] = facts.st_blocks * 512
        for thread in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{thread}/children") as children:
                for child in children.read().split():
                    found |= nameless_files(int(child))
    except OSError:
        pass  # it ended while we looked
    return found
