"""A chat with no handler code: realtime rooms, and an HTTP view that publishes to them.

`make serve APP=examples.realtime:app`, then connect with the subprotocol `switchboard.v1`.
Clients say who they are, and are believed: replace `authorize` by something that knows.
"""

from typing import Any

from starlette.requests import Request

from server import App, WebSocket

app = App("realtime")


def authorize(ws: WebSocket, data: Any) -> str | bool:
    """Take the name that a client gives itself."""
    name = data.get("name") if isinstance(data, dict) else None
    return name if isinstance(name, str) and 0 < len(name) <= 16 else False


def can_join(ws: WebSocket, room: str) -> bool:
    """Rooms whose name begins with "private-" belong to the one who is named there."""
    return not room.startswith("private-") or room == f"private-{ws.user_id}"


def can_publish(ws: WebSocket, room: str, data: Any) -> bool:
    """Only those who are in a room may publish to it."""
    return room in ws.rooms


app.realtime("/realtime", authorize=authorize, can_join=can_join, can_publish=can_publish)
app.retain("*", messages=1000, age_s=24 * 3600)


@app.route("/rooms/{room}", methods=["POST"])
async def publish(request: Request, room: str) -> dict[str, Any]:
    """Publish the JSON in the request's body, as the app itself."""
    published = await app.room(room).publish(await request.json())
    return {"epoch": published.epoch, "offset": published.offset}
