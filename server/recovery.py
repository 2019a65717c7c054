"""Owns what a member that comes back is sent before anything new: all that it missed, or nothing.

It knows rooms by their names and the bus by what it has read; how one becomes a member is `rooms`'.
"""

import asyncio
import time
from typing import TYPE_CHECKING, Any

from server.room import parse_epoch
from workers.journal import ConnectionId
from workers.publisher import Message
from workers.registry import parse_id

if TYPE_CHECKING:
    from server.rooms import Rooms
    from server.websocket import WebSocket

CATCH_UP_S = 5.0
_STEP_S = 0.002


class TooSlow(Exception):
    """What was published meanwhile is lost before it could be sent."""


def wanted_place(since: Any, epoch: str | None) -> tuple[int, int] | None:
    """Return from where a client wants to be sent what it has missed, or None."""
    if since is None and epoch is None:
        return None
    if since is None or epoch is None:
        raise TypeError("join() takes since and epoch together, as an earlier join returned them")
    if not isinstance(since, int) or isinstance(since, bool):
        raise TypeError(f"since must be an int, not {type(since).__name__}")
    if since < 0:
        raise ValueError(f"since is an offset, 0 or more, not {since}")
    return since, parse_epoch(epoch)


async def recover(rooms: "Rooms", ws: "WebSocket", name: str, since: int, epoch: int) -> bool:
    """Send all that was published after `since`, or nothing; True if that was possible.

    Raises:
        TooSlow: some of it was sent, and the rest is gone.
        WebSocketDisconnect: the connection has ended meanwhile.
        RuntimeError: it has left the room meanwhile.
    """
    bus = rooms.bus
    if epoch != bus.seen(name).epoch:
        return False
    await _catch_up(rooms, ws, name, since)
    seen = bus.seen(name).offset
    if since > seen:
        return False
    missed = _kept(rooms, name, epoch, since, seen)
    if len(missed) != seen - since:
        return False
    done = since
    while True:
        for message in missed:
            await _replay(ws, name, message)
        done += len(missed)
        # What came while this one was waited for, which it is not handed as a live member.
        now = bus.seen(name).offset
        if now == done:
            return True
        missed = bus.history(name, epoch=epoch, since=done, until=now)
        if len(missed) != now - done:
            raise TooSlow


async def _catch_up(rooms: "Rooms", ws: "WebSocket", name: str, offset: int) -> None:
    """Read up to that offset if it exists: the client may come from a worker that is ahead."""
    bus = rooms.bus
    last = bus.position(name)
    if last is None or offset > last.offset:
        return
    deadline = time.monotonic() + CATCH_UP_S
    while bus.seen(name).offset < offset and time.monotonic() < deadline:
        bus.poll()
        await asyncio.sleep(_STEP_S)
        _check_joining(ws, name)


def _kept(rooms: "Rooms", name: str, epoch: int, since: int, until: int) -> list[Message]:
    keep = rooms.retention.of(name)
    return rooms.bus.history(
        name,
        epoch=epoch,
        since=since,
        until=until,
        limit=keep.messages,
        not_before_ns=keep.not_before_ns(),
    )


async def _replay(ws: "WebSocket", name: str, message: Message) -> None:
    if message.excluded and id_of(ws) in message.excluded:
        return
    event, size_bytes = ws.encoding.encode(message)
    if not ws.offer(event, size_bytes):
        await ws.post(event, size_bytes)
    _check_joining(ws, name)


def _check_joining(ws: "WebSocket", name: str) -> None:
    if ws.has_ended:
        raise ws._disconnect()
    if name not in ws._rooms:
        raise RuntimeError(f"leave({name!r}) while another task was joining it")


def id_of(ws: "WebSocket") -> ConnectionId | None:
    """Return the id that a message names if this connection is not to get it."""
    return parse_id(ws.id) if ws.id is not None else None
