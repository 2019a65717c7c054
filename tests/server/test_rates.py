"""Owns the proof that the limits of a view count by their keys, and tell who is refused to wait."""

import math
from functools import wraps
from typing import Any

import pytest

from server.rates import Exceeded, RateLimit, RateLimiter, rate_limit, rate_limits_of
from tests.server.still_clock import Clock, clock

__all__ = ["clock"]  # a fixture


# -- the decorator -----------------------------------------------------------------------------


async def view(websocket: Any) -> None: ...


def fresh() -> Any:
    async def fresh(websocket: Any) -> None: ...

    return fresh


def test_the_decorator_returns_the_view_with_its_limits() -> None:
    bare = fresh()
    assert rate_limits_of(bare) == ()
    assert rate_limit(rps=5, burst=7, key="X-Tenant")(bare) is bare
    assert rate_limits_of(bare) == (RateLimit(5, 7, "x-tenant"),)
    assert bare.__switchboard_rate_limits__ == rate_limits_of(bare)


def test_the_defaults() -> None:
    assert rate_limits_of(rate_limit()(fresh())) == (RateLimit(100, 200, "ip"),)
    assert rate_limits_of(rate_limit(rps=8)(fresh())) == (RateLimit(8, 16, "ip"),)
    assert rate_limits_of(rate_limit(rps=0.1)(fresh())) == (RateLimit(0.1, 1, "ip"),)


def test_several_are_stacked_and_the_topmost_is_first() -> None:
    @rate_limit(rps=1)
    @rate_limit(rps=2, key="user")
    async def limited(websocket: Any) -> None: ...

    assert [limit.rps for limit in rate_limits_of(limited)] == [1, 2]


def test_a_wrapper_has_the_limits_of_what_it_wraps_and_keeps_its_own_apart() -> None:
    inner = rate_limit(rps=1)(fresh())

    @rate_limit(rps=2)
    @wraps(inner)
    async def outer(websocket: Any) -> None: ...

    assert [limit.rps for limit in rate_limits_of(outer)] == [2, 1]
    assert [limit.rps for limit in rate_limits_of(inner)] == [1]


@pytest.mark.parametrize("rps", [0, -1, math.nan, math.inf, "5", None, True, view])
def test_rps_out_of_range_is_refused(rps: Any) -> None:
    with pytest.raises(ValueError, match="rps must be a number from"):
        rate_limit(rps)
    with pytest.raises(ValueError, match="rps must be a number from"):
        RateLimit(rps, 1, "ip")


@pytest.mark.parametrize("burst", [0, 0.9, -1, math.nan, math.inf, "5", True])
def test_burst_out_of_range_is_refused(burst: Any) -> None:
    with pytest.raises(ValueError, match="burst must be a number from 1"):
        rate_limit(5, burst)


@pytest.mark.parametrize("key", ["", "x tenant", "x:y", "é", "x\n", None, 5, b"ip"])
def test_a_key_that_is_no_token_is_refused(key: Any) -> None:
    with pytest.raises(ValueError, match="nor the name of a header"):
        rate_limit(5, key=key)


def test_a_limit_is_frozen() -> None:
    with pytest.raises(AttributeError):
        RateLimit(1, 1, "ip").rps = 2  # type: ignore[misc]


# -- the limiter -------------------------------------------------------------------------------


def asked(**keys: str | None) -> Any:
    """Return the `key_of` of a request."""
    return lambda key: keys.get(key.replace("-", "_"))


def limited_view(*limits: Any) -> Any:
    view = fresh()
    for limit in reversed(limits):
        limit(view)
    return view


def passes(
    limiter: RateLimiter, view: Any, *, route: str = "/", tries: int = 20, **keys: Any
) -> int:
    return sum(
        limiter.check(route, rate_limits_of(view), asked(**keys)) is None for _ in range(tries)
    )


def test_a_view_without_limits_is_never_refused(clock: Clock) -> None:
    limiter = RateLimiter(clock=clock)
    assert (
        limiter.check("/", rate_limits_of(view), lambda key: pytest.fail("asked for a key")) is None
    )


def test_each_address_has_its_limit(clock: Clock) -> None:
    limiter, view = RateLimiter(clock=clock), limited_view(rate_limit(1, 3))
    assert passes(limiter, view, ip="192.0.2.1") == 3
    assert passes(limiter, view, ip="192.0.2.2") == 3
    clock.now += 1
    assert passes(limiter, view, ip="192.0.2.1") == 1


