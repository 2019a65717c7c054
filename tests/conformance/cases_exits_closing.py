"""Ways out of a view that say how to close: exceptions with a code, cancellation, old hosts."""

import asyncio
from typing import Any

from server import CloseCode, WebSocket, WebSocketClose, WebSocketException
from tests.conformance.base import app, note
from tests.conformance.steps import (
    Closed,
    Denied,
    Sends,
    case,
)

CLOSING: dict[str, Any] = {
    "exception": lambda: WebSocketException(4001, "because"),
    "exception-default": lambda: WebSocketException(),
    "close": lambda: WebSocketClose(4002, "done"),
    "close-default": lambda: WebSocketClose(),
    "enum": lambda: WebSocketException(CloseCode.POLICY_VIOLATION),
}


@app.websocket_route("/exit/ws/{which}")
async def raises_closing(ws: WebSocket, which: str) -> None:
    raise CLOSING[which]()


@app.websocket("/exit/ws/early/{which}")
async def raises_closing_early(ws: WebSocket, which: str) -> None:
    raise CLOSING[which]()


@app.websocket_route("/exit/ws/with/{which}", auto_accept=False)
async def raises_closing_with(ws: WebSocket, which: str) -> None:
    async with ws:
        raise CLOSING[which]()


@app.websocket_route("/exit/ws/with-caught/{which}", auto_accept=False)
async def raises_closing_with_caught(ws: WebSocket, which: str) -> None:
    try:
        async with ws:
            raise CLOSING[which]()
    except WebSocketException:
        note(ws, f"closed with {ws.close_code} {ws.close_reason}")


@app.websocket_route("/exit/ws/closed/{which}")
async def raises_closing_closed(ws: WebSocket, which: str) -> None:
    await ws.close(4242)
    raise CLOSING[which]()


@app.websocket_route("/exit/ws/illegal")
async def raises_illegal(ws: WebSocket) -> None:
    for code, reason in ((1006, ""), (1000, "x" * 124), (200, "")):
        try:
            raise WebSocketClose(code, reason)
        except ValueError:
            note(ws, "ValueError")


@app.websocket_route("/exit/ws/inside-task")
async def raises_inside(ws: WebSocket) -> None:
    async def deeper() -> None:
        await ws.receive()
        raise WebSocketClose(4003, "from below")

    await deeper()


async def _cancel_me() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


@app.websocket_route("/exit/cancel")
async def cancelled(ws: WebSocket) -> None:
    try:
        await _cancel_me()
    finally:
        note(ws, "finally")


@app.websocket("/exit/cancel/early")
async def cancelled_early(ws: WebSocket) -> None:
    await _cancel_me()


@app.websocket_route("/exit/cancel/with", auto_accept=False)
async def cancelled_with(ws: WebSocket) -> None:
    async with ws:
        await _cancel_me()


@app.websocket_route("/exit/cancel/closed")
async def cancelled_closed(ws: WebSocket) -> None:
    await ws.close(4242)
    await _cancel_me()


@app.websocket("/old-host/returns")
async def old_returns(ws: WebSocket) -> None:
    pass


@app.websocket("/old-host/raises")
async def old_raises(ws: WebSocket) -> None:
    raise ValueError("boom")


@app.websocket("/old-host/rejects")
async def old_rejects(ws: WebSocket) -> None:
    await ws.reject()


@app.websocket("/old-host/closes")
async def old_closes(ws: WebSocket) -> None:
    await ws.close(4001)


@app.websocket("/old-host/cancelled")
async def old_cancelled(ws: WebSocket) -> None:
    await _cancel_me()


@app.websocket_route("/old-host/parameter")
async def old_parameter(ws: WebSocket, n: int) -> None:
    note(ws, "never")


BOOM = "ValueError: boom"

CASES = [
    *(
        case(
            f"exit-ws-{which}",
            "exit:WebSocketException; C19",
            f"/exit/ws/{which}",
            Closed(code, reason),
        )
        for which, code, reason in (
            ("exception", 4001, "because"),
            ("exception-default", 1011, ""),
            ("close", 4002, "done"),
            ("close-default", 1000, ""),
            ("enum", 1008, ""),
        )
    ),
    *(
        case(
            f"exit-ws-early-{which}",
            "exit:WebSocketException before accept; C19",
            f"/exit/ws/early/{which}",
            Denied(403),
        )
        for which in ("exception", "close")
    ),
    case(
        "exit-ws-with", "exit:WebSocketException; C19", "/exit/ws/with/close", Closed(4002, "done")
    ),
    case(
        "exit-ws-with-caught",
        "C19; S1.24",
        "/exit/ws/with-caught/close",
        Closed(4002, "done"),
        notes=["closed with 4002 done"],
    ),
    case("exit-ws-closed", "exit:WebSocketException; C19", "/exit/ws/closed/close", Closed(4242)),
    case("exit-ws-illegal", "C19; C28", "/exit/ws/illegal", Closed(1000), notes=["ValueError"] * 3),
    case(
        "exit-ws-from-below",
        "exit:WebSocketException; C19",
        "/exit/ws/inside-task",
        Sends("x"),
        Closed(4003, "from below"),
    ),
    case(
        "exit-cancelled",
        "exit:CancelledError; 2.3 task cancelled",
        "/exit/cancel",
        Closed(1012),
        notes=["finally"],
        raises="CancelledError",
    ),
    case(
        "exit-cancelled-early",
        "exit:CancelledError",
        "/exit/cancel/early",
        Denied(503),
        raises="CancelledError",
    ),
    case(
        "exit-cancelled-with",
        "exit:CancelledError; S1.24",
        "/exit/cancel/with",
        Closed(1012),
        raises="CancelledError",
    ),
    case(
        "exit-cancelled-closed",
        "exit:CancelledError",
        "/exit/cancel/closed",
        Closed(4242),
        raises="CancelledError",
    ),
    *(
        case(
            f"exit-old-host-{name}",
            source,
            f"/old-host/{name}",
            Denied(403),
            notes=[f"websocket.close {code}"],
            raises=raised,
        )
        for name, code, source, raised in (
            ("returns", 403, "C4; exit:return before accept", None),
            ("raises", 1011, "C20; exit:Exception before accept", BOOM),
            ("rejects", 403, "C29", None),
            ("closes", 4001, "S2.11", None),
            ("cancelled", 1012, "exit:CancelledError", "CancelledError"),
            ("parameter", 403, "C21; C22", None),
            ("unknown", 403, "C25", None),
        )
    ),
]
