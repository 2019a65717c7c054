"""The wait for a first message: how it may end without one, and that nothing is left then."""

import asyncio
from typing import Any

import pytest

from server import App, WebSocket
from server.auth import IsAuthenticated
from server.auth.places import Places
from server.deadlines import deadlines
from server.limits import ConnectionLimits
from server.testing.session import make_scope
from tests.server.gate_support import (
    ONCE,
    Door,
    assert_nothing_is_claimed,
    closed,
    limited,
    who,
)
from tests.server.ledger_books import books, one_closed, one_refused, until
from workers.layout import CLIENT, SERVER


async def test_nothing_in_time_closes_with_4002() -> None:
    door = Door(places=Places(first_message_s=0.05))
    async with door.client() as client:
        assert await closed(client) == (4002, "Nothing Said In Time")
    assert books(door.app) == one_closed(4002, SERVER)
    assert_nothing_is_claimed(door.app)


async def test_the_time_is_for_the_message_and_not_for_what_it_is_worth() -> None:
    """A slow backend is none of the client's fault."""
    wait_s = 0.05
    door = Door(places=Places(first_message_s=wait_s))

    async def slowly(token: str) -> Any:
        await asyncio.sleep(2 * wait_s)
        return who(token)

    door.backend.identify = slowly  # type: ignore[method-assign]
    async with door.client() as client:
        await client.send_text("ada")
        assert await client.receive_text() == "Welcome ada"


@pytest.mark.parametrize("error", [LookupError("a secret"), TimeoutError("a secret")])
async def test_what_a_backend_raises_is_an_error(error: Exception) -> None:
    door = Door({"x": error})
    async with door.client(raise_app_exceptions=False) as client:
        await client.send_text("x")
        assert await closed(client) == (1011, "")
    assert books(door.app) == one_closed(1011, SERVER, errors=1)


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006, 4001])
async def test_a_client_that_leaves_meanwhile(code: int) -> None:
    door = Door(app=App(close_codes={4001: "of the client"}))
    async with door.client() as client:
        await client.close(code)
    assert door.ran == []
    assert books(door.app) == one_closed(code, CLIENT)
    assert_nothing_is_claimed(door.app)


@pytest.mark.parametrize("code", [1001, 1012])
async def test_a_drain_meanwhile(code: int) -> None:
    door = Door()
    async with door.client() as client:
        drained = await door.app.drain(code=code, drain_s=5, refuse=True)
        assert await closed(client) == (code, "")
    assert (drained.closed, drained.left) == (1, 0)
    assert door.ran == []
    assert books(door.app) == one_closed(code, SERVER)


async def test_one_who_is_thrown_out_meanwhile() -> None:
    door = Door()
    async with door.client() as client:
        assert await door.app.connections.disconnect(everyone=True, code=4503) == 1
        assert await closed(client) == (4503, "")
    assert books(door.app) == one_closed(4503, SERVER)


@pytest.mark.parametrize("ends", ["thrown out", "leaves"])
@pytest.mark.parametrize("is_plain", [True, False])
async def test_one_who_is_gone_when_its_token_turns_out_to_be_good(
    is_plain: bool, ends: str
) -> None:
    """No view begins for it, as far as that is known by then."""
    door, ran, looking = Door(), list[str](), asyncio.Event()
    may_go_on = asyncio.Event()

    async def slowly(token: str) -> Any:
        looking.set()
        await may_go_on.wait()
        return who(token, expires_at_s=1e10)

    @door.app.websocket_route("/plain", auth=[door.backend], guards=[IsAuthenticated()])
    async def plain(ws: WebSocket) -> None:
        ran.append("view")
        await ws.receive_text()

    door.backend.identify = slowly  # type: ignore[method-assign]
    async with door.client("/plain" if is_plain else "/", raise_app_exceptions=False) as client:
        await client.send_text("ada")
        await looking.wait()
        if ends == "leaves":
            await client.close(1001)
        else:
            await door.app.connections.disconnect(everyone=True, code=4503)
            assert await closed(client) == (4503, "")
        may_go_on.set()
    if ends == "thrown out":
        assert ran + door.ran == []
    counted = books(door.app, "/plain" if is_plain else "/")
    assert counted.closed == {(1001, CLIENT) if ends == "leaves" else (4503, SERVER): 1}
    assert_nothing_is_claimed(door.app)
    assert not deadlines()._tick_of


async def test_the_host_that_cancels_meanwhile() -> None:
    door = Door()
    async with door.client(raise_app_exceptions=False) as client:
        (task,) = door.app.runtime.running.values()
        assert task is not None
        task.cancel()
        assert await closed(client) == (1012, "")
    assert_nothing_is_claimed(door.app)


async def test_a_drain_that_begins_before_its_accept_refuses_it() -> None:
    door, sent = Door(), list[Any]()

    async def receive() -> Any:
        door.app.runtime.is_refusing = True
        return {"type": "websocket.connect"}

    async def send(event: Any) -> None:
        sent.append(event)

    await door.app(make_scope("/"), receive, send)
    assert (sent[0]["status"], len(sent)) == (503, 2)
    assert books(door.app) == one_refused(503)


async def test_limits_of_messages_count_for_the_first_one_too() -> None:
    door = Door(max_message_size=10)
    async with door.client() as client:
        await client.send_text("x" * 11)
        assert await closed(client) == (1009, "message of 11 bytes, limit 10")
    fast = Door(limits=ConnectionLimits(bytes_per_s=ONCE, messages_per_s=ONCE))
    async with fast.client() as client:
        await fast.let_in(client)
        await client.send_text("one too many")
        assert (await closed(client))[0] == 1008


async def test_a_first_message_that_is_dropped_is_none() -> None:
    """It was not looked at, so the next one is the first."""
    door = Door(limits=ConnectionLimits(bytes_per_s=1, on_rate="drop"))
    async with door.client() as client:
        (ws,) = door.app.runtime.running
        assert ws._flow is not None
        assert ws._flow.take(1000) is None  # so there is nothing left for some time
        await client.send_text("eve")
        await until(lambda: limited(door.app) == {"byte_rate": 1})
        ws._flow = None
        await client.send_text("ada")
        assert await client.receive_text() == "Welcome ada"
