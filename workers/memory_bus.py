"""Owns the bus without a segment: plain dicts in one process; the model of what any bus must do.

A `MemoryHub` is what its buses share. It stands for a journal, or for a server far away: a bus only
appends to it, and reads from it at a place of its own. Used by tests, beside `SegmentBus`.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from workers.bus import GIVE_WAY_S, RECORDS_A_TURN, OnMessage, OnMissed
from workers.journal import ConnectionId
from workers.publisher import Message, Position
from workers.registry import Row
from workers.room_tables import Kind


@dataclass
class _Room:
    """A room as all see it; its members are (slot, ticket) with the connection's row, if any."""

    epoch: int
    last: int = 0
    members: dict[tuple[int, int], int | None] = field(default_factory=dict)


class MemoryHub:
    """What the buses of one server share.

    Attributes:
        keep: so many messages, of all rooms and broadcasts, are kept.
        rows: who a connection is, by slot and row; filled by its owner.
    """

    def __init__(self, keep: int = 10_000) -> None:
        self.keep = keep
        self.rows: dict[tuple[int, int], Row] = {}
        self.buses: dict[int, MemoryBus] = {}
        self.rooms: dict[str, _Room] = {}
        self.log: list[Message] = []
        self.start = 0  # the number of the first message in the log
        self.broadcasts = 0
        self._epochs = itertools.count(1)

    @property
    def end(self) -> int:
        """The number that the next message will have."""
        return self.start + len(self.log)

    def room(self, name: str) -> _Room:
        """Return a room; make it if there is none."""
        room = self.rooms.get(name)
        if room is None:
            room = self.rooms[name] = _Room(next(self._epochs))
        return room

    def append(self, message: Message) -> None:
        """Take a message, give up the oldest if there are too many."""
        self.log.append(message)
        surplus = len(self.log) - self.keep
        if surplus > 0:
            del self.log[:surplus]
            self.start += surplus

    def forget(self, slot: int) -> None:
        """End the memberships of a worker that has died."""
        self.buses.pop(slot, None)
        for room in self.rooms.values():
            room.members = {key: row for key, row in room.members.items() if key[0] != slot}


