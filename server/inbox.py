"""Owns the receiving side of one connection: the pre-armed receive. See `transport` for why."""

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

from server.arrival import Arrival
from server.transport import Event, Pending, Receive, ReceiveGivenUp, is_eager


class _NotArmed:
    """Stands in for the next receive until the end of the loop's turn."""

    def done(self) -> bool:
        return False

    def cancel(self) -> bool:
        return True

    def result(self) -> NoReturn:
        raise asyncio.InvalidStateError

    def add_done_callback(self, callback: Callable[[Any], None], /) -> None:
        raise asyncio.InvalidStateError

    def remove_done_callback(self, callback: Callable[[Any], None], /) -> int:
        return 0


class _GivenUp(_NotArmed):
    """Stands in for a receive that was given up before it was armed."""

    def done(self) -> bool:
        return True

    def result(self) -> NoReturn:
        raise asyncio.CancelledError


NOT_ARMED = _NotArmed()
_GIVEN_UP = _GivenUp()


class _Turn:
    """Arms the receives of a loop's turn at its end, after what the turn has sent.

    Armed before, a receive would look for an answer to what has not been sent, and granian pays
    for each look that finds nothing (docs/adr/0007-receives-are-armed-at-the-end-of-a-turn.md).
    """

    __slots__ = ("_inboxes",)

    def __init__(self) -> None:
        self._inboxes: list[Inbox] = []

    def add(self, inbox: "Inbox", loop: asyncio.AbstractEventLoop) -> None:
        if not self._inboxes:
            loop.call_soon(self._arm)
        self._inboxes.append(inbox)

    def _arm(self) -> None:
        inboxes, self._inboxes = self._inboxes, []
        for inbox in inboxes:
            if inbox.pending is NOT_ARMED:  # and not given up meanwhile
                inbox.arm()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turn] = WeakKeyDictionary()


class Inbox:
    """The receiving side: hands out events in order, with the next receive armed ahead.

    A receiver waits for an `Arrival`, never on the host's awaitable: cancelling a receiver
    (a handler's `asyncio.timeout`) must not cancel the host's receive, which could lose the
    message it was just about to deliver.

    Attributes:
        pending: the next receive; done when an event has arrived.
    """

    __slots__ = ("_arrival", "_faults", "_loop", "_receive", "_turn", "_watched", "pending")

    def __init__(self, receive: Receive) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        first: Any = receive()
        start: Callable[[], Any] = receive
        self._turn: _Turn | None = None
        self._faults: tuple[type[Exception], ...] = ()
        if is_eager(first):
            # granian raises RuntimeError where the ASGI spec has a disconnect event.
            self._faults = (RuntimeError,)
            self._turn = _turns.get(loop)
            if self._turn is None:
                self._turn = _turns[loop] = _Turn()
        else:
            first = loop.create_task(first)
            start = lambda: loop.create_task(receive())  # type: ignore[arg-type]  # noqa: E731
        self._receive = start
        self._arrival = Arrival(loop)
        self._watched: Pending | None = None
        self.pending: Pending = first

    def go_on(self) -> None:
        """Have the next receive armed: the event of the last one has been taken."""
        if self._turn is None:
            self.pending = self._receive()
        else:
            self.pending = NOT_ARMED
            self._turn.add(self, self._loop)

    def arm(self) -> None:
        """Arm the next receive, and have it wake who waits for it already."""
        receive = self._receive
        pending = self.pending = receive()
        if self._arrival.is_awaited:
            self._watched = pending
            pending.add_done_callback(self._wake)

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
            self.go_on()
        return event

    def arrival(self) -> Arrival:
        """Return what to await until `pending` is done; it must not be done yet.

        The wait may end too early, by the end of an earlier receive that somebody else has taken:
        callers look at `pending` again.

        Raises:
            RuntimeError: another task is receiving on this connection; only one can be woken.
        """
        arrival = self._arrival
        if arrival.is_awaited:
            raise RuntimeError("another task is receiving on this WebSocket already")
        if arrival.is_due:  # its task was cancelled, and goes on in the loop's next turn
            arrival = self._arrival = Arrival(self._loop)
        pending = self.pending
        if pending is not NOT_ARMED and self._watched is not pending:
            self._watched = pending
            pending.add_done_callback(self._wake)
        return arrival

    def _wake(self, _: object) -> None:
        self._watched = None  # also lets go of the event, which is cheapest while it is hot
        self._arrival.wake()

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
        if self.pending is NOT_ARMED:
            self.pending = _GIVEN_UP
        self.pending.cancel()
        self.let_go()
        self._watched = None
        self._arrival.wake_soon()  # a task runs that closes

    def let_go(self) -> None:
        """There is no next receive: break the circle of this and what the last one would call.

        The garbage collector cannot: it does not see what granian's awaitables hold.
        """
        self.pending.remove_done_callback(self._wake)
