"""The token in the first message: what it may look like, what it opens, and what comes after it."""

from typing import Any

import pytest

from server import App, WebSocket, rate_limit
from server.auth import AllowAny, AuthenticationFailed, HasPermission, IsAuthenticated
from server.auth.places import Places
from server.limits import AdmissionLimits
from server.testing import WebSocketTestClient
from tests.server.gate_support import (
    BAD,
    FIRST,
    ONCE,
    Door,
    Tokens,
    assert_nothing_is_claimed,
    closed,
    limited,
    refused,
)
from tests.server.ledger_books import Books, books, one_closed
from workers.layout import CLIENT, SERVER

NO_TOKEN = "The first message brings no token"
NOT_ASCII = "Token is not printable ASCII"


# -- the token -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        "ada",
        b"ada",
        '{"token": "ada"}',
        b'{"token":"ada"}',
        '{"type": "auth", "token": "ada", "more": [1]}',
        '{"token": "\\u0061da"}',
        ' \n{"token": "ada"}',
    ],
)
async def test_a_token_comes_bare_or_in_json(message: str | bytes) -> None:
    door = Door()
    async with door.client() as client:
        assert door.ran == []
        assert door.app.connections.count() == 1
        await client.send({"type": "websocket.receive", **_payload(message)})
        assert await client.receive_text() == "Welcome ada"
        (row,) = door.app.connections.list(user="ada")
        assert door.seen == [("ada", "names", 1, row.id)]
        await client.send_text("more")
        assert await client.receive_text() == "more"
    assert door.backend.seen == ["ada"]
    assert books(door.app) == one_closed(1000, CLIENT)
    assert_nothing_is_claimed(door.app)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("eve", BAD),
        (b"eve", BAD),
        ('{"token": "eve"}', BAD),
        ("", NOT_ASCII),
        (b"", NOT_ASCII),
        ("two words", NOT_ASCII),
        ("é", NOT_ASCII),
        ("ada\n", NOT_ASCII),
        (b"\xff\xfe", NOT_ASCII),
        ('["ada"]', BAD),
        ("null", BAD),
        ("{", NO_TOKEN),
        ("{}", NO_TOKEN),
        ('{"token": "ada"} ada', NO_TOKEN),
        ('{"token": ["ada"]}', NO_TOKEN),
        ('{"token": null}', NO_TOKEN),
        ('{"token": 1}', NO_TOKEN),
        ('{"Token": "ada"}', NO_TOKEN),
        ('{"token": ""}', NOT_ASCII),
        (b'{"token": "\xff"}', NO_TOKEN),
        ('{"a": ' * 100_000, NO_TOKEN),
        ("x" * 8193, "Token over 8,192 bytes"),
        ('{"token": "' + "x" * 8193 + '"}', "Token over 8,192 bytes"),
    ],
)
async def test_anything_else_closes_with_4502(message: str | bytes, reason: str) -> None:
    door = Door()
    async with door.client() as client:
        await client.send({"type": "websocket.receive", **_payload(message)})
        assert await closed(client) == (4502, reason)
    assert door.ran == []
    assert books(door.app) == one_closed(4502, SERVER)
    assert_nothing_is_claimed(door.app)


def _payload(message: str | bytes) -> dict[str, Any]:
    """Return it as hosts do that give the other key too."""
    if isinstance(message, str):
        return {"text": message, "bytes": None}
    return {"bytes": message, "text": None}


async def test_a_reason_that_is_too_long_for_a_close_frame_is_cut() -> None:
    door = Door({"x": AuthenticationFailed("é" * 100)})
    async with door.client() as client:
        await client.send_text("x")
        code, reason = await closed(client)
    assert code == 4502
    assert reason == "é" * 60 + "..."


async def test_who_the_guards_do_not_let_in_is_closed_with_4503() -> None:
    door = Door(guards=[IsAuthenticated(), HasPermission("write")])
    async with door.client() as client:
        await client.send_text("ada")
        assert await closed(client) == (4503, "Permission denied")
    assert door.ran == []
    assert books(door.app) == one_closed(4503, SERVER)


