"""Owns an app that answers under one name alone, by Starlette's middleware (docs/security.md)."""

from starlette.middleware.trustedhost import TrustedHostMiddleware

from server import App, WebSocket

app = App()
app.add_middleware(TrustedHostMiddleware, allowed_hosts=["example.com"])


@app.websocket_route("/outbox")
async def outbox(ws: WebSocket) -> None:
    await ws.send(type(ws._outbox).__name__)
