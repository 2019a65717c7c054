"""Owns the app under test: realtime endpoints with every option, and handlers that join rooms."""

import os
from typing import Any

from server import App, ConnectionLimits, WebSocket
from server.auth import HasPermission, IsAuthenticated, JWTAuthentication

KEY = "the key of these tests, which protects nothing"
auth = JWTAuthentication(KEY, leeway_s=0)


def may(ws: WebSocket, room: str) -> bool:
    return not room.startswith("secret")


async def may_see(ws: WebSocket, room: str) -> bool:
    return ws.user_id != "blind"


def may_publish(ws: WebSocket, room: str, data: Any) -> bool:
    if data == "rude":
        raise PermissionError("mind your language")
    return may(ws, room)


async def who(ws: WebSocket, data: Any) -> str | bool | None:
    if data == "broken":
        raise RuntimeError("broken, as asked")
    return data if data is None or isinstance(data, str) else False


def make_app(**options: Any) -> App:
    app = App("realtime-tests", **options)
    app.realtime("/open")
    app.realtime(
        "/guarded",
        authorize=who,
        can_join=may,
        can_publish=may_publish,
        can_see_presence=may_see,
        presence=lambda room: not room.startswith("quiet"),
        ping_interval_s=30,
    )
    app.realtime("/quiet", presence=False)
    app.realtime("/small", max_rooms=2, max_message_size=1000)
    app.realtime("/large", max_message_size=64 << 20)
    app.realtime("/hasty", connect_timeout_s=0.2)
    app.realtime("/fast", ping_interval_s=1)

    app.realtime("/tokens", auth=[auth], guards=[IsAuthenticated()])
    app.realtime("/writers", auth=[auth], guards=[HasPermission("write")])
    app.realtime("/hooked", auth=[auth], authorize=who)
    app.realtime("/brief", limits=ConnectionLimits(lifetime_s=0.5))
    app.realtime("/slowly", limits=ConnectionLimits(messages_per_s=2))

    app.realtime("/pid", authorize=lambda ws, data: str(os.getpid()))

    @app.websocket_route("/bare/{room}")
    async def bare(ws: WebSocket, room: str) -> None:
        """Get what is published as it is; publish text, bytes and JSON."""
        await ws.join(room)
        await ws.send("joined")
        async for event in ws.iter_text():
            kind, _, text = event.partition(" ")
            message: Any = {"text": text, "bytes": text.encode(), "json": {"text": text}}[kind]
            await app.room(room).publish(message)

    @app.websocket_route("/bare-msgpack/{room}", value_type="json", codec="msgpack")
    async def bare_msgpack(ws: WebSocket, room: str) -> None:
        await ws.join(room)
        await ws.send("joined")
        async for _ in ws:
            pass

    @app.websocket_route("/broadcast")
    async def broadcast(ws: WebSocket) -> None:
        async for text in ws.iter_text():
            await app.broadcast({"text": text}, route="/open")
            await ws.send("done")

    return app


app = make_app()
