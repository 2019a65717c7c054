"""Owns what the page of the chat cannot talk to: nothing, a locked endpoint, some that babble."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response

import examples.chat
from server import App, WebSocket
from server.auth import APIKeyAuthentication, IsAuthenticated

CHAT = Path(examples.chat.__file__).parent
app = App("accidents")
app.serve_client()


@app.route("/{kind}/")
@app.route("/{kind}/{name}")
async def page(request: Request, kind: str, name: str = "index.html") -> Response:
    """Send the chat's page; where its endpoint would be is what `kind` says, or nothing."""
    return FileResponse(CHAT / name)


NOBODYS = APIKeyAuthentication({"a-key-that-nobody-has"})


@app.websocket("/locked/realtime", auth=[NOBODYS], guards=[IsAuthenticated()])
async def locked(ws: WebSocket) -> None:
    raise AssertionError("nobody is let in")


@app.websocket("/older/realtime")
async def older(ws: WebSocket) -> None:
    """Accept, but not the subprotocol."""
    await ws.accept()
    await ws.receive_text()


@app.websocket("/babble/realtime")
async def babble(ws: WebSocket) -> None:
    await ws.accept("switchboard.v1")
    await ws.send_text("this is no JSON")
    await ws.receive_text()


@app.websocket("/strange/realtime")
async def strange(ws: WebSocket) -> None:
    await ws.accept("switchboard.v1")
    await ws.send_json(["neither is this", "a frame"])
    await ws.receive_text()
