"""The waits between attempts to start a worker."""

from hypothesis import given
from hypothesis import strategies as st

from workers.backoff import FIRST_S, HEALTHY_AFTER_S, LONGEST_S, Backoff


def test_the_first_end_of_a_worker_that_served_costs_no_wait() -> None:
    assert Backoff().ended(ready_for_s=1) == 0


def test_a_worker_that_never_served_is_waited_for_at_once() -> None:
    assert 0.8 * FIRST_S <= Backoff().ended(ready_for_s=0) <= FIRST_S


def test_each_wait_doubles_up_to_the_longest() -> None:
    backoff = Backoff()
    waits = [backoff.ended(ready_for_s=0) for _ in range(12)]
    for number, wait in enumerate(waits):
        longest = min(FIRST_S * 2**number, LONGEST_S)
        assert 0.8 * longest <= wait <= longest


def test_a_long_service_makes_it_healthy_again() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.ended(ready_for_s=0)
    assert backoff.ended(ready_for_s=HEALTHY_AFTER_S) == 0
    assert backoff.failures == 1


@given(st.lists(st.floats(0, HEALTHY_AFTER_S * 2)))
def test_a_loop_of_ends_is_never_without_wait(lives: list[float]) -> None:
    """Two short lives in a row are never followed by an immediate start."""
    backoff = Backoff()
    before = HEALTHY_AFTER_S
    for life in lives:
        wait = backoff.ended(life)
        if before < HEALTHY_AFTER_S and life < HEALTHY_AFTER_S:
            assert wait >= 0.8 * FIRST_S
        before = life
