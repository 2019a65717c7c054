"""Owns how much clients may do: the limits, their defaults, and the names they are counted by."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeVar

OnRate = Literal["disconnect", "drop"]

SLOWEST, FASTEST = 1e-6, 1_000_000_000
"""Between these is a rate, in what it counts a second: a token bucket can keep it."""

_NEEDED = ("header_bytes", "url_bytes")

LIMITS = (
    "connections",
    "connections_per_ip",
    "connections_per_user",
    "handshake_rate",
    "rate_limit",
    "header_size",
    "url_size",
    "message_size",
    "message_rate",
    "byte_rate",
    "rooms",
    "idle",
    "lifetime",
)
"""What the counter `ws_limited_total` counts by."""


@dataclass(frozen=True, kw_only=True)
class AdmissionLimits:
    """What the server lets in, all of its workers together; None is no limit.

    Attributes:
        connections: at a time, handshakes under way included; more get 503.
        connections_per_ip: of one address at a time; more get 429.
        connections_per_user: of one user id at a time; more get 429.
        handshakes_per_s: on average, as each worker's share; more get 503.
        header_bytes: of a handshake's headers, names included; more gets 431.
        url_bytes: of its path and query string; more gets 414.
    """

    connections: int | None = 10_000
    connections_per_ip: int | None = None
    connections_per_user: int | None = None
    handshakes_per_s: float | None = None
    header_bytes: int = 32_768
    url_bytes: int = 65_536

    def __post_init__(self) -> None:
        """Raises ValueError: what is no number, or none that such a limit can be."""
        _check(self)


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """What one connection may do; None is no limit.

    Attributes:
        messages_per_s: on average; of twice as many at once.
        bytes_per_s: of payload, on average; of twice as many at once, or of one message.
        on_rate: what becomes of a message over these two: "disconnect" closes with 1008, "drop"
            discards it.
        rooms: that it may be in; `join` raises then.
        idle_timeout_s: without a message from it; then it is closed with 4001.
        lifetime_s: from accept on; then it is closed with 4004.
    """

    messages_per_s: float | None = None
    bytes_per_s: float | None = None
    on_rate: OnRate = "disconnect"
    rooms: int | None = 100
    idle_timeout_s: float | None = None
    lifetime_s: float | None = None

    def __post_init__(self) -> None:
        """Raises ValueError: what can be no such limit, or another word for `on_rate`."""
        _check(self)
        if self.on_rate not in ("disconnect", "drop"):
            raise ValueError(f"on_rate is 'disconnect' or 'drop', not {self.on_rate!r}")


L = TypeVar("L", AdmissionLimits, ConnectionLimits)


def override(limits: L, given: Mapping[str, Any]) -> L:
    """Return limits in which those are replaced that are given: not None."""
    return replace(limits, **{name: value for name, value in given.items() if value is not None})


def tighten(limits: ConnectionLimits, given: Mapping[str, Any]) -> ConnectionLimits:
    """Return the limits of a route in which none is wider than what is given: not None.

    What becomes of a message over a limit stays the route's own matter.
    """
    narrower = {
        name: value
        for name, value in given.items()
        if value is not None and name != "on_rate" and _is_wider(getattr(limits, name), value)
    }
    return replace(limits, **narrower)


def _is_wider(limit: float | None, other: float) -> bool:
    return limit is None or limit > other


def _check(limits: AdmissionLimits | ConnectionLimits) -> None:
    for name, value in asdict(limits).items():
        if name == "on_rate" or (value is None and name not in _NEEDED):
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if name.endswith("_per_s"):
            is_good = is_number and SLOWEST <= value <= FASTEST
            what = f"from {SLOWEST:g} to {FASTEST:g}"
        else:
            is_good = is_number and value > 0
            what = "above 0"
        if not is_good:
            none = "" if name in _NEEDED else ", or None for no limit"
            raise ValueError(f"limit {name}={value!r}: it is a number {what}{none}")
