"""Owns the pages of the admin port that anybody may read; it only reads the segment.

So it answers while every worker is busy.
"""

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from server.admin.answers import json_answer, refusal
from server.admin.query import check_names, number
from server.connections import Connections, describe, has_route
from server.health import health, readiness, status
from server.metrics.collector import exposition
from workers.counters import Block, totals
from workers.layout import CODES, INITIATORS
from workers.segment import Segment

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000

PAGES = {
    "/metrics": "for Prometheus",
    "/healthz": "200 while the supervisor answers",
    "/readyz": "200 while new connections are served, else 503",
    "/status": "the server and its workers",
    "/routes": "connections of each route, closed by code, refused by status",
    "/connections": "each connection; ?route= user= worker= limit= offset=",
}


class Pages:
    """The endpoints, named like their paths.

    Args:
        calls: what else there is, for the index: by its path what it does.
    """

    def __init__(self, segment: Segment, calls: Mapping[str, str]) -> None:
        self._segment = segment
        self._connections = Connections(segment)
        self._index = {**PAGES, **calls}

    async def index(self, request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return Response(self._links(), media_type="text/html")
        lines = [f"{path:<14} {about}" for path, about in self._index.items()]
        return PlainTextResponse("\n".join(["Switchboard", "", *lines, ""]))

    def _links(self) -> str:
        """Return the index for a browser; nothing in it comes from outside."""
        rows = [
            f'<dt><a href="{path}">{path}</a><dd>{about}' for path, about in self._index.items()
        ]
        return (
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Switchboard</title>'
            '<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
            f"<h1>Switchboard</h1><dl>{''.join(rows)}</dl></html>\n"
        )

    async def metrics(self, request: Request) -> Response:
        body, content_type = exposition(self._segment, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    async def healthz(self, request: Request) -> Response:
        return json_answer(health(self._segment))

    async def readyz(self, request: Request) -> Response:
        is_ready, details = readiness(self._segment)
        return json_answer(details, 200 if is_ready else 503)

    async def status(self, request: Request) -> Response:
        return json_answer(status(self._segment))

    async def routes(self, request: Request) -> Response:
        return json_answer({"routes": _describe_routes(self._segment)})

    async def connections(self, request: Request) -> Response:
        query = request.query_params
        check_names(query, ("route", "user", "worker", "limit", "offset"))
        limit = number(query, "limit", 1, MAX_LIMIT, "get the others with offset")
        offset = number(query, "offset", 0, None, "count from 0") or 0
        last_worker = self._segment.sizes.workers - 1
        filters: dict[str, Any] = {
            "route": _route(query, self._segment),
            "user": query.get("user"),
            "worker": number(query, "worker", 0, last_worker, "see /status"),
        }
        rows = self._connections.list(**filters, limit=offset + (limit or DEFAULT_LIMIT))[offset:]
        total = self._connections.count(**filters)
        return json_answer({"total": total, "connections": [describe(row) for row in rows]})


def _route(query: QueryParams, segment: Segment) -> str | None:
    route = query.get("route")
    if route is not None and not has_route(segment, route):
        raise refusal("route", f"there is no route {route[:128]!r}: see /routes")
    return route


def _describe_routes(segment: Segment) -> list[dict[str, Any]]:
    """Return the counts of each route since the start; opened = open + the sum of closed."""
    blocks = totals(segment)
    names = segment.routes
    unused = [index for index in range(1, len(names)) if index not in blocks]
    return [
        {"route": names[index], **_counts(segment, blocks.get(index))}
        for index in sorted([*blocks, *unused])
    ]


def _counts(segment: Segment, block: Block | None) -> dict[str, Any]:
    if block is None:
        return {"opened": 0, "open": 0, "closed": {}, "refused": {}}
    closed = [sum(block.closed[i * INITIATORS : (i + 1) * INITIATORS]) for i in range(CODES)]
    return {
        "opened": block.opened,
        "open": block.open,
        "closed": _by_label(segment.codes, closed),
        "refused": _by_label(segment.statuses, block.refused),
    }


def _by_label(labels: list[int], counts: list[int]) -> dict[str, int]:
    """Return the counts that are not 0; label 0 is everything else."""
    return {str(label or "other"): n for label, n in zip(labels, counts, strict=False) if n}
