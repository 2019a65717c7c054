"""Owns the Starlette application under test."""

from collections import defaultdict

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

rooms: defaultdict[str, set[WebSocket]] = defaultdict(set)


async def echo(ws: WebSocket) -> None:
    """Send every text back."""
    await ws.accept()
    async for text in ws.iter_text():
        await ws.send_text(text)


async def room(ws: WebSocket) -> None:
    """Send every text to all members, and wait for each of these sends."""
    await ws.accept()
    members = rooms[ws.path_params["name"]]
    members.add(ws)
    async for text in ws.iter_text():
        for member in tuple(members):
            await member.send_text(text)
    members.discard(ws)


app = Starlette(routes=[WebSocketRoute("/echo", echo), WebSocketRoute("/room/{name}", room)])
