"""Owns who in this worker hears one room, and hands them a message; it knows neither room nor bus.

Members with the same encoding, on the same kind of host, are a group and get the same event. What
a group has sent is counted for the group, and added to its members' own counts when somebody asks
for these (`settle`) or the group changes: they would be written with each message, and read once a
second.
"""

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from server.encodings import Encoding
from server.lane import forward_to_all
from server.outbox import Outbox
from server.transport import Event, Pending

if TYPE_CHECKING:
    from server.connection import Connection
    from server.websocket import WebSocket


class Group:
    """Members that get the same event."""

    __slots__ = ("_kind", "_members", "_messages", "_outboxes", "_size_bytes", "encoding")

    def __init__(self, encoding: Encoding, kind: type[Pending] | None) -> None:
        self.encoding = encoding
        self._kind = kind
        self._members: dict[Outbox, WebSocket] = {}
        self._outboxes: tuple[Outbox, ...] | None = None  # made anew after a change
        self._messages = 0
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._members)

    def members(self) -> Collection["WebSocket"]:
        """Return the connections, as they are now."""
        return self._members.values()

    def add(self, ws: "WebSocket") -> None:
        """Take one in that is open; again is nothing new."""
        self.settle()
        self._members[ws._outbox] = ws
        self._outboxes = None

    def discard(self, ws: "WebSocket") -> None:
        """Let one go, if it is here."""
        if ws._outbox in self._members:
            self.settle()
            del self._members[ws._outbox]
            self._outboxes = None

    def forward(
        self, event: Event, size_bytes: int, excluded: Collection["Connection"]
    ) -> tuple[int, list["WebSocket"]]:
        """Send to all, or queue it, where nothing speaks against that.

        Args:
            excluded: open connections that are not to get it, members or not.

        Returns:
            How many have got it, and those that have not.
        """
        members = self._members
        outboxes: Collection[Outbox] | None = self._outboxes
        if outboxes is None:
            outboxes = self._outboxes = tuple(members)
        left_out: Collection[Outbox] = ()
        if excluded:
            left_out = members.keys() & {ws._outbox for ws in excluded}
            outboxes = [outbox for outbox in outboxes if outbox not in left_out]
        kind = self._kind
        others = [*outboxes] if kind is None else forward_to_all(outboxes, event, kind)
        self._messages += 1
        self._size_bytes += size_bytes
        for outbox in (*left_out, *others):
            outbox.messages -= 1
            outbox.size_bytes -= size_bytes
        others = [outbox for outbox in others if not outbox.forward(event, size_bytes)]
        return len(outboxes) - len(others), [members[outbox] for outbox in others]

    def settle(self) -> None:
        """Add what was sent since the last time to the members' own counts."""
        messages, size_bytes = self._messages, self._size_bytes
        if messages:
            for outbox in self._members:
                outbox.messages += messages
                outbox.size_bytes += size_bytes
            self._messages = self._size_bytes = 0


class Audience:
    """The members of one room in this worker."""

    __slots__ = ("_groups",)

    def __init__(self) -> None:
        self._groups: dict[tuple[Encoding, type[Pending] | None], Group] = {}

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def __iter__(self) -> Iterator["WebSocket"]:
        return (ws for group in self._groups.values() for ws in group.members())

    def groups(self) -> list[Group]:
        """Return the groups; none is empty."""
        return [*self._groups.values()]

    def add(self, ws: "WebSocket") -> None:
        """Take one in that is open."""
        key = ws.encoding, ws._outbox.kind
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(*key)
        group.add(ws)

    def discard(self, ws: "WebSocket") -> None:
        """Let one go, if it is here."""
        for key, group in [*self._groups.items()]:
            group.discard(ws)
            if not group:
                del self._groups[key]
