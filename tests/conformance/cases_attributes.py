"""What a WebSocket tells about its handshake and its state."""

import asyncio
from typing import Any

from server import WebSocket, WebSocketState
from tests.conformance.base import app, note
from tests.conformance.steps import (
    Accepted,
    Closed,
    Connects,
    Differs,
    Gets,
    GetsJson,
    Leaves,
    Sends,
    case,
)


def _is_immutable(mapping: Any) -> bool:
    try:
        mapping["x"] = "x"
    except (TypeError, AttributeError):
        return True
    return False


@app.websocket_route("/attributes/url/{name}", send_type="json")
async def url(ws: WebSocket, name: str) -> None:
    await ws.send(
        {
            "url": str(ws.url),
            "equal": ws.url == str(ws.url),
            "parts": [ws.url.path, ws.url.query, ws.url.scheme, ws.url.is_secure],
            "path": ws.path,
            "query_string": ws.query_string.decode(),
            "path_params": dict(ws.path_params),
            "immutable": _is_immutable(ws.path_params),
        }
    )


@app.websocket_route("/attributes/path/{name}", send_type="json")
async def path(ws: WebSocket, name: str) -> None:
    await ws.send([ws.path, ws.path_params["name"], name])


@app.websocket_route("/attributes/query", send_type="json")
async def query(ws: WebSocket) -> None:
    params = ws.query_parameters
    await ws.send(
        {
            "same": params is ws.query_params,
            "last": params["a"],
            "all": params.getlist("a"),
            "missing": params.get("z"),
            "items": sorted(params.multi_items()),
            "immutable": _is_immutable(params),
        }
    )


@app.websocket_route("/attributes/headers", send_type="json")
async def headers(ws: WebSocket) -> None:
    await ws.send(
        {
            "any case": [ws.headers["X-Token"], ws.headers["x-token"], "X-TOKEN" in ws.headers],
            "all": ws.headers.getlist("X-Token"),
            "missing": ws.headers.get("x-missing"),
            "immutable": _is_immutable(ws.headers),
            "host": ws.headers["host"],
            "cookies": dict(ws.cookies),
        }
    )


@app.websocket_route("/attributes/client", send_type="json")
async def client(ws: WebSocket) -> None:
    assert ws.client is not None
    await ws.send([ws.client.host, isinstance(ws.client.port, int), ws.client[0]])


@app.websocket_route("/attributes/route", receive_type="json", caught_close_codes=(1000, 4000))
@app.websocket("/attributes/route/bolt", auto_accept=True)
async def route(ws: WebSocket) -> None:
    caught = "all" if ws.caught_close_codes is all else list(ws.caught_close_codes)
    await ws.send_json([ws.receive_type, ws.send_type, ws.auto_accept, caught])


@app.websocket_route("/attributes/subprotocols", auto_accept=False)
async def subprotocols(ws: WebSocket) -> None:
    await ws.accept()
    await ws.send_json([ws.subprotocols, ws.subprotocol])


@app.websocket_route("/attributes/states", auto_accept=False)
async def states(ws: WebSocket) -> None:
    def tell() -> None:
        states = (ws.state, ws.client_state, ws.application_state)
        note(ws, " ".join(str(int(state)) for state in states) + f" {ws.close_code}")

    tell()
    await ws.accept()
    tell()
    assert ws.state == WebSocketState.CONNECTED
    if await ws.receive_text() == "close":
        await ws.close(4000)
    else:
        async for _ in ws.iter_text():
            pass
    tell()


@app.websocket_route("/attributes/context", auto_accept=False)
async def context(ws: WebSocket) -> None:
    assert ws.context == {}
    assert ws.context.get("user_id") is None
    ws.context["seen"] = ws.context.get("seen", 0) + 1
    await ws.accept()
    await ws.send_json(ws.context)


@app.websocket_route("/attributes/session")
async def no_session(ws: WebSocket) -> None:
    try:
        note(ws, str(ws.session))
    except RuntimeError as error:
        note(ws, f"RuntimeError {'add_sessions' in str(error)}")


@app.websocket_route("/session/read", send_type="json")
async def session(ws: WebSocket) -> None:
    await ws.send(
        {
            "user": ws.session["user"],
            "read-only": _is_immutable(ws.session),
        }
    )


@app.websocket_route("/attributes/identity", auto_accept=False)
async def identity(ws: WebSocket) -> None:
    sockets = {ws}
    before = hash(ws)
    await ws.accept()
    assert ws in sockets
    assert hash(ws) == before
    assert {ws: "value"}[ws] == "value"
    await ws.send_json([ws == ws, ws != object(), "identity" in repr(ws)])


