"""Owns where every word of the segment lies and who writes it; knows no file and no mapping.

The tables are data, in the manner of the header of h11's state machine: everything else is
computed from them. Offsets are in words unless a name says bytes. See docs/topics/shared-memory.md.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from enum import IntEnum
from typing import NamedTuple

from workers.fields import WORD_BYTES as WORD_BYTES
from workers.fields import Field as Field
from workers.fields import length as length
from workers.fields import places as places
from workers.room_tables import BUS_WORDS, JOURNAL_WORDS, MEMBERSHIP_WORDS, ROOM_WORDS

MAGIC = 0x6462_6863_7469_7773  # "switchbd", which also tells the byte order
VERSION = 3

# Index spaces: how many there may be at most.
CODES = 72
INITIATORS = 3
STATUSES = 32
BUCKETS = 20  # of a histogram, the one without an upper bound included
POLICIES = 8
LIMITS_MAX = 24
WORKERS = 256
TALLY_KINDS = 2
TALLY_ROWS = 3  # counters that each key has in a sketch

CLIENT, SERVER, CRASH = 0, 1, 2  # initiators of a close
OTHER = 0  # the index of the label for routes, codes and statuses that have none


class ServerState(IntEnum):
    """What the supervisor says of the server as a whole."""

    STARTING = 0
    SERVING = 1
    DRAINING = 2
    STOPPED = 3


class SlotState(IntEnum):
    """What a reader makes of a slot from the supervisor's word and the worker's."""

    FREE = 0
    STARTING = 1
    READY = 2
    DRAINING = 3
    DEAD = 4


class Assignment(IntEnum):
    """The supervisor's word on a slot."""

    FREE = 0
    ASSIGNED = 1
    DEAD = 2


class RowState(IntEnum):
    """The state word of a connection's row."""

    FREE = 0
    OPEN = 1
    CLOSING = 2


class TallyKind(IntEnum):
    """What connections are tallied by."""

    IP = 0
    USER = 1


_SUPERVISOR = "supervisor"
_WORKER = "its worker"
_HEIR = "its worker, after its death the reaper"

# The first five keep their places in every version: by them a directory is judged.
HEADER = (
    Field("magic", 1, "", _SUPERVISOR, "written last: before that the file is no segment"),
    Field("version", 1, "", _SUPERVISOR, "of these tables"),
    Field("supervisor_pid", 1, "", _SUPERVISOR, "its process id"),
    Field("supervisor_started", 1, "ticks", _SUPERVISOR, "since boot; tells a pid used again"),
    Field("pid_namespace", 1, "inode", _SUPERVISOR, "where the pid means something; 0 unknown"),
    Field("size_bytes", 1, "bytes", _SUPERVISOR, "of the file"),
    Field("workers", 1, "", _SUPERVISOR, "how many serve at a time"),
    Field("slots", 1, "", _SUPERVISOR, "how many there are"),
    Field("rows_per_slot", 1, "rows", _SUPERVISOR, "connections that a worker can have"),
    Field("routes", 1, "", _SUPERVISOR, "room for labels, `other` included"),
    Field("rooms", 1, "rooms", _SUPERVISOR, "room for entries of rooms"),
    Field("memberships_per_slot", 1, "", _SUPERVISOR, "room for memberships of a worker's"),
    Field("ring_words", 1, "words", _SUPERVISOR, "of the journal's ring"),
    Field("created_ns", 1, "unix ns", _SUPERVISOR, "when the segment was made"),
    Field("epoch", 1, "", _SUPERVISOR, "63 random bits: offsets of another epoch mean nothing"),
    Field("salt", 2, "", _SUPERVISOR, "128 random bits: the secret that tallies are hashed with"),
    Field("server_state", 1, "ServerState", _SUPERVISOR, "of the server as a whole"),
    Field("port", 1, "", _SUPERVISOR, "where clients connect"),
    Field("admin_port", 1, "", _SUPERVISOR, "where metrics are; 0 nowhere"),
    Field("routes_used", 1, "", _SUPERVISOR, "labels written; raised after the label is there"),
    Field("codes_used", 1, "", _SUPERVISOR, "entries of codes"),
    Field("statuses_used", 1, "", _SUPERVISOR, "entries of statuses"),
    Field("reloads_done", 1, "", _SUPERVISOR, "reloads that replaced every worker"),
    Field("reloads_failed", 1, "", _SUPERVISOR, "reloads that were given up"),
    Field("restarts", WORKERS, "", _SUPERVISOR, "of each worker, by its index"),
    Field("codes", CODES, "", _SUPERVISOR, "close codes by their index; the first is `other`"),
    Field("statuses", STATUSES, "", _SUPERVISOR, "HTTP statuses by index; the first is `other`"),
    Field("app", 32, "text", _SUPERVISOR, "the reference of the app"),
    Field("host", 8, "text", _SUPERVISOR, "the address that clients connect to"),
)

