"""A Socket.IO chat on all workers, with no Redis: python-socketio over Switchboard's rooms.

Run it with `make serve APP=examples.socketio_app:app`, and connect with a Socket.IO client:

    import { io } from "socket.io-client";
    const socket = io("http://127.0.0.1:8000", { transports: ["websocket"] });
    socket.on("said", (who, text) => console.log(who, text));
    socket.emit("join", "kitchen", (here) => console.log("in the room", here));
    socket.emit("say", "kitchen", "hello");

docs/guide/socketio.md tells more. Needs the extra `socketio`.
"""

import os
from typing import Any

import socketio

from server import App
from server.contrib.socketio import BusManager

MAX_TEXT = 1_000  # characters


def add_socketio(app: App) -> socketio.AsyncServer:
    """Serve the chat's Socket.IO side at /socket.io, its clients' usual place."""
    sio = socketio.AsyncServer(
        async_mode="asgi",
        client_manager=BusManager(app),
        transports=["websocket"],  # the requests of long polling would go to several workers
    )
    app.mount("/socket.io", socketio.ASGIApp(sio, socketio_path=None))

    @sio.event
    async def join(sid: str, room: str) -> int:
        """Enter a room; the answer goes to the callback of the client's `emit`."""
        await sio.enter_room(sid, f"chat:{room}")
        await sio.emit("joined", (sid, os.getpid()), room=f"chat:{room}")
        return os.getpid()

    @sio.event
    async def leave(sid: str, room: str) -> None:
        await sio.leave_room(sid, f"chat:{room}")

    @sio.event
    async def say(sid: str, room: str, text: Any) -> str | None:
        """Say something to all in a room that one is in oneself."""
        if f"chat:{room}" not in sio.rooms(sid):
            return "join the room first"
        if not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT:
            return f"a message has 1 to {MAX_TEXT} characters"
        await sio.emit("said", (sid, text), room=f"chat:{room}")
        return None

    return sio


app = App("socketio")
add_socketio(app)
