"""Owns the proof that buckets let through what they promise and no more, whatever the keys are."""

import math
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.rates import Bucket, Buckets
from tests.server.still_clock import Clock, clock

__all__ = ["clock"]  # a fixture


def allowed(buckets: Buckets, key: str, tries: int = 1000) -> int:
    """Return how many of so many takes at once are let through."""
    return sum(buckets.take(key) == 0.0 for _ in range(tries))


# -- one bucket --------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "burst"), [(100, 200), (0.1, 1), (3, 7), (1 / 3600, 50)])
@pytest.mark.parametrize("start", [0.0, 1e6, 1e9])
def test_the_burst_and_then_the_rate(rate: float, burst: int, start: float) -> None:
    clock = Clock(start)
    bucket = Bucket(rate, burst, clock=clock)
    for _ in range(3):
        assert [bucket.take() for _ in range(burst)] == [0.0] * burst
        wait_s = bucket.take()
        assert wait_s == pytest.approx(1 / rate, rel=1e-3)
        clock.now += wait_s
        assert bucket.take() == 0.0
        assert bucket.take() > 0
        clock.now += burst / rate


def test_a_full_bucket_gains_nothing(clock: Clock) -> None:
    bucket = Bucket(1, 3, clock=clock)
    clock.now += 1000
    assert [bucket.take() > 0 for _ in range(5)] == [False, False, False, True, True]


def test_what_is_refused_costs_nothing(clock: Clock) -> None:
    bucket = Bucket(1, 10, clock=clock)
    assert bucket.take(8) == 0.0
    assert bucket.take(5) == pytest.approx(3)
    assert bucket.take(2) == 0.0


def test_more_than_the_burst_passes_when_it_is_full_and_is_paid_off(clock: Clock) -> None:
    bucket = Bucket(10, 10, clock=clock)
    assert bucket.take(30) == 0.0
    assert bucket.take(1) == pytest.approx(2.1)
    clock.now += 2.2
    assert bucket.take(1) == 0.0
    assert bucket.take(30) == pytest.approx(0.9)


def test_nothing_is_free_unless_there_is_a_debt(clock: Clock) -> None:
    bucket = Bucket(1, 2, clock=clock)
    assert bucket.take(2) == 0.0
    assert bucket.take(0) == 0.0
    clock.now += 2
    assert bucket.take(5) == 0.0
    assert bucket.take(0) == pytest.approx(3)


_rates = st.floats(0.01, 1e6)
_bursts = st.floats(1, 1000)
_steps = st.floats(0, 10) | st.just(0.0)


def assert_never_too_much(taken: list[tuple[float, float]], rate: float, burst: float) -> None:
    """In no window from one taking to another is there more than the promise."""
    slack = max(rate * 1e-5, 0.01)
    for first, (start, _) in enumerate(taken):
        total = 0.0
        for now, cost in taken[first:]:
            total += cost
            assert total <= burst + rate * (now - start) + slack


@given(_rates, _bursts, st.lists(st.tuples(_steps, st.floats(0, 1)), max_size=60))
def test_no_window_has_more_than_burst_and_rate(
    rate: float, burst: float, steps: list[tuple[float, float]]
) -> None:
    clock = Clock()
    bucket = Bucket(rate, burst, clock=clock)
    taken = []
    for seconds, share in steps:
        clock.now += seconds
        if bucket.take(share * burst) == 0.0:
            taken.append((clock.now, share * burst))
    assert_never_too_much(taken, rate, burst)


@given(_rates, _bursts, st.lists(st.tuples(_steps, st.floats(0, 5)), max_size=60))
def test_costs_above_the_burst_add_only_what_the_greatest_is_above_it(
    rate: float, burst: float, steps: list[tuple[float, float]]
) -> None:
    clock = Clock()
    bucket = Bucket(rate, burst, clock=clock)
    taken = []
    for seconds, share in steps:
        clock.now += seconds
        if bucket.take(share * burst) == 0.0:
            taken.append((clock.now, share * burst))
    greatest = max((cost for _, cost in taken), default=0.0)
    assert_never_too_much(taken, rate, max(burst, greatest))


@given(_rates, _bursts, st.lists(st.tuples(_steps, st.floats(0, 5)), min_size=1, max_size=60))
def test_who_waits_as_told_is_let_through(
    rate: float, burst: float, steps: list[tuple[float, float]]
) -> None:
    clock = Clock()
    bucket = Bucket(rate, burst, clock=clock)
    for seconds, share in steps:
        clock.now += seconds
        wait_s = bucket.take(share * burst)
        if wait_s:
            clock.now += wait_s
            assert bucket.take(share * burst) == 0.0


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf, 1e-10, 1e10, "1", None, True])
def test_a_rate_out_of_range_is_refused(rate: Any) -> None:
    with pytest.raises(ValueError, match="rate_per_s must be a number from"):
        Bucket(rate, 1)
    with pytest.raises(ValueError, match="rate_per_s must be a number from"):
        Buckets(rate, 1)


@pytest.mark.parametrize("burst", [0, 0.5, -1, math.nan, math.inf, "1", None])
def test_a_burst_out_of_range_is_refused(burst: Any) -> None:
    with pytest.raises(ValueError, match="burst must be a number from 1"):
        Bucket(1, burst)


