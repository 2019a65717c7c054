"""Owns how fast one connection may send: messages and bytes a second; knows no message."""

from server.limits import ConnectionLimits
from server.rates import MOST, Bucket

BURST_S = 2.0
"""A connection may send what it may in this time, in seconds, at once."""


class Flow:
    """The budget of one connection; only what a limit is set for is counted.

    Attributes:
        drops: whether a message over a limit is passed over; otherwise it ends the connection.
    """

    __slots__ = ("_bytes", "_limits", "_messages", "drops")

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._messages = _bucket(limits.messages_per_s)
        self._bytes = _bucket(limits.bytes_per_s)
        self.drops = limits.on_rate == "drop"

    def take(self, size_bytes: int) -> str | None:
        """Spend a message of that size; returns the name of the limit that is over, if one is."""
        if self._messages is not None and self._messages.take(1.0) > 0:
            return "message_rate"
        if self._bytes is not None and self._bytes.take(size_bytes) > 0:
            return "byte_rate"
        return None

    def describe(self, limit: str) -> tuple[str, float]:
        """Return what there was too much of, and how much of it a second there may be."""
        if limit == "message_rate":
            return "messages", self._limits.messages_per_s or 0
        return "bytes", self._limits.bytes_per_s or 0


def flow_of(limits: ConnectionLimits) -> Flow | None:
    """Return the budget of a connection, None if it has no end."""
    if limits.messages_per_s is None and limits.bytes_per_s is None:
        return None
    return Flow(limits)


def _bucket(rate_per_s: float | None) -> Bucket | None:
    if rate_per_s is None:
        return None
    return Bucket(rate_per_s, min(MOST, max(1.0, rate_per_s * BURST_S)))
