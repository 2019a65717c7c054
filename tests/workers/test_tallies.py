"""Tallies: never too few, exact among few keys, and right again after any death."""

import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.workers.memory_claims import KEY, OTHER_KEY
from tests.workers.memory_faults import Died, Fuse, fused
from tests.workers.memory_support import private, process, shared
from workers.layout import SAID, WORD_BYTES, Sizes, TallyKind, places
from workers.reaper import Reaped, reap
from workers.segment import Segment
from workers.slots import ConnectionCounts
from workers.tallies import OwnTallies, Tallies, clear

IP, USER = TallyKind.IP, TallyKind.USER
KEYS = [f"192.0.2.{number}" for number in range(6)]
ROOMY = Sizes(workers=2, slots=3, rows_per_slot=4096, routes=1)  # so few keys do not collide
CROWDED = Sizes(workers=2, slots=3, rows_per_slot=1, routes=1)  # and here they do: 4 columns


def memory_of(segment: Segment, slot: int) -> bytes:
    """Return what a slot's tallies are made of."""
    start, stop = segment.layout.tally(slot, 0), segment.layout.tally(slot + 1, 0)
    return bytes(segment.bytes[start * WORD_BYTES : stop * WORD_BYTES])


def reap_slot(segment: Segment, slot: int) -> Reaped:
    return reap(segment, slot, crash_code_index=1, now_ns=time.time_ns())


# What is counted


def test_connections_of_a_key_are_those_of_all_workers() -> None:
    segment = private(ROOMY)
    first, second = OwnTallies(segment, 0), OwnTallies(segment, 2)
    first.add(IP, "192.0.2.1")
    second.add(IP, "192.0.2.1")
    second.add(IP, "192.0.2.1")
    second.add(IP, "192.0.2.2")
    for reader in (first, second, Tallies(segment)):
        assert reader.count(IP, "192.0.2.1") == 3
        assert reader.count(IP, "192.0.2.2") == 1
        assert reader.count(IP, "192.0.2.3") == 0
    second.remove(IP, "192.0.2.1")
    assert first.count(IP, "192.0.2.1") == 2


def test_kinds_are_apart() -> None:
    """A user may be named like an address."""
    tallies = OwnTallies(private(ROOMY), 1)
    tallies.add(IP, KEY)
    assert (tallies.count(IP, KEY), tallies.count(USER, KEY)) == (1, 0)
    with pytest.raises(ValueError, match="is in no tally of this worker"):
        tallies.remove(USER, KEY)


@pytest.mark.parametrize("key", ["", "ä" * 32, "x" * 5000, "\udc80", "2001:db8::1%eth0"])
def test_any_text_is_a_key(key: str) -> None:
    tallies = OwnTallies(private(ROOMY), 0)
    tallies.add(USER, key)
    assert tallies.count(USER, key) == 1
    assert tallies.count(USER, f"{key}x") == 0


def test_what_was_not_added_cannot_be_removed() -> None:
    """It would have another key counted too few."""
    segment = private(ROOMY)
    OwnTallies(segment, 0).add(IP, KEY)
    tallies = OwnTallies(segment, 1)
    tallies.add(IP, OTHER_KEY)
    before = memory_of(segment, 1)
    with pytest.raises(ValueError, match=r"'192\.0\.2\.1' is in no tally of this worker: remove"):
        tallies.remove(IP, KEY)
    assert memory_of(segment, 1) == before


def test_a_removal_leaves_no_trace() -> None:
    segment = private(CROWDED)
    tallies = OwnTallies(segment, 0)
    keys = [f"user {number}" for number in range(100)]
    for key in keys:
        tallies.add(USER, key)
    random.shuffle(keys)
    for key in keys:
        tallies.remove(USER, key)
    assert not any(memory_of(segment, 0))


def test_nobody_outside_knows_which_keys_meet() -> None:
    """It depends on the secret of the segment; within one every process finds the same counters."""
    traces = set()
    for _ in range(10):
        segment = private(ROOMY)
        OwnTallies(segment, 0).add(IP, KEY)
        traces.add(memory_of(segment, 0))
    assert len(traces) == 10


def test_another_process_reads_them(tmp_path: Path) -> None:
    with shared(tmp_path, ROOMY) as segment:
        assert segment.path is not None
        OwnTallies(segment, 0).add(IP, KEY)
        reader = Segment.attach(segment.path, writable=False)
        assert Tallies(reader).count(IP, KEY) == 1
        reader.close()


