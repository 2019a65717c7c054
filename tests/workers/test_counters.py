"""Counters: what each writer counts, what readers sum up, and that no reader sees half a change."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workers.memory_support import (
    assert_adds_up,
    collect,
    never_give_up,
    private,
    shared,
    writer,
)
from workers.counters import (
    DURATION_BUCKETS_S,
    HANDLING_BUCKETS_S,
    Block,
    CounterTable,
    RouteCounters,
    add,
    read_block,
    totals,
    totals_and_open,
)
from workers.layout import (
    BUCKETS,
    CLIENT,
    CODES,
    COUNTERS,
    CRASH,
    INITIATORS,
    LIMITS_MAX,
    POLICIES,
    SERVER,
    STATUSES,
    places,
)
from workers.slots import Slots


def block_after(act: Callable[[RouteCounters], object]) -> Block:
    """Return the counters after one act on a fresh segment."""
    segment = private()
    act(CounterTable(segment, 1).route(2))
    block = read_block(segment, 1, 2)
    assert block is not None
    return block


def only(length: int, at: int) -> list[int]:
    return [int(index == at) for index in range(length)]


def test_opened() -> None:
    assert block_after(lambda counters: counters.opened()) == Block(opened=1, open=1)


@pytest.mark.parametrize("code", [0, 1, CODES - 1])
@pytest.mark.parametrize("initiator", [CLIENT, SERVER, CRASH])
def test_closed(code: int, initiator: int) -> None:
    def act(counters: RouteCounters) -> None:
        counters.opened()
        counters.opened()
        counters.closed(code, initiator, 0.2)

    block = block_after(act)
    assert (block.opened, block.open) == (2, 1)
    assert block.closed == only(CODES * INITIATORS, code * INITIATORS + initiator)
    assert block.duration == only(len(DURATION_BUCKETS_S) + 1, 3)
    assert block.duration_sum_ns == 200_000_000


@pytest.mark.parametrize("status", [0, STATUSES - 1])
def test_refused(status: int) -> None:
    assert block_after(lambda counters: counters.refused(status)) == Block(
        refused=only(STATUSES, status)
    )


def test_traffic() -> None:
    def act(counters: RouteCounters) -> None:
        counters.traffic(1, 20, 3, 40)
        counters.traffic(1, 1, 1, 1)

    assert block_after(act) == Block(messages_in=2, bytes_in=21, messages_out=4, bytes_out=41)


def test_errors() -> None:
    assert block_after(lambda counters: counters.error()) == Block(errors=1)


@pytest.mark.parametrize("policy", [0, POLICIES - 1])
def test_slow(policy: int) -> None:
    assert block_after(lambda counters: counters.slow(policy)) == Block(slow=only(POLICIES, policy))


@pytest.mark.parametrize("limit", [0, LIMITS_MAX - 1])
def test_limited(limit: int) -> None:
    assert block_after(lambda counters: counters.limited(limit)) == Block(
        limited=only(LIMITS_MAX, limit)
    )


def test_handled() -> None:
    assert block_after(lambda counters: counters.handled(0.003)) == Block(
        handling=only(len(HANDLING_BUCKETS_S) + 1, 5), handling_sum_ns=3_000_000
    )


@pytest.mark.parametrize("bounds", [DURATION_BUCKETS_S, HANDLING_BUCKETS_S])
def test_bounds_ascend_and_fit(bounds: tuple[float, ...]) -> None:
    assert list(bounds) == sorted(set(bounds))
    assert len(bounds) < BUCKETS


@pytest.mark.parametrize(
    ("duration_s", "bucket"), [(0.0, 0), (0.01, 0), (0.011, 1), (14400, 12), (14401, 13), (1e9, 13)]
)
def test_a_value_equal_to_a_bound_is_within_it(duration_s: float, bucket: int) -> None:
    def act(counters: RouteCounters) -> None:
        counters.opened()
        counters.closed(0, CLIENT, duration_s)

    assert block_after(act).duration == only(len(DURATION_BUCKETS_S) + 1, bucket)


def test_counters_are_as_wide_as_a_word() -> None:
    block = block_after(lambda counters: counters.traffic(2**63, 2**64 - 1, 0, 0))
    assert (block.messages_in, block.bytes_in) == (2**63, 2**64 - 1)


@pytest.mark.parametrize(
    "act",
    [
        lambda counters: counters.opened(),
        lambda counters: counters.closed(0, CLIENT, 0.1),
        lambda counters: counters.refused(0),
        lambda counters: counters.traffic(1, 1, 1, 1),
        lambda counters: counters.handled(0.1),
    ],
)
def test_a_count_that_failed_does_not_disturb_the_next(
    act: Callable[[RouteCounters], None],
) -> None:
    """It left an odd sequence, as a death does. After the next, readers need not wait again."""
    segment = private()
    counters = CounterTable(segment, 0).route(0)
    counters.opened()
    with pytest.raises(ValueError, match="invalid value"):
        counters.traffic(0, -1, 0, 0)
    sequence = segment.words[segment.layout.block(0, 0)]
    assert sequence % 2 == 1
    act(counters)
    assert segment.words[segment.layout.block(0, 0)] == sequence + 1


def test_what_was_never_written_is_no_block() -> None:
    segment = private()
    assert read_block(segment, 0, 0) is None
    assert totals(segment) == {}
    assert totals_and_open(segment)[1] == {}


def test_slots_and_routes_are_apart() -> None:
    segment = private()
    for slot in range(4):
        table = CounterTable(segment, slot)
        assert table.route(1) is table.route(1)
        for route in range(3):
            for _ in range(slot * 3 + route + 1):
                table.route(route).opened()
    for slot in range(4):
        for route in range(3):
            count = slot * 3 + route + 1
            assert read_block(segment, slot, route) == Block(opened=count, open=count)
    assert totals(segment) == {
        route: Block(opened=22 + 4 * route, open=22 + 4 * route) for route in range(3)
    }


BLOCKS = st.builds(
    Block,
    opened=st.integers(0, 2**62),
    closed=st.lists(st.integers(0, 9), min_size=CODES * INITIATORS, max_size=CODES * INITIATORS),
    duration_sum_ns=st.integers(0, 2**62),
)


@settings(max_examples=20)
@given(BLOCKS, BLOCKS)
def test_add_sums_every_counter(a: Block, b: Block) -> None:
    total = add(a, b)
    assert total == add(b, a)
    assert (total.opened, total.duration_sum_ns) == (
        a.opened + b.opened,
        a.duration_sum_ns + b.duration_sum_ns,
    )
    assert total.closed == [x + y for x, y in zip(a.closed, b.closed, strict=True)]
    assert add(a, Block()) == a


def test_totals_are_the_sum_of_the_blocks() -> None:
    segment = private()
    expected = Block()
    for slot in range(4):
        counters = CounterTable(segment, slot).route(1)
        for number in range(slot + 2):
            counters.opened()
            counters.traffic(number, 2, 3, 4)
            counters.handled(number / 1000)
        counters.closed(1, SERVER, slot * 10.0)
        counters.slow(slot)
        counters.limited(slot)
        counters.refused(slot)
        block = read_block(segment, slot, 1)
        assert block is not None
        expected = add(expected, block)
    assert totals(segment) == {1: expected}
    assert_adds_up({1: expected})


def test_open_by_worker_sums_the_slots_of_a_worker() -> None:
    """During a reload an index has two: the old one drains while the new one serves."""
    segment = private()
    slots = Slots(segment)
    for index, generation in ((0, 1), (1, 2), (0, 3)):
        counters = CounterTable(segment, slots.assign(index, generation)).route(1)
        for _ in range(generation):
            counters.opened()
    CounterTable(segment, 1).route(2).opened()
    CounterTable(segment, 1).route(2).closed(0, CLIENT, 0.1)
    assert totals_and_open(segment)[1] == {(1, 0): 4, (1, 1): 2, (2, 1): 0}


def test_a_reader_sees_whole_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process opens, counts and closes as fast as it can."""
    never_give_up(monkeypatch)
    with shared(tmp_path) as segment:
        slot = Slots(segment).assign(0, 1)

        def read() -> list[Block]:
            block = read_block(segment, slot, 1)
            return [] if block is None else [block, totals(segment)[1]]

        with writer(segment, slot, "count"):
            seen = collect(read, lambda block: block.opened)
    for block in seen:
        assert_adds_up({1: block})
        assert block.messages_in == block.bytes_out
        assert sum(block.duration) == sum(block.closed)
        assert block.duration_sum_ns == sum(block.closed) * 500_000_000
    assert {block.open for block in seen} == {0, 1}


def test_a_reader_of_a_writer_that_died_half_way_is_held_up_for_a_bounded_time() -> None:
    segment = private()
    CounterTable(segment, 0).route(1).opened()
    segment.words[segment.layout.block(0, 1) + places(COUNTERS)["sequence"]] |= 1
    before = time.monotonic()
    assert read_block(segment, 0, 1) == Block(opened=1, open=1)
    assert time.monotonic() - before < 1


@pytest.mark.parametrize("dies_after", ["opened", "closed"])
def test_the_books_balance_of_a_writer_that_died_half_way(dies_after: str) -> None:
    """Until the reaper comes: what is open is what was opened and not closed."""
    segment = private()
    counters = CounterTable(segment, 0).route(1)
    for _ in range(3):
        counters.opened()
    at = {name: segment.layout.block(0, 1) + word for name, word in places(COUNTERS).items()}
    segment.words[at["sequence"]] |= 1
    segment.words[at[dies_after]] += 1

    found, open_by_worker = totals_and_open(segment)

    block = found[1]
    assert block.opened == block.open + sum(block.closed)
    assert block.open == (4 if dies_after == "opened" else 2)
    assert open_by_worker[1, 0] == block.open
