"""Owns an app whose members are told, and not closed, when messages of their rooms were lost."""

from server import WebSocket
from tests.system.oracle_app import app

__all__ = ["app"]


@app.on("missed")
async def tell(ws: WebSocket, room: str | None) -> None:
    await ws.send({"missed": room})
