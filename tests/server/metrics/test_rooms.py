"""What the metrics say of rooms is what a real bus has done in a segment."""

import itertools

import pytest

from server.metrics.catalog import METRICS
from tests.server.metrics.segments import SIZES, Worker, samples, segment, values
from workers.fields import places
from workers.journal import Journal
from workers.publisher import Message, Publisher
from workers.reaper import reap
from workers.room_directory import RoomDirectory
from workers.room_tables import BUS, LATENCY_BUCKETS_S, RECORD_WORDS, Kind
from workers.segment import Segment
from workers.segment_bus import SegmentBus
from workers.slots import Slots

AT = places(BUS)
SUMS = {
    "published": "ws_room_published_total",
    "delivered": "ws_room_delivered_total",
    "overruns": "ws_journal_overruns_total",
    "incomplete": "ws_room_incomplete_total",
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def one(of: Segment, name: str) -> float:
    """Return the value of a metric that has one series."""
    (sample,) = samples(of, name)
    assert sample.labels == {}
    return sample.value


def word(of: Segment, slot: int, name: str, value: int) -> None:
    of.words[of.layout.bus_of(slot) + AT[name]] = value


def take(_: Message) -> bool:
    return False


async def bus_of(of: Segment, worker: Worker) -> SegmentBus:
    bus = SegmentBus(of, worker.slot)
    bus.listen(take, lambda _: None)
    return bus


def test_all_is_there_from_the_start():
    """Each of them as 0, but for what something has room for."""
    quiet = segment()
    names = [m.name for m in METRICS if m.name.startswith(("ws_room", "ws_journal"))]
    assert len(names) == 16
    of_workers = {m.name for m in METRICS if "worker" in m.labels}
    for name in set(names) - of_workers:
        total = sum(sample.value for sample in samples(quiet, name))
        assert (total != 0) == name.endswith(("capacity", "capacity_bytes")), name


@pytest.mark.parametrize(("word_name", "name"), SUMS.items())
def test_counts_are_added_up_over_all_slots(word_name: str, name: str):
    """Those of slots that nobody has too: it is the sum that must not go back."""
    busy = segment()
    for slot in range(SIZES.slots):
        word(busy, slot, word_name, 10**slot)
    assert one(busy, name) == 1111


def test_no_count_goes_back_when_a_slot_goes_to_another_worker():
    busy = segment()
    worker = Worker(busy, 0).ready()
    for name in SUMS:
        word(busy, worker.slot, name, 7)
    before = [one(busy, name) for name in SUMS.values()]
    Slots(busy).mark_dead(worker.slot)
    reap(busy, worker.slot, crash_code_index=0, now_ns=0)
    Slots(busy).release(worker.slot)
    assert Worker(busy, 1, generation=2).ready().slot == worker.slot
    assert [one(busy, name) for name in SUMS.values()] == before == [7] * 4


def test_recoveries_by_their_outcome():
    busy = segment()
    word(busy, 0, "recovered", 3)
    word(busy, 1, "recovered", 4)
    word(busy, 3, "not_recovered", 5)
    assert values(busy, "ws_room_recoveries_total") == {("recovered",): 7, ("not_recovered",): 5}


def test_the_time_to_deliver_is_a_histogram():
    busy = segment()
    counts = range(1, len(LATENCY_BUCKETS_S) + 2)
    for slot in (0, 2):
        for at, count in enumerate(counts):
            busy.words[busy.layout.bus_of(slot) + AT["latency"] + at] = count
        word(busy, slot, "latency_sum_ns", 1_500_000_000)
    name = "ws_room_delivery_seconds"
    found = samples(busy, name)
    buckets = {s.labels["le"]: s.value for s in found if s.name == f"{name}_bucket"}
    assert [float(bound) for bound in buckets] == [*LATENCY_BUCKETS_S, float("inf")]
    assert [*buckets.values()] == [2 * count for count in itertools.accumulate(counts)]
    others = {s.name: s.value for s in found if s.name != f"{name}_bucket"}
    assert others == {f"{name}_count": buckets["+Inf"], f"{name}_sum": 3}


async def test_what_a_bus_does_is_counted():
    busy = segment()
    first, second = Worker(busy, 0).ready(), Worker(busy, 1, generation=2).ready()
    bus, other = await bus_of(busy, first), await bus_of(busy, second)
    outside = Publisher(busy)
    for row in range(3):
        await bus.enter("tea", row)
    ticket = await other.enter("tea", 0)
    await other.enter("chat", 0)
    for _ in range(16):
        await bus.publish("tea", Kind.JSON, b"12345678")
    await bus.broadcast(0, Kind.JSON, b"1")
    outside.publish_now("news", Kind.JSON, b"1")

    assert one(busy, "ws_room_published_total") == 17
    assert one(busy, "ws_journal_messages_total") == 18
    assert one(busy, "ws_journal_written_bytes_total") == 18 * 8 * (RECORD_WORDS + 1)
    assert one(busy, "ws_journal_used_bytes") == 18 * 8 * (RECORD_WORDS + 1)
    assert one(busy, "ws_journal_capacity_bytes") == SIZES.ring_words * 8
    assert one(busy, "ws_rooms") == 3
    assert one(busy, "ws_rooms_capacity") == RoomDirectory(busy).capacity
    assert values(busy, "ws_room_memberships") == {("0",): 3, ("1",): 2}
    assert values(busy, "ws_room_memberships_capacity") == {
        ("0",): SIZES.memberships_per_slot,
        ("1",): SIZES.memberships_per_slot,
    }
    (timed,) = (
        sample.value
        for sample in samples(busy, "ws_room_delivery_seconds")
        if sample.name.endswith("_count")
    )
    assert 1 <= timed <= 2  # of 17 that the first worker took; the second has yet to read
    behind = values(busy, "ws_journal_lag_bytes")
    assert behind == {("0",): 8 * (RECORD_WORDS + 1), ("1",): 18 * 8 * (RECORD_WORDS + 1)}
    other.poll()
    bus.poll()
    assert values(busy, "ws_journal_lag_bytes") == {("0",): 0, ("1",): 0}
    other.leave("tea", ticket)
    assert values(busy, "ws_room_memberships")["1",] == 1


async def test_lag_is_of_what_the_ring_still_holds():
    busy = segment()
    worker = Worker(busy, 0).ready()
    bus = await bus_of(busy, worker)
    await bus.enter("tea", 0)
    outside = Publisher(busy)
    payload = b"x" * Journal(busy).limit_bytes
    for _ in range(20):
        outside.publish_now("tea", Kind.TEXT, payload)
    used = one(busy, "ws_journal_used_bytes")
    assert 0 < used <= one(busy, "ws_journal_capacity_bytes")
    assert values(busy, "ws_journal_lag_bytes") == {("0",): used}
    assert one(busy, "ws_journal_written_bytes_total") > 2 * used


def test_lag_is_of_workers_that_read():
    """One that starts has yet to say from where; a dead one reads no more."""
    busy = segment()
    worker = Worker(busy, 0)
    Publisher(busy).publish_now("tea", Kind.JSON, b"1")
    assert samples(busy, "ws_journal_lag_bytes") == []
    worker.ready()
    assert values(busy, "ws_journal_lag_bytes").keys() == {("0",)}
    Slots(busy).mark_dead(worker.slot)
    assert samples(busy, "ws_journal_lag_bytes") == []


def test_rooms_that_made_way_are_counted():
    busy = segment()
    outside = Publisher(busy)
    made = 3 * RoomDirectory(busy).capacity
    for number in range(made):
        outside.publish_now(f"room {number}", Kind.JSON, b"1")
    assert one(busy, "ws_rooms") + one(busy, "ws_rooms_evicted_total") == made
    assert one(busy, "ws_rooms") <= one(busy, "ws_rooms_capacity")


async def test_memberships_are_the_same_from_either_table():
    """With more of them than rooms, the directory is read instead."""
    busy = segment()
    bus = await bus_of(busy, Worker(busy, 0).ready())
    tickets = [await bus.enter(f"room {at % 3}", at % 10) for at in range(SIZES.rooms)]
    assert values(busy, "ws_room_memberships") == {("0",): SIZES.rooms}
    tickets += [await bus.enter("room 0", at % 10) for at in range(5)]
    assert values(busy, "ws_room_memberships") == {("0",): SIZES.rooms + 5}
    bus.leave("room 0", tickets[-1])
    assert values(busy, "ws_room_memberships") == {("0",): SIZES.rooms + 4}
