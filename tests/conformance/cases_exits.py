"""The table of exits: what leaves for the peer, and for the host, on every way out of a view."""

import asyncio

import msgspec
from starlette.exceptions import HTTPException

from server import WebSocket, WebSocketDisconnect
from tests.conformance.base import app, case_key, note, outcome, signalled
from tests.conformance.steps import (
    Closed,
    Connects,
    Denied,
    Differs,
    Gets,
    Leaves,
    Logs,
    Sends,
    case,
)


@app.websocket_route("/exit/returns")
async def returns(ws: WebSocket) -> None:
    await ws.send("last words")


@app.websocket_route("/exit/returns-value")
async def returns_value(ws: WebSocket) -> str:
    return "ignored"


@app.websocket_route("/exit/close")
async def closes(ws: WebSocket) -> None:
    await ws.close(4242, "own")


@app.websocket_route("/exit/raise")
async def raises(ws: WebSocket) -> None:
    await ws.send("before")
    raise ValueError(f"boom {case_key(ws)}")


@app.websocket("/exit/raise/bolt")
async def raises_bolt(ws: WebSocket) -> None:
    await ws.accept()
    await ws.receive_text()
    raise ValueError("boom")


@app.websocket_route("/exit/raise/closed")
async def raises_closed(ws: WebSocket) -> None:
    await ws.close(4242)
    raise ValueError("boom")


@app.websocket_route("/exit/raise/left")
async def raises_left(ws: WebSocket) -> None:
    try:
        await ws.receive()
    except WebSocketDisconnect:
        raise ValueError("boom") from None


@app.websocket("/exit/raise/early")
async def raises_early(ws: WebSocket) -> None:
    raise ValueError("boom")


@app.websocket("/exit/raise/rejected")
async def raises_rejected(ws: WebSocket) -> None:
    await ws.reject(401)
    raise ValueError("boom")


@app.websocket_route("/exit/raise/with", auto_accept=False)
async def raises_with(ws: WebSocket) -> None:
    async with ws:
        raise ValueError("boom")


@app.websocket_route("/exit/raise/with/caught", auto_accept=False)
async def raises_with_caught(ws: WebSocket) -> None:
    try:
        async with ws:
            raise ValueError("boom")
    except ValueError:
        note(ws, f"closed with {ws.close_code}")


@app.websocket_route("/exit/raise/http")
async def raises_http(ws: WebSocket) -> None:
    raise HTTPException(404)


@app.websocket_route("/exit/raise/group")
async def raises_group(ws: WebSocket) -> None:
    async def fail() -> None:
        raise ValueError("boom")

    async with asyncio.TaskGroup() as group:
        group.create_task(fail())
        group.create_task(ws.receive())


@app.websocket_route("/exit/raise/timeout")
async def raises_timeout(ws: WebSocket) -> None:
    async with asyncio.timeout(0.01):
        await ws.receive()


@app.websocket_route("/exit/validation")
async def validation(ws: WebSocket) -> None:
    """A view's own validation error is an error like any other."""
    msgspec.convert("x", int)


@app.websocket_route("/exit/left-then-work")
async def left_then_work(ws: WebSocket) -> None:
    try:
        await ws.receive()
    except WebSocketDisconnect:
        note(ws, await outcome(ws.ensure_closed()))
        note(ws, "work after the disconnect")


@app.websocket_route("/exit/task-goes-on")
async def task_goes_on(ws: WebSocket) -> None:
    """A task that outlives its view meets a closed socket."""

    async def late() -> None:
        await signalled(ws)
        note(ws, await outcome(ws.send("late")))

    TASKS.add(task := asyncio.create_task(late()))
    task.add_done_callback(TASKS.discard)


TASKS: set[asyncio.Task[None]] = set()


@app.websocket_route("/exit/other", caught_close_codes=all)
async def other(ws: WebSocket, role: str) -> None:
    """The disconnect of another connection leaves this view, whose own peer is still there."""
    if role == "first":
        OTHERS.append(ws)
        await ws.receive()
    else:
        gone = OTHERS.pop()
        await signalled(ws)
        while True:
            await gone.send("x")
            await asyncio.sleep(0)


OTHERS: list[WebSocket] = []
BOOM = "ValueError: boom"

CASES = [
    case(
        "exit-return", "exit:return; S1.22; C4", "/exit/returns", Gets("last words"), Closed(1000)
    ),
    case("exit-return-value", "exit:return", "/exit/returns-value", Closed(1000)),
    case("exit-close", "exit:close; 2.3 closes with 4242", "/exit/close", Closed(4242, "own")),
    case(
        "exit-exception",
        "exit:Exception; S1.20; S1.21; C18; 2.3 raises E",
        "/exit/raise",
        *(Gets("before"), Closed(1011)),
        Logs(Differs("a test client prints nothing", "ValueError: boom {key}", testing=None)),
        raises="ValueError: boom {key}",
    ),
    case(
        "exit-exception-bolt",
        "exit:Exception; C18",
        "/exit/raise/bolt",
        Sends("x"),
        Closed(1011),
        raises=BOOM,
    ),
    case(
        "exit-exception-closed",
        "exit:Exception; 2.3 closes with 4242, raises E",
        "/exit/raise/closed",
        Closed(4242),
        raises=BOOM,
    ),
    case("exit-exception-left", "exit:Exception", "/exit/raise/left", Leaves(1000), raises=BOOM),
    case(
        "exit-exception-early",
        "exit:Exception before accept; C20; 2.3 E before accept",
        "/exit/raise/early",
        Denied(500, '{"detail":"Error"}'),
        raises=BOOM,
    ),
    case(
        "exit-exception-rejected",
        "exit:Exception",
        "/exit/raise/rejected",
        Denied(401),
        raises=BOOM,
    ),
    case(
        "exit-exception-with",
        "exit:Exception; 2.3 async with, E inside",
        "/exit/raise/with",
        Closed(1011),
        raises=BOOM,
    ),
    case(
        "exit-exception-with-caught",
        "2.3 async with, E inside",
        "/exit/raise/with/caught",
        Closed(1011),
        notes=["closed with 1011"],
    ),
    case(
        "exit-http-exception",
        "S1.20; 2.3 HTTPError raised",
        "/exit/raise/http",
        Closed(1011),
        raises="HTTPException: 404: Not Found",
    ),
    case(
        "exit-exception-group",
        "exit:Exception",
        "/exit/raise/group",
        Closed(1011),
        raises="ExceptionGroup",
    ),
    case(
        "exit-timeout", "exit:Exception", "/exit/raise/timeout", Closed(1011), raises="TimeoutError"
    ),
    case(
        "exit-validation-error",
        "2.3 ValidationError anywhere; C18",
        "/exit/validation",
        Closed(1011),
        raises="ValidationError",
    ),
    case(
        "exit-after-disconnect",
        "exit:caught disconnect; C3",
        "/exit/left-then-work",
        Leaves(4000),
        notes=["ok", "work after the disconnect"],
    ),
    case(
        "exit-task-goes-on",
        "exit:return; S2.22",
        "/exit/task-goes-on",
        Closed(1000),
        Connects("b", "/signal"),
        Closed(1000, peer="b"),
        Connects("c", "/notes?count=1"),
        Gets('["RuntimeError"]', peer="c"),
        notes=["RuntimeError"],
    ),
    case(
        "exit-other-connection",
        "C7; C14",
        "/exit/other?role=first",
        Connects("b", "/exit/other?role=second"),
        Leaves(4000),
        Connects("c", "/signal"),
        Closed(1011, peer="b"),
    ),
]
