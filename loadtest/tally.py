"""Owns what one process of the generator counts, second by second; knows no locust and no socket.

Users add to plain attributes, whatever comes a hundred thousand times a second too. Once a second
all of it is taken as a `Slice`, which is plain data and goes to the master.
"""

from collections import Counter
from typing import Any

import msgspec

from loadtest.histogram import Histogram

CONNECT, RTT, DELIVER, CLOSE, RECONNECT = (
    "WS-CONNECT",
    "WS-RTT",
    "WS-DELIVER",
    "WS-CLOSE",
    "WS-RECONNECT",
)
"""The kinds of requests that locust shows; a name is always the template of a route."""

COUNTS = (
    "opened",
    "sent",
    "received",
    "expected",
    "delivered",
    "duplicated",
    "reordered",
    "recovered",
    "not_recovered",
)


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """What went wrong, and how often.

    Attributes:
        kind, name: of the request.
        text: the same for all to whom the same has happened.
    """

    kind: str
    name: str
    text: str
    count: int


class Times(msgspec.Struct, frozen=True, array_like=True):
    """How long requests took: `Histogram.to_dict`."""

    kind: str
    name: str
    histogram: dict[str, Any]


class Slice(msgspec.Struct, frozen=True):
    """What one process has counted in one second.

    Attributes:
        second: Unix time.
        length_s: the first and the last of a run are shorter.
        counts: of COUNTS, those that are not 0. `expected` may fall: see `streams`.
        connections: open at its end.
        cpu: the share of one core that the process used.
        limits: of this machine that were reached.
        missing: deliveries that were due and that nobody waits for any more; only at the end.
    """

    second: int
    length_s: float
    counts: dict[str, int]
    refused: dict[str, int]
    closed: dict[str, int]
    failures: list[Failure]
    times: list[Times]
    connections: int
    cpu: float
    limits: list[str]
    missing: int = 0


class Report(msgspec.Struct, frozen=True):
    """What a process sends to the master.

    Attributes:
        number: from 0, so that one that is lost is noticed.
        is_final: there will be no other.
    """

    number: int
    slices: list[Slice]
    is_final: bool = False


class Tally:
    """The counts of one process; each attribute in COUNTS is as in `results.Totals`.

    Attributes:
        refused: handshakes, by HTTP status.
        closed: connections, by close code.
        connections: open now.
        missing: deliveries that were due and that nobody waits for any more.
    """

    def __init__(self) -> None:
        self.opened = 0
        self.sent = 0
        self.received = 0
        self.expected = 0
        self.delivered = 0
        self.duplicated = 0
        self.reordered = 0
        self.recovered = 0
        self.not_recovered = 0
        self.connections = 0
        self.missing = 0
        self.refused: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self._failures: Counter[tuple[str, str, str]] = Counter()
        self._times: dict[tuple[str, str], Histogram] = {}
        self._limits: set[str] = set()
        self._outstanding = 0

    @property
    def outstanding(self) -> int:
        """How many deliveries were due and have not come, since the start."""
        return self._outstanding + self.expected - self.delivered

    def times(self, kind: str, name: str) -> Histogram:
        """Return where these times are counted; it stays the same one."""
        return self._times.setdefault((kind, name), Histogram())

    def open(self) -> None:
        """Count a connection."""
        self.opened += 1
        self.connections += 1

    def close(self, code: int) -> None:
        """Count the end of one."""
        self.closed[str(code)] += 1
        self.connections -= 1

    def fail(self, kind: str, name: str, text: str, count: int = 1) -> None:
        """Count something that went wrong."""
        self._failures[(kind, name, text)] += count

    def reach(self, limit: str) -> None:
        """Note that this machine could not do more."""
        self._limits.add(limit)

    def take(self, second: int, length_s: float = 1.0, cpu: float = 0.0) -> Slice:
        """Return what was counted since the last time."""
        self._outstanding = self.outstanding
        counts = {name: amount for name in COUNTS if (amount := getattr(self, name))}
        for name in counts:
            setattr(self, name, 0)
        taken = Slice(
            second=second,
            length_s=length_s,
            counts=counts,
            refused=dict(self.refused),
            closed=dict(self.closed),
            failures=[Failure(*key, count) for key, count in self._failures.items()],
            times=[
                Times(kind, name, histogram.take().to_dict())
                for (kind, name), histogram in self._times.items()
                if histogram.count
            ],
            connections=self.connections,
            cpu=cpu,
            limits=sorted(self._limits),
            missing=self.missing,
        )
        self.missing = 0
        for counter in (self.refused, self.closed, self._failures):
            counter.clear()
        return taken
