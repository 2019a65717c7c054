"""Owns publishing, and reading of what was published, for any process; it has no members itself.

The order of a publish: lock, repair, append, see who has members, unlock, ring. What a bus adds for
the worker of a slot is in `bus`.
"""

import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import xxhash

from workers.doorbell import Bell
from workers.journal import ConnectionId, Header, Journal, Overrun
from workers.journal_lock import JournalLock
from workers.memberships import member_rows
from workers.registry import Row
from workers.room_directory import RoomDirectory, encode_name
from workers.room_tables import KINDS, Kind
from workers.segment import Segment


@lru_cache(maxsize=1024)
def key_of(text: str) -> int:
    """Return a number for a text, the same in all processes: xxh3, 64 bits."""
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "replace"))


class Position(NamedTuple):
    """A place in the history of a room.

    Attributes:
        epoch: offsets of another epoch mean nothing.
        offset: of the last message up to there; 0: before the first.
    """

    epoch: int
    offset: int


class Message(NamedTuple):
    """What was published.

    Attributes:
        room: None for a broadcast.
        epoch, offset: where in the room; of a broadcast, the key of the route (0: all), and its
            number among all broadcasts.
        data: bytes for BYTES, else text.
        time_ns: unix time.
        excluded: connections that do not get it.
    """

    room: str | None
    epoch: int
    offset: int
    kind: Kind
    data: str | bytes
    time_ns: int
    excluded: tuple[ConnectionId, ...] = ()


class Publisher:
    """Publishes into a segment, and reads rooms in it.

    Attributes:
        journal, directory: the same, for those who read more.
    """

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._home: Path | None = segment.path.parent if segment.path is not None else None
        self._lock = JournalLock(self._home)
        self._bell = Bell(self._home) if self._home is not None else None
        self.journal = Journal(segment)
        self.directory = RoomDirectory(segment)

    def close(self) -> None:
        """Let go of the lock's file and the socket."""
        self._lock.close()
        if self._bell is not None:
            self._bell.close()

    # -- publishing ------------------------------------------------------------------------------

    async def publish(
        self, room: str, kind: Kind, payload: bytes, *, excluded: Sequence[ConnectionId] = ()
    ) -> Position:
        """Publish to a room, whether or not it has members.

        Raises:
            ValueError: no name of a room.
            MessageTooLarge: nobody got it.
            DirectoryFull: the room is new, and there is no place for it.
            JournalStalled: another process has held the lock for 5 s.
        """
        self.journal.check_size(len(payload), len(excluded))  # else a room would be made for it
        if not self._lock.try_acquire():
            await self._lock.acquire()
        return self._publish(room, kind, payload, excluded)

    def publish_now(self, room: str, kind: Kind, payload: bytes) -> Position:
        """Do what `publish` does in a process without a loop."""
        self.journal.check_size(len(payload))
        self._lock.acquire_now()
        return self._publish(room, kind, payload, ())

    def _publish(
        self, room: str, kind: Kind, payload: bytes, excluded: Sequence[ConnectionId]
    ) -> Position:
        """Publish under the lock, and let go of that."""
        try:
            self.journal.repair()
            now_ns = time.time_ns()
            entry, epoch = self._entry_of(room, now_ns)
            offset = self.journal.append(entry, kind, payload, now_ns, excluded)
            members = self.directory.members(entry)
        finally:
            self._lock.release()
        self._tell_members(members)
        return Position(epoch, offset)

    def _entry_of(self, room: str, now_ns: int) -> tuple[int, int]:
        """Return the entry and the epoch of a room; made if there is none."""
        entry = self.directory.enter(encode_name(room), now_ns)
        return entry, self.directory.epoch(entry)

    async def broadcast(
        self,
        route: int,
        kind: Kind,
        payload: bytes,
        *,
        excluded: Sequence[ConnectionId] = (),
    ) -> None:
        """Publish to all connections of a route, by the key of its path, or to all connections (0).

        Raises:
            MessageTooLarge, JournalStalled: as `publish`.
        """
        if not self._lock.try_acquire():
            await self._lock.acquire()
        try:
            self.journal.repair()
            self.journal.append_broadcast(route, kind, payload, time.time_ns(), excluded)
        finally:
            self._lock.release()
        self._tell(range(self._segment.sizes.slots))  # at one without a worker nobody listens

    def _tell_members(self, members: Sequence[int]) -> None:
        """Ring at the slots that have members."""
        self._tell([slot for slot, count in enumerate(members) if count])

    def _tell(self, slots: Sequence[int]) -> None:
        if self._bell is not None:
            for slot in slots:
                self._bell.wake(slot)

    # -- reading ---------------------------------------------------------------------------------

    def position(self, room: str) -> Position | None:
        """Return where a room is now; None if there is no such room."""
        name = encode_name(room)
        while (found := self.directory.look_up(name)) is not None:
            offset = self.journal.last_offset(*found)
            if self.directory.has(*found):
                return Position(found[1], offset)
        return None

    def count(self, room: str) -> int:
        """Return how many members a room has, on all workers."""
        found = self.directory.look_up(encode_name(room))
        if found is None:
            return 0
        members = sum(self.directory.members(found[0]))
        return members if self.directory.has(*found) else 0  # it was without members

    def members(self, room: str) -> list[Row]:
        """Return the connections that are members of a room, on all workers."""
        found = self.directory.look_up(encode_name(room))
        if found is None:
            return []
        entry, slots = found[0], enumerate(self.directory.members(found[0]))
        rows = [row for slot, n in slots if n for row in member_rows(self._segment, entry, slot)]
        return rows if self.directory.has(*found) else []

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
        """Return messages of a room that are still in the journal, in their order.

        Args:
            epoch: nothing is returned if the room has another one.
            since: only those with a larger offset.
            until: only those with an offset up to this one.
            limit: only so many of the last.
            not_before_ns: only those published then or later.
        """
        at = self.directory.look_up(encode_name(room))
        if at is None or epoch not in (None, at[1]):
            return []
        found: list[Message] = []
        for header in self.journal.chain(*at):
            is_enough = limit is not None and len(found) >= limit
            if header.offset <= since or is_enough or header.time_ns < not_before_ns:
                break
            if until is not None and header.offset > until:
                continue
            try:
                found.append(self.message(room, header))
            except Overrun:
                break
        found.reverse()
        return found

    def message(self, room: str | None, header: Header) -> Message:
        """Return what a record carries.

        Raises:
            Overrun: it is there no more.
        """
        data = self.journal.payload(header)
        excluded = self.journal.excluded(header) if header.excluded else ()
        kind = KINDS[header.kind]
        return Message(room, header.epoch, header.offset, kind, data, header.time_ns, excluded)
