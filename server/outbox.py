"""Owns the sending side of one connection: pipelined sends, bounded. See `transport` for why."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from server.transport import (
    Event,
    PeerGone,
    Send,
    SendTimeout,
    TransportLimits,
    is_eager,
    wait_done,
)

log = logging.getLogger("switchboard.connection")


class Outbox(Protocol):
    """The sending side.

    Attributes:
        messages, size_bytes: what was handed over so far; the last event is not counted.
        filling_since: the monotonic time since when the window has been half full, or None.
        waiting: messages and their bytes in the queue now.
    """

    messages: int
    size_bytes: int
    filling_since: float | None

    @property
    def waiting(self) -> tuple[int, int]: ...

    def offer(self, event: Event, size_bytes: int) -> bool:
        """Send without waiting; False if that cannot be done: `put` waits, or says why."""

    async def put(self, event: Event, size_bytes: int) -> None:
        """Send, waiting for room. Raises PeerGone, SendTimeout."""

    def enqueue(self, event: Event, size_bytes: int) -> bool:
        """Send without waiting, or leave it to be sent; False if it is full. Raises PeerGone."""

    async def close(self, event: Event) -> bool:
        """Send the last event after all others; False if the peer did not take it in time."""

    async def finish(self) -> None:
        """Come to an end after the peer left."""

    def abandon(self) -> None:
        """Drop what has not been sent, so that the host can let go of the connection."""


def _share(messages: int, size_bytes: int, limits: TransportLimits) -> float:
    """How full a window is that holds so much; 1 is full."""
    return max(messages / limits.window_messages, (size_bytes - 1) / limits.window_bytes)


def _since(before: float | None, used: float) -> float | None:
    """Since when a window has been half full, given since when it was before."""
    if used < 0.5:
        return None
    return time.monotonic() if before is None else before


def _discard(event: Event) -> None:
    """Stand in for the host's send after the end; what it returns is no pending send."""


class PipelinedOutbox:
    """Sends on a host that starts them at the call (granian): none is awaited.

    One send of a connection is under way at a time, because granian's runtime may carry out two
    in the other order. What comes meanwhile waits in a queue, and the end of each send starts the
    next: no task, and nothing to wait for unless the queue is full.
    """

    __slots__ = (
        "_gone",
        "_host_send",
        "_last",
        "_limits",
        "_pending_type",
        "_queue",
        "_send",
        "_waiters",
        "filling_since",
        "messages",
        "pending_bytes",
        "size_bytes",
    )

    def __init__(self, send: Send, limits: TransportLimits, accepted: Any) -> None:
        self._pending_type = type(accepted)
        self._last: Any = accepted
        self._gone = False
        self._host_send: Callable[[Event], Any] = send
        self._send: Callable[[Event], Any] = send
        self._limits = limits
        self._queue: deque[tuple[Event, int]] | None = None
        self._waiters: list[asyncio.Future[None]] | None = None
        self.filling_since: float | None = None
        self.pending_bytes = 0
        self.messages = 0
        self.size_bytes = 0

    @property
    def waiting(self) -> tuple[int, int]:
        """What the queue holds."""
        return len(self._queue or ()), self.pending_bytes

    def offer(self, event: Event, size_bytes: int) -> bool:
        """Send without waiting; False if the queue is full or the peer is gone."""
        if self._queue is not None or not self._last.done():
            return self._append(event, size_bytes)
        send = self._send
        pending = send(event)
        # granian answers a send on a closed transport with an awaitable of another type.
        if type(pending) is not self._pending_type:
            self._gone = True
            return False
        self._last = pending
        self.messages += 1
        self.size_bytes += size_bytes
        return True

    def _append(self, event: Event, size_bytes: int) -> bool:
        """Queue behind the send under way; False if there is no room."""
        queue = self._queue
        if queue is None:
            queue = deque()
        used = _share(len(queue), self.pending_bytes + size_bytes, self._limits)
        self.filling_since = _since(self.filling_since, used)
        if self._gone or (used >= 1 and queue):
            return False
        if self._queue is None:
            self._queue = queue
            self._last.add_done_callback(self._next)
        queue.append((event, size_bytes))
        self.pending_bytes += size_bytes
        self.messages += 1
        self.size_bytes += size_bytes
        return True

    def _next(self, _: object) -> None:
        """The send under way has ended: start the next."""
        queue = self._queue
        if queue is None:  # abandoned
            return
        event, size_bytes = queue.popleft()
        self.pending_bytes -= size_bytes
        pending = self._send(event)
        if type(pending) is not self._pending_type:
            self._gone = True
            self._forget()
        else:
            self._last = pending
            if queue:
                pending.add_done_callback(self._next)
            else:
                self._forget()
        self._wake()

    def _forget(self) -> None:
        self._queue = None
        self.filling_since = None
        self.pending_bytes = 0

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    def _turn(self) -> asyncio.Future[None]:
        """Return a future that is done when a queued send has been started, or all dropped."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._waiters is None:
            self._waiters = []
        self._waiters.append(waiter)
        return waiter

    def enqueue(self, event: Event, size_bytes: int) -> bool:
        """Send without waiting; False if the queue is full."""
        if self.offer(event, size_bytes):
            return True
        if self._gone:
            raise PeerGone
        return False

    async def put(self, event: Event, size_bytes: int) -> None:
        """Send, waiting for room."""
        try:
            async with asyncio.timeout(self._limits.send_timeout_s):
                while not self.enqueue(event, size_bytes):
                    await self._turn()
        except TimeoutError:
            raise SendTimeout from None

    async def close(self, event: Event) -> bool:
        """Send the last event; a peer that stopped reading loses what is still queued."""
        self._gone = True  # for senders that still wait for room
        if not await self._drained():
            self.abandon()
        try:
            async with asyncio.timeout(self._limits.close_timeout_s):
                await self._host_send(event)
        except (TimeoutError, RuntimeError, OSError):
            return False
        return True

    async def _drained(self) -> bool:
        try:
            async with asyncio.timeout(self._limits.close_timeout_s):
                while self._queue is not None:
                    await self._turn()
                if not self._last.done():
                    await wait_done(self._last)
        except TimeoutError:
            return False
        return True

    async def finish(self) -> None:
        """After the peer left: drop the queue and let the send under way end, with a bound.

        Were it cancelled at once, granian could find its lock still taken when the app returns,
        and would then keep the socket open.
        """
        self._gone = True
        self._forget()
        self._wake()
        await self._drained()
        self.abandon()

    def abandon(self) -> None:
        """Drop the queue and cancel the send under way, which frees the host's lock."""
        self._gone = True
        self._send = _discard
        self._forget()
        self._last.cancel()
        self._wake()


