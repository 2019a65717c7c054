"""Owns the slots: which worker has which, and what it says of itself; starts no process."""

import struct
import time
from dataclasses import dataclass

from workers.layout import (
    ASSIGNED,
    ASSIGNED_WORDS,
    BLOCK_WORDS,
    COUNTERS,
    SAID,
    SLOT_WORDS,
    Assignment,
    SlotState,
    changing,
    fence,
    length,
    places,
    take,
)
from workers.segment import Segment, SegmentError

_ASSIGNED = places(ASSIGNED)
_SAID = places(SAID)
_OPEN = places(COUNTERS)["open"]
_ASSIGNED_STRUCT = struct.Struct(f"{ASSIGNED_WORDS}Q")
_BEGIN_AT_0 = (
    "heartbeat_ns",
    "lag_ns",
    "lag_max_ns",
    "outbox_messages",
    "outbox_bytes",
    "connections",
)
_SAID_STRUCT = struct.Struct(f"{SLOT_WORDS - ASSIGNED_WORDS}Q")


@dataclass(frozen=True, slots=True)
class SlotInfo:
    """A slot as a reader sees it.

    Attributes:
        number: of the slot; index, generation and pid are those of its worker.
        heartbeat_ns: by the monotonic clock; 0 before the first.
        started_ns: when the slot was assigned, in unix nanoseconds.
        lag_ns, lag_max_ns: how late the worker's loop was, now and at most.
        outbox_messages, outbox_bytes: what waits for peers that read slowly.
        connections: how many are open.
    """

    number: int
    index: int
    generation: int
    pid: int
    state: SlotState
    heartbeat_ns: int
    started_ns: int
    lag_ns: int
    lag_max_ns: int
    outbox_messages: int
    outbox_bytes: int
    connections: int


