"""The books of a worker: on every way out of a connection they balance, and say what happened."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from server import App, Depends, WebSocket, WebSocketClose, WebSocketDisconnect
from server.limits import LIMITS
from server.testing import WebSocketTestClient
from server.transport import TransportLimits
from tests.server.ledger_books import (
    OTHER,
    Books,
    Peer,
    books,
    counters,
    leaving,
    one_closed,
    one_refused,
    stay,
    until,
    visit,
)
from tests.support.embedded import embedded
from tests.support.scopes import websocket_scope
from workers.layout import CLIENT, SERVER, TallyKind
from workers.slots import ConnectionCounts
from workers.tallies import OwnTallies

Body = Callable[[WebSocket], Awaitable[Any]]


class Typed(msgspec.Struct):
    number: int


async def send_bytes(client: WebSocketTestClient) -> None:
    await client.send_bytes(b"x")
    await stay(client)


async def send_much(client: WebSocketTestClient) -> None:
    await client.send_text("x" * 101)
    await stay(client)


def view_of(body: Body) -> Body:
    async def view(ws: WebSocket) -> None:
        await body(ws)

    return view


async def returns(ws: WebSocket) -> None: ...


async def receives(ws: WebSocket) -> None:
    while True:
        await ws.receive()


async def raises(ws: WebSocket) -> None:
    raise LookupError("of the view")


async def raises_a_close(ws: WebSocket) -> None:
    raise WebSocketClose(4001, "enough")


async def meets_the_disconnect_of_another(ws: WebSocket) -> None:
    raise WebSocketDisconnect(1001)


async def is_cancelled(ws: WebSocket) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def is_kicked(ws: WebSocket) -> None:
    await asyncio.gather(ws.kick(4001), asyncio.sleep(0))
    await receives(ws)


ACCEPTED: list[tuple[Body, Peer, Books]] = [
    (returns, stay, one_closed(1000, SERVER)),
    (lambda ws: ws.close(4001), stay, one_closed(4001, SERVER)),
    (lambda ws: ws.close(4242), stay, one_closed(OTHER, SERVER)),
    (lambda ws: ws.reject(401), stay, one_closed(1008, SERVER)),
    (raises_a_close, stay, one_closed(4001, SERVER)),
    (raises, stay, one_closed(1011, SERVER, errors=1)),
    (meets_the_disconnect_of_another, stay, one_closed(1011, SERVER, errors=1)),
    (is_cancelled, stay, one_closed(1012, SERVER)),
    (is_kicked, stay, one_closed(4001, SERVER)),
    (receives, send_bytes, one_closed(1003, SERVER)),
    (receives, send_much, one_closed(1009, SERVER)),
    (receives, leaving(1001), one_closed(1001, CLIENT)),
    (receives, leaving(1005), one_closed(1005, CLIENT)),
    (receives, leaving(1006), one_closed(1006, CLIENT)),
    (receives, leaving(4001), one_closed(4001, CLIENT)),
    (receives, leaving(4321), one_closed(OTHER, CLIENT)),
]


@pytest.fixture
def app() -> App:
    return App(close_codes={4001: "logged out"}, max_message_size=100)


@pytest.mark.parametrize(("body", "peer", "expected"), ACCEPTED)
async def test_a_connection_is_closed_once_with_its_code(
    app: App, body: Body, peer: Peer, expected: Books
) -> None:
    app.websocket_route("/")(view_of(body))

    assert await visit(app, "/", peer) is None

    assert books(app, "/") == expected


BEFORE_ACCEPT: list[tuple[Body, Books]] = [
    (returns, one_refused(403)),
    (lambda ws: ws.close(4001), one_refused(403)),
    (lambda ws: ws.kick(4001), one_refused(403)),
    (lambda ws: ws.reject(401), one_refused(401)),
    (lambda ws: ws.deny(429), one_refused(429)),
    (lambda ws: ws.deny(418), one_refused(OTHER)),
    (raises_a_close, one_refused(403)),
    (raises, one_refused(500, errors=1)),
    (meets_the_disconnect_of_another, one_refused(500, errors=1)),
    (is_cancelled, one_refused(503)),
]


@pytest.mark.parametrize(("body", "expected"), BEFORE_ACCEPT)
async def test_a_refusal_is_counted_once_with_its_status(
    app: App, body: Body, expected: Books
) -> None:
    app.websocket("/")(view_of(body))

    assert await visit(app, "/") is not None

    assert books(app, "/") == expected


@pytest.mark.parametrize("body", [body for body, _ in BEFORE_ACCEPT])
async def test_where_the_host_can_only_say_403_that_is_counted(app: App, body: Body) -> None:
    app.websocket("/")(view_of(body))

    await visit(app, "/", denial_response=False)

    assert books(app, "/").refused == {403: 1}


async def test_what_refuses_before_the_view_is_counted(app: App) -> None:
    async def gate(ws: WebSocket) -> None:
        await ws.reject(401)

    @app.websocket_route("/{floor}")
    async def numbered(ws: WebSocket, floor: int, key: str) -> None: ...

    @app.websocket_route("/gated/in")
    async def gated(ws: WebSocket, who: Any = Depends(gate)) -> None: ...

    assert await visit(app, "/top?key=1") == 400
    assert await visit(app, "/1") == 422
    assert await visit(app, "/1?key=1", headers={"host": "bad host"}) == 400
    assert await visit(app, "/gated/in") == 401
    assert await visit(app, "/no/such/path") == 403
    assert await visit(app, "/no/such/path", denial_response=False) == 403

    assert books(app, "/{floor}") == Books(refused={400: 2, 422: 1})
    assert books(app, "/gated/in") == one_refused(401)
    assert books(app, "unmatched") == Books(refused={403: 2})


def test_what_a_limit_has_stopped_is_counted_on_its_route(app: App) -> None:
    app.websocket_route("/")(view_of(returns))
    ledger, (route,) = app.runtime.ledger, app.websocket_list

    for limit in ("message_rate", "message_rate", LIMITS[-1]):
        ledger.limited(route, limit)
    ledger.limited(None, "connections_per_ip")
    with pytest.raises(ValueError, match="not in tuple"):
        ledger.limited(route, "no such limit")

    assert limited(app, "/") == {"message_rate": 2, LIMITS[-1]: 1}
    assert limited(app, "unmatched") == {"connections_per_ip": 1}


def limited(app: App, route: str) -> dict[str, int]:
    found = counters(app, route).limited
    assert not any(found[len(LIMITS) :])
    return {limit: count for limit, count in zip(LIMITS, found, strict=False) if count}


def test_an_app_by_itself_has_tallies(app: App) -> None:
    ledger = app.runtime.ledger
    tallies, counts = OwnTallies(ledger.segment, ledger.slot), ConnectionCounts(ledger.segment)
    tallies.add(TallyKind.IP, "192.0.2.1")
    counts.say(ledger.slot, 3)
    assert (tallies.count(TallyKind.IP, "192.0.2.1"), counts.total()) == (1, 3)


async def test_an_invalid_message_on_a_typed_route_is_1007(app: App) -> None:
    app.websocket_route("/", value_type=Typed)(view_of(receives))

    async def peer(client: WebSocketTestClient) -> None:
        await client.send_text('{"number": "one"}')
        await stay(client)

    await visit(app, "/", peer)

    assert books(app, "/") == one_closed(1007, SERVER)


async def test_a_teardown_that_raises_ends_the_connection_all_the_same(app: App) -> None:
    async def pool() -> AsyncIterator[None]:
        yield
        raise LookupError("of the teardown")

    @app.websocket_route("/")
    async def view(ws: WebSocket, value: Any = Depends(pool)) -> None: ...

    await visit(app, "/")

    assert books(app, "/") == one_closed(1011, SERVER, errors=1)


# -- accept that fails -------------------------------------------------------------------------


async def run(app: App, send: Callable[[Any], Awaitable[None]]) -> None:
    """Run one connection whose host has this `send`, and whose peer says nothing."""
    events = [{"type": "websocket.connect"}]

    async def receive() -> Any:
        if not events:
            await asyncio.Event().wait()
        return events.pop()

    await app(websocket_scope("/"), receive, send)


@pytest.mark.parametrize(
    ("error", "initiator", "errors"),
    [(OSError(), CLIENT, 0), (RuntimeError(), CLIENT, 0), (LookupError(), SERVER, 1)],
)
async def test_a_peer_that_is_gone_at_its_accept_was_opened_and_closed(
    app: App, error: Exception, initiator: int, errors: int
) -> None:
    async def send(event: Any) -> None:
        raise error

    app.websocket_route("/")(view_of(receives))
    with suppress(LookupError, WebSocketDisconnect):
        await run(app, send)

    assert books(app, "/") == one_closed(1006, initiator, errors=errors)


async def test_a_connection_cancelled_at_its_accept_was_opened_and_closed(app: App) -> None:
    accepting = asyncio.Event()

    async def send(event: Any) -> None:
        accepting.set()
        await asyncio.Event().wait()

    app.websocket_route("/")(view_of(receives))
    task = asyncio.create_task(run(app, send))
    await accepting.wait()
    assert [row.route for row in app.connections] == ["/"]  # it is in before it is accepted
    task.cancel()
    await asyncio.wait([task])

    assert books(app, "/") == one_closed(1006, SERVER)


@pytest.mark.parametrize("is_published", [False, True])
async def test_a_peer_that_does_not_read_is_closed_with_1013(app: App, is_published: bool) -> None:
    async def send(event: Any) -> None:
        if event["type"] == "websocket.send":
            await asyncio.Event().wait()

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        while ws.close_code is None:
            await (app.broadcast("x") if is_published else ws.send_text("x"))

    app.configure(TransportLimits(2, 100, send_timeout_s=0.05, close_timeout_s=0.05))
    with suppress(WebSocketDisconnect):
        await run(app, send)

    assert books(app, "/") == one_closed(1013, SERVER, slow=1)


# -- on the wire -------------------------------------------------------------------------------


async def test_under_churn_on_the_wire_the_books_say_what_the_clients_know(app: App) -> None:
    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        async for text in ws.iter_text():
            if text == "raise":
                raise LookupError("of the view")
            await ws.close(int(text))

    seen: Counter[tuple[int, int]] = Counter()

    async def client(url: str, number: int) -> None:
        async with connect(f"{url}/", proxy=None) as ws:
            how = random.Random(number).choice(["4001", "4242", "raise", "leave", "vanish", "?"])
            if how == "leave":
                await ws.close(4001)
                seen[4001, CLIENT] += 1
            elif how == "vanish":
                ws.transport.abort()
                seen[1005, CLIENT] += 1
            elif how == "?":
                with pytest.raises(InvalidStatus):
                    await connect(f"{url}/nowhere", proxy=None)
                await ws.close(4999)
                seen[OTHER, CLIENT] += 1
            else:
                await ws.send(how)
                with pytest.raises(ConnectionClosed) as closed:
                    await ws.recv()
                code = closed.value.rcvd.code if closed.value.rcvd else 0
                assert code == (1011 if how == "raise" else int(how))
                seen[OTHER if code == 4242 else code, SERVER] += 1

    async with embedded(app) as url:
        await asyncio.gather(*(client(url, number) for number in range(100)))
        await until(lambda: not app.runtime.running)

    found = books(app)
    assert found.closed == seen
    assert found.errors == seen[1011, SERVER]
    assert books(app, "unmatched").refused == {403: seen[OTHER, CLIENT]}
