"""Owns segments with rooms for tests, and what every reader of a journal must find."""

from dataclasses import dataclass

from workers.journal import ConnectionId, Header, Journal
from workers.layout import Sizes
from workers.room_directory import RoomDirectory
from workers.room_tables import Kind
from workers.segment import Segment

SIZES = Sizes(
    workers=2, slots=2, rows_per_slot=8, routes=2, rooms=16, memberships_per_slot=8, ring_words=512
)
NAMES = (b"a", b"b", b"c")


@dataclass(frozen=True)
class Record:
    """A message as a plain list has it; room is an entry, None for a broadcast."""

    room: int | None
    epoch: int
    offset: int
    kind: Kind
    data: str | bytes
    time_ns: int
    excluded: tuple[ConnectionId, ...] = ()


def entries(segment: Segment) -> list[int]:
    """Enter some rooms, and return their entries."""
    directory = RoomDirectory(segment)
    return [directory.enter(name, 1) for name in NAMES]


def read(journal: Journal, header: Header) -> Record:
    """Return what a record carries. Raises Overrun."""
    return Record(
        None if header.room == 0 else header.room - 1,
        header.epoch,
        header.offset,
        Kind(header.kind),
        journal.payload(header),
        header.time_ns,
        journal.excluded(header),
    )


def walk(journal: Journal, cursor: int) -> list[Header]:
    """Return the headers from a position to the head, without pads. Raises Overrun."""
    found = []
    while cursor < journal.head:
        header = journal.header(cursor)
        if header.kind != Kind.PAD:
            found.append(header)
        cursor += header.words
    assert cursor == journal.head
    return found


def assert_whole(segment: Segment, model: list[Record]) -> None:
    """The journal holds the end of the list, and says the same of it wherever it is asked."""
    journal = Journal(segment)
    size = segment.sizes.ring_words
    assert 0 <= journal.tail <= journal.head <= journal.tail + size
    kept = walk(journal, journal.tail)
    assert [read(journal, header) for header in kept] == model[len(model) - len(kept) :]
    rooms = {(record.room, 0 if record.room is None else record.epoch) for record in model}
    for room, epoch in rooms:
        of_room = [record for record in model if is_of(record, room, epoch)]
        assert [record.offset for record in of_room] == [*range(1, len(of_room) + 1)]
        there = [read(journal, header) for header in kept]
        chain = [read(journal, header) for header in journal.chain(room, epoch)]
        assert chain[::-1] == [record for record in there if is_of(record, room, epoch)]
        assert journal.last_offset(room, epoch) == len(of_room)


def is_of(record: Record, room: int | None, epoch: int) -> bool:
    return record.room == room and (room is None or record.epoch == epoch)
