"""Owns the comparison of a whole segment with plain dicts, whatever happens to its workers.

The machine starts workers, has connections come and go in them, and lets workers die at any
moment, also between two stores. After each step everything that can be read is as in the model.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.workers.memory_faults import Died, Fuse, fused
from tests.workers.memory_support import private
from workers.counters import Block, CounterTable, add, read_block, totals, totals_and_open
from workers.layout import CLIENT, CRASH, INITIATORS, Sizes, SlotState
from workers.reaper import Reaped, reap
from workers.registry import RegistryFull, SlotRows, count_rows, read_rows
from workers.segment import SegmentError
from workers.slots import OwnSlot, Slots

SIZES = Sizes(workers=2, slots=3, rows_per_slot=4, routes=3)
CRASHED = 2  # the index of 1006

ROUTE = st.integers(0, SIZES.routes - 1)
COUNT = st.integers(0, 2**40)
USER = st.sampled_from(["", "kim", "ada"])


@dataclass
class Connection:
    """What the model knows of an open connection."""

    row: int
    route: int
    user: str
    counts: tuple[int, int, int, int, int] | None = None
    is_closing: bool = False


@dataclass
class Worker:
    """What the model knows of a worker, and what the worker itself has."""

    slot: int
    index: int
    generation: int
    own: OwnSlot
    rows: SlotRows
    table: CounterTable
    state: SlotState = SlotState.STARTING
    connections: dict[str, Connection] = field(default_factory=dict)


class Machine(RuleBasedStateMachine):
    """Steps and what must hold after each."""

    def __init__(self) -> None:
        super().__init__()
        self.segment = private(SIZES)
        self.slots = Slots(self.segment)
        self.workers: dict[int, Worker] = {}
        self.expected: dict[tuple[int, int], Block] = {}
        self.generation = 0
        self.fuse = Fuse()

    def block(self, worker: Worker, route: int) -> Block:
        return self.expected.setdefault((worker.slot, route), Block())

    def some(self, choice: int) -> Worker:
        return list(self.workers.values())[choice % len(self.workers)]

    def connection(self, choice: int) -> tuple[Worker, str, Connection] | None:
        found = [
            (worker, id, connection)
            for worker in self.workers.values()
            for id, connection in worker.connections.items()
        ]
        return found[choice % len(found)] if found else None

    # Workers

    @initialize()
    def start_all(self) -> None:
        for index in range(SIZES.workers):
            self.start(index)

    @rule(index=st.integers(0, SIZES.workers - 1))
    def start(self, index: int) -> None:
        self.generation += 1
        if len(self.workers) == SIZES.slots:
            with pytest.raises(SegmentError):
                self.slots.assign(index, self.generation)
            return
        slot = self.slots.assign(index, self.generation)
        assert slot not in self.workers
        with fused(self.segment, self.fuse):
            own = OwnSlot(self.segment, slot)
            rows = SlotRows(self.segment, slot, self.generation)
            table = CounterTable(self.segment, slot)
            for route in range(SIZES.routes):
                table.route(route)
        self.workers[slot] = Worker(slot, index, self.generation, own, rows, table)

    @precondition(lambda self: self.workers)
    @rule(choice=COUNT, state=st.sampled_from([SlotState.READY, SlotState.DRAINING]))
    def say(self, choice: int, state: SlotState) -> None:
        worker = self.some(choice)
        worker.own.set_state(state)
        worker.state = state

    @precondition(lambda self: self.workers)
    @rule(choice=COUNT)
    def die(self, choice: int) -> None:
        self.bury(self.some(choice))

    def bury(self, worker: Worker) -> None:
        """Reap a worker that has ended, as the supervisor does."""
        del self.workers[worker.slot]
        others = sum(len(other.connections) for other in self.workers.values())
        expected = Reaped(len(worker.connections), count_rows(self.segment) - others)
        self.slots.mark_dead(worker.slot)
        assert self.reap(worker) == expected
        assert self.reap(worker) == Reaped(0, 0)
        self.slots.release(worker.slot)
        for connection in worker.connections.values():
            block = self.block(worker, connection.route)
            block.open -= 1
            block.closed[CRASHED * INITIATORS + CRASH] += 1

    def reap(self, worker: Worker) -> Reaped:
        now_ns = time.time_ns()
        return reap(self.segment, worker.slot, crash_code_index=CRASHED, now_ns=now_ns)

    @contextmanager
    def dying(self, stores: int) -> Iterator[None]:
        """Have the writer within die after so many stores, if it gets that far."""
        self.fuse.allowed = len(self.fuse.stores) + stores
        try:
            yield
        except Died:
            pass
        self.fuse.allowed = None

    @precondition(lambda self: self.workers)
    @rule(choice=COUNT, route=ROUTE, stores=st.integers(0, 30))
    def die_while_opening(self, choice: int, route: int, stores: int) -> None:
        worker, counters = self.some(choice), self.some(choice).table.route(route)
        if worker.rows.used == SIZES.rows_per_slot:
            return
        with self.dying(stores):
            worker.rows.claim(route, "client", "/path")
            counters.opened()
        block = self.block(worker, route)
        if self.read(worker, route).opened > block.opened:
            worker.connections["dying"] = Connection(0, route, "")
            block.opened += 1
            block.open += 1
        self.bury(worker)

    @rule(choice=COUNT, stores=st.integers(0, 10))
    def die_while_closing(self, choice: int, stores: int) -> None:
        if (found := self.connection(choice)) is None:
            return
        worker, id, connection = found
        with self.dying(stores):
            worker.table.route(connection.route).closed(0, CLIENT, 0.2)
            worker.rows.free(connection.row)
        block = self.block(worker, connection.route)
        if self.read(worker, connection.route).closed[CLIENT] > block.closed[CLIENT]:
            del worker.connections[id]
            block.closed[CLIENT] += 1
            block.open -= 1
        self.bury(worker)

    def read(self, worker: Worker, route: int) -> Block:
        return read_block(self.segment, worker.slot, route) or Block()

    # Connections

    @precondition(lambda self: self.workers)
    @rule(choice=COUNT, routes=st.lists(ROUTE, min_size=1, max_size=5), user=USER)
    def open(self, choice: int, routes: list[int], user: str) -> None:
        worker = self.some(choice)
        for route in routes:
            if len(worker.connections) == SIZES.rows_per_slot:
                with pytest.raises(RegistryFull):
                    worker.rows.claim(route, "client", "/path", user)
                return
            row = worker.rows.claim(route, "client", "/path", user)
            worker.table.route(route).opened()
            worker.connections[worker.rows.id_of(row)] = Connection(row, route, user)
            block = self.block(worker, route)
            block.opened += 1
            block.open += 1

    @rule(
        choice=COUNT,
        code=st.integers(0, 2),
        initiator=st.integers(0, INITIATORS - 1),
        duration_s=st.sampled_from([0.0, 0.2, 20_000.0]),
    )
    def close(self, choice: int, code: int, initiator: int, duration_s: float) -> None:
        if (found := self.connection(choice)) is None:
            return
        worker, id, connection = found
        worker.table.route(connection.route).closed(code, initiator, duration_s)
        worker.rows.free(connection.row)
        del worker.connections[id]
        block = self.block(worker, connection.route)
        block.open -= 1
        block.closed[code * INITIATORS + initiator] += 1

    @rule(choice=COUNT, counts=st.tuples(COUNT, COUNT, COUNT, COUNT, COUNT))
    def sweep(self, choice: int, counts: tuple[int, int, int, int, int]) -> None:
        if (found := self.connection(choice)) is None:
            return
        worker, _, connection = found
        _, messages_in, messages_out, bytes_in, bytes_out = connection.counts = counts
        worker.rows.update(connection.row, *counts)
        worker.table.route(connection.route).traffic(messages_in, bytes_in, messages_out, bytes_out)
        block = self.block(worker, connection.route)
        block.messages_in += messages_in
        block.messages_out += messages_out
        block.bytes_in += bytes_in
        block.bytes_out += bytes_out

    @rule(choice=COUNT, user=USER)
    def change(self, choice: int, user: str) -> None:
        if (found := self.connection(choice)) is None:
            return
        worker, _, connection = found
        connection.user, connection.is_closing = user, True
        worker.rows.set_user(connection.row, user)
        worker.rows.set_closing(connection.row)

    @precondition(lambda self: self.workers)
    @rule(choice=COUNT, route=ROUTE, at=st.integers(0, 7))
    def count(self, choice: int, route: int, at: int) -> None:
        worker = self.some(choice)
        counters, block = worker.table.route(route), self.block(worker, route)
        counters.refused(at)
        counters.slow(at)
        counters.limited(at)
        counters.error()
        block.refused[at] += 1
        block.slow[at] += 1
        block.limited[at] += 1
        block.errors += 1

    # What must hold

    @invariant()
    def counters_are_those_of_the_model(self) -> None:
        sums: dict[int, Block] = {}
        for (slot, route), expected in self.expected.items():
            block = read_block(self.segment, slot, route)
            if block is None:
                assert expected == Block()
                continue
            assert block.opened == block.open + sum(block.closed)
            assert sum(block.duration) == sum(block.closed)
            sums[route] = add(sums.get(route, Block()), block)
            block.duration, block.duration_sum_ns = Block().duration, 0
            assert block == expected
        assert totals(self.segment) == sums

    @invariant()
    def rows_are_those_of_the_model(self) -> None:
        rows = list(read_rows(self.segment))
        assert count_rows(self.segment) == len(rows)
        expected = {
            id: (worker, connection)
            for worker in self.workers.values()
            for id, connection in worker.connections.items()
        }
        assert {row.id for row in rows} == set(expected)
        for row in rows:
            worker, connection = expected[row.id]
            assert (row.slot, row.worker) == (worker.slot, worker.index)
            assert row.number == worker.slot * SIZES.rows_per_slot + connection.row
            assert self.segment.route_index(row.route) == connection.route
            assert (row.user, row.is_closing) == (connection.user, connection.is_closing)
            counts = (row.messages_in, row.messages_out, row.bytes_in, row.bytes_out)
            if connection.counts is None:
                assert counts == (0, 0, 0, 0)
            else:
                assert (row.received_ns, *counts) == connection.counts

    @invariant()
    def slots_are_those_of_the_model(self) -> None:
        for info in self.slots.all():
            worker = self.workers.get(info.number)
            if worker is None:
                assert (info.state, info.connections) == (SlotState.FREE, 0)
                continue
            assert (info.index, info.generation) == (worker.index, worker.generation)
            assert (info.state, info.connections) == (worker.state, len(worker.connections))
            assert worker.rows.used == len(worker.connections)

    @invariant()
    def open_connections_are_those_of_the_model(self) -> None:
        expected: Counter[tuple[int, int]] = Counter()
        for worker in self.workers.values():
            for connection in worker.connections.values():
                expected[connection.route, worker.index] += 1
        assert +Counter(totals_and_open(self.segment)[1]) == expected