_YIELD_EVERY = 32  # uvicorn's `send` may never suspend: not for a fast peer, nor for a lost one


class QueuedOutbox:
    """Sends on a host whose `send` is a coroutine: one flusher task while anything waits."""

    __slots__ = (
        "_flusher",
        "_gone",
        "_is_sending",
        "_limits",
        "_queue",
        "_room",
        "_send",
        "filling_since",
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
        self._is_sending = False
        self.pending_bytes = 0
        self.filling_since: float | None = None
        self.messages = 0
        self.size_bytes = 0

    @property
    def waiting(self) -> tuple[int, int]:
        """What the queue holds."""
        return len(self._queue), self.pending_bytes

    def offer(self, event: Event, size_bytes: int) -> bool:
        """Never: a coroutine runs only when it is awaited."""
        return False

    def enqueue(self, event: Event, size_bytes: int) -> bool:
        """Queue without waiting; False if the queue is full."""
        if self._gone:
            raise PeerGone
        used = _share(len(self._queue), self.pending_bytes + size_bytes, self._limits)
        self.filling_since = _since(self.filling_since, used)
        if used >= 1 and self._queue:
            return False
        # Middleware may write into an event, and this one may be for many.
        self._queue.append(({**event}, size_bytes))
        self.pending_bytes += size_bytes
        self.messages += 1
        self.size_bytes += size_bytes
        self._start()
        return True

    def _start(self) -> None:
        """Have the queue flushed, unless that or a direct send is under way."""
        if self._queue and self._flusher is None and not self._is_sending:
            self._flusher = asyncio.get_running_loop().create_task(self._flush())

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
        except Exception:
            # A middleware's fault; the view learns of it by its next send or receive.
            log.exception("sending failed; the connection is given up")
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
                if self._flusher is None and not self._is_sending:
                    await self._send_directly(event)
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

    async def _send_directly(self, event: Event) -> None:
        self._is_sending = True
        try:
            await self._send(event)
        finally:
            self._is_sending = False
            self._start()

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

    async def finish(self) -> None:
        """After the peer left: drop the queue."""
        self.abandon()

    def abandon(self) -> None:
        """Drop the queue and stop the flusher."""
        self._gone = True
        self._queue.clear()
        self.pending_bytes = 0
        if self._flusher is not None:
            self._flusher.cancel()
            self._flusher = None
            self._room.set()


def make_outbox(send: Send, limits: TransportLimits, awaitable: object) -> Outbox:
    """Return the outbox that fits a host whose `send` returned `awaitable`."""
    if is_eager(awaitable):
        return PipelinedOutbox(send, limits, awaitable)
    return QueuedOutbox(send, limits)


def take_nothing(event: Event, size_bytes: int) -> bool:
    """Stand in for `offer` while a connection is not open."""
    return False
