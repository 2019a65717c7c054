"""Owns rooms and broadcast inside one worker process; knows no wire and no other process.

A message is encoded once per codec and handed to every member without waiting for any. What is done
about a member whose outbox is full is up to `slow`; the others do not notice.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any

from server import slow
from server.codecs import Codec
from server.exceptions import WebSocketDisconnect
from server.transport import Event

if TYPE_CHECKING:
    from server.runtime import AppRuntime
    from server.websocket import WebSocket

MAX_ROOM_NAME_BYTES = 255
PATIENCE_S = 1.0
"""How long publishers give way to a member whose window is half full, before it may fill up."""
_GIVE_WAY_S = 0.001


class Room:
    """A handle to one room by name; making one costs nothing and creates nothing."""

    __slots__ = ("_rooms", "name")

    def __init__(self, rooms: "Rooms", name: str) -> None:
        self._rooms = rooms
        self.name = name

    async def publish(self, message: Any, *, exclude: "WebSocket | None" = None) -> None:
        """Send `message` to every member in this worker.

        Args:
            message: str and bytes go as they are, everything else is encoded as JSON, or
                MessagePack for members of that codec.
            exclude: a member that does not get it.

        Raises:
            TypeError: the message cannot be encoded; nobody got it.
        """
        members = self._rooms.members(self.name)
        await self._rooms.deliver(message, members, () if exclude is None else (exclude,))

    def count(self) -> int:
        """How many connections of this worker are members."""
        return len(self._rooms.members(self.name))

    def members(self) -> list["WebSocket"]:
        """The connections of this worker that are members, in order of joining."""
        return list(self._rooms.members(self.name))


class Rooms:
    """Who is a member of what, and the delivery to many."""

    def __init__(self, runtime: "AppRuntime") -> None:
        self._runtime = runtime
        self._members: dict[str, dict[WebSocket, None]] = {}
        self._kicking: dict[WebSocket, asyncio.Task[None]] = {}

    def join(self, ws: "WebSocket", name: str) -> None:
        """Make `ws` a member.

        Raises:
            TypeError, ValueError: not a room name.
        """
        check_room_name(name)
        self._members.setdefault(name, {})[ws] = None
        ws._rooms.add(name)

    def leave(self, ws: "WebSocket", name: str) -> None:
        """End a membership, if there is one."""
        members = self._members.get(name)
        if members is not None:
            members.pop(ws, None)
            if not members:
                del self._members[name]
        ws._rooms.discard(name)

    def leave_all(self, ws: "WebSocket") -> None:
        """End all memberships of a connection that is ending."""
        for name in tuple(ws._rooms):
            self.leave(ws, name)

    def members(self, name: str) -> Collection["WebSocket"]:
        """The members of a room; empty if there is no such room."""
        return self._members.get(name, {}).keys()

    async def deliver(
        self, message: Any, targets: Iterable["WebSocket"], exclude: Collection["WebSocket"]
    ) -> None:
        """Hand `message` to all targets at once; then give way if one has begun to lag.

        A publisher that never lets the loop and the host's threads run would fill the windows of
        peers that read well. One that stays behind is waited for no longer than `PATIENCE_S`.
        """
        filling = self._hand_over(message, targets, exclude)
        if filling is not None and time.monotonic() - filling < PATIENCE_S:
            await asyncio.sleep(_GIVE_WAY_S)

    def _hand_over(
        self, message: Any, targets: Iterable["WebSocket"], exclude: Collection["WebSocket"]
    ) -> float | None:
        """Send to all without awaiting; return when the latest to lag began to, or None."""
        events: dict[Codec, tuple[Event, int]] = {}
        latest: float | None = None
        for ws in tuple(targets):
            if ws in exclude or ws in self._kicking:
                continue
            codec = ws.codec
            encoded = events.get(codec)
            if encoded is None:
                encoded = events[codec] = encode_event(message, codec.encode)
            try:
                if not ws.hand_over(*encoded):
                    self._kick(ws)
            except (WebSocketDisconnect, RuntimeError):
                # It left, or was closed, a moment ago; its own handler notices.
                continue
            since = ws._outbox.filling_since
            if since is not None and (latest is None or since > latest):
                latest = since
        return latest

    def _kick(self, ws: "WebSocket") -> None:
        self.leave_all(ws)
        task = self._kicking[ws] = asyncio.get_running_loop().create_task(slow.disconnect(ws))
        task.add_done_callback(lambda _: self._kicking.pop(ws, None))


def encode_event(message: Any, encode: Callable[[Any], str | bytes]) -> tuple[Event, int]:
    """Return the event that carries `message`, and its payload's size in bytes.

    Args:
        encode: used for what is neither str nor bytes.
    """
    payload = message if isinstance(message, str | bytes) else encode(message)
    if isinstance(payload, str):
        return {"type": "websocket.send", "text": payload}, len(payload.encode())
    return {"type": "websocket.send", "bytes": payload}, len(payload)


def check_room_name(name: str) -> None:
    """Refuse what cannot name a room.

    Raises:
        TypeError: not a str.
        ValueError: empty, over 255 bytes of UTF-8, or with control characters.
    """
    if not isinstance(name, str):
        raise TypeError(f"a room name is a str, not {type(name).__name__}")
    if not name or len(name.encode("utf-8", "replace")) > MAX_ROOM_NAME_BYTES:
        raise ValueError(f"a room name has 1 to {MAX_ROOM_NAME_BYTES} bytes")
    if not name.isprintable():
        raise ValueError(f"room name {name!r} has characters that do not print")
