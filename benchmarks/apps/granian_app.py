"""Owns the bare ASGI application under test: await receive, await send, and nothing else.

`unawaited` is the same without awaiting the sends of a room, which granian starts when they are
called. No server could be made of that: nothing bounds what waits for a slow member, and two sends
to a member may change places. It is what a room costs on granian at the least.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

Event = dict[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

rooms: defaultdict[str, set[Send]] = defaultdict(set)


async def app(scope: Event, receive: Receive, send: Send) -> None:
    """Serve WebSockets on /echo and /room/{name}; refuse whatever else comes."""
    await _serve(scope, receive, send, waits=True)


async def unawaited(scope: Event, receive: Receive, send: Send) -> None:
    """Do the same with rooms whose sends nobody waits for."""
    await _serve(scope, receive, send, waits=False)


async def _serve(scope: Event, receive: Receive, send: Send, *, waits: bool) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket" and scope["path"] == "/echo":
        await echo(receive, send)
    elif scope["type"] == "websocket" and scope["path"].startswith("/room/"):
        await room(scope["path"].removeprefix("/room/"), receive, send, waits)


async def echo(receive: Receive, send: Send) -> None:
    """Send every text back."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


async def room(name: str, receive: Receive, send: Send, waits: bool) -> None:
    """Send every text to all members, and wait for each of these sends, or for none."""
    await receive()
    await send({"type": "websocket.accept"})
    members = rooms[name]
    members.add(send)
    while (event := await receive())["type"] == "websocket.receive":
        message = {"type": "websocket.send", "text": event["text"]}
        for member in tuple(members):
            sent = member(message)  # granian has started it
            if waits:
                await sent
    members.discard(send)
