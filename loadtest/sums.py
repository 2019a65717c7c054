"""Owns the adding up of what all processes of a generator report; knows no locust.

The seconds of all processes are put together by Unix time, so that one that reports late does not
show as a dip and a peak. A second is done when every process has reported it, or after a while.
"""

from collections import Counter, defaultdict
from collections.abc import Callable

import msgspec

from loadtest.histogram import Histogram
from loadtest.results import Limit, Sample, Totals
from loadtest.tally import CONNECT, COUNTS, DELIVER, RECONNECT, RTT, Report, Slice

CPU_LIMIT = 0.9
"""What locust warns of; a process that busy is late with all it does."""

_PATIENCE_S = 4
_CPU_SECONDS = 3
_NAMED: tuple[Limit, ...] = ("file limit", "ports", "memory", "generator CPU")


class _Second:
    """What was counted in one second."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.failures = 0
        self.length_s = 0.0
        self.cpu = 0.0
        self.times: dict[str, Histogram] = defaultdict(Histogram)
        self.connections: dict[str, int] = {}

    def add(self, source: str, slice_: Slice) -> None:
        self.connections[source] = slice_.connections
        self.counts.update(slice_.counts)
        self.failures += sum(failure.count for failure in slice_.failures)
        self.length_s = max(self.length_s, slice_.length_s)
        self.cpu = max(self.cpu, slice_.cpu)
        for times in slice_.times:
            self.times[times.kind].merge(Histogram.from_dict(times.histogram))


class Sums:
    """All that the processes have reported in one run.

    Attributes:
        samples: the seconds that are done, in their order.
        lost_reports: how many did not arrive, though later ones did.
        finals: the processes whose last report is there.
        on_sample: called with each second that is done.
    """

    def __init__(
        self, started_at: float, on_sample: Callable[[Sample], None] | None = None
    ) -> None:
        self.samples: list[Sample] = []
        self.lost_reports = 0
        self.finals: set[str] = set()
        self.on_sample = on_sample
        self._started_at = started_at
        self._counts: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._closed: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._times: dict[str, Histogram] = defaultdict(Histogram)
        self._limits: set[str] = set()
        self._next_numbers: dict[str, int] = {}
        self._connections: dict[str, int] = {}
        self._wanted: dict[int, int] = {}
        self._seconds: dict[int, _Second] = {}
        self._done_until = 0
        self._last_wanted = 0

    @property
    def sources(self) -> set[str]:
        """The processes that have reported."""
        return set(self._next_numbers)

    def want(self, second: int, users: int) -> None:
        """Note how many users there are to be in this second."""
        self._wanted[second] = users

    def add(self, source: str, report: Report) -> None:
        """Take a report of a process."""
        self.lost_reports += report.number - self._next_numbers.get(source, 0)
        self._next_numbers[source] = report.number + 1
        if report.is_final:
            self.finals.add(source)
        for slice_ in report.slices:
            self._add_slice(source, slice_)

    def _add_slice(self, source: str, slice_: Slice) -> None:
        second = max(slice_.second, self._done_until + 1)
        self._seconds.setdefault(second, _Second()).add(source, slice_)
        self._counts.update(slice_.counts)
        self._refused.update(slice_.refused)
        self._closed.update(slice_.closed)
        self._limits.update(slice_.limits)
        for failure in slice_.failures:
            self._failures[failure.text] += failure.count
        for times in slice_.times:
            self._times[times.kind].merge(Histogram.from_dict(times.histogram))

    def fail(self, text: str, count: int = 1) -> None:
        """Count something that went wrong with the run itself."""
        self._failures[text] += count

    def advance(self, now: float, alive: set[str]) -> None:
        """Make samples of the seconds that are done."""
        for second in sorted(self._seconds):
            is_whole = alive <= set(self._seconds[second].connections) and second < int(now)
            if not is_whole and now < second + _PATIENCE_S:
                break
            self._finish(second)

    def finish(self) -> None:
        """Make samples of all that is left."""
        for second in sorted(self._seconds):
            self._finish(second)

    def _finish(self, second: int) -> None:
        done = self._seconds.pop(second)
        self._done_until = max(self._done_until, second)
        for noted in sorted(self._wanted):
            if noted <= second:
                self._last_wanted = self._wanted.pop(noted)
        self._connections.update(done.connections)
        sample = Sample(
            at_s=round(max(0.0, second + 1 - self._started_at), 3),
            wanted=self._last_wanted,
            connections=sum(self._connections.values()),
            sent_per_s=round(done.counts["sent"] / done.length_s, 1),
            received_per_s=round(done.counts["received"] / done.length_s, 1),
            rtt=done.times[RTT].summary(),
            delivery=done.times[DELIVER].summary(),
            failures=done.failures,
            server=[],
            generator_cpu=round(done.cpu, 3),
        )
        self.samples.append(sample)
        if self.on_sample is not None:
            self.on_sample(sample)

    def totals(self) -> Totals:
        """Add it all up."""
        counts = {name: self._counts[name] for name in COUNTS}
        return Totals(
            **counts,
            refused=dict(self._refused),
            closed=dict(self._closed),
            connect=self._times[CONNECT].summary(),
            rtt=self._times[RTT].summary(),
            delivery=self._times[DELIVER].summary(),
            reconnect=self._times[RECONNECT].summary(),
            failures=dict(self._failures),
        )

    def generator_limit(self) -> Limit | None:
        """Say what of this machine kept the generator from doing its work, if anything did.

        Its processor counts only while no users are added: to open connections takes more of it
        than to hold them, and that alone makes no figure wrong.
        """
        for limit in _NAMED:
            if limit in self._limits:
                return limit
        return "generator CPU" if self._is_too_busy() else None

    def _is_too_busy(self) -> bool:
        busy = 0
        for before, sample in zip(self.samples, self.samples[1:], strict=False):
            has_grown = sample.connections > 1.01 * before.connections + 5
            is_steady = before.wanted == sample.wanted and not has_grown
            busy = busy + 1 if is_steady and sample.generator_cpu > CPU_LIMIT else 0
            if busy >= _CPU_SECONDS:
                return True
        return False


def read_report(values: object) -> Report:
    """Make a report of what came as a message."""
    return msgspec.convert(values, Report)


def write_report(report: Report) -> dict[str, object]:
    """Make plain values of a report, for a message."""
    values: dict[str, object] = msgspec.to_builtins(report)
    return values