class MemoryBus:
    """A worker's part of a hub; see `bus.Bus`.

    Attributes:
        counts: what was noted.
    """

    def __init__(self, hub: MemoryHub, slot: int) -> None:
        self.hub = hub
        self.slot = slot
        self.counts: Counter[str] = Counter()
        self.is_giving_way = False
        self._next = hub.end
        self._broadcasts = hub.broadcasts
        self._seen: dict[str, int] = {}
        self._members: Counter[str] = Counter()
        self._tickets = itertools.count(1)
        self._on_message: OnMessage | None = None
        self._on_missed: OnMissed | None = None
        self._is_reading = False
        self._turn: asyncio.Handle | None = None
        hub.buses[slot] = self

    def listen(self, on_message: OnMessage, on_missed: OnMissed) -> None:
        """Say who takes messages."""
        self._on_message = on_message
        self._on_missed = on_missed

    def note(self, name: str, number: int = 1) -> None:
        """Count something."""
        self.counts[name] += number

    def keep_watch(self) -> None:
        """Nothing is overheard here."""

    async def publish(
        self, room: str, kind: Kind, payload: bytes, *, excluded: Sequence[ConnectionId] = ()
    ) -> Position:
        """Publish to a room, whether or not it has members."""
        of_room = self.hub.room(room)
        of_room.last += 1
        key = (room, of_room.epoch, of_room.last)
        self._publish(key, kind, payload, excluded, {slot for slot, _ in of_room.members})
        return Position(of_room.epoch, of_room.last)

    async def broadcast(
        self, route: int, kind: Kind, payload: bytes, *, excluded: Sequence[ConnectionId] = ()
    ) -> None:
        """Publish to the connections of a route (0: all)."""
        self.hub.broadcasts += 1
        key = (None, route, self.hub.broadcasts)
        self._publish(key, kind, payload, excluded, {*self.hub.buses})

    def _publish(
        self,
        key: tuple[str | None, int, int],
        kind: Kind,
        payload: bytes,
        excluded: Sequence[ConnectionId],
        slots: set[int],
    ) -> None:
        data = payload if kind is Kind.BYTES else payload.decode()
        self.hub.append(Message(*key, kind, data, time.time_ns(), tuple(excluded)))
        self.note("published")
        for slot in slots - {self.slot}:
            self.hub.buses[slot].wake()
        self._take_own()

    def wake(self) -> None:
        """Have what is new read in the loop's next turn."""
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._go_on)

    async def enter(self, room: str, row: int | None) -> int:
        """Enter a connection, or this worker, as a member; returns a ticket for `leave`."""
        of_room, ticket = self.hub.room(room), next(self._tickets)
        self._seen.setdefault(room, of_room.last)
        self._members[room] += 1
        of_room.members[self.slot, ticket] = row
        self._take_own()
        return ticket

    def leave(self, room: str, ticket: int) -> None:
        """End a membership, once."""
        del self.hub.rooms[room].members[self.slot, ticket]
        self._members[room] -= 1
        if not self._members[room]:
            del self._members[room], self._seen[room]

    def seen(self, room: str) -> Position:
        """Return up to where messages of a room that was entered were taken."""
        return Position(self.hub.rooms[room].epoch, self._seen[room])

    def position(self, room: str) -> Position | None:
        """Return where a room is now; None if there is no such room."""
        found = self.hub.rooms.get(room)
        return None if found is None else Position(found.epoch, found.last)

    def count(self, room: str) -> int:
        """Return how many members a room has, on all workers."""
        found = self.hub.rooms.get(room)
        return 0 if found is None else len(found.members)

    def members(self, room: str) -> list[Row]:
        """Return the connections that are members of a room, on all workers."""
        found = self.hub.rooms.get(room)
        if found is None:
            return []
        rows = {key: row for key, row in found.members.items() if row is not None}
        return [self.hub.rows[slot, row] for (slot, _), row in sorted(rows.items())]

    def history(
        self,
        room: str,
        *,
        epoch: int | None = None,
        since: int = 0,
        until: int | None = None,
        limit: int | None = None,
        not_before_ns: int = 0,
    ) -> list[Message]:
        """Return messages of a room that are still kept, in their order."""
        found = [
            message
            for message in self.hub.log
            if message.room == room
            and epoch in (None, message.epoch)
            and message.offset > since
            and (until is None or message.offset <= until)
            and message.time_ns >= not_before_ns
        ]
        return found if limit is None else found[max(0, len(found) - limit) :]

    def poll(self) -> None:
        """Read what is new, up to a bound, and see to the rest in another turn."""
        if self._turn is None:
            self._take_turn()

    def _take_own(self) -> None:
        if not self.is_giving_way:
            self._take_turn()

    def _go_on(self) -> None:
        self._turn, self.is_giving_way = None, False
        self._take_turn()

    def _take_turn(self) -> None:
        if self._is_reading or self._on_message is None:
            return
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._is_reading = True
        try:
            self._skip_lost()
            self.is_giving_way = self._read()
        finally:
            self._is_reading = False
        loop = asyncio.get_running_loop()
        if self.is_giving_way:
            self._turn = loop.call_later(GIVE_WAY_S, self._go_on)
        elif self._next < self.hub.end:
            self._turn = loop.call_soon(self._go_on)

    def _read(self) -> bool:
        assert self._on_message is not None
        new = self.hub.log[self._next - self.hub.start :][:RECORDS_A_TURN]
        for message in new:
            self._next += 1
            if not self._is_wanted(message):
                continue
            try:
                if self._on_message(message):
                    return True
            except Exception:
                self.note("errors")
        return False

    def _is_wanted(self, message: Message) -> bool:
        """Whether it is for this worker; moves up to where messages were taken."""
        room, offset = message.room, message.offset
        if room is None:
            has_gap, self._broadcasts = offset > self._broadcasts + 1, offset
        elif offset > self._seen.get(room, offset):
            has_gap, self._seen[room] = offset > self._seen[room] + 1, offset
        else:
            return False
        if has_gap:
            self._miss(room)
        return room is None or room in self._seen

    def _skip_lost(self) -> None:
        """Go on with the oldest message there is, and say where all that was new is lost."""
        if self._next >= self.hub.start:
            return
        self._next = self.hub.start
        self.note("overruns")
        kept = {message.room for message in self.hub.log}
        for room in tuple(self._seen):
            last = self.hub.rooms[room].last
            if room in self._seen and room not in kept and last > self._seen[room]:
                self._seen[room] = last
                self._miss(room)
        if None not in kept and self.hub.broadcasts > self._broadcasts:
            self._broadcasts = self.hub.broadcasts
            self._miss(None)

    def _miss(self, room: str | None) -> None:
        assert self._on_missed is not None
        try:
            self._on_missed(room)
        except Exception:
            self.note("errors")
