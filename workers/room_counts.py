"""Owns the reading of what was counted about rooms and the journal; knows no room by its name."""

from dataclasses import dataclass

from workers.fields import WORD_BYTES, places
from workers.journal import Journal
from workers.room_directory import RoomDirectory
from workers.room_tables import BUS, BUS_WORDS, LATENCY_BUCKETS_S
from workers.segment import Segment

_AT = places(BUS)
_CURSOR, _LATENCY = _AT["cursor"], _AT["latency"]


@dataclass(frozen=True, slots=True)
class RoomCounts:
    """What all workers that there ever were have done, added up; none of it ever shrinks.

    Not by worker: a slot goes on counting when another worker gets it.

    Attributes:
        published, delivered: messages, to rooms and broadcast.
        recovered, not_recovered: joins that asked for what they had missed.
        overruns: times that the ring overtook a worker.
        incomplete: memberships that missed messages then.
        latency: messages by the time from publishing to handing over, as LATENCY_BUCKETS_S.
        latency_sum_ns: the sum of those times.
    """

    published: int
    delivered: int
    recovered: int
    not_recovered: int
    overruns: int
    incomplete: int
    latency: list[int]
    latency_sum_ns: int


def room_counts(segment: Segment) -> RoomCounts:
    """Return what all slots have counted."""
    blocks = []
    for slot in range(segment.sizes.slots):
        at = segment.layout.bus_of(slot)
        blocks.append(segment.words[at : at + BUS_WORDS].tolist())
    sums = [sum(column) for column in zip(*blocks, strict=True)]
    return RoomCounts(
        published=sums[_AT["published"]],
        delivered=sums[_AT["delivered"]],
        recovered=sums[_AT["recovered"]],
        not_recovered=sums[_AT["not_recovered"]],
        overruns=sums[_AT["overruns"]],
        incomplete=sums[_AT["incomplete"]],
        latency=sums[_LATENCY : _LATENCY + len(LATENCY_BUCKETS_S) + 1],
        latency_sum_ns=sums[_AT["latency_sum_ns"]],
    )


@dataclass(frozen=True, slots=True)
class RingState:
    """The journal and the directory at this moment.

    Attributes:
        messages: ever committed, to rooms and broadcast, by whomever.
        written_bytes: what they took, ever, with their headers.
        used_bytes, capacity_bytes: of the ring; the oldest of what is used makes way for more.
        rooms, rooms_capacity: entries of the directory, with members or without.
        evicted: rooms without members that made way for others, ever.
    """

    messages: int
    written_bytes: int
    used_bytes: int
    capacity_bytes: int
    rooms: int
    rooms_capacity: int
    evicted: int


def ring_state(segment: Segment) -> RingState:
    """Return how full the journal and the directory are."""
    journal, directory = Journal(segment), RoomDirectory(segment)
    tail, head = journal.tail, journal.head
    return RingState(
        messages=journal.records,
        written_bytes=head * WORD_BYTES,
        used_bytes=min(head - tail, segment.sizes.ring_words) * WORD_BYTES,
        capacity_bytes=segment.sizes.ring_words * WORD_BYTES,
        rooms=directory.used(),
        rooms_capacity=directory.capacity,
        evicted=directory.evicted(),
    )


def lag_bytes(segment: Segment, slot: int) -> int:
    """Return how much of the journal a slot's worker has yet to read, of what is still there."""
    journal = Journal(segment)
    cursor = segment.words[segment.layout.bus_of(slot) + _CURSOR]
    tail, head = journal.tail, journal.head
    return max(0, head - max(cursor, tail)) * WORD_BYTES
