"""How many transactions of an application that reads before it writes fail while something else commits to its database.
Must never decide what is good."""

import dataclasses
import os

import beside
import data
import measure
import upkeep


@dataclasses.dataclass
class Round:
    """Of one way beside one such application."""

    # Transactions that were under way while it ran; those that failed are below zero.
    taken: list
    run: measure.Run
    # Bytes by which the file became smaller.
    smaller: int

    @property
    def failed(self):
        return sum(seconds < 0 for seconds in self.taken)


def feel(bench, way, original, copy, application):
    """One run on a fresh copy beside the application alone."""
    data.copy(original, copy)
    size = os.stat(copy).st_size
    with application(copy) as writer:
        run = bench.run(way, copy)
    upkeep.inspect(dataclasses.replace(way, removes=False), copy, run)
    taken = beside.within(writer.taken, run.began, run.ended)
    return Round(taken=taken, run=run, smaller=size - os.stat(copy).st_size)
