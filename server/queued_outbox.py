"""Owns the sending side of one connection on a host whose `send` is a coroutine (uvicorn)."""

import asyncio
import logging

from server.backlog import Backlog
from server.transport import Event, PeerGone, Send, SendTimeout, TransportLimits

log = logging.getLogger("switchboard.connection")
_YIELD_EVERY = 32  # uvicorn's `send` may never suspend: not for a fast peer, nor for a lost one


class QueuedOutbox(Backlog):
    """Sends are awaited: by the view if nothing waits, else by one task that empties the queue."""

    __slots__ = ("_flusher", "_is_sending", "_room", "_send")

    def __init__(self, send: Send, limits: TransportLimits) -> None:
        super().__init__(limits, None)
        self._send = send
        self._flusher: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._is_sending = False

    def offer(self, event: Event, size_bytes: int) -> bool:
        """Never: a coroutine runs only when it is awaited."""
        return False

    forward = offer

    def shut(self) -> None:
        """Nothing is forwarded here anyway."""

    def push(self, event: Event, size_bytes: int) -> bool:
        """Queue what may not be dropped without waiting; False if the queue is full, or nobody."""
        return not self._gone and self._append(event, size_bytes)

    def enqueue(self, event: Event, size_bytes: int, *, even_if_full: bool = False) -> bool:
        """Queue what is for many without waiting; False if the queue is full."""
        # Middleware may write into an event, and this one is for many.
        return self._append({**event}, size_bytes, True, even_if_full)

    def _append(
        self,
        event: Event,
        size_bytes: int,
        is_for_many: bool = False,
        even_if_full: bool = False,
    ) -> bool:
        """Queue; False if there is no room."""
        if self._gone:
            raise PeerGone
        if not (even_if_full or self._has_room(size_bytes)):
            return False
        self._push(event, size_bytes, is_for_many)
        self.messages += 1
        self.size_bytes += size_bytes
        self._start()
        return True

    def _start(self) -> None:
        """Have the queue flushed, unless that or a direct send is under way."""
        if self._queue and self._flusher is None and not self._is_sending:
            self._flusher = asyncio.get_running_loop().create_task(self._flush())

    async def _flush(self) -> None:
        try:
            # What is being sent has left the queue, so that it cannot be dropped.
            while self._queue:
                event, size_bytes, _ = self._queue.popleft()
                self.pending_bytes -= size_bytes
                self._note_taken()
                if not self._queue:
                    self._forget()
                self._room.set()
                await self._send(event)
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
                while not self._append(event, size_bytes):
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
        self._forget()
        if self._flusher is not None:
            self._flusher.cancel()
            self._flusher = None
        self._room.set()
