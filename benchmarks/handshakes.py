"""Owns the traffic of connections that come and go: as many handshakes as the server can make.

What it counts is a connection: handshake, close frame, its answer, end.
"""

import asyncio
from contextlib import suppress
from time import perf_counter

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from benchmarks.traffic import Load

_CONNECT_SECONDS = 10.0
_LAST_SECONDS = 5.0
_NORMAL_CLOSURE = 1000


class _Visitor(WSListener):
    """One connection, which the server must end with the code that it was told."""

    def __init__(self) -> None:
        self.answer: int | None = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            self.answer = int(frame.get_close_code())


class HandshakeLoad(Load):
    """So many clients, each of which connects, closes, and connects again."""

    def __init__(self, url: str, connections: int, size: int) -> None:
        super().__init__()
        self._url = url
        self._counts = [0] * connections
        self._tasks: list[asyncio.Task[None]] = []
        self._is_ending = False

    async def open(self) -> None:
        """Connect nothing: that is what is measured."""

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._visit(at)) for at in range(len(self._counts))]

    async def _visit(self, at: int) -> None:
        while not self._is_ending:
            began = perf_counter()
            try:
                transport, visitor = await ws_connect(
                    _Visitor, self._url, websocket_handshake_timeout=_CONNECT_SECONDS
                )
                self.latencies.append(perf_counter() - began)
                transport.send_close(_NORMAL_CLOSURE)
                await transport.wait_disconnected()
            except Exception as error:
                self.fail(f"{type(error).__name__} {error}".strip())
                return
            if visitor.answer != _NORMAL_CLOSURE:
                self.fail(f"the server answered the close frame with {visitor.answer}")
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
