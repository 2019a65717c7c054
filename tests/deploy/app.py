"""Owns the app behind the proxies of these tests: an echo that tells whom it sees."""

from server import App, WebSocket
from server.auth import AllowAny

app = App("deploy")


@app.websocket_route("/echo", guards=[AllowAny()])
async def echo(ws: WebSocket) -> None:
    """Say who the client is, then echo."""
    await ws.send(ws.client.host if ws.client else "nobody")
    async for message in ws:
        await ws.send(message)
