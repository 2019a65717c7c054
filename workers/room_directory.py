"""Owns the entries of rooms: names, offsets, members by slot; an open-addressed hash table.

All but the members is written under the journal's lock. An entry is pinned while a slot has members
in it; one without may be evicted when the table is full. Knows no message.
"""

from heapq import nlargest
from itertools import accumulate

import xxhash

from workers.fields import WORD_BYTES, places
from workers.room_tables import JOURNAL, NAME_BYTES, ROOM, ROOM_WORDS, USED, EntryState
from workers.segment import Segment

_AT = places(ROOM)
_STATE, _HASH, _EPOCH = _AT["state"], _AT["hash"], _AT["epoch"]
_LAST_OFFSET, _LAST_POSITION, _LAST_NS = _AT["last_offset"], _AT["last_position"], _AT["last_ns"]
_LENGTH, _NAME = _AT["name_length"], _AT["name"]
_HEAD_AT = places(JOURNAL)
_EPOCHS, _ROOMS, _EVICTED = _HEAD_AT["epochs"], _HEAD_AT["rooms"], _HEAD_AT["evicted"]
_EPOCH_MASK = (1 << 63) - 1
_EVICT_SHARE = 0.1  # of the capacity, at a time


class DirectoryFull(Exception):
    """Every entry has members; one line with the way out."""

    def __init__(self, capacity: int) -> None:
        super().__init__(
            f"there are {capacity} rooms with members, which is all that fit: raise --rooms"
        )


def encode_name(name: str) -> bytes:
    """Return a room's name as the directory has it.

    Raises:
        ValueError: it is empty or too long.
    """
    encoded = name.encode("utf-8", "surrogatepass")
    if not 0 < len(encoded) <= NAME_BYTES:
        raise ValueError(f"a room name has 1 to {NAME_BYTES} bytes, not {len(encoded)}")
    return encoded


