"""Owns presence: who is in a room, and telling those who watch that somebody came or left.

Those who watch a room are the members of its shadow, a room of its own, so what they are told goes
the way of all messages. It knows no connection's session.
"""

import logging
from typing import TYPE_CHECKING

from server.realtime.frames import (
    PRESENCE_MEMBERS,
    Member,
    MemberJoined,
    MemberLeft,
    Presence,
)
from server.room import shadow_of
from workers.journal_lock import JournalStalled
from workers.room_directory import DirectoryFull

if TYPE_CHECKING:
    from server.rooms import Rooms
    from server.websocket import WebSocket

log = logging.getLogger("switchboard.rooms")


def attach(rooms: "Rooms") -> None:
    """Have joins and leaves of an app's rooms told; again changes nothing."""
    if announce_join not in rooms.handlers["join"]:
        rooms.handlers["join"].append(announce_join)
        rooms.handlers["leave"].append(announce_leave)


async def announce_join(ws: "WebSocket", room: str) -> None:
    """Tell those who watch that a connection has joined."""
    await _announce(ws, room, MemberJoined)


async def announce_leave(ws: "WebSocket", room: str) -> None:
    """Tell those who watch that a connection has left; it watches no longer."""
    await ws._app.rooms.leave(ws, shadow_of(room))
    await _announce(ws, room, MemberLeft)


async def _announce(
    ws: "WebSocket", room: str, kind: type[MemberJoined] | type[MemberLeft]
) -> None:
    rooms, shadow = ws._app.rooms, shadow_of(room)
    try:
        watching = rooms.bus.count(shadow) - (shadow in ws._rooms)
        if watching <= 0 or rooms.bus.count(room) > PRESENCE_MEMBERS:
            return
        frame = kind(room=room, client=ws.id or "", user=ws.user_id)
        await rooms.publish(shadow, frame, ws)
    except (DirectoryFull, JournalStalled) as error:
        log.warning("presence of a room was not told: %s", error)
    except ValueError:
        # A room of the handlers may have a name that is too long to have a shadow: none watches.
        return


def presence_of(rooms: "Rooms", room: str, id: int) -> Presence:
    """Return the answer to the question who is in a room."""
    rows = rooms.bus.members(room)
    members = [Member(row.id, row.user or None) for row in rows[:PRESENCE_MEMBERS]]
    return Presence(id=id, room=room, count=len(rows), members=members)
