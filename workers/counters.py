"""Owns the counters of each slot and route, for writing and for reading; knows no metric names."""

import struct
import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from workers.layout import (
    BLOCK_WORDS,
    CODES,
    COUNTERS,
    INITIATORS,
    LIMITS_MAX,
    POLICIES,
    STATUSES,
    WORD_BYTES,
    places,
    take,
)
from workers.segment import Segment
from workers.slots import Slots

# Upper bounds in seconds; a value equal to one is below it. The last bucket has none.
DURATION_BUCKETS_S = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1800, 3600, 14400)
HANDLING_BUCKETS_S = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005),
    *(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)

_NS = 1_000_000_000
_AT = places(COUNTERS)
_OPENED, _OPEN, _CLOSED = _AT["opened"], _AT["open"], _AT["closed"]
_MESSAGES_IN, _MESSAGES_OUT = _AT["messages_in"], _AT["messages_out"]
_BYTES_IN, _BYTES_OUT = _AT["bytes_in"], _AT["bytes_out"]
_REFUSED, _ERRORS, _SLOW = _AT["refused"], _AT["errors"], _AT["slow"]
_LIMITED = _AT["limited"]
_DURATION, _DURATION_SUM = _AT["duration"], _AT["duration_sum_ns"]
_HANDLING, _HANDLING_SUM = _AT["handling"], _AT["handling_sum_ns"]
_BLOCK = struct.Struct(f"{BLOCK_WORDS}Q")
_OPENED_AND_OPEN = struct.Struct("2Q")


class RouteCounters:
    """The writer of one slot's counters for one route; not for two threads at once.

    Each method is a few stores between two of the sequence word. If one fails, the sequence stays
    odd until the next, as if the worker had died there.
    """

    __slots__ = ("_words",)

    def __init__(self, words: memoryview) -> None:
        self._words = words

    def opened(self) -> None:
        """Count a connection as open; its row is there already."""
        words = self._words
        odd = words[0] | 1
        words[0] = odd
        words[_OPENED] += 1
        words[_OPEN] += 1
        words[0] = odd + 1

    def closed(self, code_index: int, initiator: int, duration_s: float) -> None:
        """Count an open connection as closed; its row is freed after this."""
        words = self._words
        at = _CLOSED + code_index * INITIATORS + initiator
        bucket = _DURATION + bisect_left(DURATION_BUCKETS_S, duration_s)
        odd = words[0] | 1
        words[0] = odd
        words[at] += 1
        words[_OPEN] -= 1
        words[bucket] += 1
        words[_DURATION_SUM] += int(duration_s * _NS)
        words[0] = odd + 1

    def refused(self, status_index: int) -> None:
        """Count a handshake that was answered with an HTTP status."""
        self._count(_REFUSED + status_index)

    def error(self) -> None:
        """Count an error of a handler."""
        self._count(_ERRORS)

    def slow(self, policy_index: int) -> None:
        """Count an action against a slow consumer."""
        self._count(_SLOW + policy_index)

    def limited(self, limit_index: int) -> None:
        """Count what a limit has stopped."""
        self._count(_LIMITED + limit_index)

    def _count(self, at: int) -> None:
        words = self._words
        odd = words[0] | 1
        words[0] = odd
        words[at] += 1
        words[0] = odd + 1

    def traffic(self, messages_in: int, bytes_in: int, messages_out: int, bytes_out: int) -> None:
        """Add what connections received and sent since the last time."""
        words = self._words
        odd = words[0] | 1
        words[0] = odd
        words[_MESSAGES_IN] += messages_in
        words[_BYTES_IN] += bytes_in
        words[_MESSAGES_OUT] += messages_out
        words[_BYTES_OUT] += bytes_out
        words[0] = odd + 1

    def handled(self, duration_s: float) -> None:
        """Count a message by how long its handler took."""
        words = self._words
        bucket = _HANDLING + bisect_left(HANDLING_BUCKETS_S, duration_s)
        odd = words[0] | 1
        words[0] = odd
        words[bucket] += 1
        words[_HANDLING_SUM] += int(duration_s * _NS)
        words[0] = odd + 1


class CounterTable:
    """The counters of one slot."""

    def __init__(self, segment: Segment, slot: int) -> None:
        self._segment = segment
        self._slot = slot
        self._routes: dict[int, RouteCounters] = {}

    def route(self, index: int) -> RouteCounters:
        """Return the writer for a route."""
        counters = self._routes.get(index)
        if counters is None:
            start = self._segment.layout.block(self._slot, index)
            counters = RouteCounters(self._segment.words[start : start + BLOCK_WORDS])
            self._routes[index] = counters
        return counters


