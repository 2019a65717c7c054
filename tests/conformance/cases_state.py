"""The table "Method x state" of docs/topics/websocket.md: every method in every state, twice."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from server import WebSocket, WebSocketDisconnect, WebSocketState
from tests.conformance.base import app, note, outcome, signalled
from tests.conformance.steps import (
    Case,
    Closed,
    Connects,
    Denied,
    Differs,
    Gets,
    Leaves,
    Sends,
    case,
)

GONE = "WebSocketDisconnect(4005)"
WRONG = "RuntimeError"
SEND_EVENT = {"type": "websocket.send", "text": "x"}
OTHER = "other-protocol"


async def _enter(ws: WebSocket) -> None:
    await ws.__aenter__()


async def _state(ws: WebSocket) -> str:
    return ws.state.name


async def _join(ws: WebSocket) -> None:
    await ws.join("room")


async def _iterate(ws: WebSocket) -> AsyncIterator[Any]:
    async for message in ws:
        yield message


METHODS: dict[str, Callable[[WebSocket], Any]] = {
    "accept": lambda ws: ws.accept(),
    "accept_other": lambda ws: ws.accept(OTHER),
    "send": lambda ws: ws.send("x"),
    "send_text": lambda ws: ws.send_text("x"),
    "send_bytes": lambda ws: ws.send_bytes(b"x"),
    "send_json": lambda ws: ws.send_json("x"),
    "send_event": lambda ws: ws.send_event(dict(SEND_EVENT)),
    "receive": lambda ws: ws.receive(),
    "receive_text": lambda ws: ws.receive_text(),
    "receive_bytes": lambda ws: ws.receive_bytes(),
    "receive_json": lambda ws: ws.receive_json(),
    "receive_event": lambda ws: ws.receive_event(),
    "close": lambda ws: ws.close(4001, "bye"),
    "ensure_closed": lambda ws: ws.ensure_closed(4001, "bye"),
    "reject": lambda ws: ws.reject(),
    "async_with": _enter,
    "iter_text": lambda ws: ws.iter_text(),
    "iter_bytes": lambda ws: ws.iter_bytes(),
    "iter_json": lambda ws: ws.iter_json(),
    "async_for": _iterate,
    "join": _join,
    "state": _state,
}


async def twice(ws: WebSocket, method: str) -> None:
    note(ws, await outcome(METHODS[method](ws)))
    note(ws, await outcome(METHODS[method](ws)))


@app.websocket_route("/state/before/{method}", auto_accept=False)
async def before(ws: WebSocket, method: str) -> None:
    await twice(ws, method)
    if ws.state is WebSocketState.CONNECTING:
        await ws.accept()
    if ws.state is WebSocketState.CONNECTED:
        await ws.send_text("open")


@app.websocket_route("/state/connected/{method}", caught_close_codes=all)
async def connected(ws: WebSocket, method: str) -> None:
    await twice(ws, method)
    if ws.state is WebSocketState.CONNECTED:
        await ws.send_text("open")


@app.websocket_route("/state/closed/{method}")
async def closed(ws: WebSocket, method: str) -> None:
    await ws.close(4000, "done")
    await twice(ws, method)


@app.websocket_route("/state/rejected/{method}", auto_accept=False)
async def rejected(ws: WebSocket, method: str) -> None:
    await ws.reject()
    await twice(ws, method)


@app.websocket_route("/state/left/{method}")
async def left(ws: WebSocket, method: str) -> None:
    try:
        await ws.receive()
    except WebSocketDisconnect:
        await twice(ws, method)


@app.websocket_route("/state/unnoticed/{method}")
async def unnoticed(ws: WebSocket, method: str) -> None:
    await signalled(ws)
    await twice(ws, method)


def _before(method: str, first: str, then: str, *steps: Any) -> Case:
    source = f"state:{method}/before; C13"
    notes = (first, then)
    return case(
        f"before-{method}",
        source,
        f"/state/before/{method}",
        *(steps or (Gets("open"), Closed(1000))),
        notes=notes,
        subprotocols=(OTHER,),
    )


BEFORE = [
    _before("accept", "ok", "ok"),
    _before("accept_other", "ok", "ok"),
    *(
        _before(method, WRONG, WRONG)
        for method in (
            *("send", "send_text", "send_bytes", "send_json", "send_event"),
            *("receive", "receive_text", "receive_bytes", "receive_json"),
            *("iter_text", "iter_bytes", "iter_json", "async_for", "join"),
        )
    ),
    _before("receive_event", "ok {'type': 'websocket.connect'}", WRONG),
    _before("close", "ok", WRONG, Denied(403)),
    _before("ensure_closed", "ok", "ok", Denied(403)),
    _before("reject", "ok", WRONG, Denied(403)),
    _before("async_with", "ok", "ok"),
    _before("state", "ok 'CONNECTING'", "ok 'CONNECTING'"),
]


def _connected(method: str, first: Any, then: Any, *steps: Any) -> Case:
    return case(
        f"connected-{method}",
        f"state:{method}/connected",
        f"/state/connected/{method}",
        *steps,
        notes=(first, then),
        subprotocols=(OTHER,),
    )


OPEN = (Gets("open"), Closed(1000))
CONNECTED = [
    _connected("accept", "ok", "ok", *OPEN),
    _connected("accept_other", WRONG, WRONG, *OPEN),
    _connected("send", "ok", "ok", Gets("x"), Gets("x"), *OPEN),
    _connected("send_text", "ok", "ok", Gets("x"), Gets("x"), *OPEN),
    _connected("send_bytes", "ok", "ok", Gets(b"x"), Gets(b"x"), *OPEN),
    _connected("send_json", "ok", "ok", Gets('"x"'), Gets('"x"'), *OPEN),
    _connected("send_event", "ok", "ok", Gets("x"), Gets("x"), *OPEN),
    _connected("receive", "ok 'm'", GONE, Sends("m"), Leaves(4005)),
    _connected("receive_text", "ok 'm'", GONE, Sends("m"), Leaves(4005)),
    _connected("receive_bytes", "ok b'm'", GONE, Sends(b"m"), Leaves(4005)),
    _connected("receive_json", "ok {'n': 1}", GONE, Sends('{"n":1}'), Leaves(4005)),
    _connected("close", "ok", WRONG, Closed(4001, "bye")),
    _connected("ensure_closed", "ok", "ok", Closed(4001, "bye")),
    _connected("reject", "ok", WRONG, Closed(1008)),
    _connected("async_with", "ok", "ok", *OPEN),
    _connected("iter_text", "ok ['m', 'n']", "ok []", Sends("m"), Sends("n"), Leaves(4005)),
    _connected("iter_bytes", "ok [b'm']", "ok []", Sends(b"m"), Leaves(4005)),
    _connected("iter_json", "ok [1]", "ok []", Sends("1"), Leaves(4005)),
    _connected("async_for", GONE, GONE, Sends("m"), Leaves(4005)),
    _connected("join", "ok", "ok", *OPEN),
    _connected("state", "ok 'CONNECTED'", "ok 'CONNECTED'", *OPEN),
]


def _ended(state: str, method: str, first: Any, then: Any = None) -> Case:
    step, source = {
        "closed": (Closed(4000, "done"), f"state:{method}/closed"),
        "rejected": (Denied(403), f"state:{method}/closed; S1.28"),
        "left": (Leaves(4005, "off"), f"state:{method}/left"),
    }[state]
    return case(
        f"{state}-{method}",
        source,
        f"/state/{state}/{method}",
        step,
        notes=(first, first if then is None else then),
        subprotocols=(OTHER,),
    )


CLOSED_EVENT = "ok {'type': 'websocket.disconnect', 'code': 4000, 'reason': 'done'}"
CLOSED = [
    *(
        _ended("closed", method, WRONG)
        for method in METHODS
        if method not in ("receive_event", "ensure_closed", "state")
        and not method.startswith("iter_")
    ),
    _ended("closed", "receive_event", CLOSED_EVENT),
    _ended("closed", "ensure_closed", "ok"),
    *(_ended("closed", f"iter_{kind}", "ok []") for kind in ("text", "bytes", "json")),
    _ended("closed", "state", "ok 'DISCONNECTED'"),
]
REJECTED = [
    *(_ended("rejected", method, WRONG) for method in ("accept", "send_text", "receive_text")),
    *(_ended("rejected", method, WRONG) for method in ("close", "reject", "async_with")),
    _ended("rejected", "ensure_closed", "ok"),
    _ended("rejected", "iter_text", "ok []"),
    _ended("rejected", "state", "ok 'DISCONNECTED'"),
]
LEFT = [
    *(
        _ended("left", method, GONE)
        for method in METHODS
        if method not in ("receive_event", "close", "ensure_closed", "reject", "state")
        and not method.startswith("iter_")
    ),
    _ended("left", "receive_event", WRONG),
    *(_ended("left", method, "ok") for method in ("close", "ensure_closed", "reject")),
    *(_ended("left", f"iter_{kind}", "ok []") for kind in ("text", "bytes", "json")),
    _ended("left", "state", "ok 'DISCONNECTED'"),
]


def _unnoticed(method: str, first: Any, then: Any) -> Case:
    return case(
        f"unnoticed-{method}",
        f"state:{method}/left; C14" if method.startswith("send") else f"state:{method}/left; C3",
        f"/state/unnoticed/{method}",
        Leaves(4005, "off"),
        Connects("b", "/signal"),
        Closed(1000, peer="b"),
        notes=(first, then),
    )


LEFT_EVENT = Differs(
    "granian reports no reason, so the event has none",
    "ok {'type': 'websocket.disconnect', 'code': 4005, 'reason': 'off'}",
    granian="ok {'type': 'websocket.disconnect', 'code': 4005}",
)
UNNOTICED = [
    *(_unnoticed(method, GONE, GONE) for method in ("send_text", "send_bytes", "send_json")),
    *(_unnoticed(method, GONE, GONE) for method in ("send", "send_event", "receive_text")),
    *(_unnoticed(method, "ok", "ok") for method in ("close", "ensure_closed", "reject")),
    _unnoticed("iter_text", "ok []", "ok []"),
    _unnoticed("receive_event", LEFT_EVENT, WRONG),
]

CONNECTED.append(
    _connected(
        "receive_event",
        "ok {'type': 'websocket.receive', 'text': 'm'}",
        Differs(
            "granian reports no reason",
            "ok {'type': 'websocket.disconnect', 'code': 4005, 'reason': ''}",
            granian="ok {'type': 'websocket.disconnect', 'code': 4005}",
        ),
        Sends("m"),
        Leaves(4005),
    )
)

CASES = [*BEFORE, *CONNECTED, *CLOSED, *REJECTED, *LEFT, *UNNOTICED]