def test_views_stay_good_when_the_segment_is_closed(tmp_path: Path) -> None:
    """A connection may end after that."""
    with shared(tmp_path) as segment:
        tallies, counts = OwnTallies(segment, 0), ConnectionCounts(segment)
        tallies.add(IP, KEY)
        segment.close()
        tallies.remove(IP, KEY)
        counts.say(0, 1)
        assert (tallies.count(IP, KEY), counts.total()) == (0, 1)


def test_how_often_one_is_counted_too_many() -> None:
    """In a slot that is full, and each connection has a key of its own; ADR 0008 names it."""
    segment = private(ROOMY)
    tallies = OwnTallies(segment, 0)
    keys = [f"user {number}" for number in range(ROOMY.rows_per_slot)]
    for key in keys:
        tallies.add(USER, key)
    counts = [tallies.count(USER, key) for key in keys]
    assert min(counts) == 1
    assert 0.002 < sum(count > 1 for count in counts) / len(counts) < 0.02
    assert sum(count > 2 for count in counts) / len(counts) < 0.002


# Against a plain count


class Machine(RuleBasedStateMachine):
    """Workers add and remove, and die before any store; after each step all counts are looked at.

    Attributes:
        sizes: of the segment.
        may_be_more: whether keys meet in it.
    """

    sizes = CROWDED
    may_be_more = True

    def __init__(self) -> None:
        super().__init__()
        self.segment = private(self.sizes)
        self.reader = Tallies(self.segment)
        self.counts = ConnectionCounts(self.segment)
        self.fuse = Fuse()
        self.tallies = {slot: self.start(slot) for slot in range(self.sizes.slots)}
        self.model: dict[int, Counter[tuple[TallyKind, str]]] = {
            slot: Counter() for slot in self.tallies
        }

    def start(self, slot: int) -> OwnTallies:
        with fused(self.segment, self.fuse):
            return OwnTallies(self.segment, slot)

    slots = st.integers(0, CROWDED.slots - 1)
    kinds = st.sampled_from(TallyKind)
    keys = st.sampled_from(KEYS)

    @rule(slot=slots, kind=kinds, key=keys)
    def add(self, slot: int, kind: TallyKind, key: str) -> None:
        self.tallies[slot].add(kind, key)
        self.model[slot][kind, key] += 1
        self.counts.say(slot, self.model[slot].total())

    @rule(slot=slots, choice=st.integers(0, 1000))
    def remove(self, slot: int, choice: int) -> None:
        if held := sorted(self.model[slot].elements()):
            kind, key = held[choice % len(held)]
            self.tallies[slot].remove(kind, key)
            self.model[slot][kind, key] -= 1
            self.counts.say(slot, self.model[slot].total())

    @rule(slot=slots, kind=kinds, key=keys, stores=st.integers(0, 4), is_added=st.booleans())
    def die(self, slot: int, kind: TallyKind, key: str, stores: int, is_added: bool) -> None:
        act = self.tallies[slot].add if is_added else self.tallies[slot].remove
        self.fuse.allowed = len(self.fuse.stores) + stores
        try:
            act(kind, key)
        except (Died, ValueError):
            pass
        self.fuse.allowed = None
        living = [self.model[other] for other in self.model if other != slot]
        self.check(sum(living, Counter()), may_be_more=True)  # so it is until the reaper comes
        self.model[slot] = Counter()
        reap_slot(self.segment, slot)
        reap_slot(self.segment, slot)
        assert not any(memory_of(self.segment, slot))
        self.tallies[slot] = self.start(slot)

    @invariant()
    def counts_are_those_of_the_model(self) -> None:
        total = sum(self.model.values(), Counter[tuple[TallyKind, str]]())
        self.check(total, may_be_more=self.may_be_more)
        assert self.counts.total() == total.total()

    def check(self, expected: Counter[tuple[TallyKind, str]], *, may_be_more: bool) -> None:
        for kind in TallyKind:
            for key in KEYS:
                count = self.reader.count(kind, key)
                assert count == expected[kind, key] or may_be_more
                assert count >= expected[kind, key]


class ExactMachine(Machine):
    """With so much room nothing is counted too many."""

    sizes = ROOMY
    may_be_more = False


TestMachine = Machine.TestCase
TestExactMachine = ExactMachine.TestCase
for case in (TestMachine, TestExactMachine):
    case.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)