# A text is a word with its length in bytes and then UTF-8. One label for each route.
LABEL = (Field("name", 16, "text", _SUPERVISOR, "of a route"),)

# A slot: first what the supervisor writes, then what its worker does; each has its sequence.
ASSIGNED = (
    Field("sequence", 1, "", _SUPERVISOR, "odd while it is being written"),
    Field("assignment", 1, "Assignment", _SUPERVISOR, "free, assigned or dead"),
    Field("index", 1, "", _SUPERVISOR, "of the worker"),
    Field("generation", 1, "", _SUPERVISOR, "of the worker; no two are alike in an epoch"),
    Field("pid", 1, "", _SUPERVISOR, "of the worker; 0 before it is known"),
    Field("started_ns", 1, "unix ns", _SUPERVISOR, "when the slot was assigned"),
    Field("spare", 2, "", _SUPERVISOR, "0"),
)
SAID = (
    Field("sequence", 1, "", _WORKER, "odd while it is being written"),
    Field("generation", 1, "", _WORKER, "who says this: only the generation assigned counts"),
    Field("state", 1, "SlotState", _WORKER, "starting, ready or draining"),
    Field("heartbeat_ns", 1, "monotonic ns", _WORKER, "its last sign of life"),
    Field("lag_ns", 1, "ns", _WORKER, "how late its loop was then"),
    Field("lag_max_ns", 1, "ns", _WORKER, "the most that it has been late"),
    Field("rows_high", 1, "rows", _HEIR, "from here on none was used since the last reaping"),
    Field("outbox_messages", 1, "messages", _WORKER, "that wait for slow peers"),
    Field("outbox_bytes", 1, "bytes", _WORKER, "that wait for slow peers"),
    Field("connections", 1, "", _HEIR, "WebSockets it serves, handshakes under way included"),
    Field("tallied", TALLY_KINDS, "", _HEIR, "by kind: 1 if its sketch may hold more than zeros"),
)

COUNTERS = (
    Field("sequence", 1, "", _HEIR, "odd while it is being written; 0: never written"),
    Field("opened", 1, "connections", _HEIR, "ever"),
    Field("open", 1, "connections", _HEIR, "now: opened - the sum of closed"),
    Field("closed", CODES * INITIATORS, "connections", _HEIR, "at code * INITIATORS + initiator"),
    Field("refused", STATUSES, "handshakes", _HEIR, "by status"),
    Field("messages_in", 1, "messages", _HEIR, "received"),
    Field("messages_out", 1, "messages", _HEIR, "sent"),
    Field("bytes_in", 1, "bytes", _HEIR, "received"),
    Field("bytes_out", 1, "bytes", _HEIR, "sent"),
    Field("errors", 1, "errors", _HEIR, "of handlers"),
    Field("slow", POLICIES, "actions", _HEIR, "against slow consumers, by policy"),
    Field("limited", LIMITS_MAX, "", _HEIR, "what a limit has stopped, by limit"),
    Field("duration", BUCKETS, "connections", _HEIR, "closed, by how long they were open"),
    Field("duration_sum_ns", 1, "ns", _HEIR, "the sum of that"),
    Field("handling", BUCKETS, "messages", _HEIR, "handled, by how long that took"),
    Field("handling_sum_ns", 1, "ns", _HEIR, "the sum of that"),
)

