"""Accepting and refusing a handshake, by the route or by the view."""

from server import BoltAPI, WebSocket, WebSocketState
from tests.conformance.base import app, note, outcome
from tests.conformance.steps import Accepted, Closed, Denied, Differs, Gets, Logs, Sends, case

FORBIDDEN = '{"detail":"Forbidden"}'


@app.websocket_route("/accept/auto")
async def auto(ws: WebSocket) -> None:
    await ws.send(f"{ws.state.name} {ws.auto_accept}")


@app.websocket_route("/accept/auto/idle")
async def auto_idle(ws: WebSocket) -> None:
    await ws.receive()


@app.websocket_route("/accept/manual", auto_accept=False)
async def manual(ws: WebSocket) -> None:
    note(ws, f"going to accept: {ws.state.name}")
    await ws.accept()
    await ws.close()
    note(ws, f"connection closed: {ws.state.name}")


@app.websocket_route("/accept/manual/returns", auto_accept=False)
async def manual_returns(ws: WebSocket) -> None:
    await ws.accept()


@app.websocket_route("/accept/manual/never", auto_accept=False)
async def manual_never(ws: WebSocket) -> None:
    note(ws, "view ran")


@app.websocket("/accept/bolt")
async def bolt(websocket: WebSocket) -> None:
    note(websocket, f"{websocket.state.name} {websocket.auto_accept}")
    await websocket.accept()
    await websocket.send_text(websocket.state.name)


@app.websocket("/accept/bolt/never")
async def bolt_never(websocket: WebSocket) -> None:
    note(websocket, "view ran")


@app.websocket("/accept/bolt/auto", auto_accept=True, value_type="text")
async def bolt_auto(websocket: WebSocket) -> None:
    await websocket.send("accepted")


@app.websocket_route("/accept/again")
async def again(ws: WebSocket) -> None:
    await ws.accept()
    await ws.accept()
    await ws.send("once")


@app.websocket("/accept/again/equal")
async def again_equal(ws: WebSocket) -> None:
    await ws.accept("chat", headers={"x-a": "1"})
    note(ws, await outcome(ws.accept("chat", headers=[(b"x-a", b"1")])))
    note(ws, await outcome(ws.accept()))
    note(ws, await outcome(ws.accept("chat")))
    note(ws, await outcome(ws.accept("chat", headers={"x-a": "2"})))
    await ws.send_text("still open")


@app.websocket_route("/accept/with", auto_accept=False)
async def with_block(ws: WebSocket) -> None:
    async with ws as same:
        assert same is ws
        await ws.send(ws.state.name)
    note(ws, f"after the block: {ws.state.name}")


@app.websocket_route("/accept/with/auto")
async def with_block_auto(ws: WebSocket) -> None:
    async with ws:
        await ws.send("inside")
    note(ws, await outcome(ws.send("late")))


@app.websocket("/accept/with/bolt")
async def with_block_bolt(ws: WebSocket) -> None:
    async with ws:
        await ws.send_text("inside")


@app.websocket_route("/accept/with/accepted", auto_accept=False)
async def accept_then_with(ws: WebSocket) -> None:
    await ws.accept()
    async with ws:
        await ws.send("inside")


@app.websocket("/accept/headers")
async def headers(ws: WebSocket) -> None:
    await ws.accept(headers={"X-Served-By": "switchboard", "set-cookie": "a=1"})
    await ws.send_text("open")


@app.websocket("/accept/headers/forbidden/{name}")
async def forbidden_header(ws: WebSocket, name: str) -> None:
    note(ws, await outcome(ws.accept(headers={name: "x"})))
    await ws.accept()


@app.websocket("/accept/headers/broken")
async def broken_headers(ws: WebSocket) -> None:
    note(ws, await outcome(ws.accept(headers={"x-a": "one\r\nx-b: two"})))
    note(ws, await outcome(ws.accept(headers={"x a": "one"})))
    note(ws, await outcome(ws.accept(headers={"x-a": "\u20ac"})))
    await ws.accept()


