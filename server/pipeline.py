"""Owns the run of one WebSocket connection from its connect event to its end.

It decides which step refuses, and what leaves for the peer on every way out of the view; it does
not know how events travel. docs/topics/pipeline.md has the steps and the table of exits.
"""

import asyncio
import logging
from collections.abc import Mapping

from server.admission import Refusal
from server.auth.failure import AuthenticationFailed
from server.close_codes import (
    UNAUTHORIZED,
    WEBSOCKET_CLOSE_CODES,
    CloseCode,
    truncate_reason,
)
from server.codecs import json_bytes
from server.exceptions import (
    ParameterError,
    WebSocketDisconnect,
    WebSocketException,
    sole_cause,
)
from server.handshake import (
    Handshake,
    Scope,
    accept_headers,
    handshake_problem,
)
from server.injection import RequestValues
from server.runtime import AppRuntime
from server.states import WebSocketState
from server.transport import Receive, Send
from server.websocket import WebSocket
from server.websocket_route import WebSocketRoute

log = logging.getLogger("switchboard.connection")

NO_ROUTE = Refusal(403, "No WebSocket route for this path")  # as both guides' hosts answer

TESTING_EXTENSION = "switchboard.testing"
"""In `scope["extensions"]`: the caller wants the disconnects that a real host must not see."""