ROW = (
    Field("sequence", 1, "", _HEIR, "odd while it is being written"),
    Field("state", 1, "RowState", _HEIR, "free, open or closing; the last word of a claim"),
    Field("generation", 1, "", _HEIR, "of the worker"),
    Field("id", 1, "", _HEIR, "of the connection within the generation"),
    Field("route", 1, "", _HEIR, "index of its label"),
    Field("connected_ns", 1, "unix ns", _HEIR, "when it was claimed"),
    Field("received_ns", 1, "unix ns", _HEIR, "when the last message came"),
    Field("messages_in", 1, "messages", _HEIR, "received"),
    Field("messages_out", 1, "messages", _HEIR, "sent"),
    Field("bytes_in", 1, "bytes", _HEIR, "received"),
    Field("bytes_out", 1, "bytes", _HEIR, "sent"),
    Field("client_length", 1, "bytes", _HEIR, "of client"),
    Field("user_length", 1, "bytes", _HEIR, "of user"),
    Field("path_length", 1, "bytes", _HEIR, "of path"),
    Field("spare", 2, "", _HEIR, "0"),
    Field("client", 6, "UTF-8", _HEIR, "its address"),
    Field("user", 8, "UTF-8", _HEIR, "user id; empty if there is none"),
    Field("path", 10, "UTF-8", _HEIR, "of the request, without its query"),
)

# A tally is no table: for each slot and kind TALLY_ROWS rows of so many counters as
# `Layout.tally_columns` says, 32 bits each. Its writer is the slot's worker, then the reaper.
TALLY_COUNTER_BYTES = 4


HEADER_WORDS = length(HEADER)
LABEL_WORDS = length(LABEL)
ASSIGNED_WORDS = length(ASSIGNED)
SLOT_WORDS = ASSIGNED_WORDS + length(SAID)
BLOCK_WORDS = length(COUNTERS)
ROW_WORDS = length(ROW)


