"""The deadlines of a connection: its silence, its age, the end of its token, and which is first."""

import asyncio
import gc
import time
from itertools import permutations
from math import inf
from typing import Any
from weakref import ref

import pytest

from server import App, WebSocket
from server.auth import Identity
from server.deadlines import deadlines
from server.limits import ConnectionLimits
from server.testing import WebSocketTestClient
from server.testing.session import make_scope
from tests.server.gate_support import Tokens, closed, limited, who
from tests.server.ledger_books import books, one_closed, until
from tests.server.time_machine import TimeMachine
from workers.layout import CLIENT, SERVER

CLOSES = {
    "token": (4003, "Token Expired"),
    "lifetime": (4004, "Lifetime Over"),
    "idle": (4001, "Not Heard Of"),
}
LATE_S = 1.5
"""How late an end may come: a message is known to a second, and looks are a quarter apart."""
YEAR_9999_S = 253_402_300_799


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> TimeMachine:
    return TimeMachine(monkeypatch)


def watched() -> int:
    return len(deadlines()._tick_of)


def ada(expires_in_s: float | None) -> Identity:
    return who("ada", expires_at_s=None if expires_in_s is None else time.time() + expires_in_s)


class Watched:
    """An app whose view echoes, with these deadlines."""

    def __init__(
        self,
        *,
        idle: float | None = None,
        lifetime: float | None = None,
        token: float | None = None,
        **options: Any,
    ) -> None:
        self.app = App(auth=[Tokens({"1": ada(token)})])
        limits = ConnectionLimits(idle_timeout_s=idle, lifetime_s=lifetime)

        @self.app.websocket_route("/", limits=limits, caught_close_codes=all, **options)
        async def view(ws: WebSocket) -> None:
            async for text in ws.iter_text():
                await ws.send(text)

    def client(self) -> WebSocketTestClient:
        return WebSocketTestClient(self.app, "/?token=1")

    def is_open(self) -> bool:
        return self.app.connections.count() == 1


# -- which, and when -------------------------------------------------------------------------------


@pytest.mark.parametrize("which", CLOSES)
async def test_each_ends_the_connection_in_time_and_not_before(
    machine: TimeMachine, which: str
) -> None:
    one = Watched(**{which: 100.0})
    async with one.client() as client:
        await machine.let_pass(99)
        assert one.is_open()
        await machine.let_pass(1 + LATE_S)
        assert await closed(client) == CLOSES[which]
    assert books(one.app) == one_closed(CLOSES[which][0], SERVER)
    assert limited(one.app) == ({} if which == "token" else {which: 1})
    assert watched() == 0


@pytest.mark.parametrize("order", list(permutations(CLOSES)))
async def test_the_first_of_them_counts(machine: TimeMachine, order: tuple[str, ...]) -> None:
    one = Watched(**dict(zip(order, (10.0, 11.5, 13.0), strict=True)))
    async with one.client() as client:
        await machine.let_pass(20)
        assert await closed(client) == CLOSES[order[0]]
    assert sum(limited(one.app).values()) == (order[0] != "token")


@pytest.mark.parametrize(
    ("deadlines", "expected"),
    [
        ({"token": 5.0, "lifetime": 5.0, "idle": 5.0}, "token"),
        ({"lifetime": 5.0, "idle": 5.0}, "lifetime"),
        ({"token": 5.0, "idle": 5.0}, "token"),
    ],
)
async def test_of_two_at_once_the_graver_is_told(
    machine: TimeMachine, deadlines: dict[str, float], expected: str
) -> None:
    one = Watched(**deadlines)
    async with one.client() as client:
        await machine.let_pass(8, step_s=8)
        assert await closed(client) == CLOSES[expected]


async def test_no_deadline_no_watch(machine: TimeMachine) -> None:
    one = Watched()
    async with one.client() as client:
        assert watched() == 0
        await machine.let_pass(1_000_000, step_s=100_000)
        await client.send_text("still there")
        assert await client.receive_text() == "still there"


