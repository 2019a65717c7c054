"""Tokens among the subprotocols: nobody sees them, and a browser gets one of its offers back."""

from typing import Any

import pytest

from server import App, WebSocket
from server.auth import AllowAny, IsAuthenticated
from server.auth.places import Places
from server.testing import WebSocketTestClient
from tests.server.gate_support import BAD, Tokens, closed, refused, who

BEARER = Places(header=None, subprotocol="bearer")
LATE = Places(header=None, subprotocol="bearer", first_message_s=30)


def app_of(*backends: Tokens, manual: bool = False, **options: Any) -> tuple[App, list[Any]]:
    """Return an app, and what its view sees: the offers, the choice and the user."""
    app, seen = App(auth=list(backends or (Tokens("ada", BEARER),))), list[Any]()
    guards = options.pop("guards", [IsAuthenticated()])

    @app.websocket_route("/", guards=guards, auto_accept=not manual, **options)
    async def view(ws: WebSocket) -> None:
        seen.append(ws.subprotocols)
        await ws.accept()
        seen.extend([ws.subprotocol, ws.user_id])

    return app, seen


async def accepted(app: App, *offers: str) -> str | None:
    """Return the subprotocol that a client gets with these offers."""
    async with WebSocketTestClient(app, "/", subprotocols=offers) as client:
        assert await closed(client) == (1000, "")
        return client.accepted_subprotocol


@pytest.mark.parametrize("manual", [True, False])
@pytest.mark.parametrize(
    ("offers", "seen"),
    [
        (["bearer", "ada"], ["bearer"]),
        (["chat", "bearer", "ada"], ["chat", "bearer"]),
        (["bearer", "ada", "chat"], ["bearer", "chat"]),
    ],
)
async def test_the_view_does_not_see_it_and_the_marker_stands_for_it(
    manual: bool, offers: list[str], seen: list[str]
) -> None:
    app, found = app_of(manual=manual)
    assert await accepted(app, *offers) == "bearer"
    assert found == [seen, "bearer", "ada"]


async def test_a_subprotocol_of_the_route_comes_first() -> None:
    app, found = app_of(subprotocols=("v2", "v1"))
    assert await accepted(app, "bearer", "ada", "v1") == "v1"
    assert await accepted(app, "bearer", "ada", "v0") == "bearer"
    assert [found[1], found[4]] == ["v1", "bearer"]


async def test_a_view_may_choose_another_offer() -> None:
    app, seen = App(auth=[Tokens("ada", BEARER)]), list[Any]()

    @app.websocket("/")
    async def view(ws: WebSocket) -> None:
        for subprotocol in ("ada", "v2"):
            with pytest.raises(ValueError, match="was not offered"):
                await ws.accept(subprotocol)
        await ws.accept("v1")
        await ws.accept()
        await ws.accept("v1")
        for other in ("bearer", "v2"):
            with pytest.raises((RuntimeError, ValueError)):
                await ws.accept(other)
        seen.append(ws.subprotocol)

    assert await accepted(app, "bearer", "ada", "v1") == "v1"
    assert seen == ["v1"]


async def test_accept_with_headers_alone_takes_the_marker_too() -> None:
    app = App(auth=[Tokens("ada", BEARER)])

    @app.websocket("/")
    async def view(ws: WebSocket) -> None:
        await ws.accept(headers={"x-a": "1"})
        await ws.accept()
        await ws.accept(headers={"x-a": "1"})
        with pytest.raises(RuntimeError, match="other headers"):
            await ws.accept(headers={"x-a": "2"})

    async with WebSocketTestClient(app, "/", subprotocols=["bearer", "ada"]) as client:
        assert client.accepted_headers == [(b"x-a", b"1")]
        assert client.accepted_subprotocol == "bearer"
        assert await closed(client) == (1000, "")


@pytest.mark.parametrize("guards", [[], [AllowAny()]])
async def test_a_marker_without_a_token_is_an_offer_like_others(guards: Any) -> None:
    app, seen = app_of(guards=guards)
    assert await accepted(app, "bearer") == "bearer"
    assert await accepted(app, "chat") is None
    assert seen == [["bearer"], "bearer", None, ["chat"], None, None]


async def test_a_bad_token_is_hidden_too_where_everybody_comes_in() -> None:
    app, seen = app_of(guards=[AllowAny()])
    assert await accepted(app, "bearer", "eve", "chat") == "bearer"
    assert seen == [["bearer", "chat"], "bearer", None]
    app, _ = app_of()
    answer = await refused(app, "/", subprotocols=["bearer", "eve"])
    assert answer.short == (401, BAD)


async def test_two_tokens_are_none() -> None:
    app, _ = app_of()
    answer = await refused(app, "/", subprotocols=["bearer", "ada", "bearer", "ada"])
    assert answer.short == (401, "Token in the subprotocol twice")


