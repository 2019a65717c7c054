"""Owns the Django-Bolt application under test."""

from collections import defaultdict

from django_bolt import BoltAPI
from django_bolt.websocket import WebSocket

api = BoltAPI()
rooms: defaultdict[str, set[WebSocket]] = defaultdict(set)


@api.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    """Send every text back."""
    await ws.accept()
    async for text in ws.iter_text():
        await ws.send_text(text)


@api.websocket("/room/{name}")
async def room(ws: WebSocket, name: str) -> None:
    """Send every text to all members, and wait for each of these sends."""
    await ws.accept()
    members = rooms[name]
    members.add(ws)
    async for text in ws.iter_text():
        for member in tuple(members):
            await member.send_text(text)
    members.discard(ws)
