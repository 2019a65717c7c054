"""Owns the tallies: how many connections an address or a user has on all workers; knows no limit.

A tally is a count-min sketch of one slot and kind. It may count too many and never too few; how
often, and why the tallies are made this way, is told in docs/adr/0008.
"""

import struct
from hashlib import blake2b

from workers.layout import (
    SAID,
    TALLY_COUNTER_BYTES,
    TALLY_KINDS,
    TALLY_ROWS,
    WORD_BYTES,
    TallyKind,
    fence,
    places,
)
from workers.segment import Segment

_TALLIED = places(SAID)["tallied"]
_HASHES = struct.Struct(f"={TALLY_ROWS}I")


class Tallies:
    """The tallies of all slots, for any process to read."""

    def __init__(self, segment: Segment) -> None:
        layout = segment.layout
        start, stop = layout.tally(0, 0), layout.tally(segment.sizes.slots, 0)
        self._counts = segment.bytes[start * WORD_BYTES : stop * WORD_BYTES].cast("I")
        self._of_slot = (stop - start) // segment.sizes.slots * WORD_BYTES // TALLY_COUNTER_BYTES
        self._columns = layout.tally_columns
        self._hash = blake2b(key=segment.salt, digest_size=_HASHES.size)

    def count(self, kind: TallyKind, key: str) -> int:
        """Return how many connections have the key, on all workers; maybe too many."""
        counts, step = self._counts, self._of_slot
        first, second, third = self._places(kind, key)
        # One list for each row, with the counters of all slots side by side.
        rows = counts[first::step].tolist(), counts[second::step].tolist()
        return sum(map(min, *rows, counts[third::step].tolist()))

    def _places(self, kind: TallyKind, key: str) -> tuple[int, int, int]:
        """Return where in a slot the counters of a key are, one in each row."""
        keyed = self._hash.copy()  # a third of what it costs to make one with its key
        keyed.update(key.encode("utf-8", "surrogatepass"))
        first, second, third = _HASHES.unpack(keyed.digest())
        columns = self._columns
        mask, row = columns - 1, kind * TALLY_ROWS * columns
        return (
            row + (first & mask),
            row + columns + (second & mask),
            row + 2 * columns + (third & mask),
        )


class OwnTallies(Tallies):
    """The writer of one slot's tallies, for its worker; they begin with zeros.

    To keep a limit: add, then count, and remove again if that is over the limit.
    """

    def __init__(self, segment: Segment, slot: int) -> None:
        super().__init__(segment)
        clear(segment, slot)  # the reaper has done it before, unless it was interrupted
        self._own = self._counts[slot * self._of_slot : (slot + 1) * self._of_slot]
        at = segment.layout.said(slot) + _TALLIED
        self._tallied = segment.words[at : at + TALLY_KINDS]

    def add(self, kind: TallyKind, key: str) -> None:
        """Count one more connection with the key; all processes see it when this returns."""
        first, second, third = self._places(kind, key)
        own = self._own
        self._tallied[kind] = 1  # before the counters: by this the reaper knows of them
        own[first] += 1
        own[second] += 1
        own[third] += 1
        fence()

    def remove(self, kind: TallyKind, key: str) -> None:
        """Take back one `add`.

        Raises:
            ValueError: there was none; nothing is changed.
        """
        first, second, third = self._places(kind, key)
        own = self._own
        if not (own[first] and own[second] and own[third]):
            raise ValueError(f"{key!r} is in no tally of this worker: remove it once for each add")
        own[first] -= 1
        own[second] -= 1
        own[third] -= 1


def clear(segment: Segment, slot: int) -> None:
    """Set a slot's tallies to zeros where they may not be; for the reaper, and at a new start."""
    layout = segment.layout
    for kind in TallyKind:
        tallied = layout.said(slot) + _TALLIED + kind
        if segment.words[tallied]:
            start, stop = layout.tally(slot, kind), layout.tally(slot, kind) + layout.tally_words
            zeros = bytes((stop - start) * WORD_BYTES)
            segment.bytes[start * WORD_BYTES : stop * WORD_BYTES] = zeros
            segment.words[tallied] = 0  # last: if this is interrupted, it is done again
