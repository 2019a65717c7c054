"""Owns the app that the tests of the clients connect to."""

import asyncio
import os
from typing import Any

from server import App, WebSocket
from server.auth import JWTAuthentication

app = App("clients")
KEY = os.environ["TEST_CLIENTS_KEY"]


def may_join(ws: WebSocket, room: str) -> bool:
    return not room.startswith("forbidden")


app.realtime("/realtime", can_join=may_join)
app.realtime("/quick", ping_interval_s=0.4)
app.realtime("/tokens", auth=[JWTAuthentication(KEY, leeway_s=0)])


@app.websocket("/close/{code}")
async def close(ws: WebSocket, code: int) -> None:
    """Answer the client's `connect`, then close with a code; 1006: without a close frame."""
    await ws.accept(subprotocol="switchboard.v1")
    frame: dict[str, Any] = await ws.receive_json()
    answer = {"type": "connected", "id": frame["id"], "client": "1-1", "limits": {}}
    await ws.send_json({**answer, "ping_interval_s": 25, "timeout_s": 75})
    await asyncio.sleep(0.02)
    await ws.close(code, f"as asked: {code}")


@app.websocket("/babble")
async def babble(ws: WebSocket) -> None:
    """Speak another language."""
    await ws.accept(subprotocol="switchboard.v1")
    await ws.send_text("this is no JSON")
    await ws.receive_text()
