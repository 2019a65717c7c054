"""Owns what a message for many looks at in each outbox, and handing it to those that are idle.

By the time a large room gets its next message, the kernel's part in the last one's sends has driven
all of this out of the processor's caches, and a cache line that has to come back costs as much as
some ten bytecodes. So it is three words side by side, and nothing else of a connection is touched.
"""

from collections import deque
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


def _refuse(event: Event) -> None:
    """Return what is no send under way."""


NOBODY = Host(_refuse)
"""In the place of the host when a connection takes nothing more."""
BUSY: Any = _Busy()
"""In the place of the last send where sends must be awaited."""


class Lane:
    """The part of an outbox that `forward_to_all` looks at; the outbox alone writes it otherwise.

    Attributes:
        _host: has the method `send`. Its bound method would be one more object to fetch.
        _last: the send that was started last.
        _queue: what waits for its end; None if nothing does.
    """

    __slots__ = ("_host", "_last", "_queue")
    _host: Any
    _last: Pending
    _queue: deque[tuple[Event, int, bool]] | None  # the bool: is it for many


Lanes = TypeVar("Lanes", bound=Lane)


def forward_to_all(lanes: Iterable[Lanes], event: Event) -> list[Lanes]:
    """Send to all that are idle, without waiting; return the others, which have not got it."""
    others = []
    for lane in lanes:
        last = lane._last
        if lane._queue is None and last.done():
            pending = lane._host.send(event)
            # granian answers a send on a closed transport with an awaitable of another type.
            if type(pending) is type(last):
                lane._last = pending
                continue
        others.append(lane)
    return others


def host_of(send: Send) -> Any:
    """Return the object whose method `send` is."""
    owner = getattr(send, "__self__", None)
    return owner if getattr(owner, "send", None) == send else Host(send)
