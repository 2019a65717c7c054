"""Owns the app that the tests of Socket.IO connect to: the example's chat, and what may cross."""

import asyncio
import os
from typing import Any

import socketio
from starlette.requests import Request

from examples.socketio_app import add_socketio
from server import App

app = App("socketio", max_message_size=100_000)
sio: socketio.AsyncServer = add_socketio(app)


@sio.event
async def connect(sid: str, environ: dict[str, Any], auth: dict[str, Any] | None) -> None:
    """Emit at once: who is connected hears it."""
    await sio.emit("welcome", os.getpid(), to=sid)
    if auth and "refused" in auth:
        raise socketio.exceptions.ConnectionRefusedError("refused, as asked")


@sio.event
async def disconnect(sid: str, reason: str) -> None:
    """Emit from where the one who hears for the worker must not wait for it."""
    await sio.emit("left", (sid, reason), room="chat:watchers")


@sio.event
async def to(sid: str, target: str, value: Any) -> None:
    await sio.emit("value", value, to=target)


@sio.event
async def skip(sid: str, room: str) -> None:
    await sio.emit("value", "skipped one", room=room, skip_sid=sid)


@sio.event
async def call(sid: str, target: str) -> Any:
    return await sio.call("question", "6 x 7", to=target, timeout=10)


@sio.on("call bytes")
async def call_bytes(sid: str, target: str) -> Any:
    value, text = await sio.call("which bytes", to=target, timeout=10)
    return [[*value["part"]], text]


@sio.event
async def callback(sid: str, target: str) -> None:
    async def answered(answer: Any) -> None:
        await sio.emit("value", ["answered", answer], to=sid)

    await sio.emit("question", "6 x 7", to=target, callback=answered)


@sio.event
async def kick(sid: str, target: str) -> None:
    await sio.disconnect(target)


@sio.event
async def enter(sid: str, target: str, room: str) -> None:
    await sio.enter_room(target, room)


@sio.event
async def expel(sid: str, target: str, room: str) -> None:
    await sio.leave_room(target, room)


@sio.event
async def close(sid: str, room: str) -> None:
    await sio.close_room(room)


@sio.on("bytes")
async def send_bytes(sid: str, target: str, data: bytes) -> None:
    await sio.emit("value", {"data": data, "size": len(data)}, to=target)


@sio.on("too large")
async def too_large(sid: str, target: str) -> str:
    try:
        await sio.emit("value", "x" * (9 << 20), to=target)
    except ValueError as error:
        return str(error)
    return "sent"


@sio.event
async def burst(sid: str, room: str, count: int) -> None:
    await asyncio.gather(*(sio.emit("value", number, room=room) for number in range(count)))


@sio.event
async def lose(sid: str) -> None:
    sio.manager.missed()


@app.route("/shout", methods=["POST"])
async def shout(request: Request) -> dict[str, int]:
    """Emit from an HTTP view, in a worker that may have no Socket.IO client."""
    await sio.emit("value", (await request.body()).decode(), room="chat:watchers")
    return {"pid": os.getpid()}