# What a death leaves


def add_two_remove_one(segment: Segment) -> None:
    tallies = OwnTallies(segment, 1)
    for key in (KEY, OTHER_KEY):
        tallies.add(IP, key)
    ConnectionCounts(segment).say(1, 2)
    tallies.remove(IP, KEY)


def other_slots(segment: Segment) -> list[bytes]:
    return [memory_of(segment, slot) for slot in (0, 2)]


def busy() -> tuple[Segment, OwnTallies]:
    """Return a segment in which another worker has one connection of each key."""
    segment = private(ROOMY)
    other = OwnTallies(segment, 0)
    for key in (KEY, OTHER_KEY):
        other.add(IP, key)
    ConnectionCounts(segment).say(0, 2)
    return segment, other


def test_a_worker_may_die_before_any_store() -> None:
    segment, fuse = busy()[0], Fuse()
    with fused(segment, fuse):
        add_two_remove_one(segment)
    assert len(fuse.stores) == 4 + 4 + 1 + 3
    for stores in range(len(fuse.stores) + 1):
        segment, other = busy()
        others = other_slots(segment)
        with fused(segment, Fuse(stores)):
            add_two_remove_one(segment)
        assert 1 <= other.count(IP, KEY) <= 2, stores
        assert 1 <= other.count(IP, OTHER_KEY) <= 2, stores
        reap_slot(segment, 1)
        assert [other.count(IP, key) for key in (KEY, OTHER_KEY)] == [1, 1], stores
        assert ConnectionCounts(segment).total() == 2
        assert not any(memory_of(segment, 1))
        assert other_slots(segment) == others


def test_the_reaper_may_be_interrupted_before_any_store() -> None:
    whole, fuse = busy()[0], Fuse()
    add_two_remove_one(whole)
    with fused(whole, fuse):
        reap_slot(whole, 1)
    tallied = whole.layout.said(1) + places(SAID)["tallied"] + IP
    assert fuse.stores[-2:] == [whole.layout.tally(1, IP), tallied]
    for stores in range(len(fuse.stores)):
        segment, other = busy()
        add_two_remove_one(segment)
        with fused(segment, Fuse(stores)):
            reap_slot(segment, 1)
        reap_slot(segment, 1)
        assert not any(memory_of(segment, 1)), stores
        assert other.count(IP, OTHER_KEY) == 1
        assert ConnectionCounts(segment).total() == 2


def test_the_reaper_writes_only_where_something_was_counted() -> None:
    """A sketch is 768 KiB by default; most servers have no such limit."""
    segment = private(ROOMY)
    for used in ((), (USER,), (IP, USER)):
        tallies = OwnTallies(segment, 1)
        for kind in used:
            tallies.add(kind, KEY)
        fuse = Fuse()
        with fused(segment, fuse):
            clear(segment, 1)
        begins = [segment.layout.tally(1, kind) for kind in used]
        assert fuse.stores[::2] == begins
        assert len(fuse.stores) == 2 * len(used)
        assert not any(memory_of(segment, 1))


def test_a_new_worker_finds_zeros_even_if_nobody_has_reaped() -> None:
    segment = private(ROOMY)
    for slot in (0, 1):
        OwnTallies(segment, slot).add(IP, KEY)
    tallies = OwnTallies(segment, 1)
    assert tallies.count(IP, KEY) == 1
    tallies.add(IP, KEY)
    assert tallies.count(IP, KEY) == 2


@pytest.mark.parametrize("stores", range(4 + 1 + 4 + 3))
def test_a_process_killed_between_two_stores_is_reaped(tmp_path: Path, stores: int) -> None:
    with shared(tmp_path, ROOMY) as segment:
        own = OwnTallies(segment, 0)
        own.add(IP, KEY)
        with process(
            "-m", "tests.workers.memory_claims", *map(str, (segment.path, 1, "die", stores))
        ) as child:
            output, _ = child.communicate(timeout=30)
        assert child.returncode == -signal.SIGKILL, output
        assert any(memory_of(segment, 1)) == (stores > 1)
        assert own.count(IP, KEY) in (1, 2)
        reap_slot(segment, 1)
        assert (own.count(IP, KEY), own.count(USER, KEY)) == (1, 0)
        assert ConnectionCounts(segment).total() == 0
        assert not any(memory_of(segment, 1))