class RoomDirectory:
    """The entries of a segment, by their numbers."""

    def __init__(self, segment: Segment) -> None:
        self._words = segment.words
        self._bytes = segment.bytes
        self._layout = segment.layout
        self._slots = segment.sizes.slots
        self._entries = segment.layout.room_entries
        self._stride = segment.layout.room_words
        self._journal = segment.layout.journal
        self._segment_epoch = segment.epoch
        self.capacity = segment.sizes.rooms  # the other entries are never filled

    # -- reading, any process ------------------------------------------------------------------

    def find(self, name: bytes) -> int | None:
        """Return the entry of a room, or None; without the lock it may be gone a moment later."""
        found, _ = self._search(name, xxhash.xxh3_64_intdigest(name))
        return found

    def look_up(self, name: bytes) -> tuple[int, int] | None:
        """Return the entry and the epoch of a room, or None; what is read there belongs to it as
        long as `has` says so."""
        while (entry := self.find(name)) is not None:
            epoch = self.epoch(entry)
            if self.name(entry) == name and self.has(entry, epoch):
                return entry, epoch
        return None

    def has(self, entry: int, epoch: int) -> bool:
        """Whether an entry still is that of the room with this epoch."""
        at = self._layout.room(entry)
        return self._words[at + _STATE] == USED and self._words[at + _EPOCH] == epoch

    def _search(self, name: bytes, hash_: int) -> tuple[int | None, int | None]:
        """Return the entry of a room, or None and where it could be entered (None: nowhere)."""
        words, free = self._words, None
        entry = hash_ % self._entries
        for _ in range(self._entries):
            at = self._layout.room(entry)
            state = words[at + _STATE]
            if state == EntryState.FREE:
                return None, entry if free is None else free
            if state == EntryState.GONE:
                free = entry if free is None else free
            elif words[at + _HASH] == hash_ and self.name(entry) == name:
                return entry, None
            entry = (entry + 1) % self._entries
        return None, free

    def entries(self) -> list[int]:
        """Return the entries in use; without the lock any may go to another room meanwhile."""
        states = self._column(_STATE)
        return [entry for entry, state in enumerate(states) if state == EntryState.USED]

    def name(self, entry: int) -> bytes:
        """Return the name of an entry."""
        at = self._layout.room(entry)
        start = (at + _NAME) * WORD_BYTES
        return bytes(self._bytes[start : start + self._words[at + _LENGTH]])

    def epoch(self, entry: int) -> int:
        """Return the epoch of an entry: another one if the entry has gone to another room."""
        return self._words[self._layout.room(entry) + _EPOCH]

    def last_ns(self, entry: int) -> int:
        """Return when the last message was published, or else the entry made; unix time."""
        return self._words[self._layout.room(entry) + _LAST_NS]

    def members(self, entry: int) -> list[int]:
        """Return how many members each slot has in a room."""
        start = self._layout.room(entry) + ROOM_WORDS
        return self._words[start : start + self._slots].tolist()

    def members_of(self, slot: int) -> int:
        """Return how many members a slot has in all rooms, added up."""
        return sum(self._column(ROOM_WORDS + slot))

    def biggest(self, limit: int) -> list[tuple[int, int, int]]:
        """Return entry, members and last offset of the rooms with the most of these."""
        columns = [self._column(ROOM_WORDS + slot) for slot in range(self._slots)]
        members = map(sum, zip(*columns, strict=True))
        offsets = self._column(_LAST_OFFSET)
        rooms = zip(members, offsets, self._column(_STATE), range(self._entries), strict=True)
        found = nlargest(limit, (room for room in rooms if room[2] == EntryState.USED))
        return [(entry, count, offset) for count, offset, _, entry in found]

    def used(self) -> int:
        """Return how many entries are in use."""
        return self._words[self._journal + _ROOMS]

    def evicted(self) -> int:
        """Return how many entries were taken from rooms without members, ever."""
        return self._words[self._journal + _EVICTED]

    # -- the members of one slot, its worker or the reaper ---------------------------------------

    def set_members(self, entry: int, slot: int, count: int) -> None:
        """Say how many members a slot has; from 0 to 1 only under the lock, so that no publisher
        misses it and nobody evicts the entry."""
        self._words[self._layout.room_members(entry, slot)] = count

    def leave_all(self, slot: int) -> None:
        """Take a dead slot's members out of all rooms; for the reaper."""
        start = self._layout.room_members(0, slot)
        column = self._words[start : self._layout.journal : self._stride].tolist()
        for entry, count in enumerate(column):
            if count:
                self.set_members(entry, slot, 0)

    # -- writing, under the lock -----------------------------------------------------------------

    def enter(self, name: bytes, now_ns: int) -> int:
        """Return the entry of a room; make it if there is none.

        Raises:
            DirectoryFull: every entry has members.
        """
        hash_ = xxhash.xxh3_64_intdigest(name)
        found, free = self._search(name, hash_)
        if found is not None:
            return found
        if self.used() >= self.capacity or free is None:
            self._evict(max(1, int(self.capacity * _EVICT_SHARE)))
            _, free = self._search(name, hash_)
            if free is None:
                raise DirectoryFull(self.capacity)
        self._make(free, name, hash_, now_ns)
        return free

    def _make(self, entry: int, name: bytes, hash_: int, now_ns: int) -> None:
        """Write an entry, its state last: a writer that dies leaves it as it was.

        The number of entries is raised before, and so may be too high by those that died here; the
        next eviction counts them anew.
        """
        words, at, head = self._words, self._layout.room(entry), self._journal
        words[head + _EPOCHS] += 1
        words[head + _ROOMS] += 1
        words[at + _HASH] = hash_
        words[at + _EPOCH] = (self._segment_epoch + words[head + _EPOCHS]) & _EPOCH_MASK
        words[at + _LAST_OFFSET] = 0
        words[at + _LAST_POSITION] = 0
        words[at + _LAST_NS] = now_ns
        start = (at + _NAME) * WORD_BYTES
        self._bytes[start : start + len(name)] = name
        words[at + _LENGTH] = len(name)
        words[at + _STATE] = EntryState.USED

    def _evict(self, wanted: int) -> None:
        """Free entries without members, those first that have been silent for longest.

        Raises:
            DirectoryFull: there are none.
        """
        states = self._column(_STATE)
        occupied = self._occupied()
        last_ns = self._column(_LAST_NS)
        empty = [
            entry
            for entry, state in enumerate(states)
            if state == EntryState.USED and not occupied[entry]
        ]
        in_use = states.count(EntryState.USED)
        self._words[self._journal + _ROOMS] = in_use
        if not empty and in_use >= self.capacity:
            raise DirectoryFull(self.capacity)
        empty.sort(key=last_ns.__getitem__)
        for entry in empty[:wanted]:
            states[entry] = EntryState.GONE
            self._words[self._layout.room(entry) + _STATE] = EntryState.GONE
            self._words[self._journal + _ROOMS] -= 1
            self._words[self._journal + _EVICTED] += 1
        self._end_searches(states)

    def _column(self, field: int) -> list[int]:
        start = self._layout.room(0) + field
        return self._words[start : self._layout.journal : self._stride].tolist()

    def _occupied(self) -> list[bool]:
        """Return for each entry whether any slot has members in it."""
        columns = [self._column(ROOM_WORDS + slot) for slot in range(self._slots)]
        return [*map(any, zip(*columns, strict=True))]

    def _end_searches(self, states: list[int]) -> None:
        """Make gone entries free again that no search has to pass on its way to a room."""
        hashes = self._column(_HASH)
        change = [0] * self._entries  # in how many rooms' ways an entry is
        for entry, state in enumerate(states):
            home = hashes[entry] % self._entries
            if state != EntryState.USED or home == entry:
                continue
            change[home] += 1
            change[entry] -= 1
            if home > entry:  # the way goes on at the beginning
                change[0] += 1
        for entry, ways in enumerate(accumulate(change)):
            if states[entry] == EntryState.GONE and not ways:
                self._words[self._layout.room(entry) + _STATE] = EntryState.FREE
