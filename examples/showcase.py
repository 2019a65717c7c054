"""The app that `make serve` serves: every route of both guides, and a page to try them."""

import json
import os
import time
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from examples.chat import add_chat
from examples.socketio_app import add_socketio
from server import App, WebSocket
from server.auth import IsAuthenticated, JWTAuthentication

app = App("showcase")
KEY = os.environ.get("SWITCHBOARD_JWT_SECRET")  # `make serve` makes one up for its workers
AUDIENCE = "examples.showcase"  # so that its tokens are good for no other app with that key
PAGE = (Path(__file__).parent / "showcase.html").read_text()


class Move(msgspec.Struct):
    """What `/ws/typed` takes and returns."""

    player: str
    x: int
    y: int = 0


# -- in the manner of Django-Bolt's guide: the view accepts ---------------------------------------


@app.websocket("/ws/echo")
async def ws_echo(websocket: WebSocket) -> None:
    """Echo text as text and bytes as bytes."""
    await websocket.accept()
    while True:
        event = await websocket.receive()
        await websocket.send({**event, "type": "websocket.send"})


@app.websocket("/ws/json")
async def ws_json(websocket: WebSocket) -> None:
    """Echo any JSON."""
    await websocket.accept()
    async for message in websocket.iter_json():
        await websocket.send_json(message)


@app.websocket("/ws/room/{room_id}")
async def ws_room(websocket: WebSocket, room_id: str) -> None:
    """Say what you send to everybody in the room."""
    await websocket.accept()
    await websocket.join(room_id)
    async for text in websocket.iter_text():
        await app.room(room_id).publish(f"[{room_id}] {text}")


@app.websocket("/ws/broadcast")
async def ws_broadcast(websocket: WebSocket) -> None:
    """Say what you send to everybody on this route."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await app.broadcast(text, route="/ws/broadcast")


@app.websocket("/ws/connect")
async def ws_connect(websocket: WebSocket, token: str | None = None) -> None:
    """Echo for those who know the token (`?token=secret`); others are refused with HTTP 403."""
    if token != "secret":
        await websocket.close(code=4001, reason="Invalid token")
        return
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)


@app.websocket("/ws/boom")
async def ws_boom(websocket: WebSocket) -> None:
    """Raise after accepting: the client sees 1011."""
    await websocket.accept()
    raise RuntimeError("boom, as asked")


@app.websocket("/ws/close/{code}")
async def ws_close(websocket: WebSocket, code: int) -> None:
    """Close with that code; one that may not be sent is an error of this view (1011)."""
    await websocket.accept()
    await websocket.close(code, f"you asked for {code}")


# Without a key no token is good, so nobody gets in.
BACKENDS = [JWTAuthentication(KEY, audience=AUDIENCE)] if KEY else []


@app.websocket("/ws/protected", auth=BACKENDS, guards=[IsAuthenticated()])
async def ws_protected(websocket: WebSocket) -> None:
    """Greet whose token it is (`?token=...`; choosing this route gets one for "ada")."""
    user_id = websocket.context.get("user_id")
    await websocket.accept()
    await websocket.send_text(f"Welcome, user {user_id}")
    async for text in websocket.iter_text():
        await websocket.send_text(text)


# -- in the manner of Bocadillo's guide: accepted and closed for you ------------------------------


@app.websocket_route("/echo")
async def echo(ws: WebSocket) -> None:
    """Answer one message."""
    message = await ws.receive()
    await ws.send(f"You said: {message}")


@app.websocket_route("/chat/{channel}", value_type="json")
async def chat(ws: WebSocket, channel: str, anonymous: bool = False) -> None:
    """Publish JSON messages to a channel, with the sender's name from the `user` header."""
    user = "Anonymous" if anonymous else ws.headers.get("user", "Somebody")
    await ws.join(channel)
    async for message in ws:
        await app.room(channel).publish({"user": user, "message": message})


@app.websocket_route("/ws/typed", value_type=Move)
async def typed(ws: WebSocket) -> None:
    """Echo moves; one that does not validate closes with 1007 and a reason that says why."""
    async for move in ws:
        await ws.send(move)


# -- with no handler code -------------------------------------------------------------------------

# Anybody may join and publish: see docs/guide/realtime.md for who should.
app.realtime("/realtime")
app.serve_client()  # at /switchboard.js, for pages
add_chat(app, "/rooms")  # a page for people, see examples/chat
add_socketio(app)  # see examples/socketio_app.py

# -- HTTP -----------------------------------------------------------------------------------------


@app.route("/")
async def page(request: Request) -> HTMLResponse:
    """The page that lists the routes and lets a person try them."""
    # "<" is escaped so that no text can end the script element.
    routes = json.dumps(_routes()).replace("<", "\\u003c")
    return HTMLResponse(PAGE.replace("/*ROUTES*/[]", routes))


@app.route("/healthz")
async def healthz(request: Request) -> dict[str, str]:
    """This worker's loop answers."""
    return {"status": "ok"}


@app.route("/token", methods=["POST"])
async def token(request: Request) -> Response:
    """DEMO: a token for whoever asks, good for ten minutes and for this app alone."""
    if not KEY:
        detail = "there is no key to sign tokens with: start the server with SWITCHBOARD_JWT_SECRET"
        return JSONResponse({"detail": detail}, 503)
    import jwt  # of the extra `auth`, which the other routes do without

    claims = {"sub": "ada", "aud": AUDIENCE, "exp": time.time() + 600}
    return JSONResponse({"token": jwt.encode(claims, KEY, "HS256")})


def _routes() -> list[dict[str, Any]]:
    return [
        {"path": route.pattern.text, "about": _about(route), **_try(route)}
        for route in app.counted_routes
    ]


def _about(route: Any) -> str:
    if route.pattern.text == "/realtime":
        return "Rooms, recovery and presence with no handler: docs/protocol.md has the frames"
    if route.pattern.text == "/rooms/realtime":
        return "The same, with hooks: for the chat at /rooms/"
    if route.pattern.text == "/socket.io/{}":
        return 'Socket.IO, for any of its clients. By hand: 40 enters, 42["join","lobby"] joins'
    return (route.view.__doc__ or "").strip()


def _try(route: Any) -> dict[str, Any]:
    """A path and a message that work, for the page's form."""
    paths = {
        "/ws/room/{room_id}": "/ws/room/lobby",
        "/chat/{channel}": "/chat/general?anonymous=1",
        "/ws/close/{code}": "/ws/close/4001",
        "/ws/connect": "/ws/connect?token=secret",
        "/socket.io/{}": "/socket.io/?EIO=4&transport=websocket",
    }
    messages = {
        "/ws/json": '{"hello": ["world", 1]}',
        "/chat/{channel}": '"hello"',
        "/ws/typed": '{"player": "ada", "x": 3}',
        "/realtime": '{"type": "connect", "id": 1}',
        "/socket.io/{}": "40",
        "/rooms/realtime": '{"type": "connect", "id": 1, "data": {"name": "ada"}}',
    }
    pattern = route.pattern.text
    return {
        "try": paths.get(pattern, pattern),
        "message": messages.get(pattern, "hello"),
        "protocols": ["switchboard.v1"] if pattern.endswith("/realtime") else [],
        "token": pattern == "/ws/protected",
    }
