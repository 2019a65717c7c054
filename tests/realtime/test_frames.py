"""Each frame of the protocol, on each host and in each encoding."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tests.realtime.support import JSON, MSGPACK, Host, covers, new_room, unpack


@covers("frame connect", "frame connected")
async def test_connect(host: Host):
    """The answer names the client and says what its limits are."""
    peer = await host.peer("/guarded")
    answer = await peer.ask("connect", data="ada")

    assert answer == {
        "type": "connected",
        "id": 1,
        "client": answer["client"],
        "user": "ada",
        "ping_interval_s": 30.0,
        "timeout_s": 90.0,
        "limits": {
            "message_bytes": 1 << 20,
            "rooms": 100,
            "room_bytes": 254,
            "history": 1000,
            "presence": 1000,
        },
    }


async def test_a_client_that_nobody_asked_who_it_is_has_no_user(host: Host):
    peer = await host.peer("/open")
    assert "user" not in await peer.ask("connect")


@covers("frame join", "frame joined")
async def test_join(host: Host):
    """The answer says where the room is."""
    room = new_room()
    peer = await host.connect()
    answer = await peer.ask("join", room=room)

    assert isinstance(answer["epoch"], str)
    assert answer == {
        "type": "joined",
        "id": 2,
        "room": room,
        "epoch": answer["epoch"],
        "offset": 0,
        "recovered": False,
    }
    await peer.ask("publish", room=room, data=1)
    again = await peer.ask("join", room=room)
    assert again == answer | {"id": again["id"], "offset": 1}


@covers("frame leave", "frame left")
async def test_leave(host: Host):
    """Nothing comes from a room that was left; leaving once more is no error."""
    room = new_room()
    peer = await host.member(room)

    assert await peer.ask("leave", room=room) == {"type": "left", "id": 3, "room": room}
    assert (await peer.ask("leave", room=room))["type"] == "left"
    await peer.ask("publish", room=room, data=1)
    await peer.nothing_more()


@covers("frame publish", "frame published", "frame message")
async def test_publish(host: Host):
    """Every member gets it once, the publisher too; one that is no member may publish."""
    room = new_room()
    ada, ben, other = await host.member(room), await host.member(room), await host.connect()
    joined = await ada.ask("join", room=room)
    await ada.expect(type="member_joined", client=ben.client)

    first = await ada.ask("publish", room=room, data={"text": "hé", "n": [1, 2.5, None, True]})
    second = await other.ask("publish", room=room, data="bye")

    assert first == {"type": "published", "id": first["id"], "epoch": joined["epoch"], "offset": 1}
    assert second["offset"] == 2
    for peer in (ada, ben):
        assert await peer.receive() == {
            "type": "message",
            "room": room,
            "offset": 1,
            "data": {"text": "hé", "n": [1, 2.5, None, True]},
        }
        await peer.expect(type="message", room=room, offset=2, data="bye")
        await peer.nothing_more()
    await other.nothing_more()


@pytest.mark.parametrize("data", ["text", "", 'a "quoted" \\ line\n', [], {}, 0, -1.5, None, False])
async def test_data_arrives_as_it_was_published(host: Host, data: Any):
    room = new_room()
    peer = await host.member(room)
    await peer.ask("publish", room=room, data=data)

    await peer.expect(type="message", data=data, offset=1)


@covers("frame presence", "frame member_joined", "frame member_left")
async def test_presence(host: Host):
    """It lists who is in the room; the others' coming and going is told."""
    room = new_room()
    ada = await host.member(room, "/guarded", "ada")
    ben = await host.member(room, "/guarded", "ben")

    of_ben = {"room": room, "client": ben.client, "user": "ben"}
    assert await ada.receive() == {"type": "member_joined", **of_ben}
    answer = await ada.ask("presence", room=room)
    members = answer.pop("members")
    assert answer == {"type": "presence", "id": 3, "room": room, "count": 2}
    assert {"client": ben.client, "user": "ben"} in members
    assert {"client": ada.client, "user": "ada"} in members
    await ben.ask("leave", room=room)
    assert await ada.receive() == {"type": "member_left", **of_ben}
    await ben.nothing_more()
    assert (await ada.ask("presence", room=room))["count"] == 1


