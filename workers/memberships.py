"""Owns which connections are members of which rooms, one list a slot, for any process to read.

The directory has the numbers; this has the names behind them. Knows no message.
"""

from workers.fields import places
from workers.registry import Row, read_row
from workers.room_directory import RoomDirectory
from workers.room_tables import BUS, MEMBERSHIP, MEMBERSHIP_WORDS
from workers.segment import Segment
from workers.slots import Slots

_AT = places(MEMBERSHIP)
_ROOM, _ROW = _AT["room"], _AT["row"]
_HIGH = places(BUS)["memberships_high"]


class MembershipsFull(Exception):
    """The worker's connections are in as many rooms as fit; one line with the way out."""

    def __init__(self, capacity: int) -> None:
        super().__init__(
            f"the connections of this worker have {capacity} memberships, which is all that fit:"
            " join fewer rooms, or raise --memberships"
        )


class SlotMemberships:
    """The writer of one slot's memberships. At its start there are none: the reaper saw to that."""

    def __init__(self, segment: Segment, slot: int) -> None:
        layout = segment.layout
        start, stop = layout.membership(slot, 0), layout.membership(slot + 1, 0)
        self._words = segment.words[start:stop]
        at = layout.bus_of(slot) + _HIGH
        self._high_word = segment.words[at : at + 1]
        self._capacity = segment.sizes.memberships_per_slot
        self._high = 0
        self._freed: list[int] = []

    def claim(self, entry: int, row: int) -> int:
        """Enter a membership; returns its number.

        Raises:
            MembershipsFull: there is no room for it.
        """
        if not self._freed:
            if self._high == self._capacity:
                raise MembershipsFull(self._capacity)
            self._freed.append(self._high)
            self._high += 1
            self._high_word[0] = self._high
        number = self._freed.pop()
        at = number * MEMBERSHIP_WORDS
        self._words[at + _ROW] = row
        self._words[at + _ROOM] = entry + 1
        return number

    def free(self, number: int) -> None:
        """End a membership, once."""
        self._words[number * MEMBERSHIP_WORDS + _ROOM] = 0
        self._freed.append(number)


def member_rows(segment: Segment, entry: int, slot: int) -> list[Row]:
    """Return the connections of a slot that are members of a room."""
    layout = segment.layout
    high = segment.words[layout.bus_of(slot) + _HIGH]
    start, stop = layout.membership(slot, 0), layout.membership(slot, high)
    rooms = segment.words[start + _ROOM : stop : MEMBERSHIP_WORDS].tolist()
    info = Slots(segment).info(slot)
    found = []
    for number, room in enumerate(rooms):
        if room == entry + 1:
            at = layout.membership(slot, number)
            read = read_row(segment, info, segment.words[at + _ROW])
            if read is not None and segment.words[at + _ROOM] == room:  # it has not left meanwhile
                found.append(read)
    return found


def used(segment: Segment, slot: int) -> int:
    """Return how many memberships of a slot there are."""
    layout = segment.layout
    high = segment.words[layout.bus_of(slot) + _HIGH]
    if high > segment.sizes.rooms:  # the directory tells the same, and is the shorter read
        return RoomDirectory(segment).members_of(slot)
    start, stop = layout.membership(slot, 0), layout.membership(slot, high)
    rooms = segment.words[start + _ROOM : stop : MEMBERSHIP_WORDS].tolist()
    return high - rooms.count(0)


def end_all(segment: Segment, slot: int) -> None:
    """End all memberships of a dead slot; for the reaper."""
    layout = segment.layout
    high = layout.bus_of(slot) + _HIGH
    for number in range(segment.words[high]):
        segment.words[layout.membership(slot, number) + _ROOM] = 0
    segment.words[high] = 0
