"""Owns the two ASGI callables of one connection: the pre-armed receive and the pipelined sends.

It knows events and sizes; it does not know routes, codecs, states or what a message means.

What the host does decides the shape (docs/topics/host.md):

- granian starts `send(event)` when it is called and returns a future-like object, so sends are
  not awaited one by one: their awaitables wait in a window, and only a full window is waited for.
- granian answers pings and notices a lost peer only while a `receive()` is pending, so one is
  always armed before the current message is handed out.
- granian's `close` waits for a pending `receive()` for ever, so that is cancelled first.
- Other hosts (and any middleware that wraps `send` or `receive`) return coroutines, which run
  only when awaited: a receive then becomes a task, and sends wait in a queue.

Every wait here has a bound: `send_timeout_s` for room in the window, `close_timeout_s` for a close.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Protocol

_REAP_AT = 4  # Looking at the window for every send costs more than keeping a few done ones.

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
        window_messages: sends that may be under way at once.
        window_bytes: payload bytes that may be under way at once; one larger message may go
            alone.
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


class Inbox:
    """The receiving side: hands out events in order, with the next receive always armed.

    A receiver waits on a future of its own, never on the host's awaitable: cancelling a receiver
    (a handler's `asyncio.timeout`) must not cancel the host's receive, which could lose the
    message it was just about to deliver.

    Attributes:
        pending: the armed receive; done when an event has arrived.
        receive: arms another one.
    """

    __slots__ = ("_create_future", "_faults", "_waiter", "pending", "receive")

    def __init__(self, receive: Receive, *, eager: bool) -> None:
        loop = asyncio.get_running_loop()
        self._create_future = loop.create_future
        start: Callable[[], Any] = receive
        if not eager:
            start = lambda: loop.create_task(receive())  # type: ignore[arg-type]  # noqa: E731
        self.receive = start
        # granian raises RuntimeError where the ASGI spec has a disconnect event.
        self._faults: tuple[type[Exception], ...] = (RuntimeError,) if eager else ()
        self._waiter: asyncio.Future[None] | None = None
        self.pending: Pending = self.receive()

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
        """Return a future that is done when `pending` is; it must not be done yet.

        Raises:
            RuntimeError: another task is receiving on this connection; only one can be woken.
        """
        if self._waiter is not None and not self._waiter.done():
            raise RuntimeError("another task is receiving on this WebSocket already")
        waiter = self._waiter = self._create_future()
        self.pending.add_done_callback(self._wake)
        return waiter

    def _wake(self, _: object) -> None:
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


class Outbox(Protocol):
    """The sending side.

    Attributes:
        messages, size_bytes: what was handed over so far; the last event is not counted.
    """

    messages: int
    size_bytes: int

    def offer(self, event: Event, size_bytes: int) -> bool:
        """Send without waiting; False if that cannot be done: `put` waits, or says why."""

    async def put(self, event: Event, size_bytes: int) -> None:
        """Send, waiting for room. Raises PeerGone, SendTimeout."""

    def enqueue(self, event: Event, size_bytes: int) -> bool:
        """Send without waiting, or leave it to be sent; False if it is full. Raises PeerGone."""

    async def close(self, event: Event) -> bool:
        """Send the last event after all others; False if the peer did not take it in time."""

    def abandon(self) -> None:
        """Drop what has not been sent, so that the host can let go of the connection."""


def _discard(event: Event) -> None:
    """Stand in for the host's send after the end; what it returns is no pending send."""


class PipelinedOutbox:
    """Sends on a host that starts them at the call (granian)."""

    __slots__ = (
        "_gone",
        "_host_send",
        "_limits",
        "_lock",
        "_max_bytes",
        "_max_messages",
        "_pending_type",
        "_send",
        "_window",
        "messages",
        "pending_bytes",
        "size_bytes",
    )

    def __init__(self, send: Send, limits: TransportLimits, pending_type: type) -> None:
        self._pending_type = pending_type
        self._gone = False
        self._host_send: Callable[[Event], Any] = send
        self._send: Callable[[Event], Any] = send
        self._limits = limits
        self._max_messages = limits.window_messages
        self._max_bytes = limits.window_bytes
        self._window: deque[tuple[Any, int]] = deque()
        self._lock: asyncio.Lock | None = None
        self.pending_bytes = 0
        self.messages = 0
        self.size_bytes = 0

    def offer(self, event: Event, size_bytes: int) -> bool:
        """Send without waiting; False if the window is full or the peer is gone."""
        window = self._window
        while window and window[0][0].done():
            self.pending_bytes -= window.popleft()[1]
        if window and (
            len(window) >= self._max_messages or self.pending_bytes + size_bytes > self._max_bytes
        ):
            return False
        pending = self._send(event)
        # granian answers a send on a closed transport with an awaitable of another type.
        if type(pending) is not self._pending_type:
            self._gone = True
            return False
        window.append((pending, size_bytes))
        self.pending_bytes += size_bytes
        self.messages += 1
        self.size_bytes += size_bytes
        return True

    def enqueue(self, event: Event, size_bytes: int) -> bool:
        """Send without waiting; False if the window is full."""
        if self.offer(event, size_bytes):
            return True
        if self._gone:
            raise PeerGone
        return False

    def _reap(self) -> None:
        """Forget the sends that are done. They end in order, so the last tells of all."""
        window = self._window
        if window and window[-1][0].done():
            window.clear()
            self.pending_bytes = 0
        while window and window[0][0].done():
            self.pending_bytes -= window.popleft()[1]

    async def put(self, event: Event, size_bytes: int) -> None:
        """Send, waiting for room."""
        if self.enqueue(event, size_bytes):
            return
        if self._lock is None:
            self._lock = asyncio.Lock()
        try:
            async with asyncio.timeout(self._limits.send_timeout_s):
                # granian's awaitable wakes one waiter only, so waiters take turns.
                async with self._lock:
                    while not self.enqueue(event, size_bytes):
                        await wait_done(self._window[0][0])
        except TimeoutError:
            raise SendTimeout from None

    async def close(self, event: Event) -> bool:
        """Send the last event; a peer that stopped reading loses what is still under way."""
        if not await self._drained():
            self.abandon()
        try:
            async with asyncio.timeout(self._limits.close_timeout_s):
                await self._host_send(event)
        except (TimeoutError, RuntimeError, OSError):
            return False
        return True

    async def _drained(self) -> bool:
        # Sends keep their order, so the last one done means all done.
        window = self._window
        if not window or window[-1][0].done():
            return True
        if self._lock is not None and self._lock.locked():
            return False
        try:
            async with asyncio.timeout(self._limits.close_timeout_s):
                await wait_done(window[-1][0])
        except TimeoutError:
            return False
        return True

    def abandon(self) -> None:
        """Cancel the sends under way, which frees the host's lock on the socket."""
        self._send = _discard
        for pending, _ in self._window:
            pending.cancel()
        self._window.clear()
        self.pending_bytes = 0


_YIELD_EVERY = 32  # uvicorn's `send` may never suspend: not for a fast peer, nor for a lost one


class QueuedOutbox:
    """Sends on a host whose `send` is a coroutine: one flusher task while anything waits."""

    __slots__ = (
        "_flusher",
        "_gone",
        "_limits",
        "_queue",
        "_room",
        "_send",
        "messages",
        "pending_bytes",
        "size_bytes",
    )

    def __init__(self, send: Send, limits: TransportLimits) -> None:
        self._send = send
        self._limits = limits
        self._queue: deque[tuple[Event, int]] = deque()
        self._flusher: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._gone = False
        self.pending_bytes = 0
        self.messages = 0
        self.size_bytes = 0

    def offer(self, event: Event, size_bytes: int) -> bool:
        """Never: a coroutine runs only when it is awaited."""
        return False

    def enqueue(self, event: Event, size_bytes: int) -> bool:
        """Queue without waiting; False if the queue is full."""
        if self._gone:
            raise PeerGone
        if self._queue and (
            len(self._queue) >= self._limits.window_messages
            or self.pending_bytes + size_bytes > self._limits.window_bytes
        ):
            return False
        self._queue.append((event, size_bytes))
        self.pending_bytes += size_bytes
        self.messages += 1
        self.size_bytes += size_bytes
        if self._flusher is None:
            self._flusher = asyncio.get_running_loop().create_task(self._flush())
        return True

    async def _flush(self) -> None:
        # An event leaves the queue only when it is sent, so a full queue is a slow peer.
        try:
            while self._queue:
                event, size_bytes = self._queue[0]
                await self._send(event)
                self._queue.popleft()
                self.pending_bytes -= size_bytes
                self._room.set()
        except (RuntimeError, OSError):
            self._gone = True
        finally:
            self._flusher = None
            self._room.set()

    async def put(self, event: Event, size_bytes: int) -> None:
        """Send; directly when nothing waits, else behind what does."""
        if self._gone:
            raise PeerGone
        try:
            async with asyncio.timeout(self._limits.send_timeout_s):
                if self._flusher is None:
                    await self._send(event)
                    self.messages += 1
                    self.size_bytes += size_bytes
                    if self.messages % _YIELD_EVERY == 0:
                        await asyncio.sleep(0)
                    return
                while not self.enqueue(event, size_bytes):
                    self._room.clear()
                    await self._room.wait()
        except TimeoutError:
            raise SendTimeout from None
        except (RuntimeError, OSError):
            self._gone = True
            raise PeerGone from None

    async def close(self, event: Event) -> bool:
        """Send the last event after the queued ones, as far as the peer takes them in time."""
        flusher = self._flusher
        if flusher is not None:
            await asyncio.wait([flusher], timeout=self._limits.close_timeout_s)
        self.abandon()
        try:
            async with asyncio.timeout(self._limits.close_timeout_s):
                await self._send(event)
        except (TimeoutError, RuntimeError, OSError):
            return False
        return True

    def abandon(self) -> None:
        """Drop the queue and stop the flusher."""
        self._gone = True
        self._queue.clear()
        self.pending_bytes = 0
        if self._flusher is not None:
            self._flusher.cancel()


def make_outbox(send: Send, limits: TransportLimits, awaitable: object) -> Outbox:
    """Return the outbox that fits a host whose `send` returned `awaitable`."""
    if is_eager(awaitable):
        return PipelinedOutbox(send, limits, type(awaitable))
    return QueuedOutbox(send, limits)
