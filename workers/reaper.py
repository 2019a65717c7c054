"""Owns what becomes of what a dead worker counted and entered; knows not how it died.

It runs in the supervisor, once the process has been waited for: there is no other writer.
"""

from bisect import bisect_left
from dataclasses import dataclass

from workers.counters import DURATION_BUCKETS_S
from workers.layout import (
    BUCKETS,
    COUNTERS,
    CRASH,
    INITIATORS,
    ROW,
    SAID,
    RowState,
    changing,
    places,
)
from workers.memberships import end_all
from workers.registry import row_states
from workers.room_directory import RoomDirectory
from workers.segment import Segment
from workers.tallies import clear

_BLOCK = places(COUNTERS)
_ROW = places(ROW)
_SAID = places(SAID)
_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Reaped:
    """What a dead worker left: connections counted as crashed, and rows that are free now."""

    connections: int
    rows: int


def reap(segment: Segment, slot_number: int, *, crash_code_index: int, now_ns: int) -> Reaped:
    """Close what is open in a slot as crashed, end its memberships and tallies, free its rows.

    The rule is that of docs/topics/shared-memory.md. It may be run again at any time, also after
    it was interrupted: what has been done is not done twice.

    Args:
        now_ns: unix time.
    """
    taken = _taken_rows(segment, slot_number)
    connected_ns: dict[int, list[int]] = {}
    for row in taken:
        route = segment.words[row + _ROW["route"]]
        connected_ns.setdefault(route, []).append(segment.words[row + _ROW["connected_ns"]])
    connections = 0
    for route in range(len(segment.routes)):
        block = segment.layout.block(slot_number, route)
        if segment.words[block] != 0:
            durations_ns = [max(0, now_ns - since) for since in sorted(connected_ns.get(route, ()))]
            connections += _close(segment.words, block, crash_code_index, durations_ns)
    end_all(segment, slot_number)
    RoomDirectory(segment).leave_all(slot_number)
    for row in taken:
        segment.words[row + _ROW["state"]] = RowState.FREE
    said = segment.layout.said(slot_number)
    segment.words[said + _SAID["rows_high"]] = 0
    segment.words[said + _SAID["connections"]] = 0
    clear(segment, slot_number)
    return Reaped(connections, len(taken))


def _taken_rows(segment: Segment, slot: int) -> list[int]:
    """Return where the rows begin that are not free."""
    states = row_states(segment, slot)
    return [
        segment.layout.row(slot, row) for row, state in enumerate(states) if state != RowState.FREE
    ]


def _close(words: memoryview, block: int, code_index: int, durations_ns: list[int]) -> int:
    """Close the open connections of a block, and return how many these were.

    Each connection that was ever opened has a duration then, as long as there are rows to tell it.
    Of more rows than that, the oldest count: the newest may not have been opened yet.
    """
    opened = words[block + _BLOCK["opened"]]
    closed = block + _BLOCK["closed"]
    crashed = opened - sum(words[closed : block + _BLOCK["refused"]].tolist())
    duration = block + _BLOCK["duration"]
    unknown = opened - sum(words[duration : duration + BUCKETS].tolist())
    with changing(words, block):
        for duration_ns in durations_ns[:unknown]:
            bucket = bisect_left(DURATION_BUCKETS_S, duration_ns / _NS)
            words[duration + bucket] += 1
            words[block + _BLOCK["duration_sum_ns"]] += duration_ns
        words[closed + code_index * INITIATORS + CRASH] += crashed
        words[block + _BLOCK["open"]] = 0
    return crashed
