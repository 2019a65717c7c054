"""Owns the other process of tests on shared memory: it writes as fast as it can.

Usage: python -m tests.workers.memory_writer PATH SLOT ROLE
All that it writes at a time is derived from one number, so that a reader can tell a torn copy.
"""

import itertools
import random
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

from workers.counters import CounterTable
from workers.layout import CLIENT
from workers.publisher import Publisher
from workers.registry import SlotRows
from workers.room_tables import Kind
from workers.segment import Segment
from workers.slots import OwnSlot, Slots


def update(segment: Segment, slot: int) -> None:
    """Write all numbers of one row, again and again."""
    rows = SlotRows(segment, slot, 1)
    row = rows.claim(1, "client", "/path")
    for number in itertools.count():
        rows.update(row, number, number + 1, number + 2, number + 3, number + 4)


def claim(segment: Segment, slot: int) -> None:
    """Claim a row and free the one before, with other texts each time."""
    rows = SlotRows(segment, slot, 1)
    last = rows.claim(0, "0", "0", "0")
    for number in itertools.count(1):
        text = str(number % 10) * (1 + number % 40)
        row = rows.claim(number % 2, text, text, text)
        rows.free(last)
        last = row


def count(segment: Segment, slot: int) -> None:
    """Open and close connections, each with as many messages in as bytes out."""
    counters = CounterTable(segment, slot).route(1)
    for number in itertools.count():
        counters.opened()
        counters.traffic(number, 0, 0, number)
        counters.closed(number % 2, CLIENT, 0.5)


def beat(segment: Segment, slot: int) -> None:
    """Give signs of life."""
    own = OwnSlot(segment, slot)
    for number in itertools.count():
        own.beat(number, number)


def publish(segment: Segment, _: int) -> None:
    """Publish to two rooms and to all; payload and excluded ids are derived from the offset."""
    publisher = Publisher(segment)
    offsets = {"a": 0, "b": 0, None: 0}
    for room in itertools.cycle(offsets):
        offset = offsets[room] = offsets[room] + 1
        text = f"{offset}:" + str(offset % 10) * (offset % 200)
        excluded = [(offset, offset + 1)] * (offset % 3)
        publisher._lock.acquire_now()
        publisher.journal.repair()
        if room is None:
            publisher.journal.append_broadcast(0, Kind.TEXT, text.encode(), offset, excluded)
        else:
            entry = publisher.directory.enter(room.encode(), offset)
            publisher.journal.append(entry, Kind.TEXT, text.encode(), offset, excluded)
        publisher._lock.release()


def serve(segment: Segment, slot: int) -> None:
    """Do what a worker does, for connections that come and go at random."""
    generation = Slots(segment).info(slot).generation
    rows, table = SlotRows(segment, slot, generation), CounterTable(segment, slot)
    chance = random.Random(generation)
    held: deque[tuple[int, int]] = deque()
    while True:
        if len(held) < chance.randrange(1, 50):
            route = chance.randrange(3)
            held.append((rows.claim(route, "client", "/path", "user"), route))
            table.route(route).opened()
        else:
            row, route = held.popleft()
            table.route(route).closed(chance.randrange(2), CLIENT, 0.1)
            rows.free(row)


ROLES: dict[str, Callable[[Segment, int], None]] = {
    role.__name__: role for role in (update, claim, count, beat, publish, serve)
}

if __name__ == "__main__":
    ROLES[sys.argv[3]](Segment.attach(Path(sys.argv[1]), writable=True), int(sys.argv[2]))
