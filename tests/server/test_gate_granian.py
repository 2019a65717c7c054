"""The gate and the limits on granian's own connections, whose events come in another way."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from server import App, WebSocket, rate_limit
from server.auth import IsAuthenticated
from server.auth.places import Places
from server.deadlines import deadlines
from server.limits import AdmissionLimits, ConnectionLimits
from tests.server.gate_support import (
    BAD,
    FIRST,
    ONCE,
    Tokens,
    assert_nothing_is_claimed,
    limited,
    who,
)
from tests.server.ledger_books import Books, books, until
from tests.support.embedded import embedded
from workers.layout import CLIENT, SERVER

LIMITS = AdmissionLimits(connections_per_ip=5, connections_per_user=2)


async def echo(ws: WebSocket) -> None:
    async for text in ws.iter_text():
        await ws.send(text)


@asynccontextmanager
async def served(app: App) -> AsyncIterator[Callable[..., Any]]:
    """Serve it; yields what connects. At the end nothing of its connections is left."""
    async with embedded(app) as url:

        def come(path: str = "/", *subprotocols: str) -> Any:
            offers = [Subprotocol(one) for one in subprotocols] or None
            return connect(url + path, subprotocols=offers, proxy=None)

        yield come
        await until(lambda: not app.runtime.running)
        assert_nothing_is_claimed(app)
        assert not deadlines()._tick_of


async def closed(client: ClientConnection) -> tuple[int, str]:
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionClosed) as caught:
            await client.recv()
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


async def refused(coming: Awaitable[Any]) -> tuple[int, bytes]:
    with pytest.raises(InvalidStatus) as caught:
        await coming
    return caught.value.response.status_code, bytes(caught.value.response.body or b"")


@pytest.mark.parametrize("token", ["ada", b"ada", '{"token":"ada"}'])
async def test_a_first_message_lets_in(token: str | bytes) -> None:
    app = App(auth=[Tokens("ada", FIRST)], guards=[IsAuthenticated()], admission=LIMITS)
    app.websocket_route("/")(echo)
    async with served(app) as come, come() as client:
        await client.send(token)
        await client.send("hello")
        assert await client.recv() == "hello"
        assert app.connections.count(user="ada") == 1
    assert books(app) == Books(1, {(1000, CLIENT): 1})


async def test_what_else_may_become_of_who_has_not_said_who_it_is() -> None:
    app = App(auth=[Tokens("ada", FIRST)], guards=[IsAuthenticated()], admission=LIMITS)
    app.websocket_route("/")(echo)
    soon = Tokens("ada", Places(header=None, first_message_s=0.1))
    app.websocket_route("/soon", auth=[soon])(echo)
    async with served(app) as come:
        async with come("/soon") as silent:
            assert await closed(silent) == (4002, "Nothing Said In Time")
        async with come() as bad:
            await bad.send("eve")
            assert await closed(bad) == (4502, BAD)
        async with come():
            pass  # it leaves
        async with come() as thrown_out:
            await app.connections.disconnect(everyone=True, code=4503)
            assert await closed(thrown_out) == (4503, "")
        async with come() as drained:
            await app.drain(code=1001, drain_s=5, refuse=True)
            assert await closed(drained) == (1001, "")
        assert (await refused(come()))[0] == 503
    ends = {(code, SERVER): 1 for code in (4502, 4503, 1001)} | {(1000, CLIENT): 1}
    assert books(app) == Books(4, ends, {503: 1})
    assert books(app, "/soon") == Books(1, {(4002, SERVER): 1})


async def test_refusals_have_their_status_and_body() -> None:
    app = App(auth=[Tokens("ada bob")], guards=[IsAuthenticated()], admission=LIMITS)

    @app.websocket_route("/")
    @rate_limit(rps=ONCE, burst=3, key="ip")
    async def view(ws: WebSocket) -> None:
        await echo(ws)

    async with served(app) as come:
        assert await refused(come()) == (401, b'{"detail":"Authentication required"}')
        assert await refused(come("/?token=eve")) == (401, b'{"detail":"Nobody\'s token"}')
        async with come("/?token=ada"):
            pass
        assert await refused(come("/?token=ada")) == (429, b'{"detail":"Rate limit exceeded"}')
    assert limited(app) == {"rate_limit": 1}


async def test_a_token_among_the_subprotocols() -> None:
    app, seen = App(auth=[Tokens("ada", Places(header=None, subprotocol="bearer"))]), list[Any]()

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        seen.append((ws.subprotocols, ws.user_id))

    async with served(app) as come, come("/", "chat", "bearer", "ada", "v1") as client:
        assert client.subprotocol == "bearer"
        assert await closed(client) == (1000, "")
    assert seen == [(["chat", "bearer", "v1"], "ada")]


@pytest.mark.parametrize(
    ("limits", "expires_in_s", "expected"),
    [
        ({"idle_timeout_s": 0.4}, None, (4001, "Not Heard Of")),
        ({"lifetime_s": 0.4}, None, (4004, "Lifetime Over")),
        ({}, 0.4, (4003, "Token Expired")),
        ({"idle_timeout_s": 30, "lifetime_s": 30}, 0.4, (4003, "Token Expired")),
    ],
)
async def test_a_deadline_ends_it(
    limits: dict[str, Any], expires_in_s: float | None, expected: tuple[int, str]
) -> None:
    expires_at_s = None if expires_in_s is None else time.time() + expires_in_s
    app = App(
        auth=[Tokens({"1": who("ada", expires_at_s=expires_at_s)})],
        limits=ConnectionLimits(**limits),
        admission=LIMITS,
    )
    app.websocket_route("/", caught_close_codes=all)(echo)
    async with served(app) as come, come("/?token=1") as client:
        assert await closed(client) == expected
    assert books(app) == Books(1, {(expected[0], SERVER): 1})


@pytest.mark.parametrize("way", ["receive", "iterate"])
async def test_what_is_too_much_is_dropped(way: str) -> None:
    app = App(limits=ConnectionLimits(bytes_per_s=ONCE, on_rate="drop"))

    @app.websocket_route("/", caught_close_codes=all)
    async def view(ws: WebSocket) -> None:
        if way == "iterate":
            await echo(ws)
        while True:
            await ws.send(await ws.receive_text())

    async with served(app) as come, come() as client:
        for number in range(100):
            await client.send(str(number))
        assert await client.recv() == "0"
        await until(lambda: limited(app) == {"byte_rate": 99})
        await client.send("")  # which has no bytes
        assert await client.recv() == ""


async def test_too_much_is_told_with_1008() -> None:
    app = App(limits=ConnectionLimits(messages_per_s=ONCE))
    app.websocket_route("/")(echo)
    async with served(app) as come, come() as client:
        for number in range(10):
            await client.send(str(number))
        assert await client.recv() == "0"
        assert await closed(client) == (1008, "too many messages: the limit is 0.001 a second")


async def test_places_of_an_address_and_of_a_user() -> None:
    app = App(auth=[Tokens("ada bob eve")], admission=LIMITS)
    app.websocket_route("/")(echo)
    async with served(app) as come:
        async with come("/?token=ada"), come("/?token=ada"), come("/?token=bob"):
            assert (await refused(come("/?token=ada")))[0] == 429
            async with come("/?token=eve"), come():
                status, body = await refused(come())
                assert (status, b"of your address" in body) == (429, True)
        await until(lambda: not app.runtime.running)
        async with come("/?token=ada"), come("/?token=ada"):
            pass
    assert limited(app) == {"connections_per_user": 1, "connections_per_ip": 1}
