"""Each error of the protocol."""

import json
from typing import Any

import msgspec
import pytest

from tests.realtime.support import Host, Peer, covers, new_room
from workers.journal_lock import JournalStalled
from workers.memberships import MembershipsFull
from workers.room_directory import DirectoryFull


async def error(peer: Peer, type_: str, **fields: Any) -> dict[str, Any]:
    """Send a request that fails, and see that the connection stays."""
    answer = await peer.ask(type_, **fields)
    assert answer["type"] == "error"
    assert answer["message"]
    assert "\n" not in answer["message"]
    assert (await peer.ask("ping"))["type"] == "pong"
    return answer


@covers("error malformed")
async def test_malformed(host: Host):
    peer = await host.connect()
    payloads: list[str | bytes] = ["", "nope", '{"type":"ping"', '{"type":"ping"} x', "[" * 5000]
    if not peer.is_json:
        payloads = [b"", b"\xc1", b"\x81\xa4type", b"\x80\x80", b"\x91" * 5000]
    for payload in payloads:
        await peer.link.send(payload)
        answer = await peer.expect(type="error", code="malformed", retry=False)
        assert "id" not in answer
    assert (await peer.ask("ping"))["type"] == "pong"


@covers("error invalid_frame")
@pytest.mark.parametrize(
    ("frame", "named"),
    [
        ({"type": "ping", "id": 9, "colour": 1}, "colour"),
        ({"type": "join", "id": 9}, "room"),
        ({"type": "join", "id": 9, "room": 1}, "$.room"),
        ({"type": "join", "id": 9, "room": "a", "since": 1}, "epoch"),
        ({"type": "join", "id": 9, "room": "a", "epoch": "a"}, "since"),
        ({"type": "join", "id": 9, "room": "a", "since": -1, "epoch": "a"}, "$.since"),
        ({"type": "join", "id": 9, "room": "a", "since": 2**53, "epoch": "a"}, "$.since"),
        ({"type": "join", "id": 9, "room": "a", "since": 1, "epoch": "a" * 33}, "$.epoch"),
        ({"type": "history", "id": 9, "room": "a", "limit": 0}, "$.limit"),
        ({"type": "history", "id": 9, "room": "a", "limit": 1001}, "$.limit"),
        ({"type": "publish", "id": 9, "room": "a"}, "data"),
        ({"id": 9}, "type"),
        ({"type": 7, "id": 9}, "$.type"),
    ],
)
async def test_invalid_frame(host: Host, frame: dict[str, Any], named: str):
    """The error names the field, and the request by its id."""
    peer = await host.connect()
    await peer.link.send(json.dumps(frame) if peer.is_json else msgspec.msgpack.encode(frame))
    answer = await peer.expect(type="error", code="invalid_frame", id=9, retry=False)

    assert named in answer["message"]
    assert (await peer.ask("ping"))["type"] == "pong"


@pytest.mark.parametrize(
    "frame",
    [[], 1, None, {"type": "ping", "id": -1}, {"type": "ping", "id": "x"}, {"type": "join"}],
)
async def test_an_id_that_is_none_is_not_repeated(host: Host, frame: Any):
    peer = await host.connect()
    await peer.link.send(json.dumps(frame) if peer.is_json else msgspec.msgpack.encode(frame))

    assert "id" not in await peer.expect(type="error", code="invalid_frame")


@covers("error unknown_type")
async def test_unknown_type(host: Host):
    answer = await error(await host.connect(), "subscribe", room="x")
    assert answer["code"] == "unknown_type"
    assert "subscribe" in answer["message"]
    assert answer["retry"] is False


@covers("error already_connected")
async def test_already_connected(host: Host):
    assert (await error(await host.connect(), "connect"))["code"] == "already_connected"


@covers("error forbidden")
async def test_forbidden(host: Host):
    """By what the hook returns, or with the text that it raises."""
    peer = await host.connect("/guarded", "blind")
    room = new_room()
    await peer.ask("join", room=room)

    assert (await error(peer, "join", room="secret"))["code"] == "forbidden"
    assert (await error(peer, "publish", room="secret", data=1))["code"] == "forbidden"
    assert (await error(peer, "presence", room=room))["code"] == "forbidden"
    answer = await error(peer, "publish", room=room, data="rude")
    assert (answer["code"], answer["message"]) == ("forbidden", "mind your language")
    await peer.nothing_more()


