"""Owns the few figures that sum up a run: what was held, how much went through, who was busy.

It reads a `Run` and judges nothing.
"""

from collections.abc import Iterable
from itertools import dropwhile
from statistics import median

import msgspec

from loadtest.results import Run, Sample

STEADY_SHARE = 0.98
BUSY = 0.9  # of a core; from there on latency is that of a queue


class Figures(msgspec.Struct, frozen=True):
    """A run in a few numbers.

    Attributes:
        connections: those that were held at least, from when all had come.
        peak: the most that were open.
        messages_per_s: sent and received by clients, in the middle of that time.
        steady_s: how long that was.
        generator_cpu: of its busiest process, in the middle of that time, 1 is a whole core.
        worker_cpu: of the busiest worker, likewise.
        server_cpu: of all workers.
        busiest_s_cpu: of all workers and the generator's process, in the busiest second of all.
        server_mib: the most memory that all workers had.
    """

    connections: int
    peak: int
    sent_per_s: float
    received_per_s: float
    steady_s: float
    generator_cpu: float
    worker_cpu: float
    server_cpu: float
    busiest_s_cpu: float
    server_mib: float

    @property
    def messages_per_s(self) -> float:
        """Messages in both directions."""
        return self.sent_per_s + self.received_per_s


def is_coming_and_going(run: Run) -> bool:
    """Tell whether users connect again and again, so that few are connected at a time."""
    return run.totals.opened > 2 * _most_wanted(run)


def _most_wanted(run: Run) -> int:
    return max((sample.wanted for sample in run.samples), default=0)


def steady(run: Run) -> list[Sample]:
    """Return the seconds in which (nearly) as many were connected as ever were.

    Neither those in which they came, nor those at the end in which they are sent away. Of users
    that come and go: the seconds in which all users are there.
    """
    seconds = [one for one in run.samples if one.at_s <= run.duration_s]
    if is_coming_and_going(run):
        most = _most_wanted(run)
        return [one for one in seconds if one.wanted == most and one.received_per_s > 0]
    peak = max((one.connections for one in seconds), default=0)
    there = list(dropwhile(lambda one: one.connections < peak, seconds)) if peak else []
    return [one for one in there if one.connections >= STEADY_SHARE * peak]


def sum_up(run: Run) -> Figures:
    """Take the figures of a run."""
    seconds = steady(run)
    return Figures(
        connections=min((one.connections for one in seconds), default=0),
        peak=max((one.connections for one in run.samples), default=0),
        sent_per_s=_middle(one.sent_per_s for one in seconds),
        received_per_s=_middle(one.received_per_s for one in seconds),
        steady_s=seconds[-1].at_s - seconds[0].at_s if seconds else 0.0,
        generator_cpu=_middle(one.generator_cpu for one in seconds),
        worker_cpu=_middle(max(_cpu(one), default=0.0) for one in seconds),
        server_cpu=_middle(sum(_cpu(one)) for one in seconds),
        busiest_s_cpu=max((sum(_cpu(one)) + one.generator_cpu for one in run.samples), default=0.0),
        server_mib=max((_mib(one) for one in run.samples), default=0.0),
    )


def _middle(values: Iterable[float]) -> float:
    found = list(values)
    return median(found) if found else 0.0


def _cpu(sample: Sample) -> list[float]:
    return [worker.cpu_cores for worker in sample.server]


def _mib(sample: Sample) -> float:
    return sum(worker.resident_mib for worker in sample.server)