async def test_the_end_of_a_connection_is_told(host: Host):
    room = new_room()
    ada, ben = await host.member(room), await host.member(room)
    await ada.expect(type="member_joined", client=ben.client)
    await ben.link.close()

    assert await ada.receive() == {"type": "member_left", "room": room, "client": ben.client}


async def test_members_of_handlers_are_present(host: Host):
    room = new_room()
    peer = await host.member(room)
    link = await host.link(f"/bare/{room}")
    assert await link.receive() == "joined"

    client = (await peer.expect(type="member_joined", room=room))["client"]
    members = (await peer.ask("presence", room=room))["members"]
    assert {"client": client} in members
    await link.close()
    await peer.expect(type="member_left", client=client)


async def test_one_that_may_not_see_is_told_nothing(host: Host):
    room = new_room()
    blind = await host.member(room, "/guarded", "blind")
    await host.member(room, "/guarded", "ada")

    await blind.nothing_more()


async def test_a_room_without_presence(host: Host):
    room = f"quiet-{new_room()}"
    peer = await host.member(room, "/guarded")
    await host.member(room, "/guarded")

    await peer.nothing_more()


@covers("frame history")
async def test_history(host: Host):
    """The last messages after an offset, in their order."""
    room = new_room()
    peer = await host.member(room)
    for number in range(1, 6):
        published = await peer.ask("publish", room=room, data={"n": number})

    answer = await peer.ask("history", room=room)
    messages = answer.pop("messages")
    assert answer == {
        "type": "history",
        "id": answer["id"],
        "room": room,
        "epoch": published["epoch"],
        "offset": 5,
    }
    assert [message["offset"] for message in messages] == [1, 2, 3, 4, 5]
    assert [message["data"] for message in messages] == [{"n": n} for n in range(1, 6)]
    assert set(messages[0]) == {"offset", "data", "published_at"}
    times = [message["published_at"] for message in messages]
    assert times == sorted(times)
    assert abs(times[0] - datetime.now(UTC).timestamp()) < 60

    async def offsets(**fields: Any) -> list[int]:
        answer = await peer.ask("history", room=room, **fields)
        return [message["offset"] for message in answer["messages"]]

    assert await offsets(since=3) == [4, 5]
    assert await offsets(limit=2) == [4, 5]
    assert await offsets(since=1, limit=2) == [4, 5]
    assert await offsets(since=5) == []


async def test_history_has_a_bound_in_bytes(host: Host):
    room = new_room()
    peer = await host.member(room, "/large")
    for _ in range(4):
        await peer.ask("publish", room=room, data="x" * 400_000)

    answer = await peer.ask("history", room=room)
    assert [message["offset"] for message in answer["messages"]] == [3, 4]


@covers("frame ping", "frame pong")
async def test_ping(host: Host):
    """With an id or without."""
    peer = await host.connect()
    assert await peer.ask("ping") == {"type": "pong", "id": 2}
    ping = {"type": "ping"}
    await peer.link.send(json.dumps(ping) if peer.is_json else msgspec.msgpack.encode(ping))
    assert await peer.receive() == {"type": "pong"}


@covers("frame error")
async def test_error(host: Host):
    """An error leaves the connection open."""
    peer = await host.connect()
    assert await peer.ask("presence", room="x") == {
        "type": "error",
        "id": 2,
        "code": "not_member",
        "message": "this is for members of the room: join it first",
        "retry": False,
    }
    assert (await peer.ask("ping"))["type"] == "pong"


@covers("frame broadcast")
async def test_broadcast(host: Host):
    """Connected clients get what the app sends to all; one that has not said connect does not."""
    waiting, peer = await host.peer("/open"), await host.connect("/open")
    link = await host.link("/broadcast")
    text = new_room()
    await link.send(text)
    assert await link.receive() == "done"

    frame = await peer.receive()
    while frame != {"type": "broadcast", "data": {"text": text}}:  # of another test
        frame = await peer.receive()
    assert (await waiting.ask("connect"))["type"] == "connected"
    await waiting.nothing_more()


async def test_answers_come_in_the_order_of_the_requests(host: Host):
    room = new_room()
    peer = await host.connect()
    for _ in range(20):
        for type_, fields in (("join", {}), ("publish", {"data": 1}), ("ping", {}), ("leave", {})):
            if type_ == "ping":
                await peer.send("ping")
            else:
                await peer.send(type_, room=room, **fields)
    ids: list[int] = []
    while len(ids) < 80:
        frame = await peer.receive()
        ids += [frame["id"]] if "id" in frame else []

    assert ids == list(range(2, 82))


