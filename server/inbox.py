"""Owns the receiving side of one connection: the pre-armed receive. See `transport` for why."""

import asyncio
import types
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any, NoReturn
from weakref import WeakKeyDictionary

from server.transport import Event, Pending, Receive, ReceiveGivenUp, is_eager


class _NotArmed:
    """Stands in for the next receive until the end of the loop's turn."""

    def done(self) -> bool:
        return False

    def cancel(self) -> bool:
        return True

    def result(self) -> NoReturn:
        raise asyncio.InvalidStateError

    def add_done_callback(
        self, callback: Callable[[Any], None], /, *, context: Context | None = None
    ) -> None:
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
    """What the inboxes of a loop share: it arms receives at the end of the loop's turn.

    That is after what the turn has sent. Armed before, a receive would look for an answer to what
    has not been sent, and granian pays for each look that finds nothing
    (docs/adr/0007-receives-are-armed-at-the-end-of-a-turn.md).

    Attributes:
        done: a future that is, for whoever has to be told that one is.
    """

    __slots__ = ("_inboxes", "done", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._inboxes: list[Inbox] = []
        self.loop = loop
        self.done: asyncio.Future[None] = loop.create_future()
        self.done.set_result(None)

    def add(self, inbox: "Inbox") -> None:
        if not self._inboxes:
            self.loop.call_soon(self._arm)
        self._inboxes.append(inbox)

    def _arm(self) -> None:
        inboxes, self._inboxes = self._inboxes, []
        for inbox in inboxes:
            if inbox.pending is NOT_ARMED:  # and not given up meanwhile
                inbox.arm()


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turn] = WeakKeyDictionary()


def _turn_of(loop: asyncio.AbstractEventLoop) -> _Turn:
    turn = _turns.get(loop)
    if turn is None:
        turn = _turns[loop] = _Turn(loop)
    return turn


class Inbox:
    """The receiving side: hands out events in order, with the next receive armed ahead.

    A receiver waits for the inbox, never for the host's awaitable: cancelling a receiver (a
    handler's `asyncio.timeout`) must not cancel the host's receive, which could lose the message it
    was just about to deliver. To the receiver's task the inbox is a future. The end of a receive
    steps the task itself; a real future would have the loop do that, in another pass over all the
    connections that have something to do.

    Attributes:
        pending: the next receive; done when an event has arrived.
        get_loop: as a future's; in C, since a task calls it at each wait.
    """

    __slots__ = (
        "_asyncio_future_blocking",
        "_context",
        "_faults",
        "_is_eager",
        "_receive",
        "_turn",
        "_wake_up",
        "get_loop",
        "pending",
    )

    def __init__(self, receive: Receive) -> None:
        loop = asyncio.get_running_loop()
        first: Any = receive()
        start: Callable[[], Any] = receive
        self._faults: tuple[type[Exception], ...] = ()
        self._is_eager = is_eager(first)
        if self._is_eager:
            # granian raises RuntimeError where the ASGI spec has a disconnect event.
            self._faults = (RuntimeError,)
        else:
            first = loop.create_task(first)
            start = lambda: loop.create_task(receive())  # type: ignore[arg-type]  # noqa: E731
        self._receive = start
        self._turn = _turn_of(loop)
        self._asyncio_future_blocking = False
        self._wake_up: Callable[[asyncio.Future[None]], None] | None = None
        self._context: Context | None = None
        self.get_loop = self._turn.done.get_loop
        self.pending: Pending = first

    def go_on(self) -> None:
        """Have the next receive armed: the event of the last one has been taken."""
        if self._is_eager:
            self.pending = NOT_ARMED
            self._turn.add(self)
        else:
            self.pending = self._receive()

    def arm(self) -> None:
        """Arm the next receive, and have it wake who waits for it already."""
        receive = self._receive
        pending = self.pending = receive()
        if self._wake_up is not None:
            pending.add_done_callback(self._wake, context=self._context)

    def take(self) -> Event:
        """Return the event that has arrived, and arm the next receive.

        Raises:
            ReceiveGivenUp: `give_up` was called.
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

    @types.coroutine
    def arrival(self) -> Generator[Any, None, None]:
        """Wait until `pending` is done; it must not be done yet.

        It may end too early, when the connection is given up or somebody else has taken the event:
        callers look at `pending` again.

        Raises:
            RuntimeError: another task is receiving on this connection; only one can be woken.
        """
        if self._wake_up is not None:
            raise RuntimeError("another task is receiving on this WebSocket already")
        self._asyncio_future_blocking = True
        yield self

    # What a task asks of a future that it waits for: `get_loop` and these two.

    def add_done_callback(
        self, wake_up: Callable[[Any], None], *, context: Context | None = None
    ) -> None:
        """The receiver's task begins to wait: have it stepped, in its context."""
        self._wake_up = wake_up
        self._context = context
        pending = self.pending
        if pending is not NOT_ARMED:
            pending.add_done_callback(self._wake, context=context)

    def cancel(self, msg: object = None) -> bool:
        """The receiver's task is being cancelled: wake it, and leave the receive as it is.

        Returns:
            False, as a future that is done: the task then raises CancelledError by itself.
        """
        self.pending.remove_done_callback(self._wake)
        self._wake_soon()
        return False

    def _wake(self, pending: object) -> None:
        """The receive has ended. The host's callback: no task runs, the context is the waiter's."""
        wake_up = self._wake_up
        # If somebody else has taken the event, who waits now may be another task.
        if wake_up is not None and pending is self.pending:
            self._wake_up = None
            wake_up(self._turn.done)

    def _wake_soon(self) -> None:
        """Wake the receiver, if there is one, from within another task."""
        wake_up, self._wake_up = self._wake_up, None
        if wake_up is not None:
            turn = self._turn
            turn.loop.call_soon(wake_up, turn.done, context=self._context)

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

    def give_up(self) -> None:
        """Give up the pending receive, so that a close can go out."""
        if self.pending is NOT_ARMED:
            self.pending = _GIVEN_UP
        self.pending.cancel()
        self.let_go()
        self._wake_soon()

    def let_go(self) -> None:
        """There is no next receive: break the circle of this and what the last one would call.

        The garbage collector cannot: it does not see what granian's awaitables hold.
        """
        self.pending.remove_done_callback(self._wake)
