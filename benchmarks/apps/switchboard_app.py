"""Owns the Switchboard application under test: all settings are at their defaults."""

import os

from msgspec import Struct

from server import App, WebSocket

app = App()


class Note(Struct):
    """What goes in and out of the typed route."""

    id: int
    text: str


@app.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    """Send every text back."""
    await ws.accept()
    async for text in ws.iter_text():
        await ws.send_text(text)


@app.websocket("/json", value_type=Note)
async def typed(ws: WebSocket) -> None:
    """Send every object back; it has been decoded and validated, and is encoded again."""
    await ws.accept()
    async for note in ws:
        await ws.send(note)


@app.websocket("/room/{name}")
async def room(ws: WebSocket, name: str) -> None:
    """Publish every text to the room that this connection has joined."""
    await ws.accept()
    await ws.join(name)
    async for text in ws.iter_text():
        await app.room(name).publish(text)


@app.websocket("/placed/{role}/{name}")
async def placed(ws: WebSocket, role: str, name: str) -> None:
    """Do the same after telling the process; a publisher does not join."""
    await ws.accept()
    if role == "member":
        await ws.join(name)
    await ws.send_text(str(os.getpid()))
    async for text in ws.iter_text():
        await app.room(name).publish(text)
