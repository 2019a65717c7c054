"""Owns token buckets, and the rate limits that are declared on views; knows no connection.

A bucket holds `burst` tokens and gains `rate_per_s`. All that is kept of one is the time at which
it will be full again, `_full_at` (the theoretical arrival time of GCRA, ITU-T I.371): taking a
token moves that time on by what one token takes to come. A bucket that is full by now is as good
as one that never was, so it may be forgotten, and no other.
"""

import math
import re
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, TypeVar

Clock = Callable[[], float]
"""Seconds from any fixed point, never going back."""

F = TypeVar("F", bound=Callable[..., Any])
MAX_KEYS = 100_000
LEAST_RATE = 1e-9
MOST = 1e9
_ATTRIBUTE = "__switchboard_rate_limits__"
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2
_LONGEST_KEY = 64
_LOOKS = 8


def _check_number(name: str, value: Any, least: float) -> None:
    is_number = isinstance(value, int | float) and value is not True
    if not is_number or not least <= value <= MOST:
        raise ValueError(f"{name} must be a number from {least:g} to {MOST:g}, not {value!r}")


class _Rate:
    """A rate and a burst as times."""

    __slots__ = ("_burst_s", "_clock", "_slack_s", "_token_s")

    def __init__(self, rate_per_s: float, burst: float, clock: Clock) -> None:
        _check_number("rate_per_s", rate_per_s, LEAST_RATE)
        _check_number("burst", burst, 1)
        self._token_s = 1 / rate_per_s
        self._burst_s = burst / rate_per_s
        # Sums of times are not exact, which must not cost the burst its last token.
        self._slack_s = max(1e-6, self._token_s / 1000)
        self._clock = clock

    def _spend(self, full_at: float, cost: float) -> tuple[float, float]:
        """Return the seconds to wait (0.0: none), and when the bucket is full after it."""
        now = self._clock()
        start = max(now, full_at)
        cost_s = cost * self._token_s
        # What costs more than a full bucket has may not wait for ever: it leaves a debt.
        wait_s = start - now - (self._burst_s - min(cost_s, self._burst_s))
        if wait_s > self._slack_s:
            return wait_s, full_at
        return 0.0, start + cost_s


class Bucket(_Rate):
    """One token bucket, full at first.

    Args:
        rate_per_s: tokens it gains, from 1e-9 to 1e9.
        burst: tokens it holds, from 1 to 1e9.
        clock: gives seconds.

    Raises:
        ValueError: a number out of its range.
    """

    __slots__ = ("_full_at",)

    def __init__(self, rate_per_s: float, burst: float, *, clock: Clock = time.monotonic) -> None:
        super().__init__(rate_per_s, burst, clock)
        self._full_at = -math.inf

    def take(self, cost: float = 1) -> float:
        """Take tokens; returns 0.0, or the seconds until there are enough, and takes none then.

        A cost above the burst is let through when the bucket is full, and paid off afterwards.
        """
        wait_s, self._full_at = self._spend(self._full_at, cost)
        return wait_s


