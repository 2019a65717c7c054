"""Owns the board: the page's files, and what it shows, read from the segment a second at a time.

So it works while every worker is busy. What the page does is the calls' matter, and who may is that
of `server.admin.operators`.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from server.admin.answers import json_answer, refusal
from server.admin.query import check_names, number
from server.close_codes import OWN_CODES, CloseCode
from server.connections import describe
from server.health import status
from server.metrics.process import process_use
from workers.counters import Block, totals
from workers.layout import CODES, INITIATORS
from workers.registry import Row, count_rows, newest_rows, parse_id, read_rows
from workers.room_directory import RoomDirectory
from workers.segment import Segment

BOARD = {"/board": "a page for operators: all of it as it changes, to disconnect, to drain"}
_SERVED = ("board.js", "views.js", "board.css")
FILES = {"/board": "board.html"} | {f"/board/{name}": name for name in _SERVED}
DATA = "/board/data"
FIELDS = ("any", "id", "user", "route", "path", "client", "worker")
MAX_ROWS = 200
MAX_ROOMS = 50
MAX_SEARCH_CHARS = 256
_A_TURN = 500  # rows of a search, then the loop goes on with what else it has

_FOLDER = Path(__file__).parent / "static"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
# No script, style or frame but the page's own files, and no text as HTML (trusted types).
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_NAMES = {code.value: code.name.replace("_", " ").capitalize() for code in CloseCode} | OWN_CODES


class Board:
    """The endpoints.

    Args:
        asks_key: what needs the key: "all", "acts", or "nothing".
    """

    def __init__(self, segment: Segment, asks_key: str) -> None:
        self._segment = segment
        self._asks_key = asks_key

    async def file(self, request: Request) -> Response:
        """Return a file of the page."""
        path = _FOLDER / FILES[request.url.path]
        return Response(path.read_bytes(), headers=HEADERS, media_type=_TYPES[path.suffix])

    async def data(self, request: Request) -> Response:
        """Return all that the page shows; rates are the page's matter."""
        query = request.query_params
        check_names(query, ("search", "field", "limit"))
        field, text = query.get("field", "any"), query.get("search", "").strip()
        if field not in FIELDS:
            raise refusal("field", f"must be one of {', '.join(FIELDS)}, not {field[:20]!r}")
        if len(text) > MAX_SEARCH_CHARS:
            raise refusal("search", f"has {len(text)} characters, the limit is {MAX_SEARCH_CHARS}")
        limit = number(query, "limit", 1, MAX_ROWS, "search for the others")
        matched, rows = await self._search(field, text, limit or MAX_ROWS)
        segment = self._segment
        answer = {
            "asks_key": self._asks_key,
            "now_s": time.monotonic(),
            "server": _server(segment),
            "routes": _routes(segment),
            "closes": _closes(segment),
            "rooms": _rooms(segment),
            "connections": {
                "total": count_rows(segment),
                "matched": matched,
                "rows": [describe(row) for row in rows],
            },
        }
        response = json_answer(answer)
        response.headers.update(HEADERS)
        return response

    async def _search(self, field: str, text: str, limit: int) -> tuple[int, list[Row]]:
        """Return how many match, and the newest of them."""
        if not text:
            return count_rows(self._segment), newest_rows(self._segment, limit)
        found = []
        for done, row in enumerate(_candidates(self._segment, field, text), 1):
            if _matches(row, field, text):
                found.append(row)
            if done % _A_TURN == 0:
                await asyncio.sleep(0)
        found.sort(key=lambda row: row.connected_ns, reverse=True)
        return len(found), found[:limit]


def _candidates(segment: Segment, field: str, text: str) -> Iterator[Row]:
    if field == "id":
        try:
            parse_id(text)
        except ValueError as error:
            raise refusal("search", str(error)) from None
        return read_rows(segment, id=text)
    if field == "worker":
        last = segment.sizes.workers - 1
        is_index = text.isascii() and text.isdecimal() and len(text) < 4 and int(text) <= last
        if not is_index:
            raise refusal("search", f"there is no worker {text[:20]!r}: 0 to {last}")
        return read_rows(segment, worker=int(text))
    return read_rows(segment)


_TEXTS: dict[str, Callable[[Row], tuple[str, ...]]] = {
    "any": lambda row: (row.id, row.user, row.route, row.path, row.client),
    "user": lambda row: (row.user,),
    "route": lambda row: (row.route,),
    "path": lambda row: (row.path,),
    "client": lambda row: (row.client,),
}


def _matches(row: Row, field: str, text: str) -> bool:
    """Whether a text of the row contains what is searched for; id and worker were seen to."""
    if field not in _TEXTS:
        return True
    wanted = text.casefold()
    return any(wanted in value.casefold() for value in _TEXTS[field](row))


def _server(segment: Segment) -> dict[str, Any]:
    server = status(segment)
    for worker in server["workers"]:
        use = process_use(worker["pid"]) if worker["pid"] else None
        worker["cpu_s"] = None if use is None else use.cpu_s
        worker["memory_bytes"] = None if use is None else use.resident_bytes
    return server


def _routes(segment: Segment) -> list[dict[str, Any]]:
    blocks = totals(segment)
    return [
        _route(name, blocks.get(index, Block()))
        for index, name in enumerate(segment.routes)
        if index or index in blocks
    ]


def _route(name: str, block: Block) -> dict[str, Any]:
    return {
        "route": name,
        "open": block.open,
        "opened": block.opened,
        "closed": sum(block.closed),
        "refused": sum(block.refused),
        "errors": block.errors,
        "messages_received": block.messages_in,
        "messages_sent": block.messages_out,
    }


def _closes(segment: Segment) -> list[dict[str, Any]]:
    """Return how many closed with each code, by who began it."""
    sums = [0] * (CODES * INITIATORS)
    for block in totals(segment).values():
        sums = [a + b for a, b in zip(sums, block.closed, strict=True)]
    rows = []
    for index, code in enumerate(segment.codes):
        client, server, crash = sums[index * INITIATORS : (index + 1) * INITIATORS]
        if client or server or crash:
            of_one = {"client": client, "server": server, "crash": crash}
            rows.append({"code": code or "other", "name": _NAMES.get(code, ""), **of_one})
    return rows


def _rooms(segment: Segment) -> dict[str, Any]:
    directory = RoomDirectory(segment)
    now_ns = time.time_ns()
    rows = [
        {
            "room": directory.name(entry).decode("utf-8", "replace"),
            "members": members,
            "messages": messages,
            "idle_s": round(max(0, now_ns - directory.last_ns(entry)) / 1e9, 1),
        }
        for entry, members, messages in directory.biggest(MAX_ROOMS)
    ]
    return {"total": directory.used(), "rows": rows}
