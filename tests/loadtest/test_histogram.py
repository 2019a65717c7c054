"""Times keep 3 significant digits, whatever is added up in whatever order."""

import json
import math

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loadtest.histogram import Histogram, bucket_ms, bucket_ns
from loadtest.results import Latency

TIMES = st.lists(st.integers(0, 10**12), min_size=1, max_size=60)
SHARES = st.sampled_from([0.0, 0.01, 0.07, 0.25, 0.5, 0.95, 0.99, 0.999, 1.0])


def filled(times: list[int]) -> Histogram:
    histogram = Histogram()
    for time_ns in times:
        histogram.add(time_ns)
    return histogram


@pytest.mark.parametrize(
    ("time_ns", "bucket"),
    [
        (0, 0),
        (7, 7),
        (999, 999),
        (1004, 1000),
        (1005, 1010),
        (9994, 9990),
        (9995, 10_000),
        (123_456_789, 123_000_000),
        (999_500_000, 1_000_000_000),
    ],
)
def test_a_bucket_has_three_digits(time_ns: int, bucket: int) -> None:
    assert bucket_ns(time_ns) == bucket


@given(st.integers(1, 10**18))
def test_a_bucket_is_as_near_as_three_digits_are(time_ns: int) -> None:
    bucket = bucket_ns(time_ns)
    assert len(str(bucket).rstrip("0")) <= 3
    assert abs(bucket - time_ns) <= 0.005 * time_ns
    assert bucket_ns(bucket) == bucket


@pytest.mark.parametrize(
    ("time_ms", "bucket"), [(0, 0), (0.06789, 0.0679), (1.234, 1.23), (147, 147), (58_760, 58_800)]
)
def test_what_locust_is_given_has_three_digits(time_ms: float, bucket: float) -> None:
    assert bucket_ms(time_ms) == bucket


@given(TIMES, SHARES)
@example([100] * 100, 0.07)
def test_a_percentile_is_what_sorting_finds(times: list[int], share: float) -> None:
    """The least time that so large a share does not exceed, rounded, and never over the largest."""
    place = max(1, math.ceil(round(share * len(times), 6)))
    wanted = bucket_ns(sorted(times)[place - 1])
    assert filled(times).percentile_ns(share) == min(max(wanted, min(times)), max(times))


@given(TIMES)
def test_ends_and_mean_are_exact(times: list[int]) -> None:
    histogram = filled(times)
    assert (histogram.count, histogram.total_ns) == (len(times), sum(times))
    assert (histogram.least_ns, histogram.most_ns) == (min(times), max(times))
    summary = histogram.summary()
    assert summary.mean_ms == sum(times) / len(times) / 1e6
    assert summary.max_ms == max(times) / 1e6


@given(st.lists(TIMES, max_size=4))
def test_merging_is_as_counting_in_one(parts: list[list[int]]) -> None:
    """Also by way of JSON, which makes text of the keys."""
    merged = Histogram()
    for part in [[], *parts]:
        sent = json.loads(json.dumps(filled(part).to_dict()))
        merged.merge(Histogram.from_dict(sent))
    whole = filled([time_ns for part in parts for time_ns in part])
    assert merged.to_dict() == whole.to_dict()


def test_what_is_taken_is_counted_no_more() -> None:
    histogram = filled([5, 7])
    assert histogram.take().total_ns == 12
    assert histogram.summary() == Latency()
    histogram.add(9)
    assert (histogram.least_ns, histogram.most_ns, histogram.count) == (9, 9, 1)


def test_nothing_has_no_percentiles() -> None:
    assert Histogram().percentile_ns(0.5) == 0
    assert msgspec.structs.astuple(Histogram().summary()) == (0, 0.0, 0.0, 0.0, 0.0, 0.0)


def test_a_time_below_zero_counts_as_none() -> None:
    histogram = filled([-5])
    assert (histogram.count, histogram.least_ns, histogram.buckets) == (1, 0, {0: 1})
