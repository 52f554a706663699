"""What an application feels of a backup: its transactions' times during one, and without one for as long, turn about.
Must never decide what is good."""

import dataclasses
import json
import pathlib
import subprocess
import sys
import time

import measure

HERE = pathlib.Path(__file__).resolve().parent
# Seconds that are looked at without a backup: as long as with it, but no longer than this.
LONGEST = 60.0


@dataclasses.dataclass
class Felt:
    """Of one way, over all rounds. Seconds and bytes; times of transactions are those that were committed or given up."""

    way: object
    durations: list = dataclasses.field(default_factory=list)
    during: list = dataclasses.field(default_factory=list)
    without: list = dataclasses.field(default_factory=list)
    busy: int = 0
    wal: int = 0
    # Why there is no backup; it is not tried again then.
    trouble: str = ""


def quantile(times, share):
    """The nearest rank."""
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Part:
    """A process of the application's, for the length of a `with`; `taken` afterwards."""

    def __init__(self, program, database, **options):
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self.command = [sys.executable, "-B", HERE / "application" / program, database, *words]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise measure.Failed(f"{self.command[2].name} did not begin")
        return self

    def __exit__(self, *_):
        said, _ = self.process.communicate()
        self.taken = json.loads(said or "[]")
        if self.process.returncode:
            raise measure.Failed(f"{self.command[2].name} failed")


def writer(database, journal, synchronous, pause, **more):
    return Part("writer.py", database, journal=journal, synchronous=synchronous, pause=pause, **more)


def feel(bench, ways, copies, application, rounds, least, say):
    """Each way beside a writer, and the writer alone, in every round. A way that takes less than `least` seconds is run
    again until they are full. `copies` gives a way its database, `application` a database its writer."""
    felt = {way.name: Felt(way) for way in ways}
    for number in range(rounds):
        for way in ways:
            result = felt[way.name]
            if result.trouble:
                continue
            database, runs = copies(way), []
            with application(database) as writer:
                try:
                    while not runs or (runs[-1].finished and sum(run.whole for run in runs) < least):
                        runs.append(bench.run(way, database))
                except measure.Failed as why:
                    say(str(why))
                    result.trouble = "failed"
                    continue
            during = [taken for run in runs for taken in within(writer.taken, run.began, run.ended)]

            with application(database) as writer:
                began = time.monotonic()
                time.sleep(min(LONGEST, sum(run.whole for run in runs)))
                ended = time.monotonic()
            without = within(writer.taken, began, ended)

            if not runs[-1].finished:
                result.trouble = f"not at an end after {runs[-1].whole:.0f}"
            result.durations += [run.whole for run in runs]
            result.during += [abs(taken) for taken in during]
            result.without += [abs(taken) for taken in without]
            result.busy += sum(taken < 0 for taken in during)
            result.wal = max([result.wal, *(run.wal for run in runs)])
            say(f"  {number + 1}/{rounds}  {way.name}: {runs[-1].whole:.2f} s, {len(during)} transactions")
    return list(felt.values())


def within(taken, began, ended):
    """Of the transactions that were under way at any time between the two."""
    return [seconds for begun, seconds in taken if begun <= ended and begun + abs(seconds) >= began]
