"""Each way out of a handshake or a connection gives its places back, and the next one comes in."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from server import App, Depends, TooManyConnections, WebSocket, WebSocketClose
from server.auth import IsAuthenticated
from server.auth.places import Places
from server.limits import AdmissionLimits, ConnectionLimits
from server.testing import HandshakeRejected, WebSocketTestClient
from server.testing.session import make_scope
from server.transport import TransportLimits
from tests.server.gate_support import Tokens, assert_nothing_is_claimed, limited, refused
from tests.server.ledger_books import books, one_closed, one_refused, until
from tests.server.time_machine import TimeMachine
from workers.layout import SERVER

PLACES = Places(header=None, query_param="token", first_message_s=0.05)
Client = WebSocketTestClient


class Hall:
    """An app with one place, one for each address and one for each user.

    Attributes:
        view, provider, teardown, backend: what these do.
        step: where the connection is by now.
    """

    def __init__(self, **options: Any) -> None:
        self.step = ""
        self.view: Callable[[WebSocket], Awaitable[Any]] = self.stays
        self.provider = self.backend = self.teardown = self.passes
        limits = AdmissionLimits(connections=1, connections_per_ip=1, connections_per_user=1)
        self.app = App(admission=limits)
        self.tokens = Tokens("ada eve", PLACES)
        auth = {"auth": [self], "guards": [IsAuthenticated()]}
        self.places = PLACES

        async def provide(ws: WebSocket) -> AsyncIterator[None]:
            self.step = "provider"
            await self.provider(ws)
            yield
            await self.teardown(ws)

        @self.app.websocket("/{floor}", **{**auth, **options})
        async def view(ws: WebSocket, floor: int, one: Any = Depends(provide)) -> None:
            self.step = "view"
            await self.view(ws)

    async def identify(self, token: str) -> Any:
        self.step = "backend"
        await self.backend(None)
        return await self.tokens.identify(token)

    async def passes(self, ws: WebSocket | None) -> None: ...

    async def hangs(self, ws: WebSocket | None) -> None:
        self.step += " hangs"
        await asyncio.Event().wait()

    async def stays(self, ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws.iter_text():
            pass

    def client(self, path: str = "/1?token=ada") -> Client:
        return Client(self.app, path, raise_app_exceptions=False)

    async def connect(self, path: str = "/1?token=ada") -> None:
        """Come, and stay until the connection is closed, if that is let in."""
        with suppress(HandshakeRejected):
            async with self.client(path) as client:
                async for _ in client.iter_text():
                    pass

    async def come(self) -> None:
        """Come as who was here before; there must be a place."""
        self.view, self.step = self.stays, ""
        self.provider = self.backend = self.teardown = self.passes
        async with self.client():
            assert self.step == "view"
            assert (await refused(self.app, "/1?token=ada")).status == 503


# -- by itself -------------------------------------------------------------------------------------


async def raises(ws: WebSocket | None) -> None:
    raise LookupError("of the app")


async def closes(ws: WebSocket | None) -> None:
    raise WebSocketClose(4001, "enough")


async def rejects(ws: WebSocket) -> None:
    await ws.reject(404)


async def returns(ws: WebSocket) -> None: ...


async def accepts_and_returns(ws: WebSocket) -> None:
    await ws.accept()


async def accepts_and_raises(ws: WebSocket) -> None:
    await ws.accept()
    await raises(ws)


async def becomes_another(ws: WebSocket) -> None:
    ws.user_id = "eve"
    await ws.accept()
    ws.user_id = "bob"


async def becomes_nobody(ws: WebSocket) -> None:
    ws.user_id = ""
    await ws.accept()


async def cancels_itself(ws: WebSocket) -> None:
    await ws.accept()
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def leaves_a_task_that_closes(ws: WebSocket) -> None:
    await ws.accept()
    asyncio.get_running_loop().call_soon(asyncio.ensure_future, ws.ensure_closed(4001))


VIEWS = [
    returns,
    raises,
    closes,
    rejects,
    accepts_and_returns,
    accepts_and_raises,
    becomes_another,
    becomes_nobody,
    cancels_itself,
    leaves_a_task_that_closes,
]


@pytest.mark.parametrize("view", VIEWS)
async def test_a_view_that_ends(view: Any) -> None:
    hall = Hall()
    hall.view = view
    await hall.connect()
    assert hall.step == "view"
    assert_nothing_is_claimed(hall.app)
    await hall.come()
    assert_nothing_is_claimed(hall.app)


@pytest.mark.parametrize("raising", [raises, closes])
@pytest.mark.parametrize("where", ["backend", "provider", "teardown"])
async def test_what_raises_around_it(where: str, raising: Any) -> None:
    hall = Hall()
    hall.view = accepts_and_returns
    setattr(hall, where, raising)
    await hall.connect()
    assert_nothing_is_claimed(hall.app)
    await hall.come()


@pytest.mark.parametrize("path", ["/1", "/1?token=no", "/top?token=ada"])
async def test_who_is_not_let_in(path: str) -> None:
    """The first of them, because its first message does not come."""
    hall = Hall()
    await hall.connect(path)
    assert hall.step != "view"
    assert_nothing_is_claimed(hall.app)
    await hall.come()


# -- by others -------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["backend", "provider", "teardown", "view"])
async def test_the_host_that_cancels(where: str) -> None:
    hall = Hall()
    hall.view = accepts_and_returns
    setattr(hall, where, hall.hangs)
    connecting = asyncio.create_task(hall.connect())
    await until(lambda: hall.step.endswith("hangs"))
    (task,) = hall.app.runtime.running.values()
    assert task is not None
    task.cancel()
    await connecting
    assert_nothing_is_claimed(hall.app)
    await hall.come()


@pytest.mark.parametrize("token", ["?token=ada", ""])
async def test_the_host_that_cancels_within_accept(token: str) -> None:
    hall, accepting = Hall(), asyncio.Event()

    async def send(event: Any) -> None:
        accepting.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(serve(hall, send, token))
    await accepting.wait()
    assert hall.app.runtime.ledger.connections() == 1
    task.cancel()
    await asyncio.wait([task])
    assert_nothing_is_claimed(hall.app)
    await hall.come()


@pytest.mark.parametrize("token", ["?token=ada", ""])
@pytest.mark.parametrize("error", [OSError, RuntimeError, LookupError])
async def test_a_client_that_is_gone_at_its_accept(token: str, error: type[Exception]) -> None:
    hall = Hall()

    async def send(event: Any) -> None:
        raise error

    with suppress(LookupError):
        await serve(hall, send, token)
    assert_nothing_is_claimed(hall.app)
    await hall.come()


async def test_a_host_that_cannot_even_take_the_refusal() -> None:
    hall = Hall()

    async def send(event: Any) -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await serve(hall, send, "?token=no")
    assert_nothing_is_claimed(hall.app)
    await hall.come()


async def serve(hall: Hall, send: Any, query: str) -> None:
    """Serve one client on a host with this `send`."""
    events = [{"type": "websocket.connect"}]

    async def receive() -> Any:
        if not events:
            await asyncio.Event().wait()
        return events.pop()

    await hall.app(make_scope(f"/1{query}"), receive, send)


async def test_a_host_that_does_not_begin_with_a_connect() -> None:
    hall = Hall()

    async def receive() -> Any:
        return {"type": "websocket.disconnect", "code": 1006}

    async def send(event: Any) -> None:
        raise AssertionError(event)

    await hall.app(make_scope("/1?token=ada"), receive, send)
    assert_nothing_is_claimed(hall.app)


@pytest.mark.parametrize("code", [1000, 1005, 1006, 4001])
async def test_a_client_that_leaves(code: int) -> None:
    hall = Hall()
    async with hall.client() as client:
        await client.close(code)
    assert_nothing_is_claimed(hall.app)
    await hall.come()


async def test_one_who_is_thrown_out() -> None:
    hall = Hall()
    async with hall.client() as client:
        await hall.app.connections.disconnect(user="ada")
        await client.receive()
    assert_nothing_is_claimed(hall.app)
    await hall.come()


@pytest.mark.parametrize("limits", [{"idle_timeout_s": 2}, {"lifetime_s": 2}])
async def test_one_whose_time_is_over(
    monkeypatch: pytest.MonkeyPatch, limits: dict[str, Any]
) -> None:
    hall, machine = Hall(limits=ConnectionLimits(**limits)), TimeMachine(monkeypatch)
    async with hall.client() as client:
        await machine.let_pass(4)
        assert (await client.receive())["code"] in (4001, 4004)
    assert_nothing_is_claimed(hall.app)
    await hall.come()


async def test_one_who_does_not_read() -> None:
    hall = Hall()
    hall.app.configure(TransportLimits(2, 100, send_timeout_s=0.05, close_timeout_s=0.05))

    async def floods(ws: WebSocket) -> None:
        await ws.accept()
        while True:
            await ws.send_text("x")

    async def send(event: Any) -> None:
        if event["type"] != "websocket.accept":
            await asyncio.Event().wait()

    hall.view = floods
    with suppress(Exception):
        await serve(hall, send, "?token=ada")
    assert_nothing_is_claimed(hall.app)
    await hall.come()


@pytest.mark.parametrize("where", ["backend", "provider", "teardown", "view", "stays"])
async def test_a_drain(where: str) -> None:
    """It cancels what goes on for too long, wherever that is."""
    hall = Hall()
    if where != "stays":
        hall.view = accepts_and_returns
        setattr(hall, where, hall.hangs)
    connecting = asyncio.create_task(hall.connect())
    await until(lambda: hall.step.endswith("hangs") or hall.step == "view")
    drained = await hall.app.drain(code=1001, drain_s=0.3, refuse=True)
    assert drained.left == 0
    await connecting
    assert_nothing_is_claimed(hall.app)


# -- a user that the app's code tells --------------------------------------------------------------


class Club:
    """An app whose view says who the client is, before accept or after it."""

    def __init__(self, *, before: bool, catches: bool = False) -> None:
        self.app = App(admission=AdmissionLimits(connections_per_user=1))
        self.found: list[str] = []

        @self.app.websocket("/{user}")
        async def view(ws: WebSocket, user: str) -> None:
            if not before:
                await ws.accept()
            try:
                ws.user_id = user
            except TooManyConnections as error:
                self.found.append(f"{ws.user_id}: {error}")
                if not catches:
                    raise
            await ws.accept()
            await ws.send_text("in")
            await ws.receive()


@pytest.mark.parametrize("before", [True, False])
async def test_one_too_many_of_a_user_told_by_the_view(before: bool) -> None:
    club = Club(before=before)
    reason = "there are 1 connections of this user, the limit"
    async with Client(club.app, "/ada") as first:
        assert await first.receive_text() == "in"
        if before:
            assert (await refused(club.app, "/ada")).short == (429, reason)
        else:
            async with Client(club.app, "/ada") as second:
                assert await second.receive() == {
                    "type": "websocket.close",
                    "code": 1008,
                    "reason": reason,
                }
        assert limited(club.app, "/{user}") == {"connections_per_user": 1}
        async with Client(club.app, "/eve") as other:
            assert await other.receive_text() == "in"
    assert club.found == [f"None: 1008 {reason}"]
    assert_nothing_is_claimed(club.app)
    counted = books(club.app, "/{user}")
    assert counted.errors == 0
    expected = one_refused(429) if before else one_closed(1008, SERVER)
    assert expected.refused.items() <= counted.refused.items()
    assert expected.closed.items() <= counted.closed.items()


async def test_a_view_may_catch_that_and_go_on_without() -> None:
    club = Club(before=True, catches=True)
    async with Client(club.app, "/ada") as first, Client(club.app, "/ada") as second:
        assert [await client.receive_text() for client in (first, second)] == ["in", "in"]
        assert club.app.connections.count(user="ada") == 1
    assert_nothing_is_claimed(club.app)
