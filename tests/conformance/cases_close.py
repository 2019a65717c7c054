"""Closing an accepted connection: codes, reasons, and closing again."""

import random

from starlette import status

from server import WEBSOCKET_CLOSE_CODES, CloseCode, WebSocket
from tests.conformance.base import app, note, outcome, signalled
from tests.conformance.steps import Closed, Connects, Gets, GetsJson, Sends, case

LEGAL = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 4000, 4999)
ILLEGAL = (0, 200, 403, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65536, -1)
BOOM = 4003


@app.websocket_route("/close/with/{code}")
async def close_with(ws: WebSocket, code: int) -> None:
    await ws.close(code)
    note(ws, f"{ws.state.name} {ws.close_code}")


@app.websocket_route("/close/illegal")
async def close_illegal(ws: WebSocket) -> None:
    for code in ILLEGAL:
        note(ws, await outcome(ws.close(code)))
    for odd in ("1000", None, 1000.0, True):
        note(ws, await outcome(ws.close(odd)))  # type: ignore[arg-type]
    await ws.send("still open")


@app.websocket_route("/close/plain")
async def close_plain(ws: WebSocket) -> None:
    await ws.close()


@app.websocket("/close/reason")
async def close_reason(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close(code=1000, reason="Normal closure")
    note(websocket, f"{websocket.close_code} {websocket.close_reason}")


@app.websocket_route("/close/reasons")
async def close_reasons(ws: WebSocket) -> None:
    note(ws, await outcome(ws.close(1000, "x" * 124)))
    note(ws, await outcome(ws.close(1000, "é" * 62)))
    note(ws, await outcome(ws.close(1000, "\ud800")))
    note(ws, await outcome(ws.close(1000, b"bytes")))  # type: ignore[arg-type]
    await ws.close(1000, "é" * 61 + "x")


@app.websocket_route("/close/constants")
async def close_constants(ws: WebSocket) -> None:
    await ws.close(status.WS_1001_GOING_AWAY)


@app.websocket_route("/close/enum")
async def close_enum(ws: WebSocket) -> None:
    assert CloseCode["NORMAL"] is CloseCode["NORMAL_CLOSURE"]
    await ws.close(code=CloseCode.NORMAL_CLOSURE)


@app.websocket_route("/close/names", send_type="json")
async def close_names(ws: WebSocket) -> None:
    await ws.send([sorted(WEBSOCKET_CLOSE_CODES), CloseCode.INTERNAL_ERROR, CloseCode(1001).name])


@app.websocket_route("/close/twice")
async def close_twice(ws: WebSocket) -> None:
    await ws.close(4001)
    await ws.close(4002)


@app.websocket_route("/close/twice/caught")
async def close_twice_caught(ws: WebSocket) -> None:
    await ws.close(4001)
    note(ws, await outcome(ws.close()))


@app.websocket_route("/close/then-ensure")
async def close_then_ensure(ws: WebSocket) -> None:
    await ws.close(4001)
    await ws.ensure_closed()
    await ws.ensure_closed(4003)


@app.websocket_route("/close/ensure")
async def ensure(ws: WebSocket) -> None:
    await ws.ensure_closed(4003, "ensured")
    await ws.ensure_closed()


@app.websocket_route("/close/ensure/plain")
async def ensure_plain(ws: WebSocket) -> None:
    await ws.ensure_closed()


@app.websocket_route("/close/with-block", auto_accept=False)
async def close_in_with(ws: WebSocket) -> None:
    async with ws:
        await ws.close(4001)
    note(ws, f"after: {ws.close_code}")


@app.websocket_route("/close/with-block/ensure", auto_accept=False)
async def ensure_in_with(ws: WebSocket) -> None:
    async with ws:
        await ws.ensure_closed(4005)


@app.websocket_route("/close/dangerous")
async def dangerous(ws: WebSocket) -> None:
    rng = random.Random(2)  # gives 0.96, 0.95, 0.06
    for _ in range(100):
        await ws.receive()
        if rng.random() < 0.5:
            await ws.close(BOOM)
            return
        await ws.send("OK")
    await ws.close(status.WS_1000_NORMAL_CLOSURE)


@app.websocket_route("/close/after-sends")
async def close_after_sends(ws: WebSocket) -> None:
    for number in range(50):
        await ws.send(str(number))
    await ws.close(4000, "all sent")


@app.websocket_route("/close/then-send")
async def close_then_send(ws: WebSocket) -> None:
    await ws.close()
    await ws.send("late")


@app.websocket_route("/close/then-receive")
async def close_then_receive(ws: WebSocket) -> None:
    await ws.close()
    await ws.receive_text()


@app.websocket_route("/close/unread")
async def close_unread(ws: WebSocket) -> None:
    """Closes although messages of the peer wait to be read."""
    await signalled(ws)
    await ws.receive()
    await ws.close(4000)


@app.websocket_route("/close/event")
async def close_by_event(ws: WebSocket) -> None:
    await ws.send_event({"type": "websocket.close"})
    note(ws, f"{ws.state.name} {ws.close_code}")
    note(ws, await outcome(ws.send_event({"type": "websocket.close", "code": 4000})))


CASES = [
    *(
        case(
            f"close-{code}",
            "S1.30; S2.13; C28; state:close/connected",
            f"/close/with/{code}",
            Closed(code),
            notes=[f"DISCONNECTED {code}"],
        )
        for code in LEGAL
    ),
    case(
        "close-illegal-codes",
        "C28",
        "/close/illegal",
        Gets("still open"),
        Closed(1000),
        notes=["ValueError"] * len(ILLEGAL) + ["TypeError"] * 4,
    ),
    case("close-default", "S2.12; S1.23", "/close/plain", Closed(1000)),
    case(
        "close-code-and-reason",
        "S2.12; C28",
        "/close/reason",
        Closed(1000, "Normal closure"),
        notes=["1000 Normal closure"],
    ),
    case(
        "close-reason-limit",
        "C28",
        "/close/reasons",
        Closed(1000, "é" * 61 + "x"),
        notes=["ValueError", "ValueError", "ValueError", "TypeError"],
    ),
    case("close-starlette-status", "S1.30", "/close/constants", Closed(1001)),
    case("close-code-enum", "S2.14; C36", "/close/enum", Closed(1000)),
    case(
        "close-code-names",
        "C36; S2.13",
        "/close/names",
        GetsJson([[*range(1000, 1004), *range(1005, 1012), 1015], 1011, "GOING_AWAY"]),
        Closed(1000),
    ),
    case(
        "close-twice",
        "S1.26; C3; 2.3 closes twice",
        "/close/twice",
        Closed(4001),
        raises="RuntimeError: close() again: the WebSocket is closed; see ensure_closed()",
    ),
    case(
        "close-twice-caught",
        "S1.26; C3",
        "/close/twice/caught",
        Closed(4001),
        notes=["RuntimeError"],
    ),
    case(
        "close-then-ensure",
        "S1.27; C3; 2.3 close, ensure_closed",
        "/close/then-ensure",
        Closed(4001),
    ),
    case("ensure-closed", "S1.27", "/close/ensure", Closed(4003, "ensured")),
    case("ensure-closed-default", "S1.27", "/close/ensure/plain", Closed(1000)),
    case("close-inside-with", "S1.25", "/close/with-block", Closed(4001), notes=["after: 4001"]),
    case("ensure-inside-with", "S1.25; S1.27", "/close/with-block/ensure", Closed(4005)),
    case(
        "dangerous",
        "S1.31; S1.30",
        "/close/dangerous",
        *(Sends("a"), Gets("OK"), Sends("b"), Gets("OK"), Sends("c")),
        Closed(BOOM),
    ),
    case(
        "close-after-sends",
        "S1.30; 2.3 closes with 4242",
        "/close/after-sends",
        *(Gets(str(number)) for number in range(50)),
        Closed(4000, "all sent"),
    ),
    case(
        "close-then-send",
        "2.3 close, then send",
        "/close/then-send",
        Closed(1000),
        raises="RuntimeError",
    ),
    case(
        "close-then-receive",
        "2.3 close, then receive",
        "/close/then-receive",
        Closed(1000),
        raises="RuntimeError",
    ),
    case(
        "close-with-unread-messages",
        "S1.30",
        "/close/unread",
        *(Sends("x") for _ in range(20)),
        *(Connects("b", "/signal"), Closed(1000, peer="b")),
        Closed(4000),
    ),
    case(
        "close-by-event",
        "S1.19; C3",
        "/close/event",
        Closed(1000),
        notes=["DISCONNECTED 1000", "RuntimeError"],
    ),
]
