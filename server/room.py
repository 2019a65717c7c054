"""Owns what handler code sees of a room: the handle, and the values that it returns.

Who is a member and how messages travel is the matter of `rooms`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from workers.publisher import Message
from workers.registry import Row
from workers.room_directory import encode_name
from workers.room_tables import Kind

if TYPE_CHECKING:
    from server.rooms import Rooms
    from server.websocket import WebSocket

DEFAULT_HISTORY = 100
_SHADOW = "\0"


@dataclass(frozen=True, slots=True)
class Published:
    """Where a message is in its room.

    Attributes:
        epoch: of the room; offsets of another epoch mean nothing.
        offset: from 1, one more for each message.
    """

    epoch: str
    offset: int


@dataclass(frozen=True, slots=True)
class Joined:
    """What a join found.

    Attributes:
        epoch, offset: the last message before those that come from now on. A client that keeps
            them, and counts on, can ask for what it has missed when it comes back.
        recovered: whether all that was missed has been sent; False also if nothing was asked for.
    """

    epoch: str
    offset: int
    recovered: bool


@dataclass(frozen=True, slots=True)
class RoomMessage:
    """A message of a room's history.

    Attributes:
        data: str and bytes as they were published, all else as decoded from JSON.
        published_at: Unix time, in seconds.
    """

    epoch: str
    offset: int
    data: Any
    published_at: float


class Room:
    """A handle to one room by name; making one costs nothing and creates nothing."""

    __slots__ = ("_rooms", "name")

    def __init__(self, rooms: "Rooms", name: str) -> None:
        self._rooms = rooms
        self.name = name

    async def publish(
        self, message: Any, *, exclude: "WebSocket | Collection[WebSocket] | None" = None
    ) -> Published:
        """Send `message` to every member, on whatever worker, and keep it in the room's history.

        Args:
            message: str and bytes go as they are, everything else is encoded as JSON, or
                MessagePack for members of that codec.
            exclude: connections that do not get it.

        Raises:
            TypeError: the message cannot be encoded; nobody got it.
            MessageTooLarge: it takes more than an eighth of the journal; nobody got it.
            DirectoryFull: the room is new, and all places are taken by rooms with members.
            JournalStalled: a stopped process holds the journal.
        """
        return await self._rooms.publish(self.name, message, exclude)

    def count(self) -> int:
        """How many connections are members, on all workers."""
        return self._rooms.bus.count(self.name)

    def members(self) -> list[Row]:
        """The connections that are members, on all workers, as in `app.connections`."""
        return self._rooms.bus.members(self.name)

    def history(self, since: int = 0, *, limit: int = DEFAULT_HISTORY) -> list[RoomMessage]:
        """Return messages that are still kept, in their order.

        Args:
            since: only those with a larger offset.
            limit: at most so many; the last ones.
        """
        return [room_message(message) for message in self._rooms.kept(self.name, since, limit)]


def room_message(message: Message) -> RoomMessage:
    """Return a message as handler code sees it."""
    data = msgspec.json.decode(message.data) if message.kind is Kind.JSON else message.data
    return RoomMessage(epoch_text(message.epoch), message.offset, data, message.time_ns / 1e9)


def epoch_text(epoch: int) -> str:
    """Return an epoch as clients get it: as a number it would be too large for JavaScript."""
    return f"{epoch:x}"


def parse_epoch(text: str) -> int:
    """Return an epoch; -1, which no room has, for a text that is none.

    Raises:
        TypeError: not a str.
    """
    if not isinstance(text, str):
        raise TypeError(f"an epoch is the str that a join returned, not {type(text).__name__}")
    try:
        return int(text, 16)
    except ValueError:
        return -1


def shadow_of(name: str) -> str:
    """Return the name of a room's shadow: what is said about the room is published there.

    No user can name it. Its joins and leaves are told to nobody.
    """
    return _SHADOW + name


def channel_of(name: str) -> str:
    """Return the name of a room in which workers talk to each other; no user can name it either."""
    return _SHADOW + _SHADOW + name


def is_shadow(name: str) -> bool:
    """Whether it is no name that a user could give: of a room's shadow, or of a channel."""
    return name.startswith(_SHADOW)


def owner_of(shadow: str) -> str:
    """Return the name of the room whose shadow that is."""
    return shadow.removeprefix(_SHADOW)


def check_room_name(name: str) -> None:
    """Refuse what cannot name a room.

    Raises:
        TypeError: not a str.
        ValueError: empty, over 255 bytes of UTF-8, or with control characters.
    """
    if not isinstance(name, str):
        raise TypeError(f"a room name is a str, not {type(name).__name__}")
    encode_name(name)
    if not name.isprintable():
        raise ValueError(f"room name {name[:40]!r} has characters that do not print")