def test_no_keys_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="max_keys must be at least 1"):
        Buckets(1, 1, 0)


# -- many buckets ------------------------------------------------------------------------------


def test_each_key_has_a_bucket_of_its_own(clock: Clock) -> None:
    buckets = Buckets(1, 3, clock=clock)
    assert (allowed(buckets, "a"), allowed(buckets, "b")) == (3, 3)
    clock.now += 2
    assert allowed(buckets, "a") == 2
    assert buckets.take("a") == pytest.approx(1)


def test_a_flood_of_keys_is_bounded_and_sets_no_limited_key_free(clock: Clock) -> None:
    buckets = Buckets(1, 5, 100, clock=clock)
    assert allowed(buckets, "limited") == 5
    for number in range(10_000):
        buckets.take(f"flood {number}")
        assert len(buckets) <= 100
    assert allowed(buckets, "limited") == 0
    clock.now += 3
    assert allowed(buckets, "limited") == 3


def test_a_key_that_is_used_all_the_time_is_kept_through_a_flood(clock: Clock) -> None:
    buckets = Buckets(10, 10, 50, clock=clock)
    passed = 0
    for number in range(5_000):
        buckets.take(f"flood {number}")
        passed += buckets.take("busy") == 0.0
        clock.now += 0.01
    assert passed <= 10 + 10 * 50 + 1


def test_keys_beyond_the_bound_share_one_bucket(clock: Clock) -> None:
    buckets = Buckets(1, 4, 2, clock=clock)
    assert (allowed(buckets, "a"), allowed(buckets, "b")) == (4, 4)
    assert (buckets.take("c"), buckets.take("d"), allowed(buckets, "e")) == (0.0, 0.0, 2)
    assert buckets.take("c") == pytest.approx(1)
    assert len(buckets) == 2


def test_a_key_that_comes_out_of_the_overflow_begins_with_what_that_has(clock: Clock) -> None:
    buckets = Buckets(1, 4, 1, clock=clock)
    assert allowed(buckets, "a", 1) == 1
    assert allowed(buckets, "b") == 4
    clock.now += 1  # `a` is full and makes way; a bucket of its own is no second burst for `b`
    assert allowed(buckets, "b") == 1
    assert len(buckets) == 1


def test_full_buckets_make_way_and_only_they(clock: Clock) -> None:
    buckets = Buckets(1, 10, 4, clock=clock)
    allowed(buckets, "long", 9)
    for key in ("x", "y", "z"):
        buckets.take(key)
    clock.now += 2
    for key in ("p", "q", "r"):
        assert allowed(buckets, key) == 10
    assert len(buckets) == 4
    assert allowed(buckets, "long") == 3


def test_what_is_kept_shrinks_as_fast_as_it_grew(clock: Clock) -> None:
    buckets = Buckets(1, 2, 10_000, clock=clock)
    for number in range(5_000):
        buckets.take(f"old {number}")
    clock.now += 10
    for number in range(1_000):
        buckets.take(f"new {number}")
    assert len(buckets) == 1_000


_turns = st.lists(st.tuples(_steps, st.sampled_from("abcdef")), max_size=120)


@given(st.floats(0.1, 100), st.integers(1, 5), st.integers(1, 4), _turns)
def test_no_key_gets_more_than_burst_and_rate_in_any_window(
    rate: float, burst: int, max_keys: int, turns: list[tuple[float, str]]
) -> None:
    """Also while keys move between buckets of their own and the overflow."""
    clock = Clock()
    buckets = Buckets(rate, burst, max_keys, clock=clock)
    taken = defaultdict(list)
    for seconds, key in turns:
        clock.now += seconds / rate
        if buckets.take(key) == 0.0:
            taken[key].append((clock.now, 1.0))
        assert len(buckets) <= max_keys
    for of_key in taken.values():
        assert_never_too_much(of_key, rate, burst)


@given(st.floats(0.1, 100), st.integers(1, 5), _turns)
def test_with_room_for_all_each_key_is_as_if_alone(
    rate: float, burst: int, turns: list[tuple[float, str]]
) -> None:
    clock = Clock()
    buckets = Buckets(rate, burst, clock=clock)
    alone = {key: Bucket(rate, burst, clock=clock) for key in "abcdef"}
    for seconds, key in turns:
        clock.now += seconds / rate
        assert buckets.take(key) == alone[key].take()


@given(st.text(), st.text())
def test_arbitrary_keys_are_told_apart(one: str, other: str) -> None:
    buckets = Buckets(1, 1, clock=Clock())
    assert buckets.take(one) == 0.0
    assert (buckets.take(other) > 0) is (one == other)


def test_long_keys_are_told_apart_and_not_kept() -> None:
    buckets = Buckets(1, 1, clock=Clock())
    assert buckets.take("x" * 10_000) == 0.0
    assert buckets.take("x" * 10_001) == 0.0
    assert buckets.take("x" * 10_000) > 0
    assert buckets.take("\ud800" * 100) == 0.0
    assert max(len(key) for key in buckets._full_at) <= 64
