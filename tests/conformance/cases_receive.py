"""Receiving: the types of a route, the explicit variants, and events."""

from typing import Any

from server import WebSocket
from tests.conformance.base import app, note, outcome
from tests.conformance.steps import (
    Closed,
    Gets,
    Leaves,
    Sends,
    SendsJson,
    case,
)

LIMIT = 1 << 20


@app.websocket_route("/receive/default")
async def default(ws: WebSocket) -> None:
    message = await ws.receive()
    await ws.send(f"You said: {message}")


@app.websocket_route("/receive/any")
async def any_kind(ws: WebSocket, how: str) -> None:
    """Receives with the method that is asked for, and tells what came of it."""
    result = await outcome(getattr(ws, how)())
    await ws.send_text(result)


@app.websocket_route("/receive/typed/text", receive_type="text")
@app.websocket_route("/receive/typed/bytes", receive_type="bytes")
@app.websocket_route("/receive/typed/json", receive_type="json")
@app.websocket_route("/receive/typed/event", receive_type="event")
@app.websocket_route("/receive/value/json", value_type="json", receive_type="text")
async def typed(ws: WebSocket) -> None:
    message = await ws.receive()
    await ws.send_text(f"{ws.receive_type} {ws.send_type} {message!r}")


@app.websocket("/receive/explicit", value_type="bytes")
async def explicit(ws: WebSocket) -> None:
    await ws.accept()
    note(ws, repr(await ws.receive_text()))
    note(ws, repr(await ws.receive_bytes()))
    note(ws, repr(await ws.receive_json()))
    note(ws, repr(await ws.receive_json(mode="binary")))
    note(ws, repr(await ws.receive()))
    note(ws, await outcome(ws.receive_json(mode="xml")))  # type: ignore[arg-type]


@app.websocket_route("/receive/event")
async def event_echo(ws: WebSocket) -> None:
    event = await ws.receive_event()
    message = event["text"]
    await ws.send_event({"type": "websocket.send", "text": f"You said: {message}"})


@app.websocket("/receive/events")
async def events(ws: WebSocket) -> None:
    await ws.accept()
    note(ws, str(sorted((await ws.receive()).items())))
    note(ws, str(sorted((await ws.receive_event()).items())))
    await ws.send_text("go")
    note(ws, str((await ws.receive_event())["code"]))
    note(ws, await outcome(ws.receive_event()))
    note(ws, await outcome(ws.receive()))


@app.websocket("/receive/event-disconnect")
async def event_disconnect(ws: WebSocket) -> None:
    await ws.accept()
    note(ws, await outcome(ws.receive()))
    note(ws, await outcome(ws.receive()))


def _any(how: str, payload: str | bytes, result: str, source: str) -> Any:
    kind = "binary" if isinstance(payload, bytes) else "text"
    return case(
        f"{how}-of-{kind}-{payload[:8]!r}",
        source,
        f"/receive/any?how={how}",
        Sends(payload),
        Gets(result),
        Closed(1000),
    )


WRONG = "UnexpectedFrame(1003)"
CASES = [
    case(
        "receive-default-text",
        "S1.11; S1.12; S1.15; S1.1",
        "/receive/default",
        Sends("hi"),
        Gets("You said: hi"),
        Closed(1000),
    ),
    case(
        "receive-from-javascript",
        "S1.39",
        "/receive/default",
        *(SendsJson({"text": "ping"}), Gets('You said: {"text": "ping"}'), Closed(1000)),
    ),
    _any("receive_text", "Grüße 🌍", "ok 'Grüße 🌍'", "S1.13; S2.5"),
    _any("receive_text", "", "ok ''", "S2.5"),
    _any("receive_text", "a\x00b", "ok 'a\\x00b'", "S2.5"),
    _any("receive_text", b"raw", WRONG, "C15"),
    _any("receive_bytes", b"\x00\xff", "ok b'\\x00\\xff'", "S1.13; S2.5"),
    _any("receive_bytes", b"", "ok b''", "S2.5"),
    _any("receive_bytes", "text", WRONG, "C15"),
    _any("receive_json", '{"a": [1, null]}', "ok {'a': [1, None]}", "S1.13; S2.5"),
    _any("receive_json", "42", "ok 42", "S2.5; 2.4 JSON scalars"),
    _any("receive_json", b"{}", WRONG, "C15"),
    _any("receive_json", "{", "DecodeError", "C17"),
    _any("receive_json", "", "DecodeError", "C17"),
    _any("receive", b"raw", WRONG, "C15; S1.11"),
    *(
        case(
            f"receive-type-{kind}",
            "S1.12; C5",
            f"/receive/typed/{kind}",
            Sends(payload),
            Gets(f"{kind} text {value}"),
            Closed(1000),
        )
        for kind, payload, value in (
            ("text", "m", "'m'"),
            ("bytes", b"m", "b'm'"),
            ("json", '{"n":1}', "{'n': 1}"),
        )
    ),
    case(
        "value-type-over-receive-type",
        "S1.18",
        "/receive/value/json",
        Sends("[1]"),
        Gets("json json [1]"),
        Closed(1000),
    ),
    case(
        "receive-explicit-variants",
        "S1.13; S2.5; C5",
        "/receive/explicit",
        *(Sends("t"), Sends(b"b"), Sends("[1]"), Sends(b"[2]"), Sends(b"typed")),
        Closed(1000),
        notes=["'t'", "b'b'", "[1]", "[2]", "b'typed'", "ValueError"],
    ),
    case(
        "receive-event-echo",
        "S1.19",
        "/receive/event",
        Sends("hi"),
        Gets("You said: hi"),
        Closed(1000),
    ),
    case(
        "receive-events",
        "C5; S1.19; state:receive_event/connected",
        "/receive/events",
        Sends("m"),
        Sends(b"m"),
        Gets("go"),
        Leaves(4005),
        notes=[
            "[('text', 'm'), ('type', 'websocket.receive')]",
            "[('bytes', b'm'), ('type', 'websocket.receive')]",
            "4005",
            "RuntimeError",
            "WebSocketDisconnect(4005)",
        ],
    ),
    case(
        "receive-event-type-disconnect",
        "C5",
        "/receive/event-disconnect",
        Leaves(1001),
        notes=["WebSocketDisconnect(1001)", "WebSocketDisconnect(1001)"],
    ),
]
