"""Owns HTTP routes: from registered views to a Starlette application; knows no WebSocket."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Match, Route

from server.codecs import json_bytes
from server.exceptions import ParameterError
from server.handshake import Scope
from server.injection import RequestValues
from server.routes import HTTPRoute, Mount, Router
from server.runtime import AppRuntime
from server.transport import Receive, Send


def build_http(router: Router, runtime: AppRuntime) -> Starlette:
    """Make the Starlette application for the router's HTTP routes and mounts.

    Static paths come first, then patterns in registration order, then mounts; a trailing slash is
    significant, as it is for WebSockets.
    """
    ordered = sorted(router.http_list, key=lambda route: not route.pattern.is_static)
    routes: list[BaseRoute] = [_route(route, runtime) for route in ordered]
    routes.append(_Mounts(router))
    app = Starlette(routes=routes, exception_handlers={ParameterError: _parameter_error})
    app.router.redirect_slashes = False
    return app


def _route(route: HTTPRoute, runtime: AppRuntime) -> Route:
    path = route.pattern.text.replace("{}", "{_rest:path}")
    if not path.startswith("/"):
        path = "/" + path
    endpoint = _endpoint(route, runtime)
    return Route(path, endpoint, methods=list(route.methods), name=route.name)


def _endpoint(route: HTTPRoute, runtime: AppRuntime) -> Callable[[Request], Awaitable[Response]]:
    view = route.view
    is_async = inspect.iscoroutinefunction(view)

    async def endpoint(request: Request) -> Response:
        values = RequestValues(request, request, request.path_params)
        try:
            arguments = await values.arguments(runtime.plan(route), runtime.app_values)
            if is_async:
                result = await view(request, **arguments)
            else:
                result = await run_in_threadpool(view, request, **arguments)
        finally:
            await values.close()
        return to_response(result)

    return endpoint


def to_response(result: Any) -> Response:
    """Turn what a view returned into a response.

    A str that begins with `<` is HTML, another str is plain text; None is 204; everything else
    that is no Response or bytes is encoded as JSON.

    Raises:
        TypeError: it has no JSON form.
    """
    if isinstance(result, Response):
        return result
    if result is None:
        return Response(status_code=204)
    if isinstance(result, str):
        kind = HTMLResponse if result.lstrip()[:1] == "<" else PlainTextResponse
        return kind(result)
    if isinstance(result, bytes):
        return Response(result, media_type="application/octet-stream")
    return Response(json_bytes(result), media_type="application/json")


async def _parameter_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ParameterError)
    body = {"detail": str(error), "parameter": error.name, "in": error.source}
    return Response(json_bytes(body), status_code=error.status, media_type="application/json")


class _Mounts(BaseRoute):
    """All mounts as one Starlette route that comes last."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def matches(self, scope: Scope) -> tuple[Match, dict[str, Any]]:
        found = self._router.find_mount(scope["path"])
        return (Match.NONE, {}) if found is None else (Match.FULL, {"switchboard.mount": found})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        mount: Mount = scope.pop("switchboard.mount")
        await call_mounted(mount, scope, receive, send)


async def call_mounted(mount: Mount, scope: Scope, receive: Receive, send: Send) -> None:
    """Call a mounted app with its prefix in `root_path`, stripped from the path if it wants so."""
    inner = dict(scope)
    inner["root_path"] = scope.get("root_path", "") + mount.prefix
    if mount.strips:
        inner["path"] = scope["path"][len(mount.prefix) :] or "/"
        raw = scope.get("raw_path")
        if raw:
            inner["raw_path"] = raw[len(mount.prefix.encode()) :] or b"/"
    await mount.app(inner, receive, send)