async def test_backends_with_the_same_marker_hide_one_token() -> None:
    """What comes after it is an offer, also when there are two who might know the token."""
    app, seen = app_of(Tokens("ada", BEARER), Tokens("bob", BEARER), subprotocols=("chat", "v1"))
    assert await accepted(app, "bearer", "bob", "chat", "v1") == "chat"
    assert seen == [["bearer", "chat", "v1"], "chat", "bob"]


async def test_backends_with_two_markers_hide_both_tokens() -> None:
    key = Places(header=None, subprotocol="key")
    app, seen = app_of(Tokens("ada", BEARER), Tokens("bob", key))
    assert await accepted(app, "key", "bob", "chat", "bearer", "ada") in ("key", "bearer")
    assert seen[0] == ["key", "chat", "bearer"]
    assert seen[2] == "ada"


async def test_a_token_that_did_not_count_is_hidden_too() -> None:
    cookie = Tokens({"c": who("eve")}, Places(header=None, cookie="key"))
    app, seen = app_of(cookie, Tokens("ada", BEARER))
    async with WebSocketTestClient(
        app, "/", {"cookie": "key=c"}, subprotocols=["bearer", "ada"]
    ) as client:
        assert client.accepted_subprotocol == "bearer"
    assert seen == [["bearer"], "bearer", "eve"]


async def test_without_a_backend_that_looks_there_it_is_an_offer() -> None:
    app, seen = app_of(Tokens("ada"), guards=[])
    assert await accepted(app, "bearer", "ada") is None
    assert seen == [["bearer", "ada"], None, None]


async def test_a_realtime_route_speaks_its_own_protocol_beside_it() -> None:
    app = App()
    app.realtime("/", auth=[Tokens("ada", BEARER)], guards=[IsAuthenticated()])
    offers = ["bearer", "ada", "switchboard.v1"]
    async with WebSocketTestClient(app, "/", subprotocols=offers) as client:
        assert client.accepted_subprotocol == "switchboard.v1"
        assert app.connections.count(user="ada") == 1
    answer = await refused(app, "/", subprotocols=offers[:2])
    assert answer.status == 400  # it cannot speak to a client that offers no more


# -- where the token comes in the first message ----------------------------------------------------


@pytest.mark.parametrize("manual", [True, False])
@pytest.mark.parametrize(
    ("offers", "expected"),
    [((), None), (("v0",), None), (("v1", "v0"), "v1"), (("bearer", "v1"), "bearer")],
)
async def test_a_route_that_waits_accepts_with_its_subprotocol(
    manual: bool, offers: tuple[str, ...], expected: str | None
) -> None:
    app, seen = app_of(Tokens("ada", LATE), manual=manual, subprotocols=("v1",))
    if expected == "bearer":  # then it is the first that has a token, a bad one
        assert (await refused(app, "/", subprotocols=offers)).status == 401
        return
    async with WebSocketTestClient(app, "/", subprotocols=offers) as client:
        assert client.accepted_subprotocol == expected
        await client.send_text("ada")
        assert await closed(client) == (1000, "")
    assert seen == [[*offers], expected, "ada"]


@pytest.mark.parametrize("value_type", ["json", dict])
async def test_the_codec_is_the_one_that_was_agreed(value_type: Any) -> None:
    app = App()
    backend = Tokens("ada", LATE)

    @app.websocket_route("/", value_type=value_type, auth=[backend], guards=[IsAuthenticated()])
    async def view(ws: WebSocket) -> None:
        await ws.send({"codec": ws.codec.name, "user": ws.user_id})

    for offer in ("msgpack", "json"):
        async with WebSocketTestClient(app, "/", subprotocols=[offer]) as client:
            assert client.accepted_subprotocol == offer
            await client.send_text("ada")  # text or JSON, however the messages are encoded
            event = await client.receive()
            assert ("bytes" in event) is (offer == "msgpack")
            assert await closed(client) == (1000, "")


async def test_a_view_that_chooses_another_one_afterwards_is_at_fault() -> None:
    app = App(auth=[Tokens("ada", LATE)], guards=[IsAuthenticated()])

    @app.websocket("/", subprotocols=("v1",))
    async def view(ws: WebSocket) -> None:
        await ws.accept("v1")
        with pytest.raises(RuntimeError, match="another subprotocol"):
            await ws.accept("v2")
        with pytest.raises(RuntimeError, match="other headers"):
            await ws.accept(headers={"x-a": "1"})

    async with WebSocketTestClient(app, "/", subprotocols=("v1", "v2")) as client:
        await client.send_text("ada")
        assert await closed(client) == (1000, "")
