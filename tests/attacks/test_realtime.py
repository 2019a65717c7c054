"""The ready-made endpoint under attack: tokens in `connect`, and frames that are made to hurt."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from server.auth.failure import MAX_TOKEN_BYTES
from tests.attacks.arena import Arena, Attack
from tests.attacks.facts import LATE_S, MAX_MESSAGE
from tests.attacks.keys import expired, lasting, made_of, secret, token, token_of
from tests.attacks.test_payloads import numbered
from tests.server.auth.tokens import OTHER_SECRET
from tests.support.raw import Close, Op, RawClient, frame, payload_bytes

pytestmark = pytest.mark.e2e

OPEN, KNOWN = "/realtime", "/realtime-known"
NOT_VALID, NOBODY = Close(4501, "No Valid Connect"), Close(4502, "Unauthorized")
DEEP = 100_000


def connect(attack: Attack, route: str = OPEN, wire: str = "switchboard.v1") -> RawClient:
    return attack.connect(route, [f"Sec-WebSocket-Protocol: {wire}"])


def ask(client: RawClient, **fields: Any) -> Any:
    """Send a frame, and return the answer."""
    client.send_text(json.dumps({"id": 1, **fields}))
    return json.loads(client.read_text())


TOKENS: dict[str, tuple[Callable[[], Any], str]] = {
    "none": (lambda: None, "Authentication required"),
    "garbage": (lambda: "garbage", "Invalid token"),
    "wrong key": (lambda: token(key=OTHER_SECRET), "Invalid token"),
    "no algorithm": (lambda: made_of('{"alg":"none"}'), "Invalid token"),
    "expired": (lambda: token(expired(120)), "Token expired"),
    "too long": (lambda: lasting(20_000), f"Token over {MAX_TOKEN_BYTES:,} bytes"),
    "empty": (lambda: "", "Token is not printable ASCII"),
    "two lines": (lambda: token() + "\n", "Token is not printable ASCII"),
}


@pytest.mark.parametrize("name", TOKENS)
def test_a_bad_token_in_connect(arena: Arena, name: str) -> None:
    make, says = TOKENS[name]
    with arena.attack() as attack:
        client = connect(attack, KNOWN)
        answer = ask(client, type="connect", token=make())
        assert (answer["code"], answer["message"]) == ("unauthorized", says)
        assert client.next_close() == NOBODY


def test_a_token_of_another_user_in_refresh(arena: Arena) -> None:
    """The connection stays whose it is; nothing that came in `data` is logged."""
    with arena.attack() as attack:
        client = connect(attack, KNOWN)
        data = {"password": secret("a-password-in-the-data-of-connect")}
        answer = ask(client, type="connect", token=token_of("ada"), data=data)
        assert (answer["type"], answer["user"]) == ("connected", "ada")
        for bad, says in (
            (token_of("eve"), "The token is of another user"),
            (token(key=OTHER_SECRET), "Invalid token"),
        ):
            answer = ask(client, type="refresh", token=bad)
            assert (answer["code"], answer["message"]) == ("bad_token", says)
        assert ask(client, type="refresh", token=token_of("ada"))["type"] == "refreshed"


FRAMES: dict[str, tuple[bytes, str]] = {
    # name: the first frame, and the error
    "lists in lists": (b"[" * DEEP, "malformed"),
    "deep data": (b'{"type":"connect","id":1,"data":' + b"[" * DEEP, "malformed"),
    "a million digits": (b"9" * 1_000_000, "malformed"),
    "an id of 4,000 digits": (b'{"type":"connect","id":' + b"9" * 4000 + b"}", "invalid_frame"),
    "no object": (b'"connect"', "invalid_frame"),
    "nothing": (b"", "malformed"),
    "an unknown type": (b'{"type":"' + b"x" * 100_000 + b'","id":1}', "unknown_type"),
    "another frame": (b'{"type":"join","id":1,"room":"a"}', "connect_expected"),
    "an unknown field": (b'{"type":"connect","id":1,"is_staff":true}', "invalid_frame"),
    "a token that is no text": (b'{"type":"connect","id":1,"token":{}}', "invalid_frame"),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_first_frame_that_is_none(arena: Arena, name: str) -> None:
    data, code = FRAMES[name]
    with arena.attack() as attack:
        client = connect(attack)
        client.send(frame(Op.TEXT, data))
        answer = json.loads(client.read_text())
        assert (answer["type"], answer["code"]) == ("error", code)
        assert len(answer["message"]) < 300
        assert client.next_close() == NOT_VALID


BOMBS = {
    "numbers as keys": numbered(80_000),
    "in a frame": b"\x83\xa4type\xa7connect\xa2id\x01\xa4data" + numbered(80_000),
    "a list of 2^32": b"\xdd\xff\xff\xff\xff",
    "lists in lists": b"\x91" * DEEP,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_first_frame_of_messagepack(arena: Arena, name: str) -> None:
    with arena.attack() as attack:
        client = connect(attack, wire="switchboard.v1.msgpack")
        client.send(frame(Op.BINARY, BOMBS[name]))
        answer = msgspec.msgpack.decode(payload_bytes(client.read_frame()))
        assert (answer["type"], answer["code"]) == ("error", "malformed")
        assert client.next_close() == NOT_VALID


def test_frames_that_are_no_frames_of_the_wire(arena: Arena) -> None:
    with arena.attack() as attack:
        client = connect(attack)
        client.send_frame(Op.BINARY, b"{}")
        assert client.next_close() == Close(1003, "expected a text frame, got binary")

        client = connect(attack)
        client.send_text("x" * (MAX_MESSAGE + 1))
        close = client.next_close()
        assert close is not None
        assert close.code == 1009
        attack.limits(OPEN, "message_size")


def test_a_connect_that_does_not_come(arena: Arena) -> None:
    with arena.attack() as attack:
        silent, slow = connect(attack), connect(attack)
        slow.send(frame(Op.TEXT, b'{"type":"connect","id":1}')[:-1])
        for client in (silent, slow):
            assert client.next_close(LATE_S + 2) == Close(4002, "Nothing Said In Time")


def test_requests_that_are_none(arena: Arena) -> None:
    """After `connect` an error leaves the connection open; each is answered, in order."""
    with arena.attack() as attack:
        client = connect(attack)
        assert ask(client, type="connect")["type"] == "connected"
        for code, fields in (
            ("bad_room", {"type": "join", "room": "a\nb"}),
            ("bad_room", {"type": "join", "room": "r" * 255}),
            ("bad_room", {"type": "join", "room": ""}),
            ("bad_room", {"type": "join", "room": "\u202egnp"}),
            ("invalid_frame", {"type": "join", "room": ["a"]}),
            ("already_connected", {"type": "connect"}),
            ("not_member", {"type": "history", "room": "somebody's"}),
        ):
            assert ask(client, **fields)["code"] == code, fields
        deep: Any = 1
        for _ in range(101):
            deep = [deep]
        answer = ask(client, type="publish", room="a", data=deep)
        assert answer["code"] == "bad_data"
        for number in range(100):
            assert ask(client, type="join", room=f"attacked {number}")["type"] == "joined"
        assert ask(client, type="join", room="one more")["code"] == "too_many_rooms"