# -- coming back ----------------------------------------------------------------------------------


async def test_what_was_missed_comes_before_joined_and_what_is_new_after(host: Host):
    room = new_room()
    ada, publisher = await host.member(room), await host.connect()
    await publisher.ask("publish", room=room, data=1)
    seen = await ada.expect(type="message", offset=1)
    epoch = (await ada.ask("join", room=room))["epoch"]
    await ada.link.close()
    for number in (2, 3, 4):
        await publisher.ask("publish", room=room, data=number)

    ada = await host.connect()
    await ada.send("join", room=room, since=seen["offset"], epoch=epoch)
    await publisher.ask("publish", room=room, data=5)

    for number in (2, 3, 4):
        await ada.expect(type="message", offset=number, data=number)
    frame = await ada.receive()
    if frame["type"] == "message":  # it came before the join did
        assert frame["offset"] == 5
        frame = await ada.receive()
        assert (frame["type"], frame["offset"], frame["recovered"]) == ("joined", 5, True)
    else:
        assert (frame["type"], frame["offset"], frame["recovered"]) == ("joined", 4, True)
        await ada.expect(type="message", offset=5)


async def test_what_cannot_be_recovered_is_not_sent_in_part(host: Host):
    room = new_room()
    publisher = await host.member(room)
    await publisher.ask("publish", room=room, data=1)
    epoch = (await publisher.ask("join", room=room))["epoch"]

    for since, given in ((0, "0"), (0, "no epoch"), (7, epoch)):
        peer = await host.connect()
        await peer.send("join", room=room, since=since, epoch=given)
        await peer.expect(type="joined", recovered=False, offset=1)
        await peer.nothing_more()


# -- the other kind of member ------------------------------------------------------------------


async def test_handlers_get_the_bare_data(host: Host):
    room = new_room()
    link = await host.link(f"/bare/{room}")
    packed = await host.link(f"/bare-msgpack/{room}")
    assert await link.receive() == "joined"
    assert unpack(await packed.receive()) == "joined"
    peer = await host.connect()

    await peer.ask("publish", room=room, data={"a": [1]})
    await peer.ask("publish", room=room, data="text")

    assert json.loads(await link.receive()) == {"a": [1]}
    assert await link.receive() == "text"
    assert unpack(await packed.receive()) == {"a": [1]}
    assert await packed.receive() == "text"


async def test_what_handlers_publish_arrives_in_messages(host: Host):
    room = new_room()
    peer = await host.member(room)
    link = await host.link(f"/bare/{room}")
    await peer.expect(type="member_joined")
    for text in ("json one", "text two", "bytes three"):
        await link.send(text)

    await peer.expect(type="message", offset=1, data={"text": "one"})
    await peer.expect(type="message", offset=2, data="two")
    third = await peer.receive()
    if peer.is_json:
        assert base64.b64decode(third["data"]) == b"three"
        assert third["base64"] is True
    else:
        assert third["data"] == b"three"
        assert "base64" not in third


async def test_the_two_encodings_meet(host: Host):
    room = new_room()
    json_peer = await host.connect(subprotocol=JSON)
    pack_peer = await host.connect(subprotocol=MSGPACK)
    for peer in (json_peer, pack_peer):
        await peer.ask("join", room=room)
    await json_peer.expect(type="member_joined", client=pack_peer.client)

    await json_peer.ask("publish", room=room, data={"big": 2**70, "é": None})
    await pack_peer.ask("publish", room=room, data=b"\x00\xff")
    await pack_peer.ask(
        "publish", room=room, data={1: b"in", "at": datetime(2026, 1, 2, tzinfo=UTC)}
    )

    await json_peer.expect(data={"big": 2**70, "é": None})
    await json_peer.expect(data="AP8=", base64=True)
    await json_peer.expect(data={"1": "aW4=", "at": "2026-01-02T00:00:00Z"})
    await pack_peer.expect(data={"big": float(2**70), "é": None})
    await pack_peer.expect(data=b"\x00\xff")
    await pack_peer.expect(data={"1": "aW4=", "at": "2026-01-02T00:00:00Z"})
