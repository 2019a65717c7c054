"""The guide's chat with the providers `history` and `clients`, and when those are right.

`make serve APP=examples.providers:app WORKERS=1`, then connect to `/chat` and send
`{"type": "message", "user": "ada", "text": "hello"}`.

A value of scope "app" is one for each worker process. So `clients` are those of one worker, and
`history` is what that worker has heard. With one worker that is right, and with several it is right
for what belongs to a process anyway: a connection pool, a cache, a model in memory. For a chat it
is wrong from the second worker on: half of the members do not hear the other half, and nothing
says so. `examples/chat` is the same chat in a room, which is the same on all workers. It also has
none of what is awkward here: a list that needs a bound, one slow client that holds up all others.
"""

from collections import deque
from typing import Annotated, Any

import msgspec

from server import App, WebSocket, WebSocketDisconnect, provider

app = App("providers")

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]


class Said(msgspec.Struct, tag_field="type", tag="message"):
    """What clients send; anything else closes with 1007 and a reason."""

    user: Name
    text: Text


@provider(scope="app")
async def history() -> deque[Said]:
    """What was said last: with a bound, or the list would grow for as long as the worker runs."""
    return deque(maxlen=100)


@provider(scope="app")
async def clients() -> set[WebSocket]:
    """Those who are connected to this worker."""
    return set()


@app.websocket_route("/chat", value_type=Said)
async def chat(ws: WebSocket, history: deque[Said], clients: set[WebSocket]) -> None:
    """Show what was said before, then say to all what each says."""
    clients.add(ws)
    try:
        for said in tuple(history):
            await ws.send(said)
        async for said in ws:
            history.append(said)
            await _say(said, clients)
    finally:
        clients.discard(ws)


async def _say(said: Any, clients: set[WebSocket]) -> None:
    # A copy: others come and go while this waits. One who has left must not end it for the rest.
    for client in tuple(clients):
        try:
            await client.send(said)
        except WebSocketDisconnect:
            clients.discard(client)