@covers("error bad_room")
@pytest.mark.parametrize("room", ["", "a\nb", "\0a", "é" * 128, "a" * 255])
@pytest.mark.parametrize("type_", ["join", "leave", "publish", "presence", "history"])
async def test_bad_room(host: Host, type_: str, room: str):
    fields = {"data": 1} if type_ == "publish" else {}
    answer = await error(await host.connect(), type_, room=room, **fields)
    assert (answer["code"], answer["retry"]) == ("bad_room", False)


async def test_the_longest_room_name(host: Host):
    peer = await host.connect()
    assert (await peer.ask("join", room="é" * 127))["type"] == "joined"


@covers("error bad_data")
async def test_bad_data(host: Host):
    peer = await host.connect()
    deep: list[Any] = []
    for _ in range(101):
        deep = [deep]
    answers = [await error(peer, "publish", room="x", data=deep)]
    if peer.is_json:
        raw = '{"type":"publish","id":99,"room":"x","data":1e999}'
        await peer.link.send(raw)
        answers.append(await peer.expect(type="error", id=99))
    else:
        ext, null_key = msgspec.msgpack.Ext(5, b"x"), {None: 1}
        answers.append(await error(peer, "publish", room="x", data=ext))
        answers.append(await error(peer, "publish", room="x", data=null_key))

    assert {answer["code"] for answer in answers} == {"bad_data"}


async def test_data_may_be_nested_a_hundred_deep(host: Host):
    peer = await host.connect()
    deep: list[Any] = []
    for _ in range(99):
        deep = [deep]
    assert (await peer.ask("publish", room="x", data=deep))["type"] == "published"


@covers("error too_large")
async def test_too_large(host: Host):
    peer = await host.connect("/large")
    answer = await error(peer, "publish", room="x", data="x" * (9 << 20))
    assert (answer["code"], answer["retry"]) == ("too_large", False)


@covers("error too_many_rooms")
async def test_too_many_rooms(host: Host):
    """Joining again needs no further place, and leaving gives one back."""
    peer = await host.connect("/small")
    a, b, c = new_room(), new_room(), new_room()
    for room in (a, b, a):
        assert (await peer.ask("join", room=room))["type"] == "joined"

    answer = await error(peer, "join", room=c)
    assert (answer["code"], answer["retry"]) == ("too_many_rooms", False)
    await peer.ask("leave", room=a)
    assert (await peer.ask("join", room=c))["type"] == "joined"


@covers("error not_member")
async def test_not_member(host: Host):
    peer = await host.connect()
    for type_ in ("history", "presence"):
        answer = await error(peer, type_, room="x")
        assert (answer["code"], answer["retry"]) == ("not_member", False)


@covers("error no_presence")
async def test_no_presence(host: Host):
    room = new_room()
    answer = await error(await host.member(room, "/quiet"), "presence", room=room)
    assert (answer["code"], answer["retry"]) == ("no_presence", False)
    room = f"quiet-{room}"
    answer = await error(await host.member(room, "/guarded"), "presence", room=room)
    assert answer["code"] == "no_presence"


@covers("error rooms_full", "error memberships_full", "error stalled")
@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (DirectoryFull(1), "rooms_full"),
        (MembershipsFull(1), "memberships_full"),
        (JournalStalled(None), "stalled"),
    ],
)
@pytest.mark.parametrize("type_", ["join", "publish"])
async def test_a_limit_of_the_server(
    local: Host, monkeypatch: pytest.MonkeyPatch, type_: str, failure: Exception, code: str
):
    """The same request may succeed later; the client learns nothing of the server's settings."""
    peer = await local.connect()
    room, fields = new_room(), {"data": 1} if type_ == "publish" else {}

    async def fail(*_: object, **__: object) -> None:
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(local.app.runtime.rooms.bus, "enter" if type_ == "join" else "publish", fail)
        answer = await error(peer, type_, room=room, **fields)
    assert (answer["code"], answer["retry"]) == (code, True)
    assert "--" not in answer["message"]
    assert (await peer.ask(type_, room=room, **fields))["type"] != "error"


async def test_a_join_that_fails_leaves_nothing_behind(
    local: Host, monkeypatch: pytest.MonkeyPatch
):
    """Not even in the room's shadow, where presence is told."""
    peer, room = await local.connect(), new_room()
    bus = local.app.runtime.rooms.bus
    enter = bus.enter

    async def fail(name: str, row: int) -> int:
        if name == room:
            raise DirectoryFull(1)
        return await enter(name, row)

    with monkeypatch.context() as patch:
        patch.setattr(bus, "enter", fail)
        await error(peer, "join", room=room)
    await local.member(room)
    await peer.nothing_more()
