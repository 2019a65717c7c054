"""Owns the receiving side of one connection: the pre-armed receive. See `transport` for why."""

import asyncio
from collections.abc import Callable
from typing import Any

from server.transport import Event, Pending, Receive, ReceiveGivenUp, is_eager


class Inbox:
    """The receiving side: hands out events in order, with the next receive always armed.

    A receiver waits on a future of its own, never on the host's awaitable: cancelling a receiver
    (a handler's `asyncio.timeout`) must not cancel the host's receive, which could lose the
    message it was just about to deliver.

    Attributes:
        pending: the armed receive; done when an event has arrived.
        receive: arms another one.
    """

    __slots__ = ("_create_future", "_faults", "_waiter", "_watched", "pending", "receive")

    def __init__(self, receive: Receive) -> None:
        loop = asyncio.get_running_loop()
        self._create_future = loop.create_future
        first: Any = receive()
        start: Callable[[], Any] = receive
        # granian raises RuntimeError where the ASGI spec has a disconnect event.
        self._faults: tuple[type[Exception], ...] = (RuntimeError,)
        if not is_eager(first):
            first = loop.create_task(first)
            start = lambda: loop.create_task(receive())  # type: ignore[arg-type]  # noqa: E731
            self._faults = ()
        self.receive = start
        self._waiter: asyncio.Future[None] | None = None
        self._watched: Pending | None = None
        self.pending: Pending = first

    def take(self) -> Event:
        """Return the event that has arrived, and arm the next receive.

        Raises:
            ReceiveGivenUp: `cancel` was called.
        """
        try:
            event: Event = self.pending.result()
        except asyncio.CancelledError:
            raise ReceiveGivenUp from None
        except self._faults:
            return {"type": "websocket.disconnect", "code": 1006}
        if event["type"] == "websocket.receive":
            self.pending = self.receive()
        return event

    def arrival(self) -> asyncio.Future[None]:
        """Return a future to wait for until `pending` is done; it must not be done yet.

        It may be done too early, by the end of an earlier receive that somebody else has taken:
        callers look at `pending` again.

        Raises:
            RuntimeError: another task is receiving on this connection; only one can be woken.
        """
        if self._waiter is not None and not self._waiter.done():
            raise RuntimeError("another task is receiving on this WebSocket already")
        waiter = self._waiter = self._create_future()
        if self._watched is not self.pending:
            self._watched = self.pending
            self.pending.add_done_callback(self._wake)
        return waiter

    def _wake(self, _: object) -> None:
        self._watched = None  # also lets go of the event, which is cheapest while it is hot
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def disconnect_event(self) -> Event | None:
        """Return the disconnect event if it has arrived, handed out or not."""
        pending = self.pending
        if not pending.done():
            return None
        try:
            event: Event = pending.result()
        except (Exception, asyncio.CancelledError):
            return None
        return event if event["type"] == "websocket.disconnect" else None

    async def settle(self, timeout_s: float) -> None:
        """Wait, with a bound, for the event that tells why a send failed.

        Only where receives are tasks: another task may be waiting on granian's awaitable, and that
        wakes one.
        """
        if isinstance(self.pending, asyncio.Task):
            await asyncio.wait([self.pending], timeout=timeout_s)

    def cancel(self) -> None:
        """Give up the pending receive, so that a close can go out."""
        self.pending.cancel()
