"""Owns distributions of times: 3 significant digits, added up across processes; knows no locust.

Times are whole nanoseconds inside, so that a bucket is an exact number, and milliseconds outside.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

from loadtest.results import Latency

_NS = 1e6  # in a millisecond
_EPSILON = 1e-6  # 0.07 of 100 is 7, though not in floating point
# A number of up to 3 digits is its own bucket, one of 4 digits is rounded to tens, and so on.
_POWERS: list[int] = [10**exponent for exponent in range(3, 19)]
_STEPS: list[int] = [1, *(power // 100 for power in _POWERS)]


def bucket_ns(time_ns: int) -> int:
    """Round to 3 significant digits, halves up."""
    step = _STEPS[bisect_right(_POWERS, time_ns)]
    return (time_ns + step // 2) // step * step


def bucket_ms(time_ms: float) -> float:
    """Round to 3 significant digits: for locust's `stats.bucket_response_time`."""
    return bucket_ns(round(time_ms * _NS)) / _NS


class Histogram:
    """Counts of times.

    Attributes:
        count, total_ns, least_ns, most_ns: exact; 0 if there was nothing.
        buckets: how many, by the rounded time in ns.
    """

    __slots__ = ("buckets", "count", "least_ns", "most_ns", "total_ns")

    def __init__(self) -> None:
        self.count = 0
        self.total_ns = 0
        self.least_ns = 0
        self.most_ns = 0
        self.buckets: dict[int, int] = {}

    def add(self, time_ns: int) -> None:
        """Count a time; one below 0, which no clock that is right gives, as 0."""
        if time_ns < 0:
            time_ns = 0
        if time_ns > self.most_ns:
            self.most_ns = time_ns
        if time_ns < self.least_ns or not self.count:
            self.least_ns = time_ns
        self.count += 1
        self.total_ns += time_ns
        step = _STEPS[bisect_right(_POWERS, time_ns)]
        bucket = (time_ns + step // 2) // step * step
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def merge(self, other: "Histogram") -> None:
        """Add what another has counted."""
        if not other.count:
            return
        self.least_ns = min(self.least_ns, other.least_ns) if self.count else other.least_ns
        self.most_ns = max(self.most_ns, other.most_ns)
        self.count += other.count
        self.total_ns += other.total_ns
        for bucket, count in other.buckets.items():
            self.buckets[bucket] = self.buckets.get(bucket, 0) + count

    def take(self) -> "Histogram":
        """Return what was counted, and begin anew."""
        taken = Histogram()
        for name in Histogram.__slots__:
            setattr(taken, name, getattr(self, name))
        self.count = self.total_ns = self.least_ns = self.most_ns = 0
        self.buckets = {}
        return taken

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, for a message to another process."""
        return {name: getattr(self, name) for name in Histogram.__slots__}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Histogram":
        """Make it from `to_dict`; keys that became text on the way are numbers again."""
        made = cls()
        for name in Histogram.__slots__:
            setattr(made, name, values[name])
        made.buckets = {int(bucket): count for bucket, count in values["buckets"].items()}
        return made

    def percentile_ns(self, share: float) -> int:
        """Return the least time that so large a share of all does not exceed, 0 if there is none.

        It is rounded as its bucket is, but never outside of what there was.
        """
        wanted = min(max(1, math.ceil(share * self.count - _EPSILON)), self.count)
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                return min(max(bucket, self.least_ns), self.most_ns)
        return 0

    def summary(self) -> Latency:
        """Say it in figures."""
        if not self.count:
            return Latency()
        return Latency(
            count=self.count,
            mean_ms=self.total_ns / self.count / _NS,
            p50_ms=self.percentile_ns(0.50) / _NS,
            p95_ms=self.percentile_ns(0.95) / _NS,
            p99_ms=self.percentile_ns(0.99) / _NS,
            max_ms=self.most_ns / _NS,
        )
