"""Owns the foreign app that tests mount, and the client that connects to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from server import App
from tests.support.embedded import embedded

Events = list[dict[str, Any]]
WAIT_S = 10


class Foreign:
    """An ASGI app that echoes, does what it is told, and keeps what it was given."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {}
        self.events: Events = []
        self.errors: list[str] = []
        self.has_ended = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = scope
        try:
            self.events.append(await receive())
            await send({"type": "websocket.accept", "subprotocol": None})
            while self.events[-1]["type"] != "websocket.disconnect":
                self.events.append(event := await receive())
                if event["type"] == "websocket.receive":
                    await self.answer(event, send)
        finally:
            self.has_ended.set()

    async def answer(self, event: dict[str, Any], send: Any) -> None:
        text = event.get("text")
        if text == "close":
            await send({"type": "websocket.close", "code": 4001, "reason": "x" * 500})
        elif text == "raise":
            raise ValueError("as asked")
        else:
            await send({"type": "websocket.send", "text": text, "bytes": event.get("bytes")})

    async def end(self) -> None:
        async with asyncio.timeout(WAIT_S):
            await self.has_ended.wait()


@asynccontextmanager
async def connected(app: App, path: str = "/sub/x") -> AsyncIterator[ClientConnection]:
    async with embedded(app) as url, connect(f"{url}{path}") as ws:
        yield ws
