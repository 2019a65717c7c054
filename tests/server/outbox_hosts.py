"""Owns hosts that take one message and are in no hurry, to see what an outbox does meanwhile."""

import asyncio
from collections.abc import Callable
from typing import Any

from server.outbox import make_outbox
from server.transport import Event, TransportLimits


class Sending:
    """What an eager host's `send` returns; done when the test says so."""

    def __init__(self) -> None:
        self._is_done = False
        self._callbacks: list[Callable[[Any], None]] = []

    def done(self) -> bool:
        return self._is_done

    def cancel(self) -> bool:
        self._is_done = True
        return True

    def result(self) -> None: ...

    def add_done_callback(self, callback: Callable[[Any], None], /) -> None:
        self._callbacks.append(callback)

    def remove_done_callback(self, callback: Callable[[Any], None], /) -> int:
        self._callbacks = [each for each in self._callbacks if each != callback]
        return 0

    def end(self) -> None:
        self._is_done = True
        for callback in self._callbacks:
            callback(self)


class EagerHost:
    """Starts a send when it is called, as granian does.

    Attributes:
        started: the texts of all sends, in order.
        uncounted: how many sends under way the outbox counts at their end.
    """

    uncounted = 0

    def __init__(self, limits: TransportLimits, *, is_replacing: bool = False) -> None:
        self.started: list[str] = []
        accepted = Sending()
        accepted.end()
        self._last = accepted
        self.outbox: Any = make_outbox(self._send, limits, accepted, is_replacing=is_replacing)

    def _send(self, event: Event) -> Any:
        assert self._last.done(), "one send is under way at a time"
        self.started.append(event["text"])
        self._last = Sending()
        return self._last

    @property
    def is_sending(self) -> bool:
        return not self._last.done()

    def own(self, event: Event, size_bytes: int) -> None:
        """Send as a view does; there must be room."""
        assert self.outbox.offer(event, size_bytes)

    def end_send(self) -> None:
        """Have the peer take what is under way."""
        self._last.end()

    def run(self, call: Callable[[], int]) -> int:
        """Call it where the loop runs, and let all happen that then can."""
        return call()

    def close(self) -> None:
        """End."""


class CoroutineHost:
    """Sends when it is awaited, as uvicorn does; the attributes are those of `EagerHost`."""

    def __init__(self, limits: TransportLimits, *, is_replacing: bool = False) -> None:
        self.started: list[str] = []
        self.uncounted = 0
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        self._gate: asyncio.Future[None] | None = None
        self._own: set[asyncio.Task[None]] = set()
        self.outbox: Any = make_outbox(self._send, limits, None, is_replacing=is_replacing)

    async def _send(self, event: Event) -> None:
        assert self._gate is None, "one send is under way at a time"
        self.started.append(event["text"])
        self._gate = self._loop.create_future()
        await self._gate

    @property
    def is_sending(self) -> bool:
        return self._gate is not None

    def own(self, event: Event, size_bytes: int) -> None:
        if not self.is_sending:
            self.uncounted = 1
        self._own.add(self._loop.create_task(self.outbox.put(event, size_bytes)))
        self.run(int)

    def end_send(self) -> None:
        gate, self._gate, self.uncounted = self._gate, None, 0
        assert gate is not None
        gate.set_result(None)
        self.run(int)

    def run(self, call: Callable[[], int]) -> int:
        async def run() -> int:
            result = call()
            for _ in range(5):
                await asyncio.sleep(0)
            return result

        return self._runner.run(run())

    def close(self) -> None:
        self.outbox.abandon()
        self._runner.close()
