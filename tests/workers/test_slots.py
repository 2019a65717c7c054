"""Slots: who has which, and what a reader makes of the two who write about it."""

import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.workers.memory_support import collect, never_give_up, private, shared, writer
from workers.counters import CounterTable
from workers.layout import CLIENT, SlotState
from workers.segment import Segment, SegmentError
from workers.slots import ConnectionCounts, OwnSlot, Slots


def test_a_fresh_slot_is_free() -> None:
    slots = Slots(private())
    assert [slot.state for slot in slots.all()] == [SlotState.FREE] * 4
    assert [slot.number for slot in slots.all()] == [0, 1, 2, 3]
    assert slots.in_use() == []


def test_an_assigned_slot_is_starting_until_its_worker_says_otherwise() -> None:
    segment = private()
    slots = Slots(segment)
    before_ns = time.time_ns()
    number = slots.assign(index=1, generation=7)
    slots.set_pid(number, 4711)
    info = slots.info(number)
    assert (info.index, info.generation, info.pid) == (1, 7, 4711)
    assert info.state is SlotState.STARTING
    assert (info.heartbeat_ns, info.connections) == (0, 0)
    assert before_ns <= info.started_ns <= time.time_ns()
    own = OwnSlot(segment, number)
    assert slots.info(number).state is SlotState.STARTING
    for state in (SlotState.READY, SlotState.DRAINING):
        own.set_state(state)
        assert slots.info(number).state is state
    assert slots.in_use() == [slots.info(number)]


def test_the_supervisors_word_on_a_death_is_the_last() -> None:
    segment = private()
    slots = Slots(segment)
    number = slots.assign(0, 1)
    own = OwnSlot(segment, number)
    own.set_state(SlotState.READY)
    slots.mark_dead(number)
    assert slots.info(number).state is SlotState.DEAD
    assert slots.in_use() == [slots.info(number)]
    slots.release(number)
    assert slots.info(number).state is SlotState.FREE


def test_what_the_last_worker_said_is_not_the_next_ones() -> None:
    segment = private()
    slots = Slots(segment)
    number = slots.assign(0, 1)
    own = OwnSlot(segment, number)
    own.set_state(SlotState.READY)
    own.beat(100, 50)
    slots.mark_dead(number)
    slots.release(number)
    assert slots.assign(1, 2) == number
    info = slots.info(number)
    assert info.state is SlotState.STARTING
    assert (info.heartbeat_ns, info.lag_ns, info.lag_max_ns) == (0, 0, 0)
    OwnSlot(segment, number)
    assert slots.info(number) == info


def test_a_beat_says_how_late_the_loop_is_and_was_at_most() -> None:
    segment = private()
    slots = Slots(segment)
    own = OwnSlot(segment, slots.assign(0, 1))
    own.beat(100, 50)
    own.beat(200, 20)
    info = slots.info(0)
    assert (info.heartbeat_ns, info.lag_ns, info.lag_max_ns) == (200, 20, 50)


def test_every_slot_is_handed_out_once() -> None:
    slots = Slots(private())
    assert [slots.assign(number, number + 1) for number in range(4)] == [0, 1, 2, 3]
    with pytest.raises(SegmentError, match="every slot is in use: wait until a worker has ended"):
        slots.assign(0, 5)
    slots.release(2)
    assert slots.assign(0, 6) == 2


def test_a_dead_slot_is_not_handed_out_before_it_is_reaped() -> None:
    slots = Slots(private())
    slots.mark_dead(slots.assign(0, 1))
    assert slots.assign(0, 2) == 1


def test_connections_are_those_open_on_all_routes() -> None:
    segment = private()
    slots = Slots(segment)
    number = slots.assign(0, 1)
    table = CounterTable(segment, number)
    for route in (0, 1, 1, 7):
        table.route(route).opened()
    table.route(1).closed(1, CLIENT, 1.0)
    assert slots.info(number).connections == 3


def test_what_workers_serve_is_added_up() -> None:
    """Each says a number, in a word of its own; nothing else that it says is touched."""
    segment = private()
    counts, slots = ConnectionCounts(segment), Slots(segment)
    workers = [OwnSlot(segment, slots.assign(index, index + 1)) for index in range(4)]
    for number, worker in enumerate(workers):
        worker.set_state(SlotState.READY)
        worker.beat(number, number)
    before = slots.all()
    assert counts.total() == 0
    for number in range(4):
        counts.say(number, 10**number)
    assert counts.total() == ConnectionCounts(segment).total() == 1111
    counts.say(2, 99)
    assert counts.total() == 1110
    assert slots.all() == before


def test_a_new_worker_of_a_slot_serves_nobody_yet() -> None:
    segment = private()
    counts, slots = ConnectionCounts(segment), Slots(segment)
    number = slots.assign(0, 1)
    counts.say(number, 7)
    counts.say(number + 1, 1)
    slots.release(number)
    assert slots.assign(0, 2) == number
    OwnSlot(segment, number)
    assert counts.total() == 1


def test_another_process_reads_what_is_served(tmp_path: Path) -> None:
    with shared(tmp_path) as segment:
        assert segment.path is not None
        ConnectionCounts(segment).say(3, 5)
        reader = Segment.attach(segment.path, writable=False)
        counts = ConnectionCounts(reader)
        assert counts.total() == 5
        with pytest.raises(TypeError, match="read-only"):
            counts.say(0, 1)
        reader.close()


def test_a_reader_sees_whole_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process beats as fast as it can, with the same number for time and lag."""
    never_give_up(monkeypatch)
    with shared(tmp_path) as segment:
        slots = Slots(segment)
        number = slots.assign(0, 1)
        with writer(segment, number, "beat"):
            seen = collect(lambda: [slots.info(number)], lambda info: info.heartbeat_ns)
    assert all(info.heartbeat_ns == info.lag_ns == info.lag_max_ns for info in seen)
    assert all(a.heartbeat_ns <= b.heartbeat_ns for a, b in pairwise(seen))
