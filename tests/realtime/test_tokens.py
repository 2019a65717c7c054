"""Tokens of realtime clients: in the handshake, in `connect`, renewed, at their end; and limits."""

import json
import time
from typing import Any

import jwt
import pytest

from server import AdmissionLimits
from tests.realtime.app import KEY, make_app
from tests.realtime.support import JSON, Host, InProcess, Refused, covers, new_room

A_DAY_S = 86_400  # for tokens that are made before the tests run


def token(user: str = "ada", in_s: float = 60, **claims: Any) -> str:
    return jwt.encode({"sub": user, "exp": time.time() + in_s, **claims}, KEY, "HS256")


async def test_a_token_in_the_handshake(host: Host):
    peer = await host.peer(f"/tokens?token={token()}")
    answer = await peer.ask("connect")
    assert (answer["type"], answer["user"]) == ("connected", "ada")
    assert 50 < answer["expires_in_s"] <= 60


async def test_a_token_in_connect(host: Host):
    """Others see whose it is, too."""
    room = new_room()
    peer = await host.peer("/tokens")
    answer = await peer.ask("connect", token=token("ada"))
    assert (answer["type"], answer["user"]) == ("connected", "ada")
    await peer.ask("join", room=room)
    members = (await peer.ask("presence", room=room))["members"]
    assert [member["user"] for member in members] == ["ada"]


@covers("status 401")
async def test_a_bad_token_in_the_handshake(host: Host):
    with pytest.raises(Refused) as refused:
        await host.link("/tokens?token=a.b.c", host.subprotocol)
    assert refused.value.status == 401
    assert json.loads(refused.value.body) == {"detail": "Invalid token"}


@covers("error unauthorized")
@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        ("/tokens", {}, "Authentication required"),
        ("/tokens", {"token": "a.b.c"}, "Invalid token"),
        ("/tokens", {"token": ""}, "Token is not printable ASCII"),
        ("/tokens", {"token": "x" * 9000}, "Token over 8,192 bytes"),
        ("/tokens", {"token": token(in_s=-1)}, "Token expired"),
        ("/writers", {"token": token(in_s=A_DAY_S)}, "Permission denied"),
    ],
    ids=["none", "bad", "empty", "too long", "expired", "guarded"],
)
async def test_a_bad_token_in_connect(host: Host, path: str, fields: dict[str, Any], message: str):
    peer = await host.peer(path)
    answer = await peer.ask("connect", **fields)
    assert (answer["type"], answer["code"], answer["retry"]) == ("error", "unauthorized", False)
    assert answer["message"] == message
    assert (await peer.until_closed()).code == 4502


async def test_the_hook_comes_after_the_token_and_may_do_without_one(host: Host):
    peer = await host.peer("/hooked")
    answer = await peer.ask("connect", token=token("ada"))
    assert answer["user"] == "ada"
    peer = await host.peer("/hooked")
    assert (await peer.ask("connect", data="bob"))["user"] == "bob"
    peer = await host.peer("/hooked")
    assert (await peer.ask("connect", token="a.b.c", data="bob"))["code"] == "unauthorized"


async def test_nothing_can_be_done_before_the_token(host: Host):
    peer = await host.peer("/tokens")
    answer = await peer.ask("refresh", token=token())
    assert answer["code"] == "connect_expected"
    assert (await peer.until_closed()).code == 4501


@covers("frame refresh", "frame refreshed", "close 4003")
async def test_a_connection_ends_with_its_token_unless_that_is_renewed(host: Host):
    path = f"/tokens?token={token(in_s=2)}"
    lazy, keen = await host.connect(path), await host.connect(path)
    answer = await keen.ask("refresh", token=token(in_s=60))
    assert answer["type"] == "refreshed"
    assert 50 < answer["expires_in_s"] <= 60
    closed = await lazy.until_closed()
    assert (closed.code, closed.reason) == (4003, "Token Expired")
    await keen.nothing_more()


@covers("error bad_token")
@pytest.mark.parametrize(
    ("fresh", "message"),
    [
        (token("eve", A_DAY_S), "The token is of another user"),
        (token(in_s=-1), "Token expired"),
        ("a.b.c", "Invalid token"),
    ],
    ids=["of another", "expired", "bad"],
)
async def test_a_token_that_is_no_good_changes_nothing(host: Host, fresh: str, message: str):
    peer = await host.connect(f"/tokens?token={token()}")
    answer = await peer.ask("refresh", token=fresh)
    assert (answer["code"], answer["retry"], answer["message"]) == ("bad_token", False, message)
    await peer.nothing_more()


async def test_where_no_token_is_asked_for_none_can_be_renewed(host: Host):
    peer = await host.connect("/open")
    assert (await peer.ask("refresh", token=token()))["code"] == "bad_token"


@covers("close 4503")
async def test_a_client_that_is_logged_out(local: Host):
    peer = await local.connect(f"/tokens?token={token('ada')}")
    await local.app.connections.disconnect(user="ada", code=4503, reason="logged out")
    closed = await peer.until_closed()
    assert (closed.code, closed.reason) == (4503, "logged out")


@covers("close 4004")
async def test_a_connection_that_has_lasted_long_enough(host: Host):
    peer = await host.connect("/brief")
    assert (await peer.until_closed()).code == 4004


@covers("close 1008")
async def test_a_client_that_sends_too_fast(host: Host):
    peer = await host.peer("/slowly")
    for _ in range(5):
        await peer.send("connect")
    assert (await peer.until_closed()).code == 1008


@covers("status 429")
async def test_too_many_connections_of_a_user_in_the_handshake():
    host = _with_limit()
    await host.connect(f"/tokens?token={token()}")
    with pytest.raises(Refused) as refused:
        await host.link(f"/tokens?token={token()}", JSON)
    assert refused.value.status == 429
    await host.close()


@covers("error too_many_connections")
@pytest.mark.parametrize(
    "fields", [{"token": token(in_s=A_DAY_S)}, {"data": "ada"}], ids=["token", "hook"]
)
async def test_too_many_connections_of_a_user_in_connect(fields: dict[str, Any]):
    host = _with_limit()
    await host.connect(f"/tokens?token={token()}")
    peer = await host.peer("/hooked")
    answer = await peer.ask("connect", **fields)
    assert (answer["code"], answer["retry"]) == ("too_many_connections", True)
    assert (await peer.until_closed()).code == 1008
    await host.close()


def _with_limit() -> Host:
    app = make_app(admission=AdmissionLimits(connections_per_user=1))
    return Host(lambda path, offers: InProcess.open(app, path, offers), JSON, app)