class Labels(NamedTuple):
    """What counters are counted by, beside `other`, which is always there."""

    routes: Sequence[str]
    codes: Sequence[int]
    statuses: Sequence[int]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many of each a segment has room for; all at least 1, workers at most WORKERS.

    Attributes:
        rooms: that the directory holds; it has half as many entries more.
        memberships_per_slot: of the connections of one worker, over all rooms.
        ring_words: of the journal, at least 512.
    """

    workers: int
    slots: int
    rows_per_slot: int
    routes: int
    rooms: int = 64
    memberships_per_slot: int = 256
    ring_words: int = 1 << 16

    def __post_init__(self) -> None:
        """Raises ValueError: a number is out of its range."""
        if min(astuple(self)) < 1 or self.workers > WORKERS or self.ring_words < 512:
            raise ValueError(f"a segment cannot have {self}")


class Layout:
    """Where everything begins in a segment of these sizes: the parts follow each other."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.labels = HEADER_WORDS
        self.slots = self.labels + sizes.routes * LABEL_WORDS
        self.blocks = self.slots + sizes.slots * SLOT_WORDS
        self.rows = self.blocks + sizes.slots * sizes.routes * BLOCK_WORDS
        self.tallies = self.rows + sizes.slots * sizes.rows_per_slot * ROW_WORDS
        # At least four for each connection, and a power of two, so that a mask takes a column.
        self.tally_columns = 1 << (4 * sizes.rows_per_slot - 1).bit_length()
        self.tally_words = TALLY_ROWS * self.tally_columns * TALLY_COUNTER_BYTES // WORD_BYTES
        self.bus = self.tallies + sizes.slots * TALLY_KINDS * self.tally_words
        self.memberships = self.bus + sizes.slots * BUS_WORDS
        self.rooms = self.memberships + sizes.slots * sizes.memberships_per_slot * MEMBERSHIP_WORDS
        self.room_words = ROOM_WORDS + sizes.slots
        self.room_entries = sizes.rooms + sizes.rooms // 2 + 1  # so that searches are short
        self.journal = self.rooms + self.room_entries * self.room_words
        self.ring = self.journal + JOURNAL_WORDS
        self.size_bytes = WORD_BYTES * (self.ring + sizes.ring_words)

    def label(self, route: int) -> int:
        """Return where the label of a route begins."""
        return self.labels + route * LABEL_WORDS

    def assigned(self, slot: int) -> int:
        """Return where the supervisor's part of a slot begins."""
        return self.slots + slot * SLOT_WORDS

    def said(self, slot: int) -> int:
        """Return where the worker's part of a slot begins."""
        return self.assigned(slot) + ASSIGNED_WORDS

    def block(self, slot: int, route: int) -> int:
        """Return where the counters of a slot and route begin; those of a slot are adjacent."""
        return self.blocks + (slot * self.sizes.routes + route) * BLOCK_WORDS

    def row(self, slot: int, row: int) -> int:
        """Return where a connection's row begins; those of a slot are adjacent."""
        return self.rows + (slot * self.sizes.rows_per_slot + row) * ROW_WORDS

    def tally(self, slot: int, kind: int) -> int:
        """Return where a slot's tally of a kind begins; those of a slot are adjacent."""
        return self.tallies + (slot * TALLY_KINDS + kind) * self.tally_words

    def bus_of(self, slot: int) -> int:
        """Return where a slot's words on the journal begin."""
        return self.bus + slot * BUS_WORDS

    def membership(self, slot: int, number: int) -> int:
        """Return where a membership begins; those of a slot are adjacent."""
        of_slot = slot * self.sizes.memberships_per_slot + number
        return self.memberships + of_slot * MEMBERSHIP_WORDS

    def room(self, entry: int) -> int:
        """Return where a room's entry begins."""
        return self.rooms + entry * self.room_words

    def room_members(self, entry: int, slot: int) -> int:
        """Return the word that counts the members a slot has in a room."""
        return self.room(entry) + ROOM_WORDS + slot


def cut(text: str, size_bytes: int) -> bytes:
    """Return the text as UTF-8, without the characters that do not fit."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= size_bytes:
        return encoded
    return encoded[:size_bytes].decode("utf-8", "ignore").encode()


@contextmanager
def changing(words: memoryview, sequence: int) -> Iterator[None]:
    """Write what belongs together: its sequence word, at `sequence`, is odd meanwhile.

    It stays odd if the writing fails, as if the writer had died; the next to write puts it right.
    """
    odd = words[sequence] | 1
    words[sequence] = odd
    yield
    words[sequence] = odd + 1


_fence = threading.Lock()


def fence() -> None:
    """Have all that this process has stored be seen before what it reads from here on.

    A processor keeps stores back for a moment, while it reads on. To take a lock, which this
    does, is an instruction that it never does with stores kept back.
    """
    with _fence:
        pass


_HASTY_TRIES = 20
_PATIENT_TRIES = 200
_PAUSE_S = 0.0002


def take(words: memoryview, start: int, count: int) -> bytes:
    """Return a copy of words that belong together; the first of them is their sequence.

    It waits up to about 50 ms for a writer. Then the writer has died half way, most likely, and
    the copy is as good as it gets. This relies on stores being seen in their order, which x86-64
    promises; on ARM a copy may, rarely, be of two moments. (The reaper does not rely on it.)
    """
    view = words[start : start + count]
    for attempt in range(_HASTY_TRIES + _PATIENT_TRIES):
        sequence = view[0]
        if not sequence & 1:
            copy = bytes(view)
            if view[0] == sequence:
                return copy
        if attempt >= _HASTY_TRIES:
            time.sleep(_PAUSE_S)
    return bytes(view)
