"""Who is in which room, for every process to read; and what is left of a worker that died."""

import time

import pytest

from tests.workers.memory_faults import Fuse, fused
from tests.workers.memory_support import private
from tests.workers.room_support import SIZES
from workers.memberships import MembershipsFull, SlotMemberships, member_rows, used
from workers.publisher import Publisher
from workers.reaper import reap
from workers.registry import SlotRows
from workers.room_directory import RoomDirectory
from workers.segment import Segment
from workers.segment_bus import SegmentBus


@pytest.fixture
def segment() -> Segment:
    """One with connections in all rows of both slots."""
    made = private(SIZES)
    for slot in range(2):
        connect(made, slot)
    return made


def connect(segment: Segment, slot: int) -> SlotRows:
    rows = SlotRows(segment, slot, slot + 1)
    for row in range(SIZES.rows_per_slot):
        rows.claim(0, f"{slot}-{row}", "/")
    return rows


def clients(segment: Segment, entry: int, slot: int) -> list[str]:
    return [row.client for row in member_rows(segment, entry, slot)]


def bury(segment: Segment, slot: int) -> None:
    reap(segment, slot, crash_code_index=1, now_ns=time.time_ns())


def test_members_by_room_and_slot(segment: Segment) -> None:
    one, other = SlotMemberships(segment, 0), SlotMemberships(segment, 1)
    tickets = [one.claim(3, 0), one.claim(3, 1), one.claim(4, 1), one.claim(0, 7)]
    other.claim(3, 5)
    assert clients(segment, 3, 0) == ["0-0", "0-1"]
    assert clients(segment, 4, 0) == ["0-1"]
    assert clients(segment, 0, 0) == ["0-7"]
    assert clients(segment, 3, 1) == ["1-5"]
    assert (used(segment, 0), used(segment, 1)) == (4, 1)
    one.free(tickets[0])
    one.free(tickets[3])
    assert clients(segment, 3, 0) == ["0-1"]
    assert clients(segment, 0, 0) == []
    assert used(segment, 0) == 2


def test_full_until_one_ends(segment: Segment) -> None:
    memberships = SlotMemberships(segment, 0)
    tickets = [memberships.claim(1, 0) for _ in range(SIZES.memberships_per_slot)]
    for _ in range(2):
        with pytest.raises(MembershipsFull, match="8 memberships, which is all that fit"):
            memberships.claim(1, 0)
    memberships.free(tickets[5])
    assert memberships.claim(2, 3) == tickets[5]
    assert clients(segment, 2, 0) == ["0-3"]
    with pytest.raises(MembershipsFull):
        memberships.claim(1, 0)
    assert used(segment, 0) == 8


def test_a_connection_that_has_gone_is_no_member(segment: Segment) -> None:
    """Its worker frees the row last, and may die before it has ended the membership."""
    private_segment = private(SIZES)
    rows = connect(private_segment, 0)
    SlotMemberships(private_segment, 0).claim(3, 2)
    rows.free(2)
    assert clients(private_segment, 3, 0) == []


async def test_a_dead_workers_members_vanish(segment: Segment) -> None:
    living, dead, reader = SegmentBus(segment, 0), SegmentBus(segment, 1), Publisher(segment)
    await living.enter("a", 0)
    for row in range(3):
        await dead.enter("a", row)
    await dead.enter("b", 1)
    assert (reader.count("a"), reader.count("b")) == (4, 1)
    bury(segment, 1)
    assert (reader.count("a"), reader.count("b")) == (1, 0)
    assert [row.client for row in reader.members("a")] == ["0-0"]
    assert reader.members("b") == []
    assert (used(segment, 0), used(segment, 1)) == (1, 0)
    assert reader.position("b") is not None  # a room without members stays until it is evicted


async def test_a_slot_that_is_used_again_starts_clean(segment: Segment) -> None:
    dead = SegmentBus(segment, 1)
    for number in range(8):
        await dead.enter(f"room {number}", number)
    dead.note("delivered", 5)
    bury(segment, 1)
    connect(segment, 1)
    heir, reader = SegmentBus(segment, 1), Publisher(segment)
    assert [reader.count(f"room {number}") for number in range(8)] == [0] * 8
    tickets = [await heir.enter("room 3", row) for row in range(8)]
    assert [row.client for row in reader.members("room 3")] == [f"1-{row}" for row in range(8)]
    for ticket in tickets:
        heir.leave("room 3", ticket)
    assert (reader.count("room 3"), used(segment, 1)) == (0, 0)


async def test_a_worker_dies_before_each_store_of_a_membership() -> None:
    """After the reaper nothing is left, and all that there is room for can be had again."""
    stores, is_done = 0, False
    while not is_done:
        segment = private(SIZES)
        for slot in range(2):
            connect(segment, slot)
        other = SegmentBus(segment, 0)
        await other.enter("a", 0)
        fuse = Fuse()
        with fused(segment, fuse):
            dying = SegmentBus(segment, 1)
            first = await dying.enter("a", 1)
            fuse.allowed = len(fuse.stores) + stores
            await dying.enter("a", 2)
            await dying.enter("b", 3)
            dying.leave("a", first)
            is_done = True
        assert [row.client for row in other.members("b")] in ([], ["1-3"])
        bury(segment, 1)
        assert (other.count("a"), other.count("b"), used(segment, 1)) == (1, 0, 0)
        assert not any(RoomDirectory(segment).members(entry)[1] for entry in range(25))
        connect(segment, 1)
        heir = SegmentBus(segment, 1)
        for number in range(8):
            await heir.enter(f"room {number % 2}", number)
        assert other.count("room 1") == 4
        assert used(segment, 1) == 8
        stores += 1
    assert stores > 20
