"""The contract of the bus, kept by both of its implementations, and what only the segment's has."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import uvloop

from tests.workers.bus_contract import BusContract, World
from tests.workers.bus_member import check_visits, talk, visit
from tests.workers.bus_support import Member, fill, overruns, say, until
from tests.workers.memory_support import private, process, shared
from tests.workers.room_support import SIZES
from workers import segment_bus as bus_module
from workers.bus import Bus
from workers.doorbell import Doorbell
from workers.journal import MessageTooLarge
from workers.memberships import MembershipsFull, used
from workers.memory_bus import MemoryBus, MemoryHub
from workers.publisher import Publisher
from workers.registry import Row, SlotRows
from workers.room_directory import DirectoryFull
from workers.room_tables import Kind
from workers.segment import Segment
from workers.segment_bus import SegmentBus


@contextmanager
def listening(segment: Segment, slot: int) -> Iterator[SegmentBus]:
    """Have the bus of a slot with its doorbell, and connections in all rows."""
    rows = SlotRows(segment, slot, slot + 1)
    for row in range(segment.sizes.rows_per_slot):
        rows.claim(0, f"{slot}-{row}", "/")
    assert segment.path is not None
    bell, bus = Doorbell(segment.path.parent, slot), SegmentBus(segment, slot)
    bell.listen(asyncio.get_running_loop(), lambda _: bus.poll())
    try:
        yield bus
    finally:
        bell.close()
        bus.close()


class TestSegmentBus(BusContract):
    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        @contextmanager
        def make(keep: int) -> Iterator[list[Bus]]:
            sizes = replace(SIZES, ring_words=max(512, keep * 16))
            with ExitStack() as stack:
                segment = stack.enter_context(shared(tmp_path, sizes))
                assert segment.path is not None
                buses: list[Bus] = []
                for slot in range(2):
                    attached = Segment.attach(segment.path, writable=True)
                    stack.callback(attached.close)
                    buses.append(stack.enter_context(listening(attached, slot)))
                yield buses

        return make


class TestMemoryBus(BusContract):
    @pytest.fixture
    def world(self) -> World:
        @contextmanager
        def make(keep: int) -> Iterator[list[Bus]]:
            hub = MemoryHub(keep)
            for slot in range(2):
                for row in range(8):
                    hub.rows[slot, row] = a_row(slot, row)
            yield [MemoryBus(hub, 0), MemoryBus(hub, 1)]

        return make

    async def test_a_worker_that_died_has_no_members(self) -> None:
        hub = MemoryHub()
        buses = [MemoryBus(hub, 0), MemoryBus(hub, 1)]
        for bus in buses:
            await bus.enter("a", 1)
        hub.forget(1)
        assert buses[0].count("a") == 1
        await say(buses[0], "nobody else hears it")


def a_row(slot: int, row: int) -> Row:
    client = f"{slot}-{row}"
    return Row(
        number=8 * slot + row,
        id=client,
        slot=slot,
        worker=slot,
        route="other",
        client=client,
        user="",
        path="/",
        connected_ns=0,
        received_ns=0,
        messages_in=0,
        messages_out=0,
        bytes_in=0,
        bytes_out=0,
        is_closing=False,
    )


# Two processes


async def test_two_processes_see_one_order(tmp_path: Path) -> None:
    sizes = replace(SIZES, ring_words=1 << 16)
    with (
        shared(tmp_path, sizes) as segment,
        process("-m", "tests.workers.bus_member", str(segment.path), "1", "talk") as child,
        listening(segment, 0) as bus,
    ):
        member = Member(bus)
        mine = await talk(member, child_is_ready=lambda: bus.count("a") == 2)
        output, _ = await asyncio.to_thread(child.communicate, timeout=40)
        assert child.returncode == 0, output
        assert json.loads(output) == json.loads(json.dumps(mine))
        rooms = {
            room: [entry[1] for entry in mine if entry[0] == room] for room in ("a", "b", None)
        }
        assert rooms["a"] == rooms["b"] == [*range(1, 401)]
        assert rooms[None] == [*range(1, 41)]


def is_gone(bus: SegmentBus, room: str, epoch: int) -> bool:
    at = bus.position(room)
    return at is None or at.epoch != epoch


async def test_members_come_and_go_while_another_process_publishes(tmp_path: Path) -> None:
    """From `seen` on nothing is missing, also if the room was evicted since the last visit."""
    sizes = replace(SIZES, ring_words=1 << 14)
    with (
        shared(tmp_path, sizes) as segment,
        process("-m", "tests.workers.bus_member", str(segment.path), "1", "crowd") as child,
        listening(segment, 0) as bus,
    ):
        epochs: set[int] = set()
        for _ in range(3):
            visits = await visit(Member(bus), "c", 80)
            assert child.poll() is None
            assert len(visits) == 80
            check_visits(visits)
            epochs |= {epoch for epoch, _, _ in visits}
            # Without members it is evicted as soon as it has been silent for some messages.
            await until(partial(is_gone, bus, "c", visits[-1][0]))
        assert len(epochs) >= 3


# What only the segment's bus has


@pytest.fixture
def segment(tmp_path: Path) -> Iterator[Segment]:
    with shared(tmp_path, SIZES) as made:
        yield made


async def test_a_doorbell_that_is_not_heard_costs_at_most_a_look(
    segment: Segment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "LOOK_S", 0.05)
    one, other = SegmentBus(segment, 0), SegmentBus(segment, 1)
    member, began = Member(one), time.monotonic()
    await one.enter("a", 1)
    await say(other, "1")
    await until(lambda: member.texts == ["1"])
    assert time.monotonic() - began >= 0.05
    member.on_message = lambda message: 1 / 0 > 0
    await say(other, "2")
    await until(lambda: member.texts == ["1", "2"])
    member.on_message = lambda message: True
    await say(other, "3")
    await until(lambda: member.texts == ["1", "2", "3"])
    await say(other, "4")
    await until(lambda: member.texts == ["1", "2", "3", "4"])
    one.close()
    await say(other, "5")
    await asyncio.sleep(0.12)  # longer than a look takes to come
    assert member.texts == ["1", "2", "3", "4"]
    other.close()


async def test_a_worker_that_was_not_woken_goes_on_where_its_rooms_begin(segment: Segment) -> None:
    """What is in the journal for others does not delay it, nor count as an overrun."""
    one, other = SegmentBus(segment, 0), SegmentBus(segment, 1)
    member = Member(one)
    await fill(other, "b")
    await one.enter("a", 1)
    await say(one, "at once")
    assert member.texts == ["at once"]
    assert overruns(one) == 0
    one.leave("a", 0)
    await other.broadcast(0, Kind.TEXT, b"before")
    await one.enter("a", 1)
    assert member.texts == ["at once", "before"]
    one.close()
    other.close()


async def test_no_room_for_a_membership_leaves_nothing(segment: Segment) -> None:
    bus = SegmentBus(segment, 0)
    tickets = [await bus.enter(f"room {number}", 1) for number in range(8)]
    for room in ("room 3", "new"):
        with pytest.raises(MembershipsFull) as caught:
            await bus.enter(room, 2)
        assert str(caught.value) == (
            "the connections of this worker have 8 memberships, which is all that fit: join fewer"
            " rooms, or raise --memberships"
        )
    assert (bus.count("new"), bus.count("room 3"), used(segment, 0)) == (0, 1, 8)
    with pytest.raises(KeyError):
        bus.seen("new")
    bus.leave("room 3", tickets[3])
    assert bus.count("room 3") == 0
    await bus.enter("new", 2)
    assert (bus.count("new"), used(segment, 0)) == (1, 8)
    bus.close()


async def test_no_room_for_a_room_leaves_nothing(tmp_path: Path) -> None:
    with shared(tmp_path, replace(SIZES, memberships_per_slot=99)) as segment:
        bus, other = SegmentBus(segment, 0), Publisher(segment)
        for number in range(16):
            await bus.enter(f"room {number}", 1)
        for _ in range(2):
            with pytest.raises(DirectoryFull):
                await bus.enter("new", 2)
            with pytest.raises(DirectoryFull):
                other.publish_now("new", Kind.TEXT, b"x")
        assert (used(segment, 0), bus.count("new"), bus.position("new")) == (16, 0, None)
        await say(bus, "the lock is free", room="room 3")
        bus.close()
        other.close()


async def test_a_message_that_is_too_large_makes_no_room(segment: Segment) -> None:
    bus = SegmentBus(segment, 0)
    with pytest.raises(MessageTooLarge):
        await bus.publish("new", Kind.BYTES, b"x" * 433)
    with pytest.raises(MessageTooLarge):
        await bus.broadcast(0, Kind.BYTES, b"x" * 433)
    assert bus.position("new") is None
    assert bus.journal.head == 0
    bus.close()


async def test_bells_that_cannot_be_rung_do_not_matter(segment: Segment) -> None:
    """The message is out; those who did not hear look from time to time."""
    bus = SegmentBus(segment, 0)
    other = SegmentBus(segment, 1)
    await other.enter("a", 1)
    assert bus._bell is not None
    bus._bell.close()
    await say(bus, "x")
    bus._wake()
    assert bus._to_wake == set()
    bus.close()
    other.close()


def test_a_loop_that_ends_takes_nothing_with_it(segment: Segment) -> None:
    """Pauses, turns and bells that were due in it are due in the next."""
    bus, other = SegmentBus(segment, 0), SegmentBus(segment, 1)
    member = Member(bus)
    member.on_message = lambda message: True

    async def begin() -> None:
        await other.enter("a", 1)
        await bus.enter("a", 1)
        await say(bus, "1", "2")
        assert bus.is_giving_way

    async def go_on() -> None:
        bus.keep_watch()
        await until(lambda: member.texts == ["1", "2"])
        member.on_message = lambda message: False
        await until(lambda: not bus.is_giving_way)
        bell = Doorbell(tmp, 1)
        heard = asyncio.Event()
        bell.listen(asyncio.get_running_loop(), lambda _: heard.set())
        await say(bus, "3")
        assert member.texts == ["1", "2", "3"]
        async with asyncio.timeout(20):
            await heard.wait()
        bell.close()

    assert segment.path is not None
    tmp = segment.path.parent
    asyncio.run(begin())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(go_on())
    asyncio.run(close_both(bus, other))


async def close_both(bus: SegmentBus, other: SegmentBus) -> None:
    bus.close()
    bus.close()
    other.close()


async def test_private_memory_has_the_same_bus() -> None:
    bus = SegmentBus(private(SIZES), 0)
    member = Member(bus)
    ticket = await bus.enter("a", 1)
    await say(bus, "1")
    await bus.broadcast(0, Kind.TEXT, b"2")
    bus.leave("a", ticket)
    await say(bus, "3")
    assert member.texts == ["1", "2"]
    bus.close()