async def test_who_brings_a_token_with_the_handshake_is_not_waited_for() -> None:
    door = Door()
    async with door.client("/?token=ada") as client:
        assert await client.receive_text() == "Welcome ada"
    assert (await refused(door.app, "/?token=eve")).short == (401, BAD)


@pytest.mark.parametrize("guards", [[], [AllowAny()], [AllowAny(), IsAuthenticated()]])
async def test_where_everybody_may_come_in_nobody_is_waited_for(guards: Any) -> None:
    door = Door(guards=guards)
    async with door.client() as client:
        assert await client.receive_text() == "Welcome None"


async def test_only_a_backend_that_waits_for_it_takes_it() -> None:
    header = Tokens("eve", Places())
    door = Door(auth=[header, Tokens("ada", FIRST)])
    async with door.client() as client:
        await door.let_in(client)
    async with door.client() as client:
        await client.send_text("eve")
        assert await closed(client) == (4502, BAD)
    assert header.seen == []


async def test_a_realtime_client_brings_it_with_connect() -> None:
    """Its route reads the first message by itself, so the gate lets it in without a token."""
    app = App()
    app.realtime("/", auth=[Tokens("ada", FIRST)], guards=[IsAuthenticated()])
    async with WebSocketTestClient(app, "/", subprotocols=["switchboard.v1"]) as client:
        await client.send_json({"type": "connect", "id": 1, "token": "ada"})
        assert (await client.receive_json())["user"] == "ada"


# -- what comes after ------------------------------------------------------------------------------


async def test_parameters_come_after_it() -> None:
    door = Door()
    async with door.client("/?number=two") as client:
        await client.send_text("ada")
        code, reason = await closed(client)
        assert (code, reason[:24]) == (1008, "query parameter 'number'")
    assert door.ran == []
    assert books(door.app) == one_closed(1008, SERVER)


async def test_broadcasts_are_for_those_who_have_come_in() -> None:
    door = Door()
    async with door.client() as waiting, door.client("/?token=bob") as member:
        await member.receive_text()
        await door.app.broadcast("for members")
        assert await member.receive_text() == "for members"
        await door.let_in(waiting)  # which comes first, so the other did not come
        await door.app.broadcast("for both")
        assert await waiting.receive_text() == "for both"


async def test_no_event_of_a_room_tells_of_one_who_has_not_come_in() -> None:
    door, told = Door(), list[str]()

    @door.app.on("join")
    @door.app.on("leave")
    async def note(ws: WebSocket, room: str) -> None:
        told.append(room)

    async with door.client() as client:
        await client.send_text("eve")
        await closed(client)
    assert told == []


async def test_a_rate_by_user_counts_after_it() -> None:
    app = App()
    backend = Tokens("ada bob", FIRST)

    @app.websocket_route("/", auth=[backend], guards=[IsAuthenticated()])
    @rate_limit(rps=ONCE, burst=1, key="user")
    async def view(ws: WebSocket) -> None:
        await ws.send("in")

    for token, comes_in in (("ada", True), ("ada", False), ("bob", True)):
        async with WebSocketTestClient(app, "/") as client:
            await client.send_text(token)
            if comes_in:
                assert await client.receive_text() == "in"
            else:
                assert await closed(client) == (1008, "Rate limit exceeded")
    assert limited(app) == {"rate_limit": 1}


async def test_a_limit_by_user_counts_after_it() -> None:
    """It may come again later, which a code from 4500 on would deny."""
    door = Door(app=App(admission=AdmissionLimits(connections_per_user=1)))
    async with door.client() as one, door.client() as other:
        await door.let_in(one)
        await other.send_text("ada")
        assert await closed(other) == (1008, "there are 1 connections of this user, the limit")
        assert limited(door.app) == {"connections_per_user": 1}
    async with door.client() as again:
        await door.let_in(again)
    assert books(door.app) == Books(3, {(1000, CLIENT): 2, (1008, SERVER): 1})
    assert_nothing_is_claimed(door.app)
