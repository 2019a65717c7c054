"""Owns what a message for many looks at in each outbox, and handing it to those that are idle.

By the time a large room gets its next message, the kernel's part in the last one's sends has driven
all of this out of the processor's caches, and a cache line that has to come back costs as much as
some ten bytecodes. So it is two words side by side, and nothing else of a connection is touched.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from server.transport import Event, Pending, Send


class Host:
    """Stands in for a host's object whose method `send` is, where there is none (middleware)."""

    __slots__ = ("send",)

    def __init__(self, send: Any) -> None:
        self.send = send


class _Busy:
    """Stands in for a send under way that never ends."""

    def done(self) -> bool:
        return False


BUSY: Any = _Busy()
"""In the place of the last send while a lane is not to be used."""


class Lane:
    """The part of an outbox that `forward_to_all` looks at; the outbox alone writes it otherwise.

    Not set where sends must be awaited: nothing is forwarded there.

    Attributes:
        _host: has the method `send`. Its bound method would be one more object to fetch.
        _last: the send that was started last; `BUSY` while others have to wait behind it.
    """

    __slots__ = ("_host", "_last")
    _host: Any
    _last: Pending


Lanes = TypeVar("Lanes", bound=Lane)


def forward_to_all(lanes: Iterable[Lanes], event: Event, kind: type[Pending]) -> list[Lanes]:
    """Send to all that are idle, without waiting; return the others, which have not got it.

    Args:
        kind: of what the host's `send` returns if it has begun to send. granian answers a send on
            a closed transport with an awaitable of another type.
    """
    others = []
    for lane in lanes:
        if lane._last.done():
            try:
                pending = lane._host.send(event)
            except Exception:  # the caller tries again, and is told
                pending = None
            if type(pending) is kind:
                lane._last = pending
                continue
        others.append(lane)
    return others


def host_of(send: Send) -> Any:
    """Return the object whose method `send` is."""
    owner = getattr(send, "__self__", None)
    return owner if getattr(owner, "send", None) == send else Host(send)