class Buckets(_Rate):
    """One token bucket for each key, in bounded memory.

    A bucket is forgotten only when it is full: were the longest unused one to make way, a flood of
    new keys would set a limited one free. If `max_keys` are in use, further keys share one bucket
    more, the overflow. So a flood of keys costs new clients their turn, and lets nobody through
    faster. A key that gets a bucket while the overflow is not full begins with what that has: it
    may have been one of those that emptied it.

    For each new key a few of the others are looked at, in turn, and the full ones forgotten. So
    there is never a sweep, and the time of a call has a bound.

    Args:
        rate_per_s, burst: of each key; see `Bucket`.
        max_keys: kept at most. A key takes about 200 bytes.
        clock: gives seconds.

    Raises:
        ValueError: a number out of its range.
    """

    __slots__ = ("_full_at", "_max_keys", "_order", "_overflow")

    def __init__(
        self,
        rate_per_s: float,
        burst: float,
        max_keys: int = MAX_KEYS,
        *,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(rate_per_s, burst, clock)
        if max_keys < 1:
            raise ValueError(f"max_keys must be at least 1, not {max_keys}")
        self._max_keys = max_keys
        self._full_at: dict[str | bytes, float] = {}
        self._order: deque[str | bytes] = deque()
        self._overflow = -math.inf

    def __len__(self) -> int:
        """How many keys are kept."""
        return len(self._full_at)

    def take(self, key: str) -> float:
        """Take a token of `key`; returns 0.0, or the seconds until there is one."""
        short = _bounded(key)
        full_at = self._full_at.get(short)
        if full_at is None:
            return self._take_as_new(short)
        wait_s, self._full_at[short] = self._spend(full_at, 1)
        return wait_s

    def _take_as_new(self, key: str | bytes) -> float:
        self._forget_full()
        wait_s, full_at = self._spend(self._overflow, 1)
        if wait_s:
            return wait_s
        if len(self._full_at) < self._max_keys:
            self._full_at[key] = full_at
            self._order.append(key)
        else:
            self._overflow = full_at
        return 0.0

    def _forget_full(self) -> None:
        now = self._clock()
        for _ in range(min(_LOOKS, len(self._order))):
            key = self._order.popleft()
            if self._full_at[key] <= now:
                del self._full_at[key]
            else:
                self._order.append(key)


def _bounded(key: str) -> str | bytes:
    """Return a key that takes little memory, whatever a client has sent as one."""
    if len(key) <= _LONGEST_KEY:
        return key
    # Bytes are equal to no text. A weaker hash would let a client share another one's bucket.
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


@dataclass(frozen=True)
class RateLimit:
    """What one `rate_limit` declares.

    Attributes:
        rps: tokens per second.
        burst: tokens at once.
        key: "ip", "user", "api_key", or the name of a header in lower case.

    Raises:
        ValueError: a number out of its range, or a key that can be no header's name.
    """

    rps: float
    burst: float
    key: str

    def __post_init__(self) -> None:
        _check_number("rps", self.rps, LEAST_RATE)
        _check_number("burst", self.burst, 1)
        object.__setattr__(self, "key", _checked_key(self.key))


def _checked_key(key: object) -> str:
    if not isinstance(key, str) or not _TOKEN.fullmatch(key):
        raise ValueError(f"key {key!r} is neither 'ip', 'user', 'api_key' nor the name of a header")
    return key.lower()


def rate_limit(rps: float = 100, burst: float | None = None, key: str = "ip") -> Callable[[F], F]:
    """Limit how often a view is asked for; goes under the route's decorator (Django-Bolt's).

    Several may be stacked. They are tried from the top, and each that lets a request through has
    spent a token on it, also if a later one refuses it. Every worker process counts for itself.

    Args:
        rps: requests per second, on average.
        burst: requests at once; None: twice `rps`, but at least 1.
        key: whose requests are counted together: of one address ("ip"), of one authenticated user
            ("user"), of one API key ("api_key"), or of one value of the header with this name.
            Requests that have none are counted by their address. A client that may choose the
            value of a header escapes its limit, so stack such a one with an "ip" one.

    Raises:
        ValueError: a number out of its range, or a key that can be no header's name.

    Example:
        @app.websocket("/feed")
        @rate_limit(rps=5, burst=10)
        async def feed(websocket): ...
    """
    _check_number("rps", rps, LEAST_RATE)
    limit = RateLimit(rps, max(1, 2 * rps) if burst is None else burst, key)

    def attach(view: F) -> F:
        setattr(view, _ATTRIBUTE, (limit, *rate_limits_of(view)))
        return view

    return attach


def rate_limits_of(view: Callable[..., Any]) -> tuple[RateLimit, ...]:
    """Return the limits declared on a view, the topmost first."""
    limits: tuple[RateLimit, ...] = getattr(view, _ATTRIBUTE, ())
    return limits


@dataclass(frozen=True)
class Exceeded:
    """A limit that a request has run into.

    Attributes:
        retry_after_s: seconds until the next one is let through.
    """

    limit: RateLimit
    retry_after_s: float

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the refusal."""
        return {
            "Retry-After": str(max(1, math.ceil(self.retry_after_s))),
            "X-RateLimit-Limit": _number(self.limit.rps),
            "X-RateLimit-Burst": _number(self.limit.burst),
        }


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


class RateLimiter:
    """Counts the requests of one process against the limits of its views.

    Args:
        max_keys: kept for each limit of each route.
        clock: gives seconds.
    """

    def __init__(self, *, max_keys: int = MAX_KEYS, clock: Clock = time.monotonic) -> None:
        self._max_keys = max_keys
        self._clock = clock
        self._buckets: dict[tuple[Hashable, RateLimit], Buckets] = {}

    def check(
        self,
        route: Hashable,
        limits: Iterable[RateLimit],
        key_of: Callable[[str], str | None],
    ) -> Exceeded | None:
        """Count a request; returns the limit it has run into, if there is one.

        Args:
            route: whose requests are counted together.
            limits: those that count now, of `rate_limits_of` its view.
            key_of: gives the value of a limit's key for this request: of "ip", "user", "api_key",
                or a header's name in lower case. None or "" if it has none.
        """
        for limit in limits:
            wait_s = self._buckets_of(route, limit).take(_key(limit, key_of))
            if wait_s:
                return Exceeded(limit, wait_s)
        return None

    def _buckets_of(self, route: Hashable, limit: RateLimit) -> Buckets:
        found = self._buckets.get((route, limit))
        if found is None:
            found = Buckets(limit.rps, limit.burst, self._max_keys, clock=self._clock)
            self._buckets[route, limit] = found
        return found


def _key(limit: RateLimit, key_of: Callable[[str], str | None]) -> str:
    """Return the key of a request; an address is never taken for a user who is called so."""
    if limit.key != "ip":
        value = key_of(limit.key)
        if value:
            return f"{limit.key}:{value}"
    return f"ip:{key_of('ip') or ''}"