class Slots:
    """All slots: the supervisor assigns and frees them, any process reads them."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._words = segment.words
        self._layout = segment.layout

    def assign(self, index: int, generation: int) -> int:
        """Give a free slot to the worker that is about to be started; returns its number.

        Raises:
            SegmentError: no slot is free.
        """
        for number in range(self._layout.sizes.slots):
            at = self._layout.assigned(number)
            if self._words[at + _ASSIGNED["assignment"]] == Assignment.FREE:
                self._assign(at, index, generation)
                return number
        raise SegmentError("every slot is in use: wait until a worker has ended")

    def _assign(self, at: int, index: int, generation: int) -> None:
        words = self._words
        with changing(words, at):
            words[at + _ASSIGNED["index"]] = index
            words[at + _ASSIGNED["generation"]] = generation
            words[at + _ASSIGNED["pid"]] = 0
            words[at + _ASSIGNED["started_ns"]] = time.time_ns()
            words[at + _ASSIGNED["assignment"]] = Assignment.ASSIGNED

    def set_pid(self, number: int, pid: int) -> None:
        """Say which process has the slot."""
        self._words[self._layout.assigned(number) + _ASSIGNED["pid"]] = pid

    def mark_dead(self, number: int) -> None:
        """Say that the process has ended; the slot is then reaped and released."""
        self._words[self._layout.assigned(number) + _ASSIGNED["assignment"]] = Assignment.DEAD

    def release(self, number: int) -> None:
        """Make a slot free that has been reaped, or whose process was never started."""
        self._words[self._layout.assigned(number) + _ASSIGNED["assignment"]] = Assignment.FREE

    def info(self, number: int) -> SlotInfo:
        """Return what there is to know about a slot."""
        at = self._layout.assigned(number)
        assigned = _ASSIGNED_STRUCT.unpack(take(self._words, at, ASSIGNED_WORDS))
        _, assignment, index, generation, pid, started_ns, *_ = assigned
        said = _SAID_STRUCT.unpack(
            take(self._words, at + ASSIGNED_WORDS, SLOT_WORDS - ASSIGNED_WORDS)
        )
        if said[_SAID["generation"]] != generation:  # that was the slot's last worker
            said = (0, generation, SlotState.STARTING, *[0] * (length(SAID) - 3))
        _, _, state, heartbeat_ns, lag_ns, lag_max_ns, _, outbox_messages, outbox_bytes, *_ = said
        return SlotInfo(
            number=number,
            index=index,
            generation=generation,
            pid=pid,
            state=_state(assignment, state),
            heartbeat_ns=heartbeat_ns,
            started_ns=started_ns,
            lag_ns=lag_ns,
            lag_max_ns=lag_max_ns,
            outbox_messages=outbox_messages,
            outbox_bytes=outbox_bytes,
            connections=sum(open_words(self._segment, number)),
        )

    def all(self) -> list[SlotInfo]:
        """Return all slots by their number."""
        return [self.info(number) for number in range(self._layout.sizes.slots)]

    def in_use(self) -> list[SlotInfo]:
        """Return the slots that are not free."""
        return [slot for slot in self.all() if slot.state is not SlotState.FREE]


def _state(assignment: int, said: int) -> SlotState:
    if assignment == Assignment.ASSIGNED:
        return SlotState(said)
    return SlotState.DEAD if assignment == Assignment.DEAD else SlotState.FREE


def open_words(segment: Segment, slot: int) -> list[int]:
    """Return how many connections of a slot are open, by route."""
    start = segment.layout.block(slot, 0) + _OPEN
    stop = segment.layout.block(slot, segment.sizes.routes)
    return segment.words[start:stop:BLOCK_WORDS].tolist()


class OwnSlot:
    """A worker's voice in its slot."""

    def __init__(self, segment: Segment, number: int) -> None:
        """Begin as starting, in the name of the generation that the slot was assigned to."""
        start = segment.layout.said(number)
        self._words = segment.words[start : start + SLOT_WORDS - ASSIGNED_WORDS]
        generation = segment.words[segment.layout.assigned(number) + _ASSIGNED["generation"]]
        with changing(self._words, 0):
            self._words[_SAID["generation"]] = generation
            self._words[_SAID["state"]] = SlotState.STARTING
            for name in _BEGIN_AT_0:
                self._words[_SAID[name]] = 0

    def set_state(self, state: SlotState) -> None:
        """Say that this worker is ready, or draining."""
        self._words[_SAID["state"]] = state

    def beat(self, now_ns: int, lag_ns: int) -> None:
        """Give a sign of life at a monotonic time, and say how late the loop was."""
        words = self._words
        with changing(words, 0):
            words[_SAID["heartbeat_ns"]] = now_ns
            words[_SAID["lag_ns"]] = lag_ns
            words[_SAID["lag_max_ns"]] = max(lag_ns, words[_SAID["lag_max_ns"]])


def say_waiting(segment: Segment, slot: int, messages: int, size_bytes: int) -> None:
    """Say what waits for slow peers; for the slot's worker only."""
    at = segment.layout.said(slot)
    segment.words[at + _SAID["outbox_messages"]] = messages
    segment.words[at + _SAID["outbox_bytes"]] = size_bytes


class ConnectionCounts:
    """How many WebSockets each worker serves, handshakes under way included.

    They are for a limit on all workers: a worker says how many it would have, looks at the total,
    and says the old number again if that is too high. See docs/adr/0008 for why this order.
    """

    def __init__(self, segment: Segment) -> None:
        layout = segment.layout
        first = layout.said(0) + _SAID["connections"]
        self._words = segment.words[first : layout.blocks : SLOT_WORDS]  # one of each slot

    def say(self, slot: int, count: int) -> None:
        """Say how many the slot's worker serves, for that worker only; others see it at once."""
        self._words[slot] = count
        fence()

    def total(self) -> int:
        """Return how many WebSockets all workers serve."""
        return sum(self._words.tolist())
