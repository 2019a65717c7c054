"""A worker that the ring has overtaken tells its realtime members, and they catch up."""

from server.room import shadow_of
from tests.realtime.support import Host, covers, new_room
from workers.publisher import Publisher
from workers.room_tables import Kind

FILLING = b'"' + b"x" * (4 << 20) + b'"'


def flood(host: Host, room: str = "flood") -> None:
    """Publish more than the ring holds, past the bus of this process."""
    publisher = Publisher(host.app.runtime.ledger.segment)
    for _ in range(20):
        publisher.publish_now(room, Kind.JSON, FILLING)
    publisher.close()


def publish(host: Host, room: str, text: bytes) -> None:
    publisher = Publisher(host.app.runtime.ledger.segment)
    publisher.publish_now(room, Kind.JSON, text)
    publisher.close()


@covers("frame missed")
async def test_missed_messages(local: Host):
    """Nothing more of the room comes until the client joins again; then nothing is left out."""
    room = new_room()
    peer, bus = await local.member(room), local.app.runtime.rooms.bus
    await peer.ask("publish", room=room, data=1)
    await peer.expect(type="message", offset=1)
    epoch = (await peer.ask("join", room=room))["epoch"]
    publish(local, room, b"2")
    flood(local)
    publish(local, room, b"3")
    bus.poll()

    assert await peer.receive() == {"type": "missed", "what": "messages", "room": room}
    publish(local, room, b"4")
    bus.poll()
    await peer.nothing_more()
    assert local.app.room(room).count() == 1
    await peer.send("join", room=room, since=2, epoch=epoch)
    await peer.expect(type="message", offset=3, data=3)
    await peer.expect(type="message", offset=4, data=4)
    await peer.expect(type="joined", offset=4, recovered=True)
    await peer.ask("publish", room=room, data=5)
    await peer.expect(type="message", offset=5)


async def test_what_the_ring_has_lost_is_lost(local: Host):
    """Another member's join or leave is not told for it."""
    room = new_room()
    peer = await local.member(room)
    epoch = (await peer.ask("join", room=room))["epoch"]
    publish(local, room, b"1")
    flood(local)
    local.app.runtime.rooms.bus.poll()

    await peer.expect(type="missed", what="messages")
    await peer.send("join", room=room, since=0, epoch=epoch)
    await peer.expect(type="joined", offset=1, recovered=False)
    await peer.nothing_more()
    await peer.ask("publish", room=room, data=2)
    await peer.expect(type="message", offset=2)


async def test_a_member_that_missed_can_leave(local: Host):
    room = new_room()
    peer = await local.member(room)
    publish(local, room, b"1")
    flood(local)
    local.app.runtime.rooms.bus.poll()
    await peer.expect(type="missed", what="messages")

    await peer.ask("leave", room=room)
    assert local.app.room(room).count() == 0
    await peer.send("join", room=room)
    await peer.expect(type="joined", offset=1)


async def test_missed_presence(local: Host):
    """The client stays in the room, and is told what comes next."""
    room = new_room()
    peer = await local.member(room)
    publish(local, shadow_of(room), b'{"type":"member_left","room":"x","client":"1-1"}')
    flood(local)
    local.app.runtime.rooms.bus.poll()

    assert await peer.receive() == {"type": "missed", "what": "presence", "room": room}
    await local.member(room)
    await peer.expect(type="member_joined")
    await peer.ask("publish", room=room, data=1)
    await peer.expect(type="message", offset=1)


async def test_missed_broadcasts(local: Host):
    peer = await local.connect()
    journal = local.app.runtime.rooms.bus.journal  # type: ignore[attr-defined]
    journal.append_broadcast(0, Kind.JSON, b"1", 1)
    flood(local)
    local.app.runtime.rooms.bus.poll()

    assert await peer.receive() == {"type": "missed", "what": "broadcasts"}


async def test_a_place_is_one_up_to_which_all_was_sent(local: Host):
    """Also while the worker has yet to read what others have published."""
    room = new_room()
    peer, bus = await local.member(room), local.app.runtime.rooms.bus
    await peer.ask("publish", room=room, data=1)
    await peer.expect(type="message", offset=1)
    publish(local, room, b"2")

    assert (await peer.ask("join", room=room))["offset"] == 1
    history = await peer.ask("history", room=room)
    assert (history["offset"], [one["offset"] for one in history["messages"]]) == (1, [1])
    await peer.nothing_more()
    bus.poll()
    await peer.expect(type="message", offset=2)
