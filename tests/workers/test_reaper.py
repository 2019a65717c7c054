"""What becomes of a dead worker: whatever it died between, connections add up and rows are free."""

import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.processes import wait_until
from tests.workers.memory_faults import Fuse, fused
from tests.workers.memory_machine import Machine
from tests.workers.memory_support import (
    assert_all_add_up,
    private,
    shared,
    writer,
)
from workers.counters import Block, CounterTable, read_block, totals
from workers.layout import CLIENT, COUNTERS, CRASH, INITIATORS, ROW, ROW_WORDS, places
from workers.reaper import Reaped, reap
from workers.registry import SlotRows, count_rows, read_rows, row_states
from workers.segment import Segment
from workers.slots import Slots

TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

SLOT, ROUTE = 1, 2
NORMAL, CRASHED = 1, 2  # the indices of 1000 and 1006
NORMALLY = NORMAL * INITIATORS + CLIENT
BY_CRASH = CRASHED * INITIATORS + CRASH
BLOCK = places(COUNTERS)
ROW_AT = places(ROW)


def claim_and_open(segment: Segment) -> Callable[[], None]:
    """Return how a connection enters a segment in which nothing is open."""

    def act() -> None:
        SlotRows(segment, SLOT, 1).claim(ROUTE, "client", "/path", "user")
        CounterTable(segment, SLOT).route(ROUTE).opened()

    return act


def close_and_free(segment: Segment) -> Callable[[], None]:
    """Return how a connection leaves that has just entered."""
    claim_and_open(segment)()

    def act() -> None:
        CounterTable(segment, SLOT).route(ROUTE).closed(NORMAL, CLIENT, 0.2)
        rows = SlotRows(segment, SLOT, 1)
        rows.free(0)

    return act


def reap_slot(segment: Segment) -> Reaped:
    return reap(segment, SLOT, crash_code_index=CRASHED, now_ns=time.time_ns())


def stores_of(begin: Callable[[Segment], Callable[[], None]]) -> list[int]:
    """Return the words that an act writes, in order, as places in the segment."""
    segment, fuse = private(), Fuse()
    act = begin(segment)
    with fused(segment, fuse):
        act()
    return fuse.stores


def die_at(store: int, begin: Callable[[Segment], Callable[[], None]]) -> Segment:
    """Return a segment whose writer has died before its store with this number."""
    segment = private()
    act = begin(segment)
    with fused(segment, Fuse(store)):
        act()
    return segment


def block_of(segment: Segment) -> Block:
    block = read_block(segment, SLOT, ROUTE)
    return Block() if block is None else block


def assert_as_new(segment: Segment, opened: int) -> None:
    """The slot serves a next worker: all rows are free, and its counters go on from there."""
    assert (count_rows(segment), row_states(segment, SLOT)) == (0, [])
    first, end = segment.layout.row(SLOT, 0), segment.layout.row(SLOT + 1, 0)
    assert not any(segment.words[first + ROW_AT["state"] : end : ROW_WORDS])
    rows, counters = SlotRows(segment, SLOT, 2), CounterTable(segment, SLOT).route(ROUTE)
    for _ in range(rows.capacity):
        rows.claim(ROUTE, "next", "/")
        counters.opened()
    assert len(list(read_rows(segment))) == rows.capacity
    assert block_of(segment).opened == opened + rows.capacity
    assert_all_add_up(segment)


@pytest.mark.parametrize("begin", [claim_and_open, close_and_free])
def test_a_worker_may_die_before_any_store(
    begin: Callable[[Segment], Callable[[], None]],
) -> None:
    """Of opening and of closing a connection. The rule of the reaper fits each time."""
    stores = stores_of(begin)
    assert len(stores) > 5
    for store in range(len(stores) + 1):
        segment = die_at(store, begin)
        before = block_of(segment)
        reaped = reap_slot(segment)
        after = block_of(segment)
        crashed = before.opened - sum(before.closed)
        assert reaped.connections == crashed, store
        assert (after.opened, after.open) == (before.opened, 0), store
        assert after.closed[NORMALLY] == before.closed[NORMALLY], store
        assert after.closed[BY_CRASH] == crashed, store
        assert sum(after.closed) == sum(after.duration) == after.opened, store
        assert reap_slot(segment) == Reaped(0, 0), store
        assert block_of(segment) == after, store
        assert_as_new(segment, after.opened)


def row_word(name: str) -> int:
    return private().layout.row(SLOT, 0) + ROW_AT[name]


def block_word(name: str) -> int:
    return private().layout.block(SLOT, ROUTE) + BLOCK[name]


CLOSED_WORD = block_word("closed") + NORMALLY


