"""Receiving what does not fit, too much, in odd ways, and in several tasks."""

import asyncio

import msgspec

from server import UnexpectedFrame, WebSocket, WebSocketDisconnect
from tests.conformance.base import app, described, note, outcome, signalled
from tests.conformance.steps import (
    ANY_REASON,
    Closed,
    Connects,
    Gets,
    GetsJson,
    Leaves,
    Sends,
    SendsJson,
    case,
)

LIMIT = 1 << 20


@app.websocket_route("/receive/wrong/{how}")
async def wrong_kind(ws: WebSocket, how: str) -> None:
    await getattr(ws, how)()


@app.websocket_route("/receive/wrong-caught")
async def wrong_kind_caught(ws: WebSocket) -> None:
    try:
        await ws.receive_text()
    except UnexpectedFrame as error:
        await ws.send(f"{error.code} {error.reason} {isinstance(error, TypeError)}")
    await ws.send(await ws.receive_text())


@app.websocket_route("/receive/json-caught", value_type="json")
async def json_caught(ws: WebSocket) -> None:
    for _ in range(4):
        try:
            await ws.receive()
        except ValueError as error:
            await ws.send([type(error).__name__, isinstance(error, msgspec.DecodeError)])
    await ws.send(await ws.receive())


@app.websocket_route("/receive/json-uncaught", value_type="json")
async def json_uncaught(ws: WebSocket) -> None:
    await ws.receive()


@app.websocket("/receive/json-iterated")
async def json_iterated(ws: WebSocket) -> None:
    await ws.accept()
    async for message in ws.iter_json():
        await ws.send_json(message)


@app.websocket_route("/receive/sizes")
async def sizes(ws: WebSocket) -> None:
    while True:
        event = await ws.receive_event()
        if event["type"] == "websocket.disconnect":
            return
        text = event.get("text")
        payload = event["bytes"] if text is None else text.encode()
        await ws.send(f"{'binary' if text is None else 'text'} {len(payload)} {payload[-3:]!r}")