async def refuse(
    runtime: AppRuntime,
    route: WebSocketRoute | None,
    refusal: Refusal,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Answer a handshake that comes to no connection; None: it is for no route."""
    await receive()
    if refusal.limit is not None:
        runtime.ledger.limited(route, refusal.limit)
    if not Handshake(scope).has_denial_response:
        runtime.ledger.refuse(route, 403)
        await send({"type": "websocket.close", "code": refusal.status})
        return
    runtime.ledger.refuse(route, refusal.status)
    raw = [(b"content-type", b"application/json"), *accept_headers(refusal.headers)]
    await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": raw})
    body = json_bytes({"detail": refusal.detail})
    await send({"type": "websocket.http.response.body", "body": body})


async def serve_connection(
    runtime: AppRuntime,
    route: WebSocketRoute,
    path_params: Mapping[str, str],
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Run one connection on `route`; returns when nothing is left to send.

    Raises:
        Exception: what the view raised, after the close frame; hosts log it.
        asyncio.CancelledError: the host is stopping; the peer was told 1012.
    """
    # The connect event is read first: granian breaks when anything is sent before it.
    connect = await receive()
    if connect["type"] != "websocket.connect":
        return
    scope["path_params"] = path_params
    ws = WebSocket(scope, receive, send, route, runtime)
    refusal = runtime.admission.enter(ws)
    if refusal is not None:
        ws.limited(refusal.limit)
        await ws.deny(refusal.status, {"detail": refusal.detail}, refusal.headers)
        return
    runtime.running[ws] = asyncio.current_task()
    try:
        await _run_view(runtime, ws, path_params)
    except BaseException as error:
        if not await _end_after(runtime, ws, error):
            raise
    else:
        await _finish(ws, CloseCode.NORMAL_CLOSURE, "", status=403)
    finally:
        runtime.connections.discard(ws)
        try:
            await runtime.rooms.leave_all(ws)
            await ws.settled()
        finally:
            ws.unwatch()
            runtime.ledger.leave(ws)
            runtime.admission.leave(ws)
            del runtime.running[ws]


async def _end_after(runtime: AppRuntime, ws: WebSocket, error: BaseException) -> bool:
    """Tell the peer what `error` means; False if the host is to have it too."""
    cause = sole_cause(error, AuthenticationFailed)
    if isinstance(cause, WebSocketDisconnect):
        return await _on_disconnect(runtime, ws, cause)
    if isinstance(cause, WebSocketException):
        await _finish(ws, cause.code, cause.reason, status=cause.http_status)
        return True
    if isinstance(cause, AuthenticationFailed):
        await _finish(ws, UNAUTHORIZED, truncate_reason(cause.detail), status=401)
        return True
    if isinstance(cause, ParameterError):
        await _refuse_parameter(ws, cause)
        return True
    task = asyncio.current_task()
    if isinstance(cause, asyncio.CancelledError) and task is not None and task.cancelling():
        await _finish(ws, CloseCode.SERVICE_RESTART, "", status=503)
    else:
        runtime.ledger.error(ws.route)
        await _finish(ws, CloseCode.INTERNAL_ERROR, "", status=500)
    return False


async def _run_view(runtime: AppRuntime, ws: WebSocket, path_params: Mapping[str, str]) -> None:
    """Take the steps before the view, in order, then the view, then the teardown."""
    problem = handshake_problem(ws.scope)
    if problem is not None:
        await ws.deny(400, {"detail": problem}, close_code=403)
        return
    if not await runtime.policy.gate(ws.route).let_in(ws):
        return
    plan = runtime.plan(ws.route)
    if plan.is_plain and not plan.inputs.parameters:
        if await _accept(runtime, ws):
            await ws.route.view(ws, **dict.fromkeys(plan.inputs.connections, ws))
        return
    values = RequestValues(ws, ws.http, path_params)
    try:
        arguments = await values.arguments(plan, runtime.app_values)
        if await _accept(runtime, ws):
            await ws.route.view(ws, **arguments)
    finally:
        await values.close()


async def _accept(runtime: AppRuntime, ws: WebSocket) -> bool:
    """Accept, if the route does that by itself; False if a provider has refused it."""
    if ws.has_ended:
        return False
    runtime.connections.add(ws)
    if ws.route.auto_accept:
        await ws.accept(ws.choose_subprotocol(ws.route.subprotocols))
    return True


async def _finish(ws: WebSocket, code: int, reason: str, *, status: int) -> None:
    """Close with `code`, or refuse with `status` if the handshake is still open."""
    await ws.decided()
    if ws.state is WebSocketState.CONNECTING:
        close_code = code if status not in (401, 403, 429) else status
        detail = reason or _TEXTS.get(status, "Rejected")
        await ws.deny(status, {"detail": detail}, close_code=close_code)
    else:
        await ws.ensure_closed(code, reason)


_TEXTS = {
    401: "Authentication required",
    403: "Forbidden",
    429: "Too many connections",
    500: "Error",
    503: "Service unavailable",
}


async def _refuse_parameter(ws: WebSocket, error: ParameterError) -> None:
    body = {"detail": str(error), "parameter": error.name, "in": error.source}
    if ws.state is WebSocketState.CONNECTING:
        await ws.deny(error.status, body, close_code=403)
    else:
        # A lazy provider found it out inside the view.
        await ws.ensure_closed(CloseCode.POLICY_VIOLATION, truncate_reason(str(error)))


async def _on_disconnect(
    runtime: AppRuntime, ws: WebSocket, disconnect: WebSocketDisconnect
) -> bool:
    """Note a disconnect that left the view; False if the caller is a test that wants it."""
    if not ws.has_ended:
        # The view sent to another connection whose peer is gone; this one's peer is still here.
        log.error(
            "%s: a disconnect left the view of an open connection (that of another one?);"
            " closing with 1011",
            ws.route.pattern.text,
        )
        runtime.ledger.error(ws.route)
        await _finish(ws, CloseCode.INTERNAL_ERROR, "", status=500)
        return True
    if ws.route.silences_at_exit and ws.route.catches(disconnect.code):
        return True
    label = disconnect.code if disconnect.code in WEBSOCKET_CLOSE_CODES else "other"
    runtime.stats[f"uncaught_disconnect_{label}"] += 1
    log.debug("%s: disconnect %s left the view", ws.route.pattern.text, disconnect)
    return TESTING_EXTENSION not in (ws.scope.get("extensions") or ())