@pytest.mark.parametrize(
    ("begin", "before", "found", "made"),
    [
        (claim_and_open, row_word("connected_ns"), (0, 0, 0, 0), (0, 0, 0)),
        (claim_and_open, block_word("opened"), (1, 0, 0, 0), (0, 0, 0)),
        (claim_and_open, block_word("open"), (1, 1, 0, 0), (1, 0, 1)),
        (close_and_free, CLOSED_WORD, (1, 1, 1, 0), (1, 0, 1)),
        (close_and_free, block_word("open"), (1, 1, 1, 1), (1, 1, 0)),
        (close_and_free, row_word("state"), (1, 1, 0, 1), (1, 1, 0)),
    ],
    ids=[
        "before the row was complete",
        "after the row, before opened",
        "between opened and open",
        "later while open",
        "between closed and open",
        "after closed, before the row was freed",
    ],
)
def test_the_table_of_the_page(
    begin: Callable[[Segment], Callable[[], None]],
    before: int,
    found: tuple[int, int, int, int],
    made: tuple[int, int, int],
) -> None:
    """Found are rows, opened, open and closed normally; made are opened and how it was closed."""
    segment = die_at(stores_of(begin).index(before), begin)
    # The words themselves: what reads them makes up for a writer that died.
    words = [segment.words[at] for at in (block_word("opened"), block_word("open"), CLOSED_WORD)]
    assert (count_rows(segment), *words) == found
    reap_slot(segment)
    block = block_of(segment)
    assert (block.opened, block.closed[NORMALLY], block.closed[BY_CRASH]) == made
    assert (count_rows(segment), block.open) == (0, 0)


def busy_segment() -> Segment:
    """Return a segment whose worker died with connections on two routes, and in mid-close."""
    segment = private()
    rows, table = SlotRows(segment, SLOT, 1), CounterTable(segment, SLOT)
    for route in (0, 2, 2, 0, 2):
        rows.claim(route, "client", "/")
        table.route(route).opened()
    rows.free(3)
    table.route(0).closed(NORMAL, CLIENT, 0.2)
    with fused(segment, Fuse(2)):
        CounterTable(segment, SLOT).route(2).closed(NORMAL, CLIENT, 0.2)
    return segment


def test_the_reaper_may_be_interrupted_before_any_store() -> None:
    whole, fuse = busy_segment(), Fuse()
    with fused(whole, fuse):
        reap_slot(whole)
    assert len(fuse.stores) > 10
    for store in range(len(fuse.stores)):
        segment = busy_segment()
        with fused(segment, Fuse(store)):
            reap_slot(segment)
        reap_slot(segment)
        assert_all_add_up(segment)
        for route, block in totals(whole).items():
            again = totals(segment)[route]
            again.duration_sum_ns = block.duration_sum_ns  # times differ, of one it may be lost
            assert again == block, (store, route)
        assert_as_new(segment, block_of(segment).opened)


def test_durations_are_those_of_the_rows() -> None:
    segment = private()
    rows, counters = SlotRows(segment, SLOT, 1), CounterTable(segment, SLOT).route(ROUTE)
    for seconds in (20, 100, 100):
        row = rows.claim(ROUTE, "client", "/")
        counters.opened()
        at = segment.layout.row(SLOT, 0) + row * ROW_WORDS + ROW_AT["connected_ns"]
        segment.words[at] = 1_000_000_000 * (1000 - seconds)
    rows.claim(ROUTE, "never opened", "/")
    reaped = reap(segment, SLOT, crash_code_index=CRASHED, now_ns=1_000_000_000_000)
    block = block_of(segment)
    assert reaped == Reaped(connections=3, rows=4)
    assert (sum(block.duration), block.duration[7], block.duration[9]) == (3, 1, 2)
    assert block.duration_sum_ns == 220_000_000_000


def test_a_clock_that_was_set_back_makes_no_negative_duration() -> None:
    segment = private()
    claim_and_open(segment)()
    assert reap(segment, SLOT, crash_code_index=CRASHED, now_ns=0).connections == 1
    block = block_of(segment)
    assert (block.duration[0], block.duration_sum_ns) == (1, 0)


def test_other_slots_are_left_alone() -> None:
    segment = private()
    for slot in range(4):
        SlotRows(segment, slot, 1).claim(ROUTE, f"slot {slot}", "/")
        CounterTable(segment, slot).route(ROUTE).opened()
    reap_slot(segment)
    assert [row.slot for row in read_rows(segment)] == [0, 2, 3]
    for slot in (0, 2, 3):
        assert read_block(segment, slot, ROUTE) == Block(opened=1, open=1)


def test_a_slot_that_was_never_used_can_be_reaped() -> None:
    segment = private()
    assert reap_slot(segment) == Reaped(0, 0)
    assert totals(segment) == {}


def test_workers_that_are_killed_leave_counters_that_add_up(tmp_path: Path) -> None:
    """Real processes, killed at random while they open and close as fast as they can."""
    chance = random.Random()
    with shared(tmp_path) as segment:
        slots = Slots(segment)
        opened = 0
        for generation in range(1, 7):
            number = slots.assign(0, generation)
            with writer(segment, number, "serve") as child:
                wait_until(partial(opened_more, segment, opened))
                time.sleep(chance.random() / 50)
                child.kill()
                child.wait()
            slots.mark_dead(number)
            left = sum(block.opened - sum(block.closed) for block in totals(segment).values())
            reaped = reap(segment, number, crash_code_index=CRASHED, now_ns=time.time_ns())
            slots.release(number)
            assert reaped.connections == left
            assert abs(reaped.rows - left) <= 1
            assert_all_add_up(segment)
            assert count_rows(segment) == 0
            for block in totals(segment).values():
                assert block.open == 0
                assert sum(block.duration) == block.opened
            opened = opened_on_all(segment)


def opened_more(segment: Segment, before: int) -> bool:
    return opened_on_all(segment) > before + 100


def opened_on_all(segment: Segment) -> int:
    return sum(block.opened for block in totals(segment).values())
