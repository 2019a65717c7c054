"""Owns an app with narrow bounds on granian itself, a peer of it, and notes of what a view saw."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from server import App
from server.transport import TransportLimits
from tests.support.embedded import embedded

WAIT_S = 10
LIMITS = TransportLimits(
    window_messages=64, window_bytes=1 << 18, send_timeout_s=0.5, close_timeout_s=0.5
)


class Notes:
    """What a view saw, for the test to wait for."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[object] = asyncio.Queue()

    def add(self, note: object) -> None:
        self._queue.put_nowait(note)

    async def next(self) -> object:
        async with asyncio.timeout(WAIT_S):
            return await self._queue.get()


@pytest.fixture
def app() -> App:
    app = App()
    app.configure(LIMITS)
    return app


@pytest.fixture
def notes() -> Notes:
    return Notes()


@asynccontextmanager
async def connected(app: App, **options: object) -> AsyncIterator[ClientConnection]:
    async with embedded(app) as url:
        ws = await connect(f"{url}/", close_timeout=1, **options)  # type: ignore[arg-type]
        try:
            yield ws
        finally:
            await ws.close()


async def read_all(ws: ClientConnection) -> list[str | bytes]:
    got: list[str | bytes] = []
    async with asyncio.timeout(WAIT_S):
        with suppress(ConnectionClosed):
            while True:
                got.append(await ws.recv())
    return got
