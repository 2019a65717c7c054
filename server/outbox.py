"""Owns the sending side of one connection: pipelined sends, bounded. See `transport` for why."""

import asyncio
from typing import Any

from server.backlog import Backlog
from server.lane import BUSY, host_of
from server.queued_outbox import QueuedOutbox
from server.transport import (
    Event,
    PeerGone,
    Send,
    SendTimeout,
    TransportLimits,
    is_eager,
    wait_done,
)


class PipelinedOutbox(Backlog):
    """Sends on a host that starts them at the call (granian): none is awaited.

    One send of a connection is under way at a time, because granian's runtime may carry out two
    in the other order. What comes meanwhile waits in a queue, and the end of each send starts the
    next: no task, and nothing to wait for unless the queue is full.
    """

    __slots__ = (
        "_calm_bytes",
        "_calm_messages",
        "_under_way",
        "_waiters",
    )

    def __init__(
        self, send: Send, limits: TransportLimits, accepted: Any, *, is_replacing: bool = False
    ) -> None:
        super().__init__(limits, type(accepted))
        # Below these the queue is less than half full, and `forward` may add to it; never if what
        # waits is to be replaced.
        self._calm_messages = 0 if is_replacing else -(-limits.window_messages // 2)
        self._calm_bytes = -(-limits.window_bytes // 2)
        self._host = host_of(send)
        self._last = accepted
        self._under_way: Any = None  # the last send, while `_last` is BUSY
        self._waiters: list[asyncio.Future[None]] | None = None

    def offer(self, event: Event, size_bytes: int) -> bool:
        """Send without waiting; False if the queue is full or the peer is gone."""
        if not self._last.done():
            return self._append(event, size_bytes)
        pending = self._host.send(event)
        if type(pending) is not self.kind:  # see `forward_to_all`
            self._gone = True
            return False
        self._last = pending
        self.messages += 1
        self.size_bytes += size_bytes
        return True

    push = offer

    def forward(self, event: Event, size_bytes: int) -> bool:
        """Queue what is for many behind what waits, far from full; False if there is more to it."""
        queue = self._queue
        if queue is None:
            return False
        waiting_bytes = self.pending_bytes + size_bytes
        if (
            self.filling_since is not None
            or self._gone
            or len(queue) >= self._calm_messages
            or waiting_bytes > self._calm_bytes
        ):
            return False
        queue.append((event, size_bytes, True))
        self.pending_bytes = waiting_bytes
        self.messages += 1
        self.size_bytes += size_bytes
        return True

    def shut(self) -> None:
        """Take nothing more; what waits is still sent."""
        self._gone = True
        self._close_lane()

    def _close_lane(self) -> None:
        if self._last is not BUSY:
            self._under_way, self._last = self._last, BUSY

    def _pending(self) -> Any:
        """Return the send that was started last."""
        return self._under_way if self._last is BUSY else self._last

    def _append(
        self,
        event: Event,
        size_bytes: int,
        is_for_many: bool = False,
        even_if_full: bool = False,
    ) -> bool:
        """Queue behind the send under way; False if there is no room."""
        if self._gone or not (even_if_full or self._has_room(size_bytes)):
            return False
        is_first = self._queue is None
        self._push(event, size_bytes, is_for_many)
        if is_first:
            self._close_lane()
            self._under_way.add_done_callback(self._next)
        self.messages += 1
        self.size_bytes += size_bytes
        return True

    def _next(self, _: object) -> None:
        """The send under way has ended: start the next."""
        queue = self._queue
        if queue is None:  # abandoned
            return
        event, size_bytes, _ = queue.popleft()
        self.pending_bytes -= size_bytes
        self._note_taken()
        pending = self._host.send(event)
        if type(pending) is not self.kind:
            self._gone = True
            self._forget()
        elif queue:
            self._under_way = pending
            pending.add_done_callback(self._next)
        else:
            self._forget()
            self._under_way = pending
            if not self._gone:
                self._last, self._under_way = pending, None
        if self._waiters is not None:
            self._wake()

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

    def enqueue(self, event: Event, size_bytes: int, *, even_if_full: bool = False) -> bool:
        """Send what is for many without waiting; False if the queue is full."""
        if self._last.done():
            taken = self.offer(event, size_bytes)
        else:
            taken = self._append(event, size_bytes, True, even_if_full)
        if not taken and self._gone:
            raise PeerGone
        return taken

    async def put(self, event: Event, size_bytes: int) -> None:
        """Send, waiting for room."""
        try:
            async with asyncio.timeout(self._limits.send_timeout_s):
                while not self.offer(event, size_bytes):
                    if self._gone:
                        raise PeerGone
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
                await self._host.send(event)
        except (TimeoutError, RuntimeError, OSError):
            return False
        return True

    async def _drained(self) -> bool:
        if self._queue is None and self._pending().done():
            return True  # so it is for nearly all: no timer for them
        try:
            async with asyncio.timeout(self._limits.close_timeout_s):
                while self._queue is not None:
                    await self._turn()
                if not self._pending().done():
                    await wait_done(self._pending())
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
        self.shut()
        self._forget()
        # The garbage collector does not see what granian's awaitables hold.
        self._under_way.remove_done_callback(self._next)
        self._under_way.cancel()
        self._wake()


Outbox = PipelinedOutbox | QueuedOutbox
"""The sending side. Both have the same methods, and the attributes of `Backlog`.

`offer` sends at once or not at all, `put` waits for room. What is for many goes by `forward_to_all`
to those that are idle; else by `forward`, and where that sees more to it by `enqueue`.
"""


def make_outbox(
    send: Send, limits: TransportLimits, awaitable: object, *, is_replacing: bool = False
) -> Outbox:
    """Return the outbox that fits a host whose `send` returned `awaitable`.

    Args:
        is_replacing: whether a message for many replaces the one that waits (`slow`).
    """
    if is_eager(awaitable):
        return PipelinedOutbox(send, limits, awaitable, is_replacing=is_replacing)
    return QueuedOutbox(send, limits)


def take_nothing(event: Event, size_bytes: int) -> bool:
    """Stand in for `offer` while a connection is not open."""
    return False