@app.websocket_route("/receive/limit", max_message_size=10)
async def limited(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@app.websocket_route("/receive/limit/caught", max_message_size=10)
async def limited_caught(ws: WebSocket) -> None:
    note(ws, await outcome(ws.receive()))
    await ws.send(await ws.receive())


@app.websocket_route("/receive/order")
async def order(ws: WebSocket, count: int) -> None:
    got = [await ws.receive() for _ in range(count)]
    await ws.send_json(got == [str(number) for number in range(count)])


@app.websocket_route("/receive/timeout")
async def timeout(ws: WebSocket) -> None:
    """A handler may give up waiting, and receive later without loss."""
    for _ in range(3):
        try:
            async with asyncio.timeout(0.005):
                await ws.receive()
        except TimeoutError:
            note(ws, "waited")
    await ws.send("now")
    await ws.send(await ws.receive() + await ws.receive())


@app.websocket_route("/receive/two-tasks")
async def two_tasks(ws: WebSocket) -> None:
    first = asyncio.create_task(ws.receive())
    await asyncio.sleep(0)
    note(ws, await outcome(ws.receive()))
    await ws.send("now")
    await ws.send(await first)


@app.websocket_route("/receive/closed-meanwhile")
async def closed_meanwhile(ws: WebSocket) -> None:
    """One task closes while another waits for a message."""
    task = asyncio.create_task(ws.receive())
    await asyncio.sleep(0)
    await ws.close(4000)
    note(ws, await outcome(task))


@app.websocket_route("/receive/queued", caught_close_codes=all)
async def queued(ws: WebSocket) -> None:
    """What the peer sent before it left is still handed out."""
    await signalled(ws)
    try:
        while True:
            note(ws, await ws.receive())
    except WebSocketDisconnect as disconnect:
        note(ws, described(disconnect))
        note(ws, await outcome(ws.receive()))


@app.websocket_route("/receive/count", caught_close_codes=(1000, 1001, 4000))
async def counted(ws: WebSocket, want: int = 3) -> None:
    for _ in range(want):
        await ws.receive_event()
    await ws.send_json([ws.messages_received, ws.bytes_received, ws.messages_sent])


CASES = [
    *(
        case(
            f"wrong-frame-{how}",
            "C15; exit:WebSocketException",
            f"/receive/wrong/{how}",
            Sends(payload),
            Closed(1003, ANY_REASON),
        )
        for how, payload in (
            ("receive", b"x"),
            ("receive_text", b""),
            ("receive_bytes", "x"),
            ("receive_json", b"{}"),
        )
    ),
    case(
        "wrong-frame-caught",
        "C15",
        "/receive/wrong-caught",
        Sends(b"x"),
        Gets("1003 expected a text frame, got binary True"),
        Sends("fine"),
        Gets("fine"),
        Closed(1000),
    ),
    case(
        "invalid-json-caught",
        "C17",
        "/receive/json-caught",
        *(
            step
            for text in ("{", "", "nul", "[1] 2")
            for step in (Sends(text), Gets('["DecodeError",true]'))
        ),
        SendsJson({"a": "é"}),
        GetsJson({"a": "é"}),
        Closed(1000),
    ),
    case(
        "invalid-json-uncaught",
        "C17; S1.21; exit:Exception",
        "/receive/json-uncaught",
        Sends("{"),
        Closed(1011),
        raises="DecodeError",
    ),
    case(
        "invalid-json-iterated",
        "C17; S2.6",
        "/receive/json-iterated",
        *(Sends("[1]"), Gets("[1]"), Sends("]")),
        Closed(1011),
        raises="DecodeError",
    ),
    case(
        "receive-sizes",
        "S2.5; S1.11",
        "/receive/sizes",
        *(
            step
            for size in (0, 1, 125, 126, 65535, 65536, 300_000, LIMIT)
            for step in (
                Sends("x" * size),
                Gets(f"text {size} {b'x' * min(size, 3)!r}"),
                Sends(b"y" * size),
                Gets(f"binary {size} {b'y' * min(size, 3)!r}"),
            )
        ),
    ),
    case(
        "receive-too-big-app-limit",
        "S2.13",
        "/receive/sizes",
        Sends("x" * (LIMIT + 1)),
        Closed(1009, ANY_REASON),
    ),
    case(
        "receive-too-big",
        "S2.13",
        "/receive/limit",
        *(Sends("é" * 5), Gets("é" * 5), Sends("é" * 5 + "x")),
        Closed(1009, "message of 11 bytes, limit 10"),
    ),
    case(
        "receive-too-big-caught",
        "S2.13",
        "/receive/limit/caught",
        *(Sends("x" * 11), Sends("fine")),
        Gets("fine"),
        Closed(1000),
        notes=["MessageTooBig(1009)"],
    ),
    case(
        "receive-in-order",
        "S1.11",
        "/receive/order?count=500",
        *(Sends(str(number)) for number in range(500)),
        Gets("true"),
        Closed(1000),
    ),
    case(
        "receive-given-up",
        "S1.11",
        "/receive/timeout",
        Gets("now"),
        Sends("a"),
        Sends("b"),
        Gets("ab"),
        Closed(1000),
        notes=["waited"] * 3,
    ),
    case(
        "receive-in-two-tasks",
        "S2.22",
        "/receive/two-tasks",
        Gets("now"),
        Sends("m"),
        Gets("m"),
        Closed(1000),
        notes=["RuntimeError"],
    ),
    case(
        "receive-closed-meanwhile",
        "S2.22; C3",
        "/receive/closed-meanwhile",
        Closed(4000),
        notes=["WebSocketDisconnect(4000)"],
    ),
    case(
        "receive-queued-before-leaving",
        "S1.32; C14",
        "/receive/queued",
        *(Sends("one"), Sends("two"), Leaves(4001)),
        Connects("b", "/signal"),
        notes=["one", "two", "WebSocketDisconnect(4001)", "WebSocketDisconnect(4001)"],
    ),
    case(
        "receive-counts",
        "S1.11",
        "/receive/count",
        *(Sends("é"), Sends(b"abc"), Sends("")),
        GetsJson([3, 5, 0]),
        Closed(1000),
    ),
]
