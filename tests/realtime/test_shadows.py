"""A room's shadow, where presence is told, shows nowhere, and costs nothing where nobody looks."""

from typing import Any

import pytest

from server import WebSocket
from server.realtime import presence
from server.room_commands import describe_rooms
from tests.realtime.app import make_app
from tests.realtime.support import JSON, Host, InProcess, new_room
from workers.journal_lock import JournalStalled
from workers.room_counts import room_counts


async def test_a_shadow_shows_nowhere():
    """Not in lists of rooms, nor in `ws.rooms`, nor to handlers of joins and leaves."""
    app = make_app()
    seen: list[Any] = []
    app.on("join")(lambda ws, room: seen.append(("join", room)))
    app.on("leave")(lambda ws, room: seen.append(("leave", room)))

    def can_publish(ws: WebSocket, room: str, data: Any) -> bool:
        seen.append(ws.rooms)
        return True

    app.realtime("/seen", can_publish=can_publish)
    host = Host(lambda path, offers: InProcess.open(app, path, offers), JSON)
    peer = await host.member("tea", "/seen")
    await peer.ask("publish", room="tea", data=1)
    listed = [room["room"] for room in describe_rooms(app.runtime.ledger.segment)]
    await peer.ask("leave", room="tea")
    await peer.ask("join", room="tea")
    await host.close()

    assert listed == ["tea"]
    moves = [("join", "tea"), ("leave", "tea"), ("join", "tea"), ("leave", "tea")]
    assert seen == [moves[0], frozenset({"tea"}), *moves[1:]]


async def published_by(host: Host, room: str, path: str) -> int:
    """Return how many messages the join of one more is."""
    segment = host.app.runtime.ledger.segment
    before = room_counts(segment).published
    await host.member(room, path)
    return room_counts(segment).published - before


async def test_nothing_is_published_where_nobody_looks(local: Host):
    room = new_room()
    assert await published_by(local, room, "/quiet") == 0
    assert await published_by(local, room, "/open") == 0  # none but itself
    assert await published_by(local, room, "/quiet") == 1


async def test_a_room_that_is_too_large_for_presence(local: Host, monkeypatch: pytest.MonkeyPatch):
    """Its coming and going is not told, and the list is cut, but the count is right."""
    monkeypatch.setattr(presence, "PRESENCE_MEMBERS", 2)
    room = new_room()
    first, second = await local.member(room), await local.member(room)
    await first.expect(type="member_joined", client=second.client)
    third = await local.member(room)

    await first.nothing_more()
    answer = await first.ask("presence", room=room)
    assert (answer["count"], len(answer["members"])) == (3, 2)
    await third.link.close()
    await first.expect(type="member_left", client=third.client)


async def test_presence_that_cannot_be_told_is_no_error(
    local: Host, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    room = new_room()
    first = await local.member(room)

    async def fail(*_: object, **__: object) -> None:
        raise JournalStalled(None)

    with monkeypatch.context() as patch:
        patch.setattr(local.app.runtime.rooms.bus, "publish", fail)
        await local.member(room)
    assert "presence of a room was not told" in caplog.text
    await first.nothing_more()


async def test_a_handlers_room_whose_name_is_too_long_for_a_shadow(local: Host):
    link = await local.link(f"/bare/{'x' * 255}")
    assert await link.receive() == "joined"
