"""Owns the tables of rooms, memberships and the journal; `layout` says where they lie.

A position in the journal is a number of words since the server's start. It only grows: the word is
in the ring at the position modulo the ring's size.
"""

from enum import IntEnum

from workers.fields import Field, length

NAME_BYTES = 255
LATENCY_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)

_LOCKED = "the holder of the journal's lock"
_WORKER = "the slot's worker"
_HEIR = "the slot's worker, after its death the reaper"


class EntryState(IntEnum):
    """The state word of a room's entry."""

    FREE = 0
    USED = 1
    GONE = 2  # free for another room, but a search goes on behind it


class Kind(IntEnum):
    """What a record of the journal carries."""

    PAD = 0  # nothing: the ring goes on at its beginning
    TEXT = 1
    BYTES = 2
    JSON = 3


KINDS = tuple(Kind)
"""By their numbers. `Kind(number)` takes as long as all else that reading a message does."""
# An enum's attribute takes as long as five of a module: for what each message looks at.
PAD, BYTES, USED = Kind.PAD, Kind.BYTES, EntryState.USED


# What a writer was about to change comes first, so that the next holder of the lock can take it
# back if the head was not moved. These are last_offset, last_position and last_ns, of a room or,
# under the same names, of all broadcasts: three words that follow each other.
JOURNAL = (
    Field("intent", 1, "", _LOCKED, "the word last_offset that is being changed; 0: none is"),
    Field("intent_head", 1, "position", _LOCKED, "the head when that is done"),
    Field("intent_offset", 1, "", _LOCKED, "last_offset before"),
    Field("intent_position", 1, "position", _LOCKED, "last_position before"),
    Field("intent_ns", 1, "unix ns", _LOCKED, "last_ns before"),
    Field("tail", 1, "position", _LOCKED, "the oldest record that is whole; moved before a store"),
    Field("head", 1, "position", _LOCKED, "where the next record begins; its store commits one"),
    Field("records", 1, "messages", _LOCKED, "ever committed"),
    Field("last_offset", 1, "messages", _LOCKED, "number of the last broadcast; 0: none"),
    Field("last_position", 1, "position", _LOCKED, "1 + that of the last broadcast; 0: none"),
    Field("last_ns", 1, "unix ns", _LOCKED, "when that was published"),
    Field("epochs", 1, "", _LOCKED, "how many rooms have been entered, ever"),
    Field("rooms", 1, "rooms", _LOCKED, "entries in use"),
    Field("evicted", 1, "rooms", _LOCKED, "entries taken from rooms without members, ever"),
)

RECORD = (
    Field("position", 1, "position", _LOCKED, "its own"),
    Field("words", 1, "words", _LOCKED, "its length, this header included"),
    Field("kind", 1, "Kind", _LOCKED, "of the payload"),
    Field("room", 1, "", _LOCKED, "1 + the room's entry; 0: a broadcast, or nothing"),
    Field("epoch", 1, "", _LOCKED, "of the room; of a broadcast the key of the route, 0 for all"),
    Field("offset", 1, "", _LOCKED, "in the room, or among broadcasts, from 1"),
    Field("previous", 1, "position", _LOCKED, "1 + that of the room's message before; 0: none"),
    Field("time_ns", 1, "unix ns", _LOCKED, "when it was published"),
    Field("excluded", 1, "", _LOCKED, "how many connections do not get it"),
    Field("size_bytes", 1, "bytes", _LOCKED, "of the payload"),
    # Then for each excluded connection its generation and number, then the payload.
)

ROOM = (
    Field("state", 1, "EntryState", _LOCKED, "the last word of an entry that is written"),
    Field("hash", 1, "", _LOCKED, "of the name"),
    Field("epoch", 1, "", _LOCKED, "no two rooms ever have the same; offsets are within it"),
    Field("last_offset", 1, "", _LOCKED, "of its last message; 0: there was none"),
    Field("last_position", 1, "position", _LOCKED, "1 + that of its last message; 0: none"),
    Field("last_ns", 1, "unix ns", _LOCKED, "when that was published, or the entry was made"),
    Field("name_length", 1, "bytes", _LOCKED, "of name"),
    Field("name", 32, "UTF-8", _LOCKED, "of the room"),
    # Then for each slot how many members its worker has; written by that, or by the reaper.
)

MEMBERSHIP = (
    Field("room", 1, "", _HEIR, "1 + the room's entry; 0: free"),
    Field("row", 1, "", _HEIR, "of the connection, within the slot"),
)

# What a slot's workers have done with the journal, ever; the slot's next worker goes on counting.
BUS = (
    Field("cursor", 1, "position", _WORKER, "up to where the worker has read"),
    Field("memberships_high", 1, "", _HEIR, "from here on none was used since the last reaping"),
    Field("published", 1, "messages", _WORKER, "published by it"),
    Field("delivered", 1, "messages", _WORKER, "handed to members"),
    Field("recovered", 1, "joins", _WORKER, "that got all they had missed"),
    Field("not_recovered", 1, "joins", _WORKER, "that could not get it"),
    Field("overruns", 1, "", _WORKER, "times that the ring overtook it"),
    Field("incomplete", 1, "memberships", _WORKER, "of members that missed messages then"),
    Field("latency", len(LATENCY_BUCKETS_S) + 1, "messages", _WORKER, "by publish to hand over"),
    Field("latency_sum_ns", 1, "ns", _WORKER, "the sum of that"),
)

JOURNAL_WORDS = length(JOURNAL)
RECORD_WORDS = length(RECORD)
ROOM_WORDS = length(ROOM)
MEMBERSHIP_WORDS = length(MEMBERSHIP)
BUS_WORDS = length(BUS)
