"""Owns the live board of the admin port: its page, the data that it shows, and what it may do.

All it shows is read from the segment, so it goes on while every worker is busy. Who may look and
act is in docs/topics/board.md; the key itself is the matter of `access`.
"""

import os
import signal
from collections.abc import Awaitable, Callable
from heapq import nlargest
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from server.admin.access import guarded
from server.admin.answers import json_answer, refusal
from server.admin.bodies import decode, read_body
from server.admin.pages import describe_routes
from server.admin.query import check_names, number
from server.close_codes import CloseCode
from server.connections import Connections, DisconnectFailed, describe
from server.health import status
from server.metrics.process import process_use
from workers.memberships import used
from workers.registry import Row
from workers.room_counts import ring_state, room_counts
from workers.room_directory import RoomDirectory
from workers.segment import Segment

PATH = "/board"
ACT_HEADER = "x-switchboard-board"
SHOWN_CONNECTIONS, SHOWN_ROOMS = 200, 30
_MAX_BODY_BYTES = 4096
_SHADOW = b"\0"  # rooms of ours beside those of the app, see `server.shadowing`
_FOLDER = Path(__file__).parent.parent / "static" / "board"
_FILES = {"": "board.html", "/board.js": "board.js", "/board.css": "board.css"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "Cache-Control": "no-cache",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

Endpoint = Callable[[Request], Awaitable[Response]]
_T = TypeVar("_T")


class _Disconnect(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    code: int = int(CloseCode.POLICY_VIOLATION)
    reason: str = ""


class _Drain(msgspec.Struct, forbid_unknown_fields=True):
    """`pid`: of the server that is meant, so that no other is stopped by mistake."""

    pid: int


def board_routes(segment: Segment, *, key: str | None, is_local: bool) -> list[Route]:
    """Return the routes of the board.

    Args:
        key: of the admin port, if it has one.
        is_local: whether only programs of this machine reach the port. Then anybody may look, and
            without a key the page itself may act.
    """
    board = Board(segment, needs_key=key is not None or not is_local)

    def may_look(endpoint: Endpoint) -> Endpoint:
        return endpoint if is_local else guarded(key, endpoint)

    def may_act(endpoint: Endpoint) -> Endpoint:
        own = _from_own_page(endpoint)
        return own if is_local and key is None else guarded(key, own)

    return [
        *(Route(PATH + path, _file(name)) for path, name in _FILES.items()),
        Route(f"{PATH}/data", may_look(board.data)),
        Route(f"{PATH}/disconnect", may_act(board.disconnect), methods=["POST"]),
        Route(f"{PATH}/drain", may_act(board.drain), methods=["POST"]),
    ]


def _file(name: str) -> Endpoint:
    async def send(request: Request) -> Response:
        return FileResponse(_FOLDER / name, headers=_HEADERS)

    return send


def _from_own_page(endpoint: Endpoint) -> Endpoint:
    """Take requests of our own page alone: a page of another site can send neither header.

    The header of ours makes a browser ask first (CORS), which is never allowed here; `Origin` and
    `Sec-Fetch-Site` are the browser's own word.
    """

    async def checked(request: Request) -> Response:
        headers = request.headers
        if headers.get(ACT_HEADER) != "1":
            raise HTTPException(403, f"this is for the page at {PATH}: send {ACT_HEADER}: 1")
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise HTTPException(403, "this is for the page of this server, and not for others")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != headers.get("host"):
            raise HTTPException(403, f"origin {origin[:100]!r} is another page than {PATH} here")
        return await endpoint(request)

    return checked


class Board:
    """The endpoints that show and do something.

    Args:
        needs_key: whether who acts has to have the key; the page asks for it then.
    """

    def __init__(self, segment: Segment, *, needs_key: bool) -> None:
        self._needs_key = needs_key
        self._segment = segment
        self._connections = Connections(segment)
        self._directory = RoomDirectory(segment)

    async def data(self, request: Request) -> Response:
        """Return all that the page shows; ?q= searches connections, ?worker= narrows that."""
        query = request.query_params
        check_names(query, ("q", "worker"))
        last_worker = self._segment.sizes.workers - 1
        worker = number(query, "worker", 0, last_worker, "see the list of workers")
        text = query.get("q", "").strip().casefold()
        if len(text) > 100:
            raise refusal("q", "is longer than 100 characters: search for less")
        found, total = self._search(text, worker)
        server = status(self._segment)
        for one in server["workers"]:
            one.update(self._use_of(one))
        return json_answer(
            {
                "needs_key": self._needs_key,
                "server": server,
                "routes": describe_routes(self._segment),
                "rooms": self._rooms(),
                "connections": {"total": total, "shown": [describe(row) for row in found]},
            }
        )

    def _search(self, text: str, worker: int | None) -> tuple[list[Row], int]:
        """Return the newest connections in which a text occurs, and how many there are."""
        rows = self._connections.list(worker=worker)
        if text:
            rows = [row for row in rows if any(text in part.casefold() for part in _parts(row))]
        newest = nlargest(SHOWN_CONNECTIONS, rows, key=lambda row: row.connected_ns)
        return newest, len(rows)

    def _use_of(self, worker: dict[str, Any]) -> dict[str, Any]:
        use = process_use(worker["pid"])
        memberships = used(self._segment, worker["slot"])
        if use is None:
            return {"memberships": memberships}
        return {
            "memberships": memberships,
            "cpu_s": use.cpu_s,
            "resident_bytes": use.resident_bytes,
            "open_files": use.open_files,
            "max_files": use.max_files,
        }

    def _rooms(self) -> dict[str, Any]:
        counts, ring = room_counts(self._segment), ring_state(self._segment)
        names = {entry: self._directory.name(entry) for entry in self._directory.entries()}
        entries = [entry for entry, name in names.items() if not name.startswith(_SHADOW)]
        members = [sum(self._directory.members(entry)) for entry in entries]
        largest = nlargest(SHOWN_ROOMS, zip(members, entries, strict=True))
        return {
            "total": len(entries),
            "published": counts.published,
            "delivered": counts.delivered,
            "journal_used_bytes": ring.used_bytes,
            "journal_capacity_bytes": ring.capacity_bytes,
            "largest": [
                {
                    "room": names[entry].decode("utf-8", "replace"),
                    "members": count,
                    "last_ns": self._directory.last_ns(entry),
                }
                for count, entry in largest
            ],
        }

    async def disconnect(self, request: Request) -> Response:
        """Close one connection, by its id."""
        asked = _decoded(await read_body(request, _MAX_BODY_BYTES), _Disconnect)
        try:
            done = await self._connections.disconnect(
                id=asked.id, code=asked.code, reason=asked.reason
            )
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        except DisconnectFailed as error:
            raise HTTPException(503, str(error)) from None
        if not done:
            raise HTTPException(410, f"there is no connection {asked.id[:40]!r}: it has ended")
        return json_answer({"disconnected": done})

    async def drain(self, request: Request) -> Response:
        """Begin to stop, as SIGTERM does: each client gets a close frame."""
        asked = _decoded(await read_body(request, _MAX_BODY_BYTES), _Drain)
        if asked.pid != os.getpid():
            raise HTTPException(409, f"the server is process {os.getpid()} now: look again")
        os.kill(os.getpid(), signal.SIGTERM)  # what the supervisor listens for
        return json_answer({"draining": True}, 202)


def _decoded(body: bytes, kind: type[_T]) -> _T:
    try:
        return decode(body, kind)
    except msgspec.DecodeError as error:
        raise HTTPException(422, str(error)) from None


def _parts(row: Row) -> tuple[str, ...]:
    return (row.id, row.route, row.user, row.client, row.path)
