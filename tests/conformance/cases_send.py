"""Sending: the types of a route, the explicit variants, events, and what is refused."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from server import WebSocket, WebSocketDisconnect
from tests.conformance.base import app, described, note, outcome
from tests.conformance.steps import (
    Closed,
    Gets,
    GetsJson,
    Leaves,
    Sends,
    Vanishes,
    case,
)


@app.websocket_route("/send/typed/text", send_type="text")
async def typed_text(ws: WebSocket) -> None:
    await ws.send("Hello, WebSockets!")


@app.websocket_route("/send/typed/bytes", send_type="bytes")
async def typed_bytes(ws: WebSocket) -> None:
    await ws.send(b"\x00\x01")


@app.websocket_route("/send/typed/json", send_type="json")
async def typed_json(ws: WebSocket) -> None:
    await ws.send({"type": "message", "data": "Hello"})


@app.websocket_route("/send/typed/event", send_type="event")
async def typed_event(ws: WebSocket) -> None:
    await ws.send({"type": "websocket.send", "text": "as event"})
    await ws.send({"type": "websocket.send", "bytes": b"as event"})


@app.websocket("/send/bolt")
async def bolt(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send({"type": "websocket.send", "text": "raw"})
    await websocket.send_text("Hello, World!")
    await websocket.send_bytes(b"\x00\x01\x02\x03")
    await websocket.send_json({"type": "message", "data": "Hello"})
    await websocket.send_json([1], mode="binary")


@app.websocket_route("/send/value-type", value_type="bytes", send_type="json")
async def value_type(ws: WebSocket) -> None:
    await ws.send(await ws.receive())


@app.websocket_route("/send/explicit", send_type="bytes")
async def explicit(ws: WebSocket) -> None:
    await ws.send_text("Grüße 🌍 \x00")
    await ws.send_json({"é": [1.5, None, True]})
    await ws.send_bytes(bytearray(b"ab"))
    await ws.send_bytes(memoryview(b"abcd")[1:3])
    await ws.send_text("")
    await ws.send_bytes(b"")


@app.websocket_route("/send/scalars", send_type="json")
async def scalars(ws: WebSocket) -> None:
    values: list[Any] = [None, True, 0, "text", [], {}]
    for value in values:
        await ws.send(value)
    await ws.send(datetime(2020, 1, 31, 10, 20, tzinfo=UTC))
    await ws.send({3})
    await ws.send((1, 2))


@app.websocket_route("/send/wrong")
async def wrong_types(ws: WebSocket) -> None:
    no_text: list[Any] = [b"bytes", None, 1, ["text"]]
    no_bytes: list[Any] = ["text", None, 1, [1]]
    for odd in no_text:
        note(ws, await outcome(ws.send_text(odd)))
    for odd in no_bytes:
        note(ws, await outcome(ws.send_bytes(odd)))
    note(ws, await outcome(ws.send(b"bytes")))
    note(ws, await outcome(ws.send_json(object())))
    note(ws, await outcome(ws.send_json([object()], mode="binary")))
    note(ws, await outcome(ws.send_json(1, mode="xml")))  # type: ignore[arg-type]
    note(ws, await outcome(ws.send_text("\ud800")))
    await ws.send("nothing else was sent")


@app.websocket_route("/send/wrong/uncaught")
async def wrong_uncaught(ws: WebSocket) -> None:
    await ws.send_text(b"bytes")  # type: ignore[arg-type]


@app.websocket_route("/send/events/wrong")
async def wrong_events(ws: WebSocket) -> None:
    wrong: list[Any] = [
        {"type": "websocket.http.response.start"},
        {"type": "websocket.send"},
        {"type": "websocket.send", "text": "a", "bytes": b"a"},
        {},
    ]
    for event in wrong:
        note(ws, await outcome(ws.send_event(event)))
    note(ws, await outcome(ws.send_event({"type": "websocket.accept"})))
    await ws.send_event({"type": "websocket.send", "text": "fine", "bytes": None})


@app.websocket_route("/send/many")
async def many(ws: WebSocket, count: int) -> None:
    for number in range(count):
        await ws.send(str(number))


@app.websocket_route("/send/large", send_type="bytes")
async def large(ws: WebSocket) -> None:
    for size in (125, 126, 65535, 65536, 1 << 20):
        await ws.send(b"z" * size)


@app.websocket_route("/send/tasks")
async def from_tasks(ws: WebSocket) -> None:
    await asyncio.gather(*(ws.send(str(number)) for number in range(20)))
    task = asyncio.create_task(ws.send("from a task"))
    await ws.receive()
    await task


@app.websocket_route("/send/push", caught_close_codes=all)
async def push(ws: WebSocket, code: int) -> None:
    """Sends without ever receiving, until the peer is gone."""
    try:
        async with asyncio.timeout(10):
            while True:
                await ws.send("tick")
                await asyncio.sleep(0)
    except WebSocketDisconnect as disconnect:
        # 1006 if the send was the first to find out, else what the host has reported.
        note(ws, "gone" if disconnect.code in (code, 1006) else described(disconnect))
        note(ws, str(await outcome(ws.send("again")) == described(disconnect)))


@app.websocket("/send/push/bolt")
async def push_bolt(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        async for message in websocket.iter_text():
            while True:
                await websocket.send_text(message)
                await asyncio.sleep(0)
    except WebSocketDisconnect:
        note(websocket, "Client disconnected")


CASES = [
    case("send-text-type", "S1.15; S1.16", "/send/typed/text", Gets("Hello, WebSockets!")),
    case("send-bytes-type", "S1.16", "/send/typed/bytes", Gets(b"\x00\x01"), Closed(1000)),
    case("send-json-type", "S1.16", "/send/typed/json", Gets('{"type":"message","data":"Hello"}')),
    case(
        "send-event-type",
        "C5; S1.16",
        "/send/typed/event",
        Gets("as event"),
        Gets(b"as event"),
        Closed(1000),
    ),
    case(
        "send-bolt",
        "S2.4; C5",
        "/send/bolt",
        Gets("raw"),
        Gets("Hello, World!"),
        Gets(b"\x00\x01\x02\x03"),
        Gets('{"type":"message","data":"Hello"}'),
        Gets(b"[1]"),
        Closed(1000),
    ),
    case(
        "value-type-over-send-type",
        "S1.18",
        "/send/value-type",
        Sends(b"raw"),
        Gets(b"raw"),
        Closed(1000),
    ),
    case(
        "send-explicit-variants",
        "S1.17",
        "/send/explicit",
        Gets("Grüße 🌍 \x00"),
        Gets('{"é":[1.5,null,true]}'),
        Gets(b"ab"),
        Gets(b"bc"),
        Gets(""),
        Gets(b""),
        Closed(1000),
    ),
    case(
        "send-json-values",
        "S2.4; 2.4 JSON scalars",
        "/send/scalars",
        *(Gets(text) for text in ("null", "true", "0", '"text"', "[]", "{}")),
        GetsJson("2020-01-31T10:20:00Z"),
        Gets("[3]"),
        Gets("[1,2]"),
        Closed(1000),
    ),
    case(
        "send-wrong-types",
        "C16",
        "/send/wrong",
        Gets("nothing else was sent"),
        Closed(1000),
        notes=["TypeError"] * 11 + ["ValueError", "UnicodeEncodeError"],
    ),
    case(
        "send-wrong-type-uncaught",
        "C16; S1.21; exit:Exception",
        "/send/wrong/uncaught",
        Closed(1011),
        raises="TypeError: send_text() takes a str, not bytes",
    ),
    case(
        "send-wrong-events",
        "S1.19; 2.4 send_event",
        "/send/events/wrong",
        Gets("fine"),
        Closed(1000),
        notes=["ValueError"] * 4 + ["ok"],
    ),
    case(
        "send-many",
        "S1.15",
        "/send/many?count=1500",
        *(Gets(str(number)) for number in range(1500)),
        Closed(1000),
    ),
    case(
        "send-large",
        "S1.17",
        "/send/large",
        *(Gets(b"z" * size) for size in (125, 126, 65535, 65536, 1 << 20)),
        Closed(1000),
    ),
    case(
        "send-from-tasks",
        "S2.22",
        "/send/tasks",
        *(Gets(str(number)) for number in range(20)),
        Gets("from a task"),
        Sends("go on"),
        Closed(1000),
    ),
    case(
        "send-to-leaver",
        "C14; state:send_text/left",
        "/send/push?code=1001",
        Gets("tick"),
        Leaves(1001),
        notes=["gone", "True"],
    ),
    case(
        "send-to-vanished",
        "C14; S2.8; state:send_text/connected",
        "/send/push?code=1005",
        Gets("tick"),
        Vanishes(),
        notes=["gone", "True"],
    ),
    case(
        "send-to-vanished-bolt",
        "C14; S2.8",
        "/send/push/bolt",
        Sends("tick"),
        Gets("tick"),
        Vanishes(),
        notes=["Client disconnected"],
    ),
]
