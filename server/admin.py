"""Owns the admin port's HTTP app: metrics, health, and what the segment says, as JSON.

It only reads the segment, so that it answers while every worker is busy; who serves it, and where,
it does not know.
"""

from collections.abc import Collection
from ipaddress import ip_address
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from server.connections import Connections, describe, has_route
from server.health import health, readiness, status
from server.metrics.collector import exposition
from workers.counters import Block, totals
from workers.layout import CODES, INITIATORS
from workers.segment import Segment

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})
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


def hosts_for(address: str) -> frozenset[str] | None:
    """Return the `allowed_hosts` of an admin port on `address`; None, if a network reaches it.

    Args:
        address: an IP address.
    """
    if not ip_address(address).is_loopback:
        return None
    return LOOPBACK_HOSTS | {f"[{address}]" if ":" in address else address}


def admin_app(
    segment: Segment, *, allowed_hosts: Collection[str] | None = LOOPBACK_HOSTS
) -> Starlette:
    """Return the app.

    Args:
        allowed_hosts: the names that a request's Host header may have, without a port; None allows
            any. A page on the web can have its own name lead to 127.0.0.1 (DNS rebinding), and
            then read what the browser gets here; that request's Host is the page's name.
    """
    pages = _Pages(segment)
    endpoints = {path: getattr(pages, path.strip("/")) for path in PAGES}
    app = Starlette(
        routes=[
            Route(path, endpoint) for path, endpoint in {"/": pages.index, **endpoints}.items()
        ],
        middleware=[Middleware(_HostCheck, allowed_hosts=allowed_hosts)],
        exception_handlers={HTTPException: _error},
    )
    app.router.redirect_slashes = False  # a path that is not there is answered with those that are
    return app


class _HostCheck:
    """Refuses requests under another name than those allowed."""

    def __init__(self, app: ASGIApp, allowed_hosts: Collection[str] | None) -> None:
        self._app = app
        self._allowed = allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        if scope["type"] == "http" and self._allowed is not None:
            name = _host_name(scope)
            if name not in self._allowed:
                reason = (
                    f"host {name!r} is not allowed here: use {', '.join(sorted(self._allowed))}"
                )
                app = _json({"error": reason}, 403)
        await app(scope, receive, send)


def _host_name(scope: Scope) -> str:
    values = [value for name, value in scope["headers"] if name == b"host"]
    host = values[0].decode("latin-1").lower() if len(values) == 1 else ""
    name, _, port = host.rpartition(":")
    return name if port.isdecimal() else host


class _Pages:
    """The endpoints, named like their paths."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._connections = Connections(segment)

    async def index(self, request: Request) -> Response:
        lines = [f"{path:<14} {about}" for path, about in PAGES.items()]
        return PlainTextResponse("\n".join(["Switchboard", "", *lines, ""]))

    async def metrics(self, request: Request) -> Response:
        body, content_type = exposition(self._segment, request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    async def healthz(self, request: Request) -> Response:
        return _json(health(self._segment))

    async def readyz(self, request: Request) -> Response:
        is_ready, details = readiness(self._segment)
        return _json(details, 200 if is_ready else 503)

    async def status(self, request: Request) -> Response:
        return _json(status(self._segment))

    async def routes(self, request: Request) -> Response:
        return _json({"routes": describe_routes(self._segment)})

    async def connections(self, request: Request) -> Response:
        query = request.query_params
        _check_names(query, ("route", "user", "worker", "limit", "offset"))
        limit = _number(query, "limit", 1, MAX_LIMIT, "get the others with offset")
        offset = _number(query, "offset", 0, None, "count from 0") or 0
        last_worker = self._segment.sizes.workers - 1
        filters: dict[str, Any] = {
            "route": _route(query, self._segment),
            "user": query.get("user"),
            "worker": _number(query, "worker", 0, last_worker, "see /status"),
        }
        rows = self._connections.list(**filters, limit=offset + (limit or DEFAULT_LIMIT))[offset:]
        total = self._connections.count(**filters)
        return _json({"total": total, "connections": [describe(row) for row in rows]})


def describe_routes(segment: Segment) -> list[dict[str, Any]]:
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


# -- parameters --------------------------------------------------------------------------------


def _check_names(query: QueryParams, known: tuple[str, ...]) -> None:
    for name in query:
        if name not in known:
            raise _refusal(name, f"there is no such parameter: use {', '.join(known)}")


def _number(
    query: QueryParams, name: str, lowest: int, highest: int | None, remedy: str
) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1
    if lowest <= number and (highest is None or number <= highest):
        return number
    bounds = f"{lowest} to {highest}" if highest is not None else f"{lowest} or more"
    raise _refusal(name, f"must be a whole number, {bounds}, not {text[:20]!r}: {remedy}")


def _route(query: QueryParams, segment: Segment) -> str | None:
    route = query.get("route")
    if route is not None and not has_route(segment, route):
        raise _refusal("route", f"there is no route {route[:128]!r}: see /routes")
    return route


def _refusal(name: str, problem: str) -> HTTPException:
    return HTTPException(400, f"{name}: {problem}")


# -- responses ---------------------------------------------------------------------------------


def _json(value: Any, status_code: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code, media_type="application/json")


async def _error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer: dict[str, Any] = {"error": error.detail}
    if error.status_code == 404:
        answer = {"error": f"there is nothing at {request.url.path!r}", "paths": ["/", *PAGES]}
    response = _json(answer, error.status_code)
    response.headers.update(error.headers or {})
    return response