@pytest.mark.parametrize("register", [App.websocket_route, App.websocket])
async def test_they_count_from_accept_on(machine: TimeMachine, register: Any) -> None:
    """However long that takes."""
    app, may_accept = App(), asyncio.Event()

    @register(app, "/", auto_accept=False, limits=ConnectionLimits(idle_timeout_s=5, lifetime_s=9))
    async def view(ws: WebSocket) -> None:
        await may_accept.wait()
        await ws.accept()
        async for _ in ws.iter_text():
            pass

    client = WebSocketTestClient(app, "/")
    connecting = asyncio.create_task(client.__aenter__())
    await until(lambda: app.runtime.running)
    assert watched() == 0
    await machine.let_pass(4)  # the client waits for 5 s
    may_accept.set()
    await connecting
    await machine.let_pass(4)
    await client.send_text("x")
    await machine.let_pass(4)
    assert app.connections.count() == 1
    await machine.let_pass(1 + LATE_S)
    assert await closed(client) == CLOSES["lifetime"]
    await client.__aexit__(None, None, None)


async def test_nor_does_it_count_how_long_the_host_takes_to_accept(machine: TimeMachine) -> None:
    app, accepting, has_accepted = App(), asyncio.Event(), asyncio.Event()
    sent: list[Any] = []

    @app.websocket_route("/", limits=ConnectionLimits(idle_timeout_s=5), caught_close_codes=all)
    async def view(ws: WebSocket) -> None:
        await ws.receive()

    async def receive() -> Any:
        if sent:
            await asyncio.Event().wait()
        return {"type": "websocket.connect"}

    async def send(event: Any) -> None:
        sent.append(event)
        if event["type"] == "websocket.accept":
            accepting.set()
            await has_accepted.wait()

    serving = asyncio.create_task(app(make_scope("/"), receive, send))
    await accepting.wait()
    await machine.let_pass(20)
    has_accepted.set()
    await machine.let_pass(4)
    assert len(sent) == 1
    await machine.let_pass(1 + LATE_S)
    assert sent[1:] == [{"type": "websocket.close", "code": 4001, "reason": "Not Heard Of"}]
    await serving


async def test_a_token_that_has_expired_by_accept(machine: TimeMachine) -> None:
    app, may_accept = App(auth=[Tokens({"1": ada(2)})]), asyncio.Event()

    @app.websocket("/")
    async def view(ws: WebSocket) -> None:
        await may_accept.wait()
        await ws.accept()
        await ws.receive()

    client = WebSocketTestClient(app, "/?token=1")
    connecting = asyncio.create_task(client.__aenter__())
    await until(lambda: app.runtime.running)
    await machine.let_pass(3)
    may_accept.set()
    await connecting
    await machine.let_pass(0.5)
    assert await closed(client) == CLOSES["token"]
    await client.__aexit__(None, None, None)


# -- silence ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("idle_s", [0.6, 1.0, 3.0, 60.0])
@pytest.mark.parametrize("after", [0.5, 0.9])
async def test_a_client_that_says_something_in_time_stays(
    machine: TimeMachine, idle_s: float, after: float
) -> None:
    """However close to the end of its time, and however short that is."""
    one = Watched(idle=idle_s)
    async with one.client() as client:
        for number in range(10):
            await machine.let_pass(idle_s * after, step_s=0.05)
            assert one.is_open(), number
            await client.send_text(str(number))
            assert await client.receive_text() == str(number)
        await machine.let_pass(idle_s + LATE_S)
        assert await closed(client) == CLOSES["idle"]


async def test_what_the_server_sends_does_not_count(machine: TimeMachine) -> None:
    one = Watched(idle=10.0)
    async with one.client() as client:
        for _ in range(11):
            await one.app.broadcast("news")
            await machine.let_pass(1)
            assert await client.receive_text() == "news"
        await machine.let_pass(LATE_S)
        assert await closed(client) == CLOSES["idle"]


async def test_messages_that_are_dropped_count(machine: TimeMachine) -> None:
    app = App()
    limits = ConnectionLimits(idle_timeout_s=10, messages_per_s=0.0001, on_rate="drop")

    @app.websocket_route("/", limits=limits)
    async def view(ws: WebSocket) -> None:
        async for _ in ws:
            pass

    async with WebSocketTestClient(app, "/") as client:
        for _ in range(3):
            await client.send_text("x")
            await machine.let_pass(9)
        assert app.connections.count() == 1
        await client.close()


# -- what has ended --------------------------------------------------------------------------------


