"""Writers that die before each of their stores: the next holder of the lock finds all as it was."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.workers.memory_faults import Fuse, fused
from tests.workers.memory_support import private, process, shared
from tests.workers.room_support import SIZES, Record, assert_whole, entries
from workers.journal import Journal
from workers.publisher import Position, Publisher
from workers.room_directory import RoomDirectory
from workers.room_tables import Kind
from workers.segment import Segment

LARGE = replace(SIZES, ring_words=1 << 16)
DATA = b"x" * 99


def planned(segment: Segment, model: list[Record], room: int | None, data: bytes) -> Record:
    """Return the message that comes next."""
    offset = 1 + sum(record.room == room for record in model)
    epoch = 7 if room is None else RoomDirectory(segment).epoch(room)
    return Record(room, epoch, offset, Kind.BYTES, data, len(model) + 1, ((1, 2),))


def append(segment: Segment, record: Record) -> None:
    assert isinstance(record.data, bytes)
    rest = (record.kind, record.data, record.time_ns, record.excluded)
    if record.room is None:
        Journal(segment).append_broadcast(record.epoch, *rest)
    else:
        Journal(segment).append(record.room, *rest)


def add(segment: Segment, model: list[Record], room: int | None, data: bytes = DATA) -> None:
    """Append to the journal and to the list."""
    model.append(planned(segment, model, room, data))
    append(segment, model[-1])


def filled(words: int) -> tuple[Segment, list[Record], list[int]]:
    """Return a segment whose journal has gone round, with so many words left before its end."""
    segment = private(SIZES)
    rooms = entries(segment)
    model: list[Record] = []
    for room in (rooms[0], rooms[1], None) * 12:
        add(segment, model, room)
    while (left := -Journal(segment).head % SIZES.ring_words) != words:
        rest = left - words if left > words else left - words + SIZES.ring_words
        size = rest if rest <= 50 else min(50, rest - 12)
        add(segment, model, rooms[2], b"y" * ((size - 12) * 8))
    return segment, model, rooms


@pytest.mark.parametrize("left", [200, 40, 10, 3], ids=["room", "fits", "pad", "short pad"])
@pytest.mark.parametrize("is_broadcast", [False, True], ids=["room", "broadcast"])
def test_a_writer_dies_before_each_store_of_an_append(is_broadcast: bool, left: int) -> None:
    stores, is_done = 0, False
    while not is_done:
        segment, model, rooms = filled(left)
        room = None if is_broadcast else rooms[0]
        record = planned(segment, model, room, DATA)
        with fused(segment, Fuse(stores)):
            append(segment, record)
            is_done = True
        journal = Journal(segment)
        if journal.last_offset(room, record.epoch) == record.offset:
            model.append(record)
        else:
            assert not is_done
        assert_whole(segment, model)  # as readers see it before anybody has repaired
        journal.repair()
        assert_whole(segment, model)
        for next_room in (room, rooms[1], None, *rooms) * 2:
            journal.repair()
            add(segment, model, next_room)
            assert_whole(segment, model)
        stores += 1
    assert stores > 12


def names(directory: RoomDirectory) -> dict[bytes, int]:
    """Return the entries in use, each of which can be found by its name."""
    found = {}
    for entry in range(directory._entries):
        if directory.has(entry, directory.epoch(entry)):
            name = directory.name(entry)
            assert name not in found
            assert directory.find(name) == entry
            found[name] = entry
    return found


def full(*, pinned: int) -> Segment:
    """Return a segment whose directory is full; some rooms have members."""
    segment = private(SIZES)
    directory = RoomDirectory(segment)
    for number in range(directory.capacity):
        entry = directory.enter(f"old {number}".encode(), number)
        if number < pinned:
            directory.set_members(entry, 1, 1)
    return segment


@pytest.mark.parametrize(
    "make", [lambda: private(SIZES), lambda: full(pinned=5)], ids=["free", "full"]
)
def test_a_writer_dies_before_each_store_of_an_entry(make: Callable[[], Segment]) -> None:
    stores, is_done = 0, False
    while not is_done:
        segment = make()
        before = names(RoomDirectory(segment))
        with fused(segment, Fuse(stores)):
            RoomDirectory(segment).enter(b"new", 100)
            is_done = True
        directory = RoomDirectory(segment)
        left = names(directory)
        assert set(left) <= {*before, b"new"}
        assert {name: left[name] for name in before if name in left} == {
            name: entry for name, entry in before.items() if name in left
        }
        pinned = {name for name, entry in before.items() if any(directory.members(entry))}
        assert pinned <= set(left)
        assert (b"new" in left) == is_done
        epochs = {directory.epoch(entry) for entry in left.values()}
        for number in range(2 * SIZES.rooms):  # evicts again and again
            entry = directory.enter(f"next {number}".encode(), 200 + number)
            assert directory.epoch(entry) not in epochs
            epochs.add(directory.epoch(entry))
            assert pinned <= set(names(directory))
        assert directory.used() == len(names(directory)) <= directory.capacity
        stores += 1
    assert stores > 8


def test_an_offset_that_was_not_committed_is_told_to_nobody() -> None:
    """Whatever the store before which a publisher dies."""
    stores, is_done = 0, False
    while not is_done:
        segment = private(SIZES)
        publisher = Publisher(segment)
        first = publisher.publish_now("a", Kind.TEXT, b"one")
        head = publisher.journal.head
        with fused(segment, Fuse(stores)):
            Publisher(segment).publish_now("a", Kind.TEXT, b"two")
            is_done = True
        is_committed = publisher.journal.head != head
        expected = Position(first.epoch, 2 if is_committed else 1)
        assert publisher.position("a") == expected
        assert [message.data for message in publisher.history("a")] == ["one", "two"][
            : expected.offset
        ]
        assert publisher.publish_now("a", Kind.TEXT, b"three").offset == expected.offset + 1
        assert is_committed or not is_done
        stores += 1


def test_publishers_that_are_killed_at_random_leave_all_in_order(tmp_path: Path) -> None:
    with (
        shared(tmp_path, LARGE) as segment,
        process("-m", "tests.workers.memory_crashes", str(segment.path), "100") as child,
    ):
        output, _ = child.communicate(timeout=50)
        assert child.returncode == 0, output
        result = json.loads(output)
    assert result["longest_s"] < 2
    assert result["messages"] > 200
    assert result["held"] > 5  # so many were killed while they had the lock
