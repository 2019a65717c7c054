"""Owns what locust's own tables, charts and files show of what we count.

Once a second what was counted is put into locust's statistics as a whole. An event for each message
would cost more than the message, and locust's own rounding, to whole milliseconds, would say 0 of
most answers.
"""

import time

from locust import stats as locust_stats
from locust.stats import RequestStats, StatsError

from loadtest.histogram import Histogram, bucket_ms
from loadtest.tally import DELIVER, Failure, Slice

_NS = 1e6


def show_three_digits() -> None:
    """Make locust round times to 3 significant digits, by the hook that it has for that."""
    locust_stats.bucket_response_time = bucket_ms  # type: ignore[assignment] # int for float


def flush(slice_: Slice, stats: RequestStats, route: str) -> None:
    """Add one second.

    Args:
        route: what deliveries are shown under.
    """
    for times in slice_.times:
        _add_times(stats, times.kind, times.name, Histogram.from_dict(times.histogram))
    for failure in [*slice_.failures, *_flaws(slice_, route)]:
        _add_failure(stats, failure)


def _flaws(slice_: Slice, route: str) -> list[Failure]:
    """Say what was wrong with deliveries; for locust they are failures like any other."""
    amounts = {
        "came twice": slice_.counts.get("duplicated", 0),
        "came after a later one": slice_.counts.get("reordered", 0),
        "missing": slice_.missing,
        "not recovered": slice_.counts.get("not_recovered", 0),
    }
    return [Failure(DELIVER, route, text, amount) for text, amount in amounts.items() if amount]


def _add_times(stats: RequestStats, kind: str, name: str, times: Histogram) -> None:
    now = time.time()
    for entry in (stats.total, stats.get(name, kind)):
        entry.num_requests += times.count
        entry.num_reqs_per_sec[int(now)] += times.count
        entry.last_request_timestamp = now
        entry.total_response_time += times.total_ns / _NS  # type: ignore[assignment] # an int there
        least_ms, most_ms = times.least_ns / _NS, times.most_ns / _NS
        known_ms = entry.min_response_time
        entry.min_response_time = least_ms if known_ms is None else min(known_ms, least_ms)  # type: ignore[assignment]
        entry.max_response_time = max(entry.max_response_time, most_ms)  # type: ignore[assignment]
        for bucket, count in times.buckets.items():
            key: int = bucket / _NS  # type: ignore[assignment]
            entry.response_times[key] = entry.response_times.get(key, 0) + count


def _add_failure(stats: RequestStats, failure: Failure) -> None:
    now = time.time()
    for entry in (stats.total, stats.get(failure.name, failure.kind)):
        entry.num_requests += failure.count
        entry.num_none_requests += failure.count  # they have no time
        entry.num_failures += failure.count
        entry.num_reqs_per_sec[int(now)] += failure.count
        entry.num_fail_per_sec[int(now)] += failure.count
        entry.last_request_timestamp = now
    key = StatsError.create_key(failure.kind, failure.name, failure.text)
    error = stats.errors.get(key)
    if error is None:
        error = stats.errors[key] = StatsError(failure.kind, failure.name, failure.text)
    # `occurred` counts one, and keeps when; the rest is added.
    error.occurred()
    error.occurrences += failure.count - 1
