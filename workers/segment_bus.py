"""Owns the bus of the processes of one machine: publishing, reading the journal, its members.

It knows rooms and rows by number, not connections, and not what becomes of a message.
"""

import asyncio
import logging
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from threading import get_ident

from workers.bus import GIVE_WAY_S, RECORDS_A_TURN, OnMessage, OnMissed
from workers.fields import places
from workers.journal import ConnectionId, Header, Overrun
from workers.memberships import SlotMemberships
from workers.publisher import Message, Position, Publisher
from workers.room_directory import encode_name
from workers.room_tables import BUS, BUS_WORDS, LATENCY_BUCKETS_S, PAD, Kind
from workers.segment import Segment

LOOK_S = 0.25  # a doorbell that was not heard costs this much
_SAMPLE = 15  # one message in 16 is timed

_AT = places(BUS)
_CURSOR, _LATENCY, _LATENCY_SUM = _AT["cursor"], _AT["latency"], _AT["latency_sum_ns"]
_NS = 1e9
_NOBODY = -1  # the ticket of the worker itself

log = logging.getLogger("switchboard.bus")


@dataclass(slots=True)
class _LocalRoom:
    """A room in which this worker has members.

    Attributes:
        seen: offset of the last message that was taken, or is not for these members.
    """

    name: str
    entry: int
    epoch: int
    seen: int
    members: int = 0