@app.websocket("/accept/events")
async def events(ws: WebSocket) -> None:
    note(ws, str(await ws.receive_event()))
    await ws.send_event({"type": "websocket.accept"})
    await ws.send_event({"type": "websocket.send", "text": ws.state.name})
    await ws.send_event({"type": "websocket.close", "code": 4002, "reason": "raw"})
    note(ws, ws.state.name)


@app.websocket_route("/reject/key", auto_accept=False)
async def key_check(ws: WebSocket) -> None:
    if ws.headers.get("api-key") != "s3kr3t":
        await ws.reject()
        return
    async with ws:
        await ws.send("welcome")


@app.websocket_route("/reject/without-return", auto_accept=False)
async def reject_without_return(ws: WebSocket) -> None:
    await ws.reject()
    note(ws, f"goes on: {ws.state.name}")
    async with ws:
        note(ws, "never")


@app.websocket("/reject/code/{code}")
async def reject_code(ws: WebSocket, code: int) -> None:
    await ws.reject(code)


@app.websocket("/reject/bad-code")
async def reject_bad_code(ws: WebSocket) -> None:
    for code in (200, 399, 600, 4001):
        note(ws, await outcome(ws.reject(code)))
    await ws.accept()
    await ws.send_text(ws.state.name)


@app.websocket_route("/reject/late")
async def reject_late(ws: WebSocket) -> None:
    await ws.reject()
    note(ws, f"{ws.state.name} {ws.close_code}")


@app.websocket("/reject/close")
async def close_before_accept(websocket: WebSocket, token: str | None = None) -> None:
    if token != "secret":
        await websocket.close(code=4001, reason="Invalid token")
        note(websocket, f"{websocket.state.name} {websocket.close_code} {websocket.close_reason}")
        return
    await websocket.accept()
    await websocket.send_text("connected")


@app.websocket("/reject/ensure-closed")
async def ensure_closed_before_accept(ws: WebSocket) -> None:
    await ws.ensure_closed(4003)
    await ws.ensure_closed(4004)
    assert ws.state is WebSocketState.DISCONNECTED


bolt_api = BoltAPI()


