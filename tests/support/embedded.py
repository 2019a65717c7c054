"""Owns a granian inside the test's own event loop, so that a test sees both ends of a connection.

It is the real server on a real socket; what it cannot show is processes and signals.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from granian.constants import Interfaces
from granian.server.embed import Server

from tests.support.servers import free_port

START_TIMEOUT_S = 10


@asynccontextmanager
async def embedded(app: Any) -> AsyncIterator[str]:
    """Serve `app` until the block ends; yields its ws:// address."""
    port = free_port()
    server = Server(
        app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_enabled=False
    )
    serving = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(START_TIMEOUT_S):
            while not await _listens(port):  # noqa: ASYNC110 - it listens in a thread
                await asyncio.sleep(0.01)
        yield f"ws://127.0.0.1:{port}"
    finally:
        server.stop()
        async with asyncio.timeout(START_TIMEOUT_S):
            await serving


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