class SegmentBus(Publisher):
    """The bus of the worker that has a slot."""

    def __init__(self, segment: Segment, slot: int) -> None:
        super().__init__(segment)
        self._slot = slot
        start = segment.layout.bus_of(slot)
        self._counts = segment.words[start : start + BUS_WORDS]
        self._memberships = SlotMemberships(segment, slot)
        self._rooms: dict[str, _LocalRoom] = {}
        self._by_entry: dict[int, _LocalRoom] = {}
        self._on_message: OnMessage | None = None
        self._on_missed: OnMissed | None = None
        self._cursor = self._counts[_CURSOR] = self.journal.head
        self._broadcasts = self.journal.broadcasts
        self._taken = 0
        self._to_wake: set[int] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._turn: asyncio.Handle | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._is_reading = False
        self.is_giving_way = False

    def listen(self, on_message: OnMessage, on_missed: OnMissed) -> None:
        """Say who takes messages."""
        self._on_message, self._on_missed = on_message, on_missed

    def close(self) -> None:
        """Stop reading, and let go of the lock's file and the socket; may be called again."""
        self._on_message = None
        self._forget_loop()
        super().close()

    def note(self, name: str, number: int = 1) -> None:
        """Count `delivered`, `recovered`, `not_recovered` or `incomplete`."""
        self._counts[_AT[name]] += number

    # -- publishing ------------------------------------------------------------------------------

    def _publish(
        self, room: str, kind: Kind, payload: bytes, excluded: Sequence[ConnectionId]
    ) -> Position:
        """Publish, and hand it to the own members, see `Publisher.publish`."""
        published = super()._publish(room, kind, payload, excluded)
        self.note("published")
        self._take_own()
        return published

    def _entry_of(self, room: str, now_ns: int) -> tuple[int, int]:
        """Return it without a search where own members keep it from being evicted."""
        local = self._rooms.get(room)
        if local is not None and self.directory.has(local.entry, local.epoch):
            return local.entry, local.epoch
        return super()._entry_of(room, now_ns)

    async def broadcast(
        self, route: int, kind: Kind, payload: bytes, *, excluded: Sequence[ConnectionId] = ()
    ) -> None:
        """Publish to the connections of a route; see `Publisher.broadcast`."""
        await super().broadcast(route, kind, payload, excluded=excluded)
        self.note("published")
        self._take_own()

    def _tell_members(self, members: Sequence[int]) -> None:
        """Do nothing where all are own ones: it is so in many rooms, and with one worker."""
        if sum(members) > members[self._slot]:
            super()._tell_members(members)

    def _tell(self, slots: Sequence[int]) -> None:
        """Wake the others at the end of the loop's turn, each once for all that it published."""
        others = [slot for slot in slots if slot != self._slot]
        if not others or self._bell is None:
            return
        loop = self._own_loop()
        if not self._to_wake:
            loop.call_soon(self._wake)
        self._to_wake.update(others)

    def _wake(self) -> None:
        slots, self._to_wake = self._to_wake, set()
        super()._tell([*slots])

    # -- members ---------------------------------------------------------------------------------

    async def enter(self, room: str, row: int | None) -> int:
        """Enter a connection, by its row, or this worker; returns a ticket for `leave`.

        Raises:
            ValueError: no name of a room.
            DirectoryFull: the room is new, and there is no place for it.
            MembershipsFull: the connections of this worker are in too many rooms.
            JournalStalled: another process has held the lock for 5 s.
        """
        name = encode_name(room)
        local = self._rooms.get(room)
        if local is None:
            if not self._lock.try_acquire():
                await self._lock.acquire()
            try:
                # Another task may have done it meanwhile.
                local = self._rooms.get(room) or self._open(room, name)
            finally:
                self._lock.release()
        try:
            ticket = _NOBODY if row is None else self._memberships.claim(local.entry, row)
        except BaseException:
            self._close_empty(local)
            raise
        local.members += 1
        self.directory.set_members(local.entry, self._slot, local.members)
        self.keep_watch()
        self._take_own()
        return ticket

    def _open(self, room: str, name: bytes) -> _LocalRoom:
        """Have a room read; under the lock, so that no publisher misses that."""
        self.journal.repair()
        entry = self.directory.enter(name, time.time_ns())
        epoch = self.directory.epoch(entry)
        local = _LocalRoom(room, entry, epoch, self.journal.last_offset(entry, epoch))
        if not self._rooms and self._broadcasts == self.journal.broadcasts:
            self._cursor = self.journal.head  # nothing before is for this worker
        self.directory.set_members(entry, self._slot, 1)
        self._rooms[room] = self._by_entry[entry] = local
        return local

    def leave(self, room: str, ticket: int) -> None:
        """End a membership, once."""
        local = self._rooms[room]
        if ticket != _NOBODY:
            self._memberships.free(ticket)
        local.members -= 1
        if local.members:
            self.directory.set_members(local.entry, self._slot, local.members)
        self._close_empty(local)

    def _close_empty(self, local: _LocalRoom) -> None:
        if local.members == 0:
            del self._rooms[local.name], self._by_entry[local.entry]
            self.directory.set_members(local.entry, self._slot, 0)

    def seen(self, room: str) -> Position:
        """Return up to where messages of a room that was entered were taken."""
        local = self._rooms[room]
        return Position(local.epoch, local.seen)

    # -- reading ---------------------------------------------------------------------------------

    def poll(self) -> None:
        """Read what is new, up to a bound, and see to the rest in another turn."""
        loop = self._own_loop()
        if self._turn is None:
            self._take_turn(loop)

    def _take_own(self) -> None:
        """Read also if a turn is due: who publishes in a loop may never let it come."""
        loop = self._own_loop()
        if not self.is_giving_way:
            self._take_turn(loop)

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is self._loop:
            self._turn, self.is_giving_way = None, False
            self._take_turn(loop)

    def _take_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._is_reading or self._on_message is None:
            return
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._is_reading = True
        try:
            self.is_giving_way = self._read(RECORDS_A_TURN)
        except Overrun:
            self._skip_lost()
        finally:
            self._is_reading = False
            self._counts[_CURSOR] = self._cursor
        if loop is not self._loop:  # closed meanwhile
            return
        if self.is_giving_way:
            self._turn = loop.call_later(GIVE_WAY_S, self._go_on, loop)
        elif self._cursor < self.journal.head:
            self._turn = loop.call_soon(self._go_on, loop)

    def _read(self, limit: int) -> bool:
        """Take up to so many records; True if a pause was asked for.

        Raises:
            Overrun: the ring has overtaken this worker.
        """
        journal, by_entry = self.journal, self._by_entry
        head = journal.head
        for _ in range(limit):
            cursor = self._cursor
            if cursor >= head:
                return False
            header = journal.header(cursor)
            message = None
            if header.kind != PAD:
                if header.room == 0:
                    message = self._take_broadcast(header)
                elif (local := by_entry.get(header.room - 1)) is not None:
                    message = self._take(local, header)
            # Before it is handed over, so that no failure there has it handed over again.
            self._cursor = cursor + header.words
            if message is not None and self._hand_over(message):
                return True
        return False

    def _take(self, local: _LocalRoom, header: Header) -> Message | None:
        if header.offset <= local.seen or header.epoch != local.epoch:
            return None
        message = self.message(local.name, header)
        has_gap, local.seen = header.offset > local.seen + 1, header.offset
        if has_gap:
            self._miss(local.name)
            if self._rooms.get(local.name) is not local:  # they have left for that
                return None
        return message

    def _take_broadcast(self, header: Header) -> Message:
        message = self.message(None, header)
        has_gap, self._broadcasts = header.offset > self._broadcasts + 1, header.offset
        if has_gap:
            self._miss(None)
        return message

    def _hand_over(self, message: Message) -> bool:
        if (on_message := self._on_message) is None:  # closed meanwhile
            return True
        try:
            wants_pause = on_message(message)
        except Exception:
            log.exception("a message was not handed over to all")
            return False
        if not self._taken & _SAMPLE:
            latency_ns = max(0, time.time_ns() - message.time_ns)
            bucket = bisect_left(LATENCY_BUCKETS_S, latency_ns / _NS)
            self._counts[_LATENCY + bucket] += 1
            self._counts[_LATENCY_SUM] += latency_ns
        self._taken += 1
        return wants_pause

    def _skip_lost(self) -> None:
        """Go on with the oldest record there is, and say where all that was new is lost.

        Where there is more in the journal, the gap shows when that is taken: its offset tells.
        """
        self._cursor = self.journal.tail
        self.note("overruns")
        for local in tuple(self._rooms.values()):
            if self._rooms.get(local.name) is not local:  # they have left for another's gap
                continue
            offset = self.journal.lost_offset(local.entry, self._cursor)
            if offset is not None and offset > local.seen:
                local.seen = offset
                self._miss(local.name)
        number = self.journal.lost_offset(None, self._cursor)
        if number is not None and number > self._broadcasts:
            self._broadcasts = number
            self._miss(None)

    def _miss(self, room: str | None) -> None:
        try:
            if self._on_missed is not None:
                self._on_missed(room)
        except Exception:
            log.exception("what was missed could not be said to all")

    # -- the loop --------------------------------------------------------------------------------

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop that runs. An earlier one has ended, with all that was due in it."""
        loop = self._loop
        # Until Python 3.12 `get_running_loop` is a system call.
        if loop is None or self._thread != get_ident() or not loop.is_running():
            self._forget_loop()
            loop = self._loop = asyncio.get_running_loop()
            self._thread = get_ident()
        return loop

    def _forget_loop(self) -> None:
        for handle in (self._turn, self._watch):
            if handle is not None:
                handle.cancel()
        self._loop = self._turn = self._watch = None
        self._to_wake = set()
        self.is_giving_way = False

    def keep_watch(self) -> None:
        """Look from time to time, in this loop, for what no doorbell has told of."""
        loop = self._own_loop()
        if self._bell is not None and self._watch is None:
            self._watch = loop.call_later(LOOK_S, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is self._loop:
            self._watch = loop.call_later(LOOK_S, self._look, loop)
            self.poll()