@bolt_api.websocket("/names/echo")
async def bolt_echo(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(f"Echo: {message}")


app.include_router(bolt_api)

ACCEPT_HEADERS = Differs(
    "granian does not send the headers of an accept",
    {"x-served-by": "switchboard", "set-cookie": "a=1"},
    granian={},
)

CASES = [
    case("auto-accept", "S1.22; C1; S1.3", "/accept/auto", Gets("CONNECTED True"), Closed(1000)),
    case("auto-accept-first", "C1", "/accept/auto/idle", Accepted(), Sends("x"), Closed(1000)),
    case(
        "manual-accept-close",
        "S1.23; 2.3 accept, close",
        "/accept/manual",
        Closed(1000),
        notes=["going to accept: CONNECTING", "connection closed: DISCONNECTED"],
    ),
    case("manual-accept-returns", "C4; exit:return", "/accept/manual/returns", Closed(1000)),
    case(
        "manual-never-accepts",
        "C4; S1.23; exit:return before accept",
        "/accept/manual/never",
        Denied(403, FORBIDDEN),
        notes=["view ran"],
    ),
    case(
        "bolt-accept",
        "S2.1; S2.2; S2.3; S2.18; C1; C4",
        "/accept/bolt",
        Gets("CONNECTED"),
        Closed(1000),
        notes=["CONNECTING False"],
    ),
    case(
        "bolt-never-accepts",
        "C4; exit:return before accept",
        "/accept/bolt/never",
        Denied(403, FORBIDDEN),
        notes=["view ran"],
    ),
    case("bolt-auto-accept", "C1; S1.22", "/accept/bolt/auto", Gets("accepted"), Closed(1000)),
    case("accept-under-auto", "C2", "/accept/again", Gets("once"), Closed(1000)),
    case(
        "accept-again",
        "C2; C27",
        "/accept/again/equal",
        Accepted("chat"),
        Gets("still open"),
        Closed(1000),
        subprotocols=("chat",),
        notes=["ok", "ok", "RuntimeError", "RuntimeError"],
    ),
    case(
        "async-with",
        "S1.24; 2.3 async with normal",
        "/accept/with",
        Gets("CONNECTED"),
        Closed(1000),
        notes=["after the block: DISCONNECTED"],
    ),
    case(
        "async-with-under-auto",
        "S1.24; 2.3 async with inside an auto-accepted view",
        "/accept/with/auto",
        Gets("inside"),
        Closed(1000),
        notes=["RuntimeError"],
    ),
    case("async-with-bolt", "S1.24; C1", "/accept/with/bolt", Gets("inside"), Closed(1000)),
    case("async-with-after-accept", "C2", "/accept/with/accepted", Gets("inside"), Closed(1000)),
    case(
        "accept-headers",
        "C27",
        "/accept/headers",
        *(Accepted(headers=ACCEPT_HEADERS), Gets("open"), Closed(1000)),
        Logs(
            Differs(
                "only granian drops them, and that is said once",
                None,
                granian="accept(headers=...): granian cannot send headers with the 101 response",
            )
        ),
    ),
    *(
        case(
            f"accept-header-{name}",
            "C27",
            f"/accept/headers/forbidden/{name}",
            Closed(1000),
            notes=["ValueError"],
        )
        for name in ("Upgrade", "connection", "sec-websocket-accept", "Sec-WebSocket-Protocol")
    ),
    case(
        "accept-headers-broken",
        "C27",
        "/accept/headers/broken",
        Closed(1000),
        notes=["ValueError", "ValueError", "ValueError"],
    ),
    case(
        "accept-by-event",
        "S1.19; 2.4 send_event",
        "/accept/events",
        Gets("CONNECTED"),
        Closed(4002, "raw"),
        notes=["{'type': 'websocket.connect'}", "DISCONNECTED"],
    ),
    case("reject-missing-key", "S1.28; C29; exit:deny", "/reject/key", Denied(403, FORBIDDEN)),
    case("reject-wrong-key", "S1.28; S1.29", "/reject/key", Denied(), headers={"api-key": "x"}),
    case(
        "reject-not",
        "S1.28; S1.29",
        "/reject/key",
        Gets("welcome"),
        Closed(1000),
        headers={"API-Key": "s3kr3t"},
    ),
    case(
        "reject-without-return",
        "S1.29; 2.3 reject, then falls through",
        "/reject/without-return",
        Denied(403),
        notes=["goes on: DISCONNECTED"],
        raises="RuntimeError: accept() after close() or reject(): return from the view instead",
    ),
    *(
        case(f"reject-{code}", "C29", f"/reject/code/{code}", Denied(code))
        for code in (400, 401, 404, 429, 503)
    ),
    case(
        "reject-bad-code",
        "C29",
        "/reject/bad-code",
        Gets("CONNECTED"),
        Closed(1000),
        notes=["ValueError"] * 4,
    ),
    case(
        "reject-after-accept",
        "C29; 2.3 accept, then reject",
        "/reject/late",
        Closed(1008),
        Logs(
            Differs(
                "a test client prints nothing",
                "/reject/late: reject() after accept(), closing with 1008",
                testing=None,
            )
        ),
        notes=["DISCONNECTED 1008"],
    ),
    case(
        "close-before-accept",
        "S2.11; S2.10; exit:deny",
        "/reject/close",
        Denied(403),
        notes=["DISCONNECTED 4001 Invalid token"],
    ),
    case(
        "close-before-accept-not",
        "S2.11; S2.10",
        "/reject/close?token=secret",
        Gets("connected"),
        Closed(1000),
    ),
    case("ensure-closed-before-accept", "S1.27", "/reject/ensure-closed", Denied(403)),
    case(
        "bolt-api",
        "S2.1; S2.6; S2.19; C37",
        "/names/echo",
        Sends("hi"),
        Gets("Echo: hi"),
        Sends("ho"),
        Gets("Echo: ho"),
    ),
]