@app.websocket_route("/attributes/close-reason")
async def close_reason(ws: WebSocket) -> None:
    note(ws, f"{ws.close_code} {ws.close_reason!r}")
    async for _ in ws.iter_text():
        pass
    note(ws, f"{ws.close_code} {ws.close_reason!r}")


@app.websocket_route("/attributes/echo-state", auto_accept=False)
async def check_state(websocket: WebSocket) -> None:
    await websocket.accept()
    await asyncio.sleep(0)
    if websocket.state == WebSocketState.CONNECTED:
        await websocket.send_text("Still connected")


CASES = [
    case(
        "url",
        "S1.7; C9; C11",
        "/attributes/url/ann?x=1&y=%20z",
        GetsJson(
            {
                "url": "ws://{authority}/attributes/url/ann?x=1&y=%20z",
                "equal": True,
                "parts": ["/attributes/url/ann", "x=1&y=%20z", "ws", False],
                "path": "/attributes/url/ann",
                "query_string": "x=1&y=%20z",
                "path_params": {"name": "ann"},
                "immutable": True,
            }
        ),
        Closed(1000),
    ),
    case(
        "path-decoded",
        "C9; 2.1 path decoding",
        "/attributes/path/ann%20%C3%A9%25",
        GetsJson(["/attributes/path/ann é%", "ann é%", "ann é%"]),
        Closed(1000),
    ),
    case(
        "query-parameters",
        "S1.9; C8",
        "/attributes/query?a=1&a=2&b=x+y&c&d=%C3%A9",
        GetsJson(
            {
                "same": True,
                "last": "2",
                "all": ["1", "2"],
                "missing": None,
                "items": [["a", "1"], ["a", "2"], ["b", "x y"], ["c", ""], ["d", "é"]],
                "immutable": True,
            }
        ),
        Closed(1000),
    ),
    case(
        "headers",
        "S1.8; C12",
        "/attributes/headers",
        GetsJson(
            {
                "any case": ["secret", "secret", True],
                "all": ["secret"],
                "missing": None,
                "immutable": True,
                "host": "{authority}",
                "cookies": {"a": "1", "b": "two"},
            }
        ),
        headers={"X-Token": "secret", "Cookie": "a=1; b=two"},
    ),
    case(
        "client",
        "C9; 2.5 client",
        "/attributes/client",
        GetsJson(
            Differs(
                "the test clients have no network",
                ["127.0.0.1", True, "127.0.0.1"],
                testing=["testclient", True, "testclient"],
            )
        ),
        Closed(1000),
    ),
    case(
        "route-attributes",
        "S1.12; S1.16; S1.35; 2.5 public config",
        "/attributes/route",
        GetsJson(["json", "text", True, [1000, 4000]]),
        Closed(1000),
    ),
    case(
        "route-attributes-bolt",
        "C5; C7",
        "/attributes/route/bolt",
        GetsJson(["event", "event", True, "all"]),
        Closed(1000),
    ),
    case(
        "subprotocols-offered",
        "2.5 subprotocols",
        "/attributes/subprotocols",
        Accepted(None),
        GetsJson([["b", "a"], None]),
        subprotocols=("b", "a"),
    ),
    case(
        "states-own-close",
        "S2.18; C10; C35; state:state/closed",
        "/attributes/states",
        Sends("close"),
        Closed(4000),
        notes=["0 1 0 None", "1 1 1 None", "2 2 2 4000"],
    ),
    case(
        "states-peer-left",
        "S2.18; C10; C35; state:state/left",
        "/attributes/states",
        Sends("leave"),
        Leaves(4001),
        notes=["0 1 0 None", "1 1 1 None", "2 2 2 4001"],
    ),
    case("state-check", "S2.18", "/attributes/echo-state", Gets("Still connected"), Closed(1000)),
    case(
        "context",
        "C10; C11; S2.16",
        "/attributes/context",
        GetsJson({"seen": 1}),
        Connects("b", "/attributes/context"),
        GetsJson({"seen": 1}, peer="b"),
    ),
    case(
        "session-missing", "C34", "/attributes/session", Closed(1000), notes=["RuntimeError True"]
    ),
    case(
        "session-read-only",
        "S1.10; C34",
        "/session/read",
        GetsJson({"user": "ann", "read-only": True}),
        Closed(1000),
    ),
    case("identity", "S2.22", "/attributes/identity", GetsJson([True, True, True]), Closed(1000)),
    case(
        "close-reason",
        "S2.12; 2.3 disconnect code/reason",
        "/attributes/close-reason",
        Leaves(4000, "günther"),
        notes=Differs(
            "granian tells no reason",
            ["None ''", "4000 'günther'"],
            granian=["None ''", "4000 ''"],
        ),
    ),
]
