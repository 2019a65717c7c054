"""Owns the app that a churning crowd connects to: views that end as their client orders."""

import os

from server import App, WebSocket, WebSocketException

OWN_CODES = {4101: "had enough", 4102: "moved away"}
"""All other codes of its own are counted as `other`."""

app = App(close_codes=OWN_CODES)


@app.websocket_route("/feed")
@app.websocket_route("/rooms/{room}")
@app.websocket_route("/quiet")
async def obey(ws: WebSocket, room: str = "") -> None:
    """Say who serves the connection and its id, then echo until told how to end."""
    await ws.send(f"{os.getpid()} {ws.id}")
    async for message in ws:
        match message.split():
            case ["return"]:
                return
            case ["close", code]:
                await ws.close(int(code), "as you wish")
                return
            case ["throw", code]:
                raise WebSocketException(int(code))
            case ["fail"]:
                raise RuntimeError("as ordered")
            case _:
                await ws.send(message)


@app.websocket_route("/gate/{status}", auto_accept=False)
async def gate(ws: WebSocket, status: int) -> None:
    await ws.deny(status)


@app.websocket_route("/broken", auto_accept=False)
async def broken(ws: WebSocket) -> None:
    raise RuntimeError("before accept")
