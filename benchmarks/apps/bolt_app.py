"""Owns the Django-Bolt application under test."""

from django_bolt import BoltAPI
from django_bolt.websocket import WebSocket

api = BoltAPI()


@api.websocket("/echo")
async def echo(ws: WebSocket) -> None:
    """Send every text back."""
    await ws.accept()
    async for text in ws.iter_text():
        await ws.send_text(text)
