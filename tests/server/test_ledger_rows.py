"""What the registry shows of a worker's connections, and what happens when it is full."""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from server import App, CloseCode, WebSocket, WebSocketDisconnect
from server.close_codes import OWN_CODES
from server.connections import Connections
from server.ledger import STATUSES
from server.testing import TestClient, WebSocketTestClient
from tests.server.ledger_books import (
    OTHER,
    Books,
    books,
    counters,
    give_room,
    leaving,
    one_closed,
    until,
    visit,
)
from tests.support.embedded import embedded
from workers.counters import HANDLING_BUCKETS_S
from workers.layout import CLIENT, CODES, ServerState, Sizes, SlotState
from workers.registry import Row
from workers.segment import Segment
from workers.slots import OwnSlot, Slots


@pytest.fixture
def app() -> App:
    return App()


async def row_when(app: App, condition: Callable[[Row], bool], timeout_s: float = 10.0) -> Row:
    """Return the first row that is as it should be."""

    def find() -> Row | None:
        return next((row for row in app.connections if condition(row)), None)

    row: Row = await until(find, timeout_s)
    return row


async def receives(ws: WebSocket) -> None:
    while True:
        await ws.receive_text()


async def test_the_sweep_brings_traffic_to_row_and_counters_within_a_second(app: App) -> None:
    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        async for text in ws.iter_text():
            await ws.send_text(text + text)

    async with WebSocketTestClient(app, "/") as client:
        before_ns = time.time_ns()
        for _ in range(33):
            await client.send_text("äx")
            await client.receive_text()
        row = await row_when(app, lambda row: row.messages_in == 33, timeout_s=1.0)
        assert (row.messages_out, row.bytes_in, row.bytes_out) == (33, 99, 198)
        assert before_ns < row.received_ns < before_ns + 2 * 10**9
        await client.send_text("last")
        await client.receive_text()

    block = counters(app)
    assert (block.messages_in, block.messages_out) == (34, 34)
    assert (block.bytes_in, block.bytes_out) == (103, 206)
    assert sum(block.handling) == 3  # the 1st, 17th and 33rd message


@pytest.mark.parametrize("value_type", ["text", "event", "json"])
async def test_one_message_in_sixteen_is_timed(app: App, value_type: str) -> None:
    @app.websocket_route("/", value_type=value_type)
    async def view(ws: WebSocket) -> None:
        for _ in range(32):
            await ws.receive()
        await asyncio.sleep(0.06)  # the 32nd, which is not timed
        await ws.receive()
        await asyncio.sleep(0.06)  # the 33rd, which is
        await ws.receive()

    async with WebSocketTestClient(app, "/") as client:
        for _ in range(34):
            await client.send_text("1")
        await until(lambda: counters(app).opened and not counters(app).open)
    block = counters(app)
    assert sum(block.handling) == 3
    assert sum(block.handling[: bisect_left(HANDLING_BUCKETS_S, 0.05)]) == 2


async def test_a_row_says_whose_connection_it_is(app: App) -> None:
    before: list[Any] = []

    @app.websocket("/{room}")
    async def view(ws: WebSocket, room: str) -> None:
        before.append((ws.id, ws.user_id))
        ws.user_id = "ann"
        await ws.accept()
        await ws.send_text(str(ws.id))
        ws.user_id = await ws.receive_text()
        await receives(ws)

    async with WebSocketTestClient(app, "/lobby?token=secret") as client:
        id = await client.receive_text()
        row = app.connections.get(id)
        assert row is not None
        assert (row.user, row.route, row.path) == ("ann", "/{room}", "/lobby")
        assert row.client == "testclient:50000"
        await client.send_text("é" * 32)
        await row_when(app, lambda row: row.user == "é" * 32)
        assert app.connections.count(user="ann") == 0
    assert before == [(None, None)]


async def test_a_user_id_has_a_limit(app: App) -> None:
    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        with pytest.raises(ValueError, match="66 bytes of UTF-8, the limit is 64"):
            ws.user_id = "é" * 33
        with pytest.raises(TypeError, match="str, not int"):
            ws.user_id = 7  # type: ignore[assignment]
        await ws.send_text(str(ws.user_id))

    async with WebSocketTestClient(app, "/") as client:
        assert await client.receive_text() == "None"


async def test_a_row_shows_that_the_peer_has_left_a_busy_view(app: App) -> None:
    go_on = asyncio.Event()

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        with pytest.raises(WebSocketDisconnect):
            await ws.receive()
        await go_on.wait()

    async with WebSocketTestClient(app, "/") as client:
        await client.close(1001)
        await row_when(app, lambda row: row.is_closing)
        go_on.set()
    assert books(app) == one_closed(1001, CLIENT)


