"""The closing of many connections: a drain on real sockets, and a disconnect by user or id."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from server import App, WebSocket, WebSocketDisconnect
from server.draining import Drained, drain
from server.testing import WebSocketTestClient
from server.transport import TransportLimits
from tests.server.ledger_books import Books, books, until, visit
from tests.support.embedded import embedded
from tests.support.scopes import websocket_scope
from workers.doorbell import Disconnect
from workers.layout import CLIENT, SERVER

WAIT_S = 10.0


@pytest.fixture
def app() -> App:
    app = App()

    @app.websocket_route("/")
    async def echo(ws: WebSocket) -> None:
        await ws.join("all")
        async for text in ws.iter_text():
            await ws.send_text(text)

    return app


@asynccontextmanager
async def clients(url: str, count: int, path: str = "/") -> AsyncIterator[list[ClientConnection]]:
    async with AsyncExitStack() as stack:
        wanted = [connect(url + path, proxy=None, open_timeout=WAIT_S) for _ in range(count)]
        yield await asyncio.gather(*map(stack.enter_async_context, wanted))


async def end_of(client: ClientConnection) -> tuple[int, float]:
    """Read until the server closes; returns the code (0: none came), and when."""
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                await client.recv()
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 0, time.monotonic()


async def refusal(url: str) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{url}/", proxy=None)
    response = refused.value.response
    return response.status_code, response.headers.get("retry-after", "")


async def test_every_client_gets_the_code_and_the_closes_are_spread_evenly(app: App) -> None:
    async with embedded(app) as url, clients(url, 300) as connected:
        await until(lambda: app.room("all").count() == 300)
        ends = asyncio.gather(*map(end_of, connected))
        started = time.monotonic()
        drained = await drain(app.runtime, code=1012, spread_s=2.0, deadline_s=10.0, refuse=True)
        took_s = time.monotonic() - started
        codes, times = zip(*await ends, strict=True)

        assert await refusal(url) == (503, "1")
    assert drained == Drained(closed=300, left=0)
    assert set(codes) == {1012}
    assert 1.8 < took_s < 4.0
    quarters = Counter(min(int((moment - started) / 0.5), 3) for moment in times)
    assert all(40 < quarters[quarter] < 110 for quarter in range(4)), quarters
    assert books(app) == Books(300, {(1012, SERVER): 300}, {503: 1})


async def test_few_connections_do_not_take_the_whole_time(app: App) -> None:
    async with embedded(app) as url, clients(url, 10) as connected:
        ends = asyncio.gather(*map(end_of, connected))
        async with asyncio.timeout(3.0):
            await app.drain(code=1001, drain_s=60.0, refuse=True)
        assert {code for code, _ in await ends} == {1001}


async def test_a_drain_of_nothing_ends_at_once_and_nothing_is_taken_after_it(app: App) -> None:
    async with asyncio.timeout(0.5):
        assert await app.drain(code=1001, drain_s=60.0, refuse=False) == Drained(0, 0)

    assert await visit(app) == 503
    assert await visit(app, "/nowhere") == 503
    assert books(app).refused == {503: 1}


async def test_under_traffic_every_client_gets_the_code(app: App) -> None:
    """Clients that never cease to send, and members of a room that is published to meanwhile.

    (Cut off by the host, most of them would meet a reset in place of the close frame.)
    """

    async def talk(client: ClientConnection) -> None:
        # The library stumbles (AttributeError) when it is about to send on what has just ended.
        with suppress(ConnectionClosed, AttributeError):
            while True:
                await client.send("x" * 1000)
                await asyncio.sleep(0)

    async def publish() -> None:
        while True:
            await app.room("all").publish("published")
            await asyncio.sleep(0.002)

    async with embedded(app) as url, clients(url, 60) as connected:
        ends = asyncio.gather(*map(end_of, connected))
        talking = [asyncio.create_task(talk(client)) for client in connected]
        publishing = asyncio.create_task(publish())
        drained = await drain(app.runtime, code=1012, spread_s=1.0, deadline_s=10.0, refuse=True)
        assert {code for code, _ in await ends} == {1012}
        publishing.cancel()
        await asyncio.wait([*talking, publishing])
    assert drained == Drained(60, 0)
    assert app.room("all").count() == 0


async def test_handshakes_under_way_are_refused_when_they_come_to_their_accept(app: App) -> None:
    go_on = asyncio.Event()

    @app.websocket("/slow")
    async def slow(ws: WebSocket) -> None:
        await go_on.wait()
        await ws.accept()

    visiting = asyncio.create_task(visit(app, "/slow"))
    await until(lambda: app.runtime.running)
    draining = asyncio.create_task(app.drain(code=1001, drain_s=10.0, refuse=True))
    await until(lambda: app.runtime.is_refusing)
    go_on.set()

    assert await visiting == 503
    assert await draining == Drained(0, 0)
    assert books(app, "/slow") == Books(refused={503: 1})


async def test_a_worker_that_is_replaced_serves_late_clients_and_closes_them_last(app: App) -> None:
    async with embedded(app) as url, clients(url, 50) as connected:
        await until(lambda: app.room("all").count() == 50)  # the views have got that far, too
        ends = asyncio.gather(*map(end_of, connected))
        draining = asyncio.create_task(
            drain(app.runtime, code=1012, spread_s=1.0, deadline_s=10.0, refuse=False)
        )
        await until(lambda: len(app.runtime.running) < 40)
        async with connect(f"{url}/", proxy=None) as late:
            await late.send("still served")
            assert await late.recv() == "still served"
            code, at = await end_of(late)
        first = await ends
        assert code == 1012
        assert at >= max(moment for _, moment in first) - 0.1
        assert await draining == Drained(51, 0)
        assert await refusal(url) == (503, "1")
    assert books(app).closed == {(1012, SERVER): 51}


async def test_a_peer_that_does_not_read_delays_nobody(app: App) -> None:
    @app.websocket_route("/flood")
    async def flood(ws: WebSocket) -> None:
        while True:
            await ws.send_text("x" * 50_000)

    app.configure(TransportLimits(close_timeout_s=1.0))
    async with (
        embedded(app) as url,
        clients(url, 20) as connected,
        connect(f"{url}/flood", proxy=None, max_queue=1, compression=None) as deaf,
    ):
        (row,) = await until(lambda: app.connections.list(route="/flood"))
        (flooding,) = app.runtime.ledger.find([row.id])
        await until(lambda: flooding.messages_sent and flooding._outbox.filling_since)
        ends = asyncio.gather(*map(end_of, connected))
        started = time.monotonic()
        drained = await drain(app.runtime, code=1012, spread_s=0.2, deadline_s=9, refuse=True)
        assert {code for code, _ in await ends} == {1012}
        assert max(moment for _, moment in await ends) - started < 0.8
        assert drained == Drained(21, 0)
        deaf.transport.abort()
    assert books(app, "/flood").closed == {(1012, SERVER): 1}


async def test_views_that_go_on_are_cancelled_and_bounded_by_the_deadline(app: App) -> None:
    never = asyncio.Event()
    ends: list[str] = []

    @app.websocket_route("/deaf")
    async def deaf(ws: WebSocket) -> None:
        try:
            await never.wait()
        finally:
            ends.append("cancelled")

    @app.websocket_route("/stubborn")
    async def stubborn(ws: WebSocket) -> None:
        while not never.is_set():
            with suppress(asyncio.CancelledError):
                await never.wait()

    async with embedded(app) as url:
        async with clients(url, 3, "/deaf") as some, clients(url, 2, "/stubborn") as others:
            closes = asyncio.gather(*map(end_of, [*some, *others]))
            started = time.monotonic()
            drained = await app.drain(code=1012, drain_s=1.0, refuse=True)
            took_s = time.monotonic() - started
            assert {code for code, _ in await closes} == {1012}
        assert drained == Drained(5, left=2)
        assert 0.8 < took_s < 1.3
        assert ends == ["cancelled"] * 3
        # Their end is in the books, as this process would be gone now.
        assert app.connections.count() == 0
        never.set()
        await until(lambda: not app.runtime.running)
    assert books(app, "/deaf").closed == {(1012, SERVER): 3}
    assert books(app, "/stubborn").closed == {(1012, SERVER): 2}


# -- disconnect --------------------------------------------------------------------------------


async def test_a_user_is_disconnected_wherever_else_she_is(app: App) -> None:
    @app.websocket_route("/of/{user}")
    async def of(ws: WebSocket, user: str) -> None:
        ws.user_id = user
        await ws.send_text("known")
        await ws.receive_text()

    async with (
        embedded(app) as url,
        clients(url, 3, "/of/ann") as ann,
        clients(url, 1, "/of/bo") as bo,
    ):
        for client in (*ann, *bo):
            await client.recv()
        assert app.connections.count(user="ann") == 3

        asked = await app.connections.disconnect(user="ann", code=4001, reason="logged out")

        ends = await asyncio.gather(*map(end_of, ann))
        assert asked == 3
        assert {code for code, _ in ends} == {4001}
        assert ann[0].close_reason == "logged out"
        await until(lambda: app.connections.count() == 1)
        await bo[0].send("still here")
        await until(lambda: app.connections.count() == 0)


async def test_a_message_about_connections_that_are_gone_is_passed_over(app: App) -> None:
    async with WebSocketTestClient(app, "/") as client:
        id = app.connections.list()[0].id
        app.handle_message(Disconnect(["1-999", id, "nonsense"], 4001, ""))
        assert (await client.receive())["code"] == 4001
    app.handle_message(Disconnect([id], 4001, ""))
    await asyncio.sleep(0)


async def test_a_disconnect_waits_for_an_accept_that_is_under_way(app: App) -> None:
    may_accept = asyncio.Event()
    sent: list[str] = []
    events: list[Any] = [{"type": "websocket.connect"}]

    async def receive() -> Any:
        return events.pop() if events else await asyncio.Event().wait()

    async def send(event: Any) -> None:
        sent.append(event["type"])
        if event["type"] == "websocket.accept":
            await may_accept.wait()

    running = asyncio.create_task(app(websocket_scope("/"), receive, send))
    await until(lambda: sent)
    assert await app.connections.disconnect(everyone=True, code=4001) == 1
    await asyncio.sleep(0.05)
    assert sent == ["websocket.accept"]
    may_accept.set()
    with suppress(WebSocketDisconnect):
        await running

    assert sent == ["websocket.accept", "websocket.close"]
    assert sum(books(app).closed.values()) == 1


async def test_a_close_by_the_peer_is_its_own_also_in_a_drain(app: App) -> None:
    async with embedded(app) as url, clients(url, 40) as connected:
        draining = asyncio.create_task(
            drain(app.runtime, code=1012, spread_s=1.0, deadline_s=10.0, refuse=True)
        )
        ends = asyncio.gather(*map(end_of, connected[:20]))
        await asyncio.gather(*(client.close(1000) for client in connected[20:]))
        await ends
        await draining
    closed = books(app).closed
    assert closed.keys() <= {(1012, SERVER), (1000, CLIENT)}
    assert sum(closed.values()) == 40
    assert closed[1000, CLIENT] > 0