@pytest.mark.parametrize("ends", ["client", "view"])
async def test_a_connection_that_has_ended_is_not_stopped_by_a_limit(
    machine: TimeMachine, ends: str
) -> None:
    """Its view may still be at work for long."""
    app, may_end = App(), asyncio.Event()
    limits = ConnectionLimits(idle_timeout_s=5, lifetime_s=9)

    @app.websocket_route("/", limits=limits, caught_close_codes=all)
    async def view(ws: WebSocket) -> None:
        if ends == "view":
            await ws.close(1001)
        else:
            async for _ in ws.iter_text():
                pass
        await may_end.wait()

    client = WebSocketTestClient(app, "/")
    await client.__aenter__()
    if ends == "client":
        await client.close(1001)
    await machine.let_pass(20)
    may_end.set()
    await client.__aexit__(None, None, None)
    assert limited(app) == {}
    assert books(app) == one_closed(1001, CLIENT if ends == "client" else SERVER)
    assert watched() == 0


@pytest.mark.parametrize("way", ["returns", "raises", "leaves", "is kicked", "is cancelled"])
async def test_nothing_is_kept_of_it(way: str) -> None:
    app = App(auth=[Tokens({"1": ada(3600)})])
    refs: list[Any] = []

    @app.websocket_route("/", limits=ConnectionLimits(idle_timeout_s=3600, lifetime_s=3600))
    async def view(ws: WebSocket) -> None:
        refs.append(ref(ws))
        await ws.receive_text()
        if way == "raises":
            raise LookupError

    async with WebSocketTestClient(app, "/?token=1", raise_app_exceptions=False) as client:
        await until(lambda: refs)
        assert watched() == 1
        if way == "leaves":
            await client.close(1001)
        elif way == "is kicked":
            await app.connections.disconnect(everyone=True)
        elif way == "is cancelled":
            (task,) = app.runtime.running.values()
            assert task is not None
            task.cancel()
            del task
        else:
            await client.send_text("go")
    await until(lambda: not app.runtime.running)
    assert watched() == 0
    del client
    gc.collect()
    assert refs[0]() is None


async def test_nothing_is_kept_of_one_that_a_deadline_has_ended(machine: TimeMachine) -> None:
    one, refs = Watched(lifetime=1.0), list[Any]()
    client = one.client()
    async with client:
        refs.extend(map(ref, one.app.runtime.running))
        await machine.let_pass(1 + LATE_S)
        assert await closed(client) == CLOSES["lifetime"]
    del client
    gc.collect()
    assert refs[0]() is None


# -- far away, and clocks that are set -------------------------------------------------------------


@pytest.mark.parametrize("expires_at_s", [YEAR_9999_S, float(YEAR_9999_S), 1e300, inf])
async def test_an_expiry_may_be_as_late_as_it_likes(
    machine: TimeMachine, expires_at_s: float
) -> None:
    app = App(auth=[Tokens({"1": who("ada", expires_at_s=expires_at_s)})])

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        async for text in ws:
            await ws.send(text)

    async with WebSocketTestClient(app, "/?token=1") as client:
        assert watched() == (expires_at_s != inf)
        await machine.let_pass(31_536_000, step_s=3_153_600)
        await client.send_text("still there")
        assert await client.receive_text() == "still there"
    assert watched() == 0


@pytest.mark.parametrize("expires_at_s", [0, -1e9, 1.0])
async def test_or_as_early(machine: TimeMachine, expires_at_s: float) -> None:
    app = App(auth=[Tokens({"1": who("ada", expires_at_s=expires_at_s)})])

    @app.websocket_route("/", caught_close_codes=all)
    async def view(ws: WebSocket) -> None:
        await ws.receive()

    async with WebSocketTestClient(app, "/?token=1") as client:
        await machine.let_pass(0.5)
        assert await closed(client) == CLOSES["token"]


@pytest.mark.parametrize("set_s", [86_400, -86_400])
@pytest.mark.parametrize("which", ["idle", "lifetime"])
async def test_a_clock_that_is_set_makes_nobody_silent_or_old(
    machine: TimeMachine, which: str, set_s: float
) -> None:
    one = Watched(**{which: 100.0})
    async with one.client() as client:
        if which == "idle":
            await machine.let_pass(90)
            await client.send_text("so the end is not where it was first thought to be")
            await client.receive_text()
        await machine.let_pass(50)
        machine.set_clock(set_s)
        await machine.let_pass(49)
        assert one.is_open()
        await machine.let_pass(1 + LATE_S)
        assert await closed(client) == CLOSES[which]


async def test_a_token_ends_by_the_clock_that_it_was_made_by(machine: TimeMachine) -> None:
    one = Watched(token=100.0)
    async with one.client() as client:
        machine.set_clock(-50)
        await machine.let_pass(149)
        assert one.is_open()
        await machine.let_pass(1 + LATE_S)
        assert await closed(client) == CLOSES["token"]
