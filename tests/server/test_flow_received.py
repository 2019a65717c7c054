"""Too many messages, or bytes: dropped, or the end of the connection, in every way to receive."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import msgspec
import pytest

from server import App, MessageRateExceeded, MessageTooBig, UnexpectedFrame, WebSocket
from server import flow as flow_module
from server.limits import ConnectionLimits
from server.rates import Bucket
from server.testing import WebSocketTestClient
from tests.server.gate_support import ONCE, Clock, closed, limited
from tests.server.ledger_books import books, one_closed, until
from workers.layout import CLIENT, SERVER


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(flow_module, "Bucket", partial(Bucket, clock=clock))
    return clock


# -- what is received ------------------------------------------------------------------------------


class Number(msgspec.Struct):
    number: int


async def texts(ws: WebSocket) -> AsyncIterator[Any]:
    while True:
        yield await ws.receive_text()


async def binaries(ws: WebSocket) -> AsyncIterator[Any]:
    while True:
        yield (await ws.receive_bytes()).decode()


async def jsons(ws: WebSocket) -> AsyncIterator[Any]:
    while True:
        yield str(await ws.receive_json())


async def binary_jsons(ws: WebSocket) -> AsyncIterator[Any]:
    while True:
        yield str(await ws.receive_json(mode="binary"))


async def events(ws: WebSocket) -> AsyncIterator[Any]:
    while (event := await ws.receive_event())["type"] == "websocket.receive":
        yield event["text"]


async def plain(ws: WebSocket) -> AsyncIterator[Any]:
    async for message in ws:
        if isinstance(message, Number):
            yield str(message.number)
        elif isinstance(message, dict):
            yield message["text"]
        else:
            yield message.decode() if isinstance(message, bytes) else str(message)


async def iterated(ws: WebSocket) -> AsyncIterator[Any]:
    async for text in ws.iter_text():
        yield text


async def iterated_bytes(ws: WebSocket) -> AsyncIterator[Any]:
    async for data in ws.iter_bytes():
        yield data.decode()


async def iterated_json(ws: WebSocket) -> AsyncIterator[Any]:
    async for value in ws.iter_json():
        yield str(value)


def as_is(text: str) -> str | bytes:
    return text


def as_bytes(text: str) -> str | bytes:
    return text.encode()


def as_number(text: str) -> str | bytes:
    return '{"number":' + text + "}"


def packed(text: str) -> str | bytes:
    return msgspec.msgpack.encode({"number": int(text)})


Ways = tuple[
    Callable[[WebSocket], AsyncIterator[Any]], Any, dict[str, Any], Callable[[str], str | bytes]
]
WAYS: list[Ways] = [
    (texts, "text", {}, as_is),
    (binaries, "bytes", {}, as_bytes),
    (jsons, "json", {}, as_is),
    (binary_jsons, "json", {}, as_bytes),
    (events, "event", {}, as_is),
    (plain, "text", {}, as_is),
    (plain, "bytes", {}, as_bytes),
    (plain, "json", {}, as_is),
    (plain, "event", {}, as_is),
    (plain, Number, {}, as_number),
    (plain, Number, {"codec": "msgpack"}, packed),
    (iterated, "text", {}, as_is),
    (iterated_bytes, "bytes", {}, as_bytes),
    (iterated_json, "json", {}, as_is),
]


async def send(client: WebSocketTestClient, payload: str | bytes) -> None:
    if isinstance(payload, str):
        await client.send_text(payload)
    else:
        await client.send_bytes(payload)


def app_of(
    way: Callable[[WebSocket], AsyncIterator[Any]], limits: ConnectionLimits, **options: Any
) -> App:
    """Return an app that tells what it has received."""
    app = App()

    @app.websocket_route("/", limits=limits, **options)
    async def view(ws: WebSocket) -> None:
        async for message in way(ws):
            await ws.send_text(message)

    return app


@pytest.mark.parametrize(("way", "receive_type", "options", "payload"), WAYS)
@pytest.mark.parametrize("waits", [True, False])
async def test_what_is_dropped_is_passed_over_and_the_next_one_comes(
    clock: Clock,
    way: Any,
    receive_type: Any,
    options: Any,
    payload: Callable[[str], str | bytes],
    waits: bool,
) -> None:
    """Whether the view waits already when it comes, or finds it there."""
    limits = ConnectionLimits(messages_per_s=0.5, on_rate="drop")
    may_begin = asyncio.Event()

    async def later(ws: WebSocket) -> AsyncIterator[Any]:
        await may_begin.wait()
        async for message in way(ws):
            yield message

    app = app_of(later, limits, receive_type=receive_type, **options)
    async with WebSocketTestClient(app, "/") as client:
        if waits:
            may_begin.set()
        for number in ("1", "2", "3"):
            await send(client, payload(number))
        may_begin.set()
        assert await client.receive_text() == "1"
        await until(lambda: limited(app) == {"message_rate": 2})
        clock.now_s += 2.1
        await send(client, payload("4"))
        assert await client.receive_text() == "4"
    assert limited(app) == {"message_rate": 2}
    assert books(app) == one_closed(1000, CLIENT)


@pytest.mark.parametrize(("way", "receive_type", "options", "payload"), WAYS)
async def test_too_much_ends_the_connection_with_1008(
    way: Any, receive_type: Any, options: Any, payload: Callable[[str], str | bytes]
) -> None:
    limits = ConnectionLimits(bytes_per_s=ONCE)
    app = app_of(way, limits, receive_type=receive_type, **options)
    async with WebSocketTestClient(app, "/") as client:
        await send(client, payload("1"))
        await send(client, payload("2"))
        assert await client.receive_text() == "1"
        assert await closed(client) == (1008, "too many bytes: the limit is 0.001 a second")
    assert limited(app) == {"byte_rate": 1}
    assert books(app) == one_closed(1008, SERVER)


async def test_a_view_may_catch_it_and_go_on(clock: Clock) -> None:
    app = App()

    @app.websocket_route("/", limits=ConnectionLimits(messages_per_s=0.5))
    async def view(ws: WebSocket) -> None:
        while True:
            try:
                await ws.send(await ws.receive_text())
            except MessageRateExceeded as error:
                await ws.send(f"slow down: {error}")

    async with WebSocketTestClient(app, "/") as client:
        for text in "12":
            await client.send_text(text)
        assert await client.receive_text() == "1"
        assert await client.receive_text() == (
            "slow down: 1008 too many messages: the limit is 0.5 a second"
        )
        clock.now_s += 2.1
        await client.send_text("3")
        assert await client.receive_text() == "3"


async def test_characters_count_as_the_bytes_they_are(clock: Clock) -> None:
    limits = ConnectionLimits(bytes_per_s=10, on_rate="drop")
    app = app_of(texts, limits)
    async with WebSocketTestClient(app, "/") as client:
        await client.send_text("é" * 10)  # all that may come at once
        await client.send_text("x")
        await until(lambda: limited(app) == {"byte_rate": 1})
        assert await client.receive_text() == "é" * 10


async def test_a_message_of_the_other_kind_is_dropped_too(clock: Clock) -> None:
    app, faults = App(), list[str]()

    @app.websocket_route("/", limits=ConnectionLimits(messages_per_s=0.5, on_rate="drop"))
    async def view(ws: WebSocket) -> None:
        while True:
            try:
                await ws.send(await ws.receive_text())
            except UnexpectedFrame as error:
                faults.append(str(error))

    async with WebSocketTestClient(app, "/") as client:
        await client.send_text("1")
        assert await client.receive_text() == "1"
        await client.send_bytes(b"2")
        await until(lambda: limited(app) == {"message_rate": 1})
        assert faults == []
        clock.now_s += 2.1
        await client.send_bytes(b"3")
        await until(lambda: faults)


async def test_a_message_that_is_too_large_is_that_first(clock: Clock) -> None:
    """It spends nothing of what may come in a second, and is not dropped."""
    app = App()

    @app.websocket_route(
        "/", max_message_size=10, limits=ConnectionLimits(messages_per_s=0.5, on_rate="drop")
    )
    async def view(ws: WebSocket) -> None:
        while True:
            try:
                await ws.send(await ws.receive_text())
            except MessageTooBig:
                await ws.send("too big")

    async with WebSocketTestClient(app, "/") as client:
        await client.send_text("x" * 11)
        assert await client.receive_text() == "too big"
        await client.send_text("x" * 10)
        assert await client.receive_text() == "x" * 10
        await client.send_text("x" * 11)
        assert await client.receive_text() == "too big"
        await client.send_text("x")
        await until(lambda: limited(app) == {"message_size": 2, "message_rate": 1})


async def test_what_is_dropped_has_been_received_all_the_same() -> None:
    limits = ConnectionLimits(messages_per_s=ONCE, on_rate="drop")
    app = app_of(texts, limits)
    async with WebSocketTestClient(app, "/") as client:
        (ws,) = app.runtime.running
        for text in ("1", "22", "333"):
            await client.send_text(text)
        await until(lambda: (ws.messages_received, ws.bytes_received) == (3, 6))


async def test_the_end_of_the_connection_is_seen_behind_what_is_dropped() -> None:
    for way in (texts, iterated, events):
        app = app_of(way, ConnectionLimits(messages_per_s=ONCE, on_rate="drop"))
        async with WebSocketTestClient(app, "/", raise_app_exceptions=False) as client:
            for text in "123":
                await client.send_text(text)
            await client.close(1001)
        assert limited(app) == {"message_rate": 2}
        assert books(app).closed == {(1001, CLIENT): 1}


async def test_a_kick_is_seen_behind_what_is_dropped() -> None:
    limits = ConnectionLimits(messages_per_s=ONCE, on_rate="drop")
    app = app_of(texts, limits, caught_close_codes=all)
    async with WebSocketTestClient(app, "/") as client:
        for text in "12":
            await client.send_text(text)
        await until(lambda: limited(app))
        assert await client.receive_text() == "1"
        await app.connections.disconnect(everyone=True, code=1012)
        assert await closed(client) == (1012, "")


async def test_the_time_until_the_next_message_is_not_the_views(clock: Clock) -> None:
    """One message in 16 is timed; if that one is dropped, nobody handles it."""
    app = app_of(texts, ConnectionLimits(messages_per_s=4, on_rate="drop"))
    async with WebSocketTestClient(app, "/") as client:
        (ws,) = app.runtime.running
        for number in range(8):
            await client.send_text(str(number))
            await client.receive_text()
        for _ in range(9):  # the last is the seventeenth
            await client.send_text("too much")
        await until(lambda: limited(app) == {"message_rate": 9})
        assert ws._handling_since_s == 0.0


# -- nothing to look at ----------------------------------------------------------------------------


async def test_without_limits_only_the_size_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is small enough is looked at no closer."""

    def looked_at(self: WebSocket, size: int) -> bool:
        raise AssertionError(f"a message of {size} bytes was looked at")

    monkeypatch.setattr(WebSocket, "_passes", looked_at)
    for way, receive_type, options, payload in WAYS:
        app = App(max_message_size=20)
        seen: list[int] = []

        @app.websocket_route("/", receive_type=receive_type, **options)
        async def view(ws: WebSocket, way: Any = way, seen: Any = seen) -> None:
            seen.append(ws._free_size)
            async for message in way(ws):
                await ws.send_text(message)

        async with WebSocketTestClient(app, "/") as client:
            await send(client, payload("1"))
            assert await client.receive_text() == "1"
        assert seen == [20]


async def test_the_routes_own_size_counts() -> None:
    app = App(max_message_size=20)
    sizes: list[Any] = []
    for path, size, limits in (
        ("/small", 10, None),
        ("/large", 100, None),
        ("/limited", None, ConnectionLimits(bytes_per_s=1)),
        ("/other", None, ConnectionLimits(rooms=1)),
    ):

        @app.websocket_route(path, max_message_size=size, limits=limits)
        async def view(ws: WebSocket) -> None:
            sizes.append((ws._free_size, ws._max_message_size))

        async with WebSocketTestClient(app, path) as client:
            await closed(client)
    assert sizes == [(10, 10), (100, 100), (-1, 20), (20, 20)]