@pytest.mark.parametrize("register", [App.websocket_route, App.websocket])
async def test_a_full_registry_refuses_with_503(app: App, register: Any) -> None:
    @register(app, "/")
    async def view(ws: WebSocket) -> None:
        await ws.accept()
        await receives(ws)

    give_room(app, 1)
    async with embedded(app) as url:
        async with connect(f"{url}/", proxy=None):
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{url}/", proxy=None)
        response = refused.value.response
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert b"1 connections, its limit" in bytes(response.body or b"")
        await until(lambda: not app.runtime.running)
        async with connect(f"{url}/", proxy=None):
            pass  # there is room again
        await until(lambda: not app.runtime.running)
    assert books(app) == Books(2, {(1000, CLIENT): 2}, {503: 1})


async def test_rows_that_run_out_during_a_handshake_refuse_it_too(app: App) -> None:
    caught: list[str] = []
    may_accept = asyncio.Event()

    @app.websocket("/")
    async def view(ws: WebSocket) -> None:
        await may_accept.wait()
        try:
            await ws.accept()
        except Exception as error:
            caught.append(type(error).__name__)
            raise
        await ws.receive_text()

    give_room(app, 1)
    visits = [asyncio.create_task(visit(app, "/", leaving(1000))) for _ in range(2)]
    await until(lambda: len(app.runtime.running) == 2)
    may_accept.set()

    assert sorted(map(str, await asyncio.gather(*visits))) == ["503", "None"]
    assert caught == ["ServerUnavailable"]
    assert books(app) == Books(1, {(1000, CLIENT): 1}, {503: 1})


# -- the place in a server ---------------------------------------------------------------------


@pytest.fixture
def segment(tmp_path: Path) -> Iterator[Segment]:
    made = Segment.create(
        tmp_path / "server",
        Sizes(workers=1, slots=2, rows_per_slot=16, routes=8),
        routes=["unmatched", "/"],
        codes=[1000],
        statuses=[403],
    )
    yield made
    made.remove()
    made.close()


def adopt(app: App, segment: Segment) -> None:
    slot = Slots(segment).assign(0, 7)
    app.adopt(segment, slot, generation=7, worker_index=0)


async def test_other_processes_read_the_books_of_a_worker(app: App, segment: Segment) -> None:
    app.websocket_route("/")(receives)
    adopt(app, segment)
    async with WebSocketTestClient(app, "/"):
        assert segment.path is not None
        elsewhere = Segment.attach(segment.path, writable=False)
        (row,) = Connections(elsewhere).list()
        assert (row.id, row.slot, row.route) == ("7-1", 0, "/")
    assert len(Connections(elsewhere)) == 0
    elsewhere.close()


async def test_a_worker_takes_its_place_before_it_serves(app: App, segment: Segment) -> None:
    app.websocket_route("/")(receives)
    async with WebSocketTestClient(app, "/"):
        with pytest.raises(RuntimeError, match="has begun to serve"):
            adopt(app, segment)


def test_a_worker_tells_its_health_unless_the_app_does(app: App, segment: Segment) -> None:
    assert TestClient(app).get("/healthz").status_code == 404  # no server to tell of

    worker = App()
    adopt(worker, segment)
    client = TestClient(worker)
    assert client.get("/healthz").json()["status"] == "ok"
    assert client.get("/readyz").status_code == 503
    segment.server_state = ServerState.SERVING
    voice = OwnSlot(segment, 0)
    voice.set_state(SlotState.READY)
    voice.beat(time.monotonic_ns(), 0)
    assert (client.get("/readyz").status_code, client.get("/readyz").json()["ready"]) == (200, 1)

    @worker.route("/healthz")
    def own(request: Any) -> str:
        return "the app's"

    assert client.get("/healthz").text == "the app's"


def test_declared_close_codes_are_ones_that_may_be_sent() -> None:
    assert App(close_codes={4001: "logged out", 1000: "done"}).close_codes[4001] == "logged out"
    with pytest.raises(ValueError, match="1006 may not be sent"):
        App(close_codes={1006: "lost"})
    with pytest.raises(TypeError, match="int, not str"):
        App(close_codes={"4001": "logged out"})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=r"has 60 codes, the limit is \d\d"):
        App(close_codes=dict.fromkeys(range(4000, 4060), ""))


def test_labels_hold_all_that_is_declared() -> None:
    """The most codes an app may declare have a label each, beside those the server sends."""
    known = {code.value for code in CloseCode} | OWN_CODES.keys()
    codes = range(4100, 4100 + CODES - 1 - len(known))
    app = App(close_codes=dict.fromkeys(codes, ""))
    segment = app.runtime.ledger.segment
    assert len({segment.code_index(code) for code in (*codes, *known)} - {OTHER}) == CODES - 1
    assert all(segment.status_index(status) != OTHER for status in STATUSES)