def test_each_route_counts_by_itself(clock: Clock) -> None:
    limiter, view = RateLimiter(clock=clock), limited_view(rate_limit(1, 3))
    assert passes(limiter, view, route="/a", ip="192.0.2.1") == 3
    assert passes(limiter, view, route="/b", ip="192.0.2.1") == 3


@pytest.mark.parametrize("key", ["user", "api_key", "X-Tenant"])
def test_other_keys_count_apart_from_the_address(clock: Clock, key: str) -> None:
    limiter, view = RateLimiter(clock=clock), limited_view(rate_limit(1, 3, key))
    ann: Any = {key.lower().replace("-", "_"): "ann"}
    bob: Any = dict.fromkeys(ann, "bob")
    assert passes(limiter, view, ip="192.0.2.1", **ann) == 3
    assert passes(limiter, view, ip="192.0.2.2", **ann) == 0
    assert passes(limiter, view, ip="192.0.2.1", **bob) == 3


@pytest.mark.parametrize("missing", [None, ""])
def test_without_its_key_a_request_counts_by_its_address(clock: Clock, missing: Any) -> None:
    limiter, view = RateLimiter(clock=clock), limited_view(rate_limit(1, 3, "user"))
    assert passes(limiter, view, ip="192.0.2.1", user=missing) == 3
    assert passes(limiter, view, ip="192.0.2.2", user=missing) == 3
    assert passes(limiter, view, ip="192.0.2.1") == 0
    # A user who is called like an address is not that address.
    assert passes(limiter, view, ip="192.0.2.9", user="192.0.2.1") == 3
    assert passes(limiter, view, ip="192.0.2.9", user="ip:192.0.2.2") == 3


def test_requests_without_an_address_count_together(clock: Clock) -> None:
    limiter, view = RateLimiter(clock=clock), limited_view(rate_limit(1, 3))
    assert passes(limiter, view) == 3
    assert passes(limiter, view, ip=None) == 0


def test_of_several_limits_the_first_that_is_exceeded_is_told(clock: Clock) -> None:
    limiter = RateLimiter(clock=clock)
    view = limited_view(rate_limit(10, 5), rate_limit(1, 2, "user"))
    assert passes(limiter, view, ip="192.0.2.1", user="ann", tries=2) == 2
    found = limiter.check("/", rate_limits_of(view), asked(ip="192.0.2.1", user="ann"))
    assert found is not None
    assert found.limit.key == "user"
    assert passes(limiter, view, ip="192.0.2.1", user="bob") == 2
    found = limiter.check("/", rate_limits_of(view), asked(ip="192.0.2.1", user="eve"))
    assert found is not None
    assert found.limit.key == "ip"


@pytest.mark.parametrize(
    ("rps", "burst", "retry", "shown"),
    [
        (100, 200, "1", ("100", "200")),
        (0.1, 1, "10", ("0.1", "1")),
        (1_500_000, 3_000_000, "1", ("1500000", "3000000")),
        (0.03, 2.5, "34", ("0.03", "2.5")),
        (2.0, 4.0, "1", ("2", "4")),
    ],
)
def test_headers_of_the_refusal(
    rps: float, burst: float, retry: str, shown: tuple[str, str]
) -> None:
    found = Exceeded(RateLimit(rps, burst, "ip"), 1 / rps)
    assert found.headers == {
        "Retry-After": retry,
        "X-RateLimit-Limit": shown[0],
        "X-RateLimit-Burst": shown[1],
    }


def test_who_comes_back_as_told_is_let_through(clock: Clock) -> None:
    limiter, view = RateLimiter(clock=clock), limited_view(rate_limit(0.3, 1))
    assert passes(limiter, view, ip="192.0.2.1") == 1
    found = limiter.check("/", rate_limits_of(view), asked(ip="192.0.2.1"))
    assert found is not None
    assert found.headers["Retry-After"] == "4"
    clock.now += found.retry_after_s
    assert passes(limiter, view, ip="192.0.2.1") == 1


def test_the_keys_of_a_limiter_are_bounded(clock: Clock) -> None:
    limiter, view = RateLimiter(max_keys=10, clock=clock), limited_view(rate_limit(1, 2))
    addresses = [f"192.0.2.{number}" for number in range(100)]
    assert sum(passes(limiter, view, ip=ip, tries=1) for ip in addresses) == 10 + 2
