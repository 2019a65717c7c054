"""Owns HTTP routes: from registered views to a Starlette application; knows no WebSocket."""

import inspect
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.routing import Route as StarletteRoute

from server.admission import size_refusal
from server.codecs import json_bytes
from server.exceptions import ParameterError
from server.gate import refusal_response
from server.handshake import Scope, check_status, route_path
from server.health import health, readiness
from server.injection import RequestValues
from server.mounted import Mount
from server.routes import HTTPRoute, Router
from server.runtime import AppRuntime
from server.transport import Event, Receive, Send
from workers.segment import Segment


def build_http(router: Router, runtime: AppRuntime) -> Starlette:
    """Make the Starlette application for the router's HTTP routes and mounts.

    Static paths come first, then patterns in registration order, then in a worker the health of
    the server, then mounts; a trailing slash is significant, as it is for WebSockets.
    """
    ordered = sorted(router.http_list, key=lambda route: not route.pattern.is_static)
    routes: list[BaseRoute] = [_Route(route, runtime) for route in ordered]
    if runtime.is_adopted:
        routes += _health_routes(runtime.ledger.segment)
    routes.append(_Mounts(router, runtime))
    app = Starlette(routes=routes, exception_handlers={ParameterError: _parameter_error})
    app.router.redirect_slashes = False
    return app


def with_checked_status(send: Send) -> Send:
    """Return a `send` that refuses a status which granian would end the process at."""

    async def send_checked(event: Event) -> None:
        if event["type"] == "http.response.start":
            check_status(event["status"])
        await send(event)

    return send_checked


class _Route(BaseRoute):
    """One HTTP route; its pattern matches as a WebSocket route's does."""

    def __init__(self, route: HTTPRoute, runtime: AppRuntime) -> None:
        self._route = route
        self._runtime = runtime
        self._is_async = inspect.iscoroutinefunction(route.view)
        # RFC 9110 section 9.3.2: HEAD is GET without the body.
        self._methods = {*route.methods, *(["HEAD"] if "GET" in route.methods else ())}

    def matches(self, scope: Scope) -> tuple[Match, dict[str, Any]]:
        params = self._route.pattern.match(route_path(scope))
        if params is None:
            return Match.NONE, {}
        found = Match.FULL if scope["method"] in self._methods else Match.PARTIAL
        return found, {"endpoint": self._route.view, "path_params": params}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in self._methods:
            allow = {"Allow": ", ".join(sorted(self._methods))}
            raise HTTPException(405, headers=allow)
        request = Request(scope, receive, send)
        refusal = size_refusal(self._runtime.admission.limits, scope)
        if refusal is None:
            refusal = await self._runtime.policy.gate(self._route).refusal(request)
        response = await self._call(request) if refusal is None else refusal_response(refusal)
        await response(scope, receive, send)

    async def _call(self, request: Request) -> Response:
        view, runtime = self._route.view, self._runtime
        values = RequestValues(request, request, request.path_params)
        try:
            arguments = await values.arguments(runtime.plan(self._route), runtime.app_values)
            if self._is_async:
                result = await view(request, **arguments)
            else:
                result = await run_in_threadpool(view, request, **arguments)
        finally:
            await values.close()
        return to_response(result)


def to_response(result: Any) -> Response:
    """Turn what a view returned into a response.

    A str is plain text (return an HTMLResponse for a page), None is 204, everything that is no
    Response, str or bytes is encoded as JSON.

    Raises:
        TypeError: it has no JSON form.
    """
    if isinstance(result, Response):
        return result
    if result is None:
        return Response(status_code=204)
    if isinstance(result, str):
        return PlainTextResponse(result)
    if isinstance(result, bytes):
        return Response(result, media_type="application/octet-stream")
    return Response(json_bytes(result), media_type="application/json")


async def _parameter_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ParameterError)
    body = {"detail": str(error), "parameter": error.name, "in": error.source}
    return Response(json_bytes(body), status_code=error.status, media_type="application/json")


def _health_routes(segment: Segment) -> list[BaseRoute]:
    """Return /healthz (this worker's loop answers) and /readyz (the server takes connections)."""

    async def healthz(request: Request) -> Response:
        return JSONResponse(health(segment))

    async def readyz(request: Request) -> Response:
        is_ready, state = readiness(segment)
        return JSONResponse(state, status_code=200 if is_ready else 503)

    return [StarletteRoute("/healthz", healthz), StarletteRoute("/readyz", readyz)]


class _Mounts(BaseRoute):
    """All mounts as one Starlette route that comes last."""

    def __init__(self, router: Router, runtime: AppRuntime) -> None:
        self._router = router
        self._admission = runtime.admission

    def matches(self, scope: Scope) -> tuple[Match, dict[str, Any]]:
        found = self._router.find_mount(route_path(scope))
        return (Match.NONE, {}) if found is None else (Match.FULL, {"switchboard.mount": found})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        mount: Mount = scope.pop("switchboard.mount")
        refusal = size_refusal(self._admission.limits, scope)
        if refusal is None:
            await mount.call(scope, receive, send)
        else:
            await refusal_response(refusal)(scope, receive, send)