@dataclass(slots=True)
class Block:
    """Counters as they were at one instant; `Block()` is all zeros.

    Attributes:
        closed: at code index * INITIATORS + initiator.
        refused, slow, limited: by the index of the status, of the policy, of the limit.
        duration, handling: how many were within each bucket alone, the last without a bound.
    """

    opened: int = 0
    open: int = 0
    closed: list[int] = field(default_factory=lambda: [0] * (CODES * INITIATORS))
    refused: list[int] = field(default_factory=lambda: [0] * STATUSES)
    messages_in: int = 0
    messages_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    errors: int = 0
    slow: list[int] = field(default_factory=lambda: [0] * POLICIES)
    limited: list[int] = field(default_factory=lambda: [0] * LIMITS_MAX)
    duration: list[int] = field(default_factory=lambda: [0] * (len(DURATION_BUCKETS_S) + 1))
    duration_sum_ns: int = 0
    handling: list[int] = field(default_factory=lambda: [0] * (len(HANDLING_BUCKETS_S) + 1))
    handling_sum_ns: int = 0


_NAMES = [part.name for part in fields(Block)]


def _block(values: Sequence[int]) -> Block:
    """Return the block whose words these are."""
    return Block(
        opened=values[_OPENED],
        open=values[_OPEN],
        closed=list(values[_CLOSED:_REFUSED]),
        refused=list(values[_REFUSED : _REFUSED + STATUSES]),
        messages_in=values[_MESSAGES_IN],
        messages_out=values[_MESSAGES_OUT],
        bytes_in=values[_BYTES_IN],
        bytes_out=values[_BYTES_OUT],
        errors=values[_ERRORS],
        slow=list(values[_SLOW : _SLOW + POLICIES]),
        limited=list(values[_LIMITED : _LIMITED + LIMITS_MAX]),
        duration=list(values[_DURATION : _DURATION + len(DURATION_BUCKETS_S) + 1]),
        duration_sum_ns=values[_DURATION_SUM],
        handling=list(values[_HANDLING : _HANDLING + len(HANDLING_BUCKETS_S) + 1]),
        handling_sum_ns=values[_HANDLING_SUM],
    )


def _values(segment: Segment, slot: int, route: int) -> tuple[int, ...] | None:
    start = segment.layout.block(slot, route)
    if segment.words[start] == 0:
        return None
    return _BLOCK.unpack(_copy(segment, start))


def _copy(segment: Segment, start: int) -> bytes:
    """Return a copy of a block in which the books balance, also if its writer died half way.

    What is open then is what the reaper will come to.
    """
    copy = take(segment.words, start, BLOCK_WORDS)
    words = memoryview(bytearray(copy)).cast("Q")
    if not words[0] & 1:
        return copy
    words[_OPEN] = max(0, words[_OPENED] - sum(words[_CLOSED:_REFUSED]))
    return words.tobytes()


def read_block(segment: Segment, slot: int, route: int) -> Block | None:
    """Return the counters of a slot and route; None if nothing was ever counted there."""
    values = _values(segment, slot, route)
    return None if values is None else _block(values)


def add(a: Block, b: Block) -> Block:
    """Return the sum of two blocks."""
    total = Block()
    for name in _NAMES:
        x, y = getattr(a, name), getattr(b, name)
        both = x + y if isinstance(x, int) else [p + q for p, q in zip(x, y, strict=True)]
        setattr(total, name, both)
    return total


def totals(segment: Segment) -> dict[int, Block]:
    """Return the sum over all slots by route index; routes where nothing was counted lack."""
    return totals_and_open(segment)[0]


def totals_and_open(segment: Segment) -> tuple[dict[int, Block], dict[tuple[int, int], int]]:
    """Return the totals, and how many connections are open by (route index, worker index).

    Both are from one reading: for each route, what is open adds up to its total. A pair is there
    as soon as a slot of the worker has had a connection on the route.
    """
    found: dict[int, Block] = {}
    opened: dict[tuple[int, int], int] = {}
    workers = [slot.index for slot in Slots(segment).all()]
    for route in range(len(segment.routes)):
        total = 0
        for slot, worker in enumerate(workers):
            start = segment.layout.block(slot, route)
            if segment.words[start] == 0:
                continue
            copy = _copy(segment, start)
            # As one long number: words are added side by side, for none of them overflows.
            total += int.from_bytes(copy, sys.byteorder)
            ever, now = _OPENED_AND_OPEN.unpack_from(copy, _OPENED * WORD_BYTES)
            if ever:
                opened[route, worker] = opened.get((route, worker), 0) + now
        if total:
            words = total.to_bytes(BLOCK_WORDS * WORD_BYTES, sys.byteorder)
            found[route] = _block(_BLOCK.unpack(words))
    return found, opened
