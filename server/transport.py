"""Owns what inbox and outbox share: events, bounds, and how a host's awaitables are waited for.

The three know events and sizes; they do not know routes, codecs, states or what a message means.

What the host does decides the shape (docs/topics/host.md):

- granian starts `send(event)` when it is called and returns a future-like object, so sends are
  not awaited: the end of one starts the next, and only a full queue (the window) is waited for.
- granian answers pings and notices a lost peer only while a `receive()` is pending, so the next is
  armed at the end of the loop's turn in which a message is handed out.
- granian's `close` waits for a pending `receive()` for ever, so that is cancelled first.
- Other hosts (and any middleware that wraps `send` or `receive`) return coroutines, which run
  only when awaited: a receive then becomes a task, and sends wait in a queue.

Every wait here has a bound: `send_timeout_s` for room in the window, `close_timeout_s` for a close.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


class PeerGone(Exception):
    """A send found that the peer is not there any more."""


class ReceiveGivenUp(Exception):
    """The connection was closed from this side while a task waited for a message."""


class SendTimeout(Exception):
    """The peer read nothing for `send_timeout_s` while the window was full."""


@dataclass(frozen=True)
class TransportLimits:
    """Bounds of one connection's transport.

    Attributes:
        window_messages: messages that may be queued or under way at once.
        window_bytes: payload bytes of those; one larger message may go alone.
        send_timeout_s: how long a send waits for room before the connection counts as dead.
        close_timeout_s: how long a close waits for earlier sends, and then for itself.
    """

    window_messages: int = 512
    window_bytes: int = 1 << 20
    send_timeout_s: float = 30.0
    close_timeout_s: float = 5.0


class Pending(Protocol):
    """What a receive or a pipelined send is while it is under way."""

    def done(self) -> bool: ...

    def cancel(self) -> bool: ...

    def result(self) -> Any: ...

    def add_done_callback(self, callback: Callable[[Any], None], /) -> None: ...

    def remove_done_callback(self, callback: Callable[[Any], None], /) -> int: ...


async def wait_done(pending: Pending) -> None:
    """Wait until `pending` is done without taking its fate along when this task is cancelled."""
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wake(_: object) -> None:
        if not waiter.done():
            waiter.set_result(None)

    pending.add_done_callback(wake)
    await waiter


def is_eager(awaitable: object) -> bool:
    """Tell whether the host has started the work already (granian's future-like objects)."""
    return hasattr(awaitable, "done") and hasattr(awaitable, "cancel")
