"""The guide's chat room grown up: several rooms, who is there, history, recovery, any workers.

`make serve APP=examples.chat:app`, then open the page, in two windows. The server side is the rooms
of `app.realtime` and three hooks; there is no list of clients and no list of messages anywhere.
"""

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from server import App, WebSocket

MAX_NAME, MAX_TEXT, MAX_ROOM = 24, 1000, 40
_HERE = Path(__file__).parent
_FILES = {"": "index.html", "chat.js": "chat.js", "chat.css": "chat.css"}
# All that the page needs comes from here, and no text that somebody writes can run.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:"
)


def authorize(ws: WebSocket, data: Any) -> str:
    """Take the name that a client gives itself; where it matters who that is, ask for a token."""
    name = data.get("name") if isinstance(data, dict) else None
    if not isinstance(name, str) or not 0 < len(name.strip()) <= MAX_NAME or not name.isprintable():
        raise PermissionError(f"a name has 1 to {MAX_NAME} printable characters")
    return name.strip()


def can_join(ws: WebSocket, room: str) -> bool:
    """Leave rooms of other purposes alone, and room names short."""
    return room.startswith("chat:") and len(room) <= len("chat:") + MAX_ROOM


def can_publish(ws: WebSocket, room: str, data: Any) -> bool:
    """See to it that nobody speaks in another's name, or from outside."""
    text = data.get("text") if isinstance(data, dict) else None
    if not isinstance(text, str) or not 0 < len(text.strip()) <= MAX_TEXT:
        raise PermissionError(f"a message has a text of 1 to {MAX_TEXT} characters")
    return room in ws.rooms and data.get("user") == ws.user_id


def add_chat(app: App, prefix: str = "") -> None:
    """Add the chat to an app: its page, under a prefix, and the realtime endpoint of that."""
    app.realtime(
        f"{prefix}/realtime", authorize=authorize, can_join=can_join, can_publish=can_publish
    )
    app.retain("chat:*", messages=500, age_s=7 * 24 * 3600)

    @app.route(f"{prefix}/")
    @app.route(f"{prefix}/{{name}}")
    async def page(request: Request, name: str = "") -> Response:
        """Send the page, or one of its files."""
        file = _FILES.get(name)
        if file is None:
            return Response("There is no such page.\n", 404, media_type="text/plain")
        headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
        return FileResponse(_HERE / file, headers=headers)


app = App("chat")
app.serve_client()
add_chat(app)
