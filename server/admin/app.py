"""Owns the admin port's HTTP app: which path is whose, and under which names it answers.

Who serves it, and where, it does not know.
"""

import signal
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from server.admin.access import guarded
from server.admin.answers import json_answer
from server.admin.board import BOARD, DATA, FILES, Board
from server.admin.calls import CALLS, METHODS, Calls
from server.admin.operators import may_act, may_read
from server.admin.pages import PAGES, Pages
from workers.segment import Segment

_UNREAD = (401, 403, 404, 405, 413, 415)  # answered without having read all of the body
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})


def _signal_self() -> None:
    signal.raise_signal(signal.SIGTERM)


def hosts_for(address: str) -> frozenset[str] | None:
    """Return the `allowed_hosts` of an admin port on `address`; None, if a network reaches it.

    Args:
        address: an IP address.
    """
    if not ip_address(address).is_loopback:
        return None
    return LOOPBACK_HOSTS | {f"[{address}]" if ":" in address else address}


def admin_app(
    segment: Segment,
    *,
    allowed_hosts: Collection[str] | None = LOOPBACK_HOSTS,
    key: str | None = None,
    begin_drain: Callable[[], None] = _signal_self,
) -> Starlette:
    """Return the app.

    Args:
        segment: writable, if there is a key.
        allowed_hosts: the names that a request's Host header may have, without a port; None allows
            any. A page on the web can have its own name lead to 127.0.0.1 (DNS rebinding), and
            then read what the browser gets here; that request's Host is the page's name.
        key: what a request to publish and the like must have; None refuses all of them.
        begin_drain: has this server drain; by itself it signals the process, as a shell would.
    """
    pages, calls = Pages(segment, {**BOARD, **CALLS}), Calls(segment, begin_drain)
    routes = [Route("/", pages.index)]
    routes += [Route(path, getattr(pages, path.strip("/"))) for path in PAGES]
    routes += [
        Route(path, guarded(key, getattr(calls, path.strip("/"))), methods=METHODS[path])
        for path in CALLS
    ]
    routes += _board_routes(segment, calls, key, is_local=allowed_hosts is not None)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if key is None:
            yield
            return
        calls.open()
        try:
            yield
        finally:
            calls.close()

    app = Starlette(
        routes=routes,
        middleware=[Middleware(_HostCheck, allowed_hosts=allowed_hosts)],
        exception_handlers={HTTPException: _error},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a path that is not there is answered with those that are
    return app


def _board_routes(segment: Segment, calls: Calls, key: str | None, is_local: bool) -> list[Route]:
    asks_key = "all" if not is_local else "nothing" if key is None else "acts"
    board = Board(segment, asks_key)
    files = [Route(path, board.file) for path in FILES]
    acts = {"/board/disconnect": calls.disconnect, "/board/drain": calls.drain}
    return [
        *files,
        Route(DATA, may_read(key, is_local, board.data)),
        *(Route(path, may_act(key, is_local, act), methods=["POST"]) for path, act in acts.items()),
    ]


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
                app = json_answer({"error": reason}, 403)
        await app(scope, receive, send)


def _host_name(scope: Scope) -> str:
    values = [value for name, value in scope["headers"] if name == b"host"]
    host = values[0].decode("latin-1").lower() if len(values) == 1 else ""
    name, _, port = host.rpartition(":")
    return name if port.isdecimal() else host


async def _error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer: dict[str, Any] = {"error": error.detail}
    if error.status_code == 404:
        paths = ["/", *PAGES, *BOARD, *CALLS]
        answer = {"error": f"there is nothing at {request.url.path!r}", "paths": paths}
    response = json_answer(answer, error.status_code)
    response.headers.update(error.headers or {})
    if request.method == "POST" and error.status_code in _UNREAD:
        # The host closes the connection then, and a client that is not told uses it again.
        response.headers["Connection"] = "close"
    return response
