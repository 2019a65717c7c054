"""Owns segments with real writers, for the tests of what is read from them."""

import os
import time
from collections.abc import Sequence

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from server.limits import LIMITS
from server.metrics.catalog import POLICIES
from server.metrics.collector import SegmentCollector
from workers.counters import CounterTable, RouteCounters
from workers.layout import CLIENT, CRASH, SERVER, Sizes, SlotState
from workers.segment import Segment
from workers.slots import OwnSlot, Slots

ROUTES = ("/echo", "/rooms/{room}", "unmatched")
CODES = (1000, 1001, 1005, 1006, 1011, 4001)
STATUSES = (403, 404, 503)
SIZES = Sizes(workers=2, slots=4, rows_per_slot=10, routes=5)


def segment(routes: Sequence[str] = ROUTES, sizes: Sizes = SIZES) -> Segment:
    """Return a private segment in which nothing has happened."""
    return Segment.private(sizes, routes=routes, codes=CODES, statuses=STATUSES)


class Worker:
    """What a worker process has of its segment; the process is this one."""

    def __init__(
        self, of: Segment, index: int, generation: int = 1, pid: int | None = None
    ) -> None:
        self.segment = of
        self.slot = Slots(of).assign(index, generation)
        Slots(of).set_pid(self.slot, os.getpid() if pid is None else pid)
        self.voice = OwnSlot(of, self.slot)
        self._counters = CounterTable(of, self.slot)

    def ready(self, age_s: float = 0, lag_s: float = 0) -> "Worker":
        """Say that it is ready, and give a sign of life."""
        self.voice.set_state(SlotState.READY)
        self.voice.beat(time.monotonic_ns() - int(age_s * 1e9), int(lag_s * 1e9))
        return self

    def route(self, name: str) -> RouteCounters:
        """Return the counters of a route."""
        return self._counters.route(self.segment.route_index(name))


def touched() -> Segment:
    """Return a segment in which all that can be counted has been, on every route."""
    busy = segment()
    for index in range(2):
        worker = Worker(busy, index, generation=index + 1).ready()
        for name in busy.routes:
            counters = worker.route(name)
            counters.opened()
            for code in range(len(busy.codes)):
                for initiator in (CLIENT, SERVER, CRASH):
                    counters.opened()
                    counters.closed(code, initiator, 0.02)
            for status in range(len(busy.statuses)):
                counters.refused(status)
            for policy in range(len(POLICIES)):
                counters.slow(policy)
            for limit in range(len(LIMITS)):
                counters.limited(limit)
            counters.handled(0.001)
            counters.error()
            counters.traffic(1, 10, 2, 20)
    return busy


def families(of: Segment) -> dict[str, Metric]:
    """Return what is collected, by the name that the catalog has for it."""
    collected = list(SegmentCollector(of).collect())
    return {
        f"{family.name}_total" if family.type == "counter" else family.name: family
        for family in collected
    }


def samples(of: Segment, name: str) -> list[Sample]:
    """Return the samples of one family."""
    return families(of)[name].samples


def values(of: Segment, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples of one family by the values of their labels, in the catalog's order."""
    return {tuple(sample.labels.values()): sample.value for sample in samples(of, name)}
