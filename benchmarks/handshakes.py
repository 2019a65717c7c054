"""Owns the traffic of connections that come and go: as many handshakes as the server can make.

What it counts is a connection: handshake, close frame, its answer, end. The client is written for
just this, since one that can do more needs more time for it than the servers do.
"""

import asyncio
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

from benchmarks import wire
from benchmarks.traffic import Load

_VISIT_SECONDS = 10.0
_LAST_SECONDS = 5.0


class _Visit(asyncio.Protocol):
    """One connection, which the server must accept, and must end with the code it was told."""

    def __init__(self, load: Load, request: bytes) -> None:
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._load = load
        self._request = request
        self._began = perf_counter()
        self._transport: asyncio.Transport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        self._received += data
        if self._received.endswith(wire.CLOSED_1000):
            self._transport.close()  # granian, for one, leaves that to the client
        elif self._received.endswith(wire.HEAD_END):
            self._load.latencies.append(perf_counter() - self._began)
            self._transport.write(wire.CLOSE_1000)

    def connection_lost(self, exc: Exception | None) -> None:
        head, _, frames = self._received.partition(wire.HEAD_END)
        if not head.startswith(wire.ACCEPTED):
            self._load.fail(f"no handshake: {head[:40]!r} {exc or ''}")
        elif frames != wire.CLOSED_1000:
            self._load.fail(f"the server answered the close frame with {frames[:40]!r}")
        if not self.ended.done():
            self.ended.set_result(None)


class HandshakeLoad(Load):
    """So many clients, each of which connects, closes, and connects again."""

    def __init__(self, url: str, connections: int, size: int) -> None:
        super().__init__()
        target = urlsplit(url)
        self._host, self._port = target.hostname or "", target.port or 80
        self._request = wire.request(url)
        self._counts = [0] * connections
        self._tasks: list[asyncio.Task[None]] = []
        self._is_ending = False

    async def open(self) -> None:
        """Connect nothing: that is what is measured."""

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._visit(at)) for at in range(len(self._counts))]

    async def _visit(self, at: int) -> None:
        loop = asyncio.get_running_loop()
        make = partial(_Visit, self, self._request)
        while not self._is_ending:
            try:
                async with asyncio.timeout(_VISIT_SECONDS):
                    _, visit = await loop.create_connection(make, self._host, self._port)
                    await visit.ended
            except OSError as error:  # a timeout is one, too
                self.fail(f"{type(error).__name__} {error}".strip())
                return
            self._counts[at] += 1

    def counts(self) -> list[int]:
        return [*self._counts]

    async def stop(self) -> None:
        self._is_ending = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await asyncio.gather(*self._tasks)
                return
        self.fail("a connection did not end")
