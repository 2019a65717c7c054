"""Iterating over messages, and which disconnects are silenced where."""

import asyncio
from typing import Any

from server import WebSocket, WebSocketDisconnect, WebSocketState
from tests.conformance.base import app, described, note, outcome
from tests.conformance.steps import (
    ANY_REASON,
    Closed,
    Differs,
    Gets,
    Leaves,
    Logs,
    Sends,
    Vanishes,
    case,
)


@app.websocket_route("/iterate/for")
async def for_loop(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)
    note(ws, "never: the loop ends by exception")


@app.websocket_route("/iterate/while")
async def while_loop(ws: WebSocket) -> None:
    while True:
        message = await ws.receive()
        await ws.send(message)


@app.websocket_route("/iterate/for/json", value_type="json")
async def for_json(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send({"got": message})


@app.websocket_route("/iterate/for/caught")
async def for_caught(ws: WebSocket) -> None:
    try:
        async for message in ws:
            await ws.send(message)
    except WebSocketDisconnect as disconnect:
        note(ws, f"{described(disconnect)} {disconnect.reason}".rstrip())
        note(ws, f"{ws.state.name} {ws.close_code}")


@app.websocket_route("/iterate/for/break")
async def for_break(ws: WebSocket) -> None:
    async for message in ws:
        if message == "stop":
            break
    await ws.send(await ws.receive())
    async for message in ws:
        await ws.send(f"again {message}")
        return


@app.websocket("/iterate/text")
async def iterate_text(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(message)
    note(websocket, f"after: {websocket.state.name} {websocket.close_code}")


@app.websocket("/iterate/text/break")
async def iterate_break(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        if message == "stop":
            break
    async for data in websocket.iter_bytes():
        await websocket.send_bytes(data)
        if data == b"stop":
            break
    await websocket.send_text(await websocket.receive_text())


@app.websocket("/iterate/bytes")
async def iterate_bytes(websocket: WebSocket) -> None:
    await websocket.accept()
    async for data in websocket.iter_bytes():
        await websocket.send_text(f"Received {len(data)} bytes")
    note(websocket, "after")


@app.websocket("/iterate/json")
async def iterate_json(websocket: WebSocket) -> None:
    await websocket.accept()
    async for data in websocket.iter_json():
        await websocket.send_json({"data": data})
    note(websocket, "after")


@app.websocket("/iterate/text/unreachable")
async def unreachable(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        async for message in websocket.iter_text():
            await websocket.send_text(message)
    except WebSocketDisconnect:
        note(websocket, "never: iter_text ends quietly")


@app.websocket_route("/iterate/text/own-close")
async def own_close(ws: WebSocket) -> None:
    async for message in ws.iter_text():
        note(ws, message)
        await ws.close(4000)
    note(ws, "after")
    note(ws, await outcome(ws.iter_text()))


@app.websocket_route("/iterate/for/own-close")
async def for_own_close(ws: WebSocket) -> None:
    async for message in ws:
        note(ws, message)
        await ws.close(4000)


@app.websocket_route("/iterate/text/closed-meanwhile")
async def closed_meanwhile(ws: WebSocket) -> None:
    async def iterate() -> None:
        async for message in ws.iter_text():
            note(ws, message)
        note(ws, "ended")

    task = asyncio.create_task(iterate())
    await asyncio.sleep(0)
    await ws.close(4000)
    await task


@app.websocket_route("/iterate/lifecycle", auto_accept=False)
async def lifecycle(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            message = await websocket.receive_text()
            await websocket.send_text(f"You said: {message}")
    except WebSocketDisconnect:
        note(websocket, "Client disconnected")


# -- silenced or not -------------------------------------------------------------------------------


@app.websocket_route("/caught/default")
@app.websocket_route("/caught/added", caught_close_codes=(1000, 1001, 1005, 1006, 4000))
@app.websocket_route("/caught/all", caught_close_codes=all)
@app.websocket_route("/caught/none", caught_close_codes=())
@app.websocket("/caught/bolt", auto_accept=True)
@app.websocket("/caught/bolt/none", auto_accept=True, caught_close_codes=())
async def receives(ws: WebSocket) -> None:
    await ws.receive_text()
    note(ws, "never")


@app.websocket_route("/caught/manual", auto_accept=False)
async def manual(ws: WebSocket) -> None:
    await ws.accept()
    await ws.receive_text()


@app.websocket_route("/caught/with", auto_accept=False)
@app.websocket_route("/caught/with/all", auto_accept=False, caught_close_codes=all)
@app.websocket_route("/caught/with/none", auto_accept=False, caught_close_codes=())
@app.websocket_route("/caught/with/auto")
async def with_block(ws: WebSocket) -> None:
    async with ws:
        await ws.receive_text()
        note(ws, "never")
    note(ws, f"after the block: {ws.state.name}")


@app.websocket_route("/caught/finally")
async def with_finally(ws: WebSocket) -> None:
    try:
        await ws.receive()
    finally:
        note(ws, f"finally: {ws.state is WebSocketState.DISCONNECTED}")


AFTER = "after the block: DISCONNECTED"
LOST = "a disconnect that leaves the view is not raised to a real host (C7)"


def _quiet(route: str, code: int | None, *notes: str, source: str) -> Any:
    return case(
        f"caught-{route.replace('/', '-')}-{code}",
        source,
        f"/caught/{route}",
        Leaves(code),
        notes=notes,
    )


def _lost(route: str, code: int | None, *notes: str, source: str) -> Any:
    return case(
        f"uncaught-{route.replace('/', '-')}-{code}",
        f"{source}; exit:uncaught disconnect",
        f"/caught/{route}",
        Leaves(code),
        notes=notes,
        raises=Differs(LOST, f"WebSocketDisconnect: {code or 1005}", wire=None),
    )


CASES = [
    case(
        "for",
        "S1.14; S1.32; C6",
        "/iterate/for",
        *(Sends("a"), Gets("a"), Sends("b"), Gets("b"), Leaves(1000)),
    ),
    case("for-wrong-frame", "C15; S1.14", "/iterate/for", Sends(b"x"), Closed(1003, ANY_REASON)),
    case("for-as-while", "S1.14", "/iterate/while", Sends("a"), Gets("a"), Leaves(1000)),
    case(
        "for-json",
        "S1.14; S1.18",
        "/iterate/for/json",
        *(Sends("[1]"), Gets('{"got":[1]}'), Leaves(1001)),
    ),
    case(
        "for-caught",
        "S1.32; S1.34; C6; 2.3 receive again",
        "/iterate/for/caught",
        *(Sends("a"), Gets("a"), Leaves(4000, "bye")),
        notes=Differs(
            "granian tells no reason",
            ["WebSocketDisconnect(4000) bye", "DISCONNECTED 4000"],
            granian=["WebSocketDisconnect(4000)", "DISCONNECTED 4000"],
        ),
    ),
    case(
        "for-break",
        "S1.14",
        "/iterate/for/break",
        *(Sends("a"), Sends("stop"), Sends("next"), Gets("next"), Sends("b"), Gets("again b")),
        Closed(1000),
    ),
    *(
        case(
            f"iter-text-ends-{code}",
            "S2.6; C6; state:iter_text/connected",
            "/iterate/text",
            *(Sends("a"), Gets("a"), Leaves(code)),
            notes=[f"after: DISCONNECTED {code or 1005}"],
        )
        for code in (1000, 1001, 4000, None)
    ),
    case(
        "iter-text-ends-vanished",
        "S2.6; C6; S1.34",
        "/iterate/text",
        *(Sends("a"), Gets("a"), Vanishes()),
        notes=Differs(
            "both servers report a broken connection as 1005",
            ["after: DISCONNECTED 1006"],
            wire=["after: DISCONNECTED 1005"],
        ),
    ),
    case(
        "iter-text-wrong-frame", "C15; S2.6", "/iterate/text", Sends(b"x"), Closed(1003, ANY_REASON)
    ),
    case(
        "iter-text-break",
        "S2.6",
        "/iterate/text/break",
        *(Sends("a"), Sends("stop"), Sends(b"1"), Sends(b"stop"), Sends("last"), Sends("lost")),
        *(Gets(b"1"), Gets(b"stop"), Gets("last"), Closed(1000)),
    ),
    case(
        "iter-bytes",
        "S2.6",
        "/iterate/bytes",
        *(Sends(b"abc"), Gets("Received 3 bytes"), Leaves(4000)),
        notes=["after"],
    ),
    case(
        "iter-json",
        "S2.6",
        "/iterate/json",
        *(Sends('{"a":1}'), Gets('{"data":{"a":1}}'), Leaves(4000)),
        notes=["after"],
    ),
    case("iter-text-never-raises", "S2.8; C6", "/iterate/text/unreachable", Leaves(4000)),
    case(
        "iter-text-own-close",
        "C6; state:iter_text/closed",
        "/iterate/text/own-close",
        *(Sends("one"), Sends("two"), Closed(4000)),
        notes=["one", "after", "ok []"],
    ),
    case(
        "for-own-close",
        "C6; state:async_for/closed",
        "/iterate/for/own-close",
        *(Sends("one"), Closed(4000)),
        notes=["one"],
        raises="RuntimeError",
    ),
    case(
        "iter-text-closed-meanwhile",
        "C6; S2.22",
        "/iterate/text/closed-meanwhile",
        Closed(4000),
        notes=["ended"],
    ),
    case(
        "receive-text-until-disconnect",
        "S2.3; S2.7",
        "/iterate/lifecycle",
        *(Sends("hi"), Gets("You said: hi"), Leaves(4000)),
        notes=["Client disconnected"],
    ),
    *(
        _quiet("default", code, source="S1.33; C7; exit:caught disconnect; 2.3 receive sees 1000")
        for code in (1000, 1001)
    ),
    *(_lost("default", code, source="S1.34; C7; C18") for code in (None, 1011, 4000)),
    *(_quiet("added", code, source="S1.35; C7") for code in (1000, 1001, None, 4000)),
    _lost("added", 4001, source="S1.35; C7"),
    *(_quiet("all", code, source="S1.35; C7") for code in (1000, None, 1012, 3000, 4000, 4999)),
    *(_lost("none", code, source="S1.35; C7") for code in (1000, 1001)),
    *(_quiet("bolt", code, source="C7") for code in (1000, 1011, None, 4000)),
    _lost("bolt/none", 1000, source="C7"),
    _lost("manual", 1000, source="S1.33; 2.3 receive outside async with"),
    *(
        _quiet("with", code, AFTER, source="S1.33; 2.3 async with, client 1000")
        for code in (1000, 1001)
    ),
    *(_lost("with", code, source="S1.33; 2.3 async with, client 1006") for code in (None, 4000)),
    _quiet("with/all", 4000, AFTER, source="S1.35; S1.33"),
    _lost("with/none", 1000, source="S1.35; S1.33"),
    _quiet("with/auto", 1001, AFTER, source="S1.33; S1.24"),
    case(
        "uncaught-vanished",
        "S1.34; C7; exit:uncaught disconnect",
        "/caught/default",
        Vanishes(),
        raises=Differs(LOST, "WebSocketDisconnect: 1006", wire=None),
    ),
    case(
        "uncaught-is-logged-once",
        "C7; C18; exit:uncaught disconnect",
        "/caught/default",
        Leaves(4321),
        Logs(
            Differs(
                "test clients print nothing, uvicorn only what its own loggers say",
                None,
                granian='"code":4321,"initiator":"client"',
            )
        ),
        raises=Differs(LOST, "WebSocketDisconnect: 4321", wire=None),
    ),
    case("caught-added-vanished", "S1.34; S1.35", "/caught/added", Vanishes()),
    case("caught-all-vanished", "S1.35", "/caught/all", Vanishes()),
    case(
        "caught-finally", "S1.33; S2.20", "/caught/finally", Leaves(1000), notes=["finally: True"]
    ),
]
