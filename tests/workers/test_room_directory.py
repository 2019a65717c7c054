"""The directory of rooms against a dict, also when it is full and when hashes collide."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.workers.memory_support import private
from tests.workers.room_support import SIZES
from workers.fields import places
from workers.layout import Sizes
from workers.reaper import reap
from workers.room_directory import DirectoryFull, RoomDirectory, encode_name
from workers.room_tables import NAME_BYTES, ROOM, EntryState

NAMES = [
    *(f"room {number}" for number in range(30)),
    "ä" * 127, "🙂" * 63, "x" * 255, "x" * 254, "\udc80", "a\0b",
]  # fmt: skip


class Machine(RuleBasedStateMachine):
    """Enters rooms at growing times, has slots come and go in them, and looks for them."""

    def __init__(self) -> None:
        super().__init__()
        self.segment = private(SIZES)
        self.directory = RoomDirectory(self.segment)
        self.entries: dict[str, int] = {}
        self.epochs: dict[str, int] = {}
        self.members: dict[str, list[int]] = {}
        self.made: dict[str, int] = {}
        self.all_epochs: set[int] = set()
        self.now_ns = 0

    @rule(names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=8))
    def enter_some(self, names: list[str]) -> None:
        for name in names:
            self.enter(name)

    def enter(self, name: str) -> None:
        self.now_ns += 1
        encoded = encode_name(name)
        if name in self.entries:
            assert self.directory.enter(encoded, self.now_ns) == self.entries[name]
            return
        if len(self.entries) == self.directory.capacity and not self.evict():
            with pytest.raises(DirectoryFull):
                self.directory.enter(encoded, self.now_ns)
            return
        entry = self.directory.enter(encoded, self.now_ns)
        assert entry not in self.entries.values()
        assert self.directory.epoch(entry) not in self.all_epochs
        self.entries[name] = entry
        self.epochs[name] = self.directory.epoch(entry)
        self.all_epochs.add(self.epochs[name])
        self.members[name] = [0, 0]
        self.made[name] = self.now_ns

    def evict(self) -> bool:
        """Forget the room that is to go: the longest silent of those without members."""
        empty = [name for name in self.entries if not any(self.members[name])]
        if not empty:
            return False
        oldest = min(empty, key=self.made.__getitem__)
        for of_room in (self.entries, self.epochs, self.members, self.made):
            del of_room[oldest]
        return True

    @precondition(lambda self: self.entries)
    @rule(choice=st.integers(0, 100), slot=st.integers(0, 1), count=st.integers(0, 3))
    def set_members(self, choice: int, slot: int, count: int) -> None:
        name = list(self.entries)[choice % len(self.entries)]
        self.directory.set_members(self.entries[name], slot, count)
        self.members[name][slot] = count

    @rule(slot=st.integers(0, 1))
    def die(self, slot: int) -> None:
        reap(self.segment, slot, crash_code_index=1, now_ns=1)
        for counts in self.members.values():
            counts[slot] = 0

    @invariant()
    def all_is_as_in_the_dict(self) -> None:
        assert self.directory.used() == len(self.entries)
        for name in NAMES:
            encoded = encode_name(name)
            assert self.directory.find(encoded) == self.entries.get(name)
            if name not in self.entries:
                assert self.directory.look_up(encoded) is None
                continue
            entry = self.entries[name]
            assert self.directory.look_up(encoded) == (entry, self.epochs[name])
            assert self.directory.name(entry) == encoded
            assert self.directory.members(entry) == self.members[name]

    @invariant()
    def only_what_is_in_somebodys_way_is_gone(self) -> None:
        gone = states(self.directory).count(EntryState.GONE)
        assert gone == 0 or self.entries


class CollidingMachine(Machine):
    """All names have one of three hashes, two of them at the end of the table."""

    def __init__(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr("xxhash.xxh3_64_intdigest", lambda name: len(name) % 3 + 23)
        super().__init__()

    def teardown(self) -> None:
        self.patch.undo()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
TestCollidingMachine = CollidingMachine.TestCase
TestCollidingMachine.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)


def states(directory: RoomDirectory) -> list[int]:
    return directory._column(0)


@pytest.fixture
def directory() -> RoomDirectory:
    return RoomDirectory(private(SIZES))


def fill(directory: RoomDirectory) -> list[int]:
    return [
        directory.enter(f"room {number}".encode(), number) for number in range(directory.capacity)
    ]


def test_full_of_rooms_with_members_says_what_to_do(directory: RoomDirectory) -> None:
    for entry in fill(directory):
        directory.set_members(entry, 1, 1)
    for _ in range(2):
        with pytest.raises(DirectoryFull) as caught:
            directory.enter(b"one more", 99)
    assert str(caught.value) == (
        "there are 16 rooms with members, which is all that fit: raise --rooms"
    )
    assert directory.enter(b"room 3", 99) == directory.find(b"room 3")
    seventh = directory.find(b"room 7")
    assert seventh is not None
    directory.set_members(seventh, 1, 0)
    directory.enter(b"one more", 99)
    assert directory.find(b"room 7") is None


def test_the_longest_silent_without_members_goes(directory: RoomDirectory) -> None:
    entries = fill(directory)
    directory.set_members(entries[0], 0, 1)
    for number, entry in enumerate(entries):  # the youngest has been silent for longest
        at = directory._layout.room(entry) + places(ROOM)["last_ns"]
        assert directory._words[at] == number
        directory._words[at] = 100 - number
    directory.enter(b"new", 200)
    left = [directory.find(f"room {number}".encode()) for number in range(16)]
    assert left == [*entries[:15], None]


def test_the_biggest_have_the_most_members_then_messages(directory: RoomDirectory) -> None:
    entries = fill(directory)
    directory.set_members(entries[3], 0, 2)
    directory.set_members(entries[5], 0, 1)
    directory.set_members(entries[5], 1, 4)
    at = directory._layout.room(entries[7]) + places(ROOM)["last_offset"]
    directory._words[at] = 9
    assert directory.biggest(3) == [(entries[5], 5, 0), (entries[3], 2, 0), (entries[7], 0, 9)]
    assert len(directory.biggest(99)) == len(entries)


def test_a_room_that_comes_back_has_another_epoch(directory: RoomDirectory) -> None:
    epochs: set[int] = set()
    for number in range(0, 1000, 20):
        entry = directory.enter(b"again", number)
        epoch = directory.epoch(entry)
        assert epoch not in epochs
        epochs.add(epoch)
        at = directory._layout.room(entry)
        assert directory._words[at + 3 : at + 5].tolist() == [0, 0]
        directory._words[at + 3] = directory._words[at + 4] = 7
        for other in range(1, 18):
            directory.enter(f"{number + other}".encode(), number + other)
        assert directory.find(b"again") is None
        assert not directory.has(entry, epoch)


def test_searches_stay_short_after_many_evictions() -> None:
    """An entry that is gone is in the way of all searches, until it is free again."""
    sizes = Sizes(workers=1, slots=1, rows_per_slot=1, routes=1, rooms=128)
    directory = RoomDirectory(private(sizes))
    for number in range(2000):
        directory.enter(f"room {number}".encode(), number)
        if number > 100:
            assert directory.find(f"room {number - 100}".encode()) is not None
    found = states(directory)
    assert found.count(EntryState.USED) == directory.used() <= 128
    assert found.count(EntryState.FREE) > len(found) / 10


@pytest.mark.parametrize("name", ["", "x" * (NAME_BYTES + 1), "ä" * 128])
def test_no_name(name: str) -> None:
    with pytest.raises(ValueError, match="a room name has 1 to 255 bytes"):
        encode_name(name)
