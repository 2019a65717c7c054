"""Owns the application under test and what it tells about itself over HTTP.

A test gives each connection a tag in the query string; `/end/{tag}` says how its view ended.
"""

import asyncio
import os
from typing import Any

import msgspec

from server import App, WebSocket, WebSocketDisconnect
from server.transport import TransportLimits

MAX_MESSAGE_SIZE = 65_536
CHUNK = b"x" * 65_536

app = App(max_message_size=MAX_MESSAGE_SIZE)
# For uvicorn, which knows no settings of ours; `serve` configures the app anew.
app.configure(TransportLimits(send_timeout_s=1, close_timeout_s=1))
ends: dict[str, Any] = {}
sent: dict[str, int] = {}


class Order(msgspec.Struct):
    item: str
    count: int


@app.route("/pid")
async def pid(request: Any) -> int:
    return os.getpid()


@app.route("/end/{tag}")
async def end(request: Any, tag: str) -> Any:
    return {"end": ends.get(tag), "sent": sent.get(tag, 0)}


@app.route("/stats")
async def stats(request: Any) -> Any:
    return {"open": len(app.runtime.connections), **app.runtime.stats}


@app.websocket_route("/echo", caught_close_codes=all)
async def echo(ws: WebSocket, tag: str = "") -> None:
    try:
        async for message in ws:
            await ws.send(message)
    except WebSocketDisconnect as disconnect:
        ends[tag] = {"code": disconnect.code, "received": ws.messages_received}
        raise


@app.websocket_route("/bytes", value_type="bytes")
async def echo_bytes(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@app.websocket_route("/json", value_type="json")
async def echo_json(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@app.websocket_route("/typed", value_type=Order)
async def echo_typed(ws: WebSocket) -> None:
    async for order in ws:
        await ws.send(Order(order.item, order.count + 1))


@app.websocket_route("/any", value_type="event")
async def echo_any(ws: WebSocket) -> None:
    """Send back whatever kind of frame comes."""
    async for event in ws:
        if event.get("text") is not None:
            await ws.send_text(event["text"])
        else:
            await ws.send_bytes(event["bytes"])


@app.websocket_route("/busy", caught_close_codes=all)
async def busy(ws: WebSocket, tag: str = "") -> None:
    """Not receive until another request to `/wake/{tag}`."""
    event = ends[tag] = asyncio.Event()
    await ws.send("busy")
    await event.wait()
    await ws.send("awake")
    ends[tag] = "awake"


@app.route("/wake/{tag}")
async def wake(request: Any, tag: str) -> None:
    ends[tag].set()


@app.websocket_route("/flood", caught_close_codes=all)
async def flood(ws: WebSocket, tag: str) -> None:
    """Send for ever, and count."""
    sent[tag] = 0
    try:
        while True:
            await ws.send_bytes(CHUNK)
            sent[tag] += len(CHUNK)
    except WebSocketDisconnect as disconnect:
        ends[tag] = {"code": disconnect.code}


@app.websocket_route("/raise")
async def fail(ws: WebSocket) -> None:
    raise LookupError("on purpose")


@app.websocket_route("/item/{number}")
async def item(ws: WebSocket, number: int, ratio: float, flag: bool = False) -> None:
    await ws.send_json([number, ratio, flag])


@app.websocket_route("/text/{text}")
async def text(ws: WebSocket, text: str, more: str = "") -> None:
    await ws.send_json([len(text), len(more)])
