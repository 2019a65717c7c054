"""Owns the ring of published messages: appending under the lock, reading without; knows no member.

A record is committed by the store that moves the head. Before anything is overwritten the tail is
moved, so a reader that finds the tail behind its record after taking a copy has a good copy. What
is left by a writer that died is taken back by the next (`repair`). See docs/topics/journal.md.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from workers.fields import WORD_BYTES, places
from workers.room_tables import BYTES, JOURNAL, JOURNAL_WORDS, RECORD, RECORD_WORDS, ROOM, Kind
from workers.segment import Segment

_AT = places(JOURNAL)
_INTENT, _INTENT_HEAD = _AT["intent"], _AT["intent_head"]
_INTENT_OFFSET, _INTENT_POSITION = _AT["intent_offset"], _AT["intent_position"]
_INTENT_NS = _AT["intent_ns"]
_TAIL, _HEAD, _RECORDS, _BROADCASTS = (
    _AT["tail"], _AT["head"], _AT["records"], _AT["last_offset"],
)  # fmt: skip
_ROOM = places(ROOM)
_LAST_OFFSET, _EPOCH = _ROOM["last_offset"], _ROOM["epoch"]
_POSITION, _NS = 1, 2  # where last_position and last_ns are, from last_offset
_HEADER = struct.Struct(f"{RECORD_WORDS}Q")
_WORDS_WORD = places(RECORD)["words"]
_PAIR = struct.Struct("2Q")
_LARGEST_SHARE = 8  # a message may take this part of the ring

ConnectionId = tuple[int, int]
"""Generation and number, as in the registry's ids."""


class MessageTooLarge(ValueError):
    """The message takes more than an eighth of the journal; nobody got it."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"a message of {size_bytes} bytes cannot be published, the limit is {limit_bytes}:"
            " send less at once, or raise --journal-mib"
        )


class Header(NamedTuple):
    """The words of a record before its payload; see `room_tables.RECORD`."""

    position: int
    words: int
    kind: int
    room: int
    epoch: int
    offset: int
    previous: int
    time_ns: int
    excluded: int
    size_bytes: int


class Overrun(Exception):
    """The record has been overwritten while, or before, it was read."""


class Journal:
    """The journal of a segment."""

    def __init__(self, segment: Segment) -> None:
        layout = segment.layout
        self._words = segment.words
        self._room = layout.room
        self._of_broadcasts = layout.journal + _BROADCASTS
        self._head_words = segment.words[layout.journal : layout.journal + JOURNAL_WORDS]
        self._ring = segment.bytes[layout.ring * WORD_BYTES : layout.size_bytes]
        self._ring_words = segment.words[layout.ring : layout.ring + segment.sizes.ring_words]
        self._size = segment.sizes.ring_words
        self.limit_bytes = (self._size // _LARGEST_SHARE - RECORD_WORDS) * WORD_BYTES

    @property
    def head(self) -> int:
        """Where the next record will begin."""
        return self._head_words[_HEAD]

    @property
    def tail(self) -> int:
        """The oldest record that is whole."""
        return self._head_words[_TAIL]

    @property
    def records(self) -> int:
        """How many messages have been committed, ever."""
        return self._head_words[_RECORDS]

    @property
    def broadcasts(self) -> int:
        """The number of the last that was for no room; it may not be committed yet."""
        return self._head_words[_BROADCASTS]

    # -- writing, under the lock -----------------------------------------------------------------

    def repair(self) -> None:
        """Take back what a writer that died had begun; each holder of the lock calls it first."""
        words = self._head_words
        last = words[_INTENT]
        if not last:
            return
        if words[_HEAD] != words[_INTENT_HEAD]:
            self._words[last] = words[_INTENT_OFFSET]
            self._words[last + _POSITION] = words[_INTENT_POSITION]
            self._words[last + _NS] = words[_INTENT_NS]
        words[_INTENT] = 0

    def check_size(self, size_bytes: int, excluded: int = 0) -> None:
        """Refuse what does not fit.

        Raises:
            MessageTooLarge: see there.
        """
        limit = self.limit_bytes - excluded * _PAIR.size
        if size_bytes > limit:
            raise MessageTooLarge(size_bytes, limit)

    def append(
        self,
        entry: int,
        kind: Kind,
        payload: bytes,
        now_ns: int,
        excluded: Sequence[ConnectionId] = (),
    ) -> int:
        """Append a message of a room; returns its offset.

        Raises:
            MessageTooLarge: nothing was changed.
        """
        at = self._room(entry)
        key = (entry + 1, self._words[at + _EPOCH])
        return self._append(at + _LAST_OFFSET, key, kind, payload, now_ns, excluded)

    def append_broadcast(
        self,
        route: int,
        kind: Kind,
        payload: bytes,
        now_ns: int,
        excluded: Sequence[ConnectionId] = (),
    ) -> int:
        """Append a message for the connections of a route, by its index, or of all (0).

        Returns:
            Its number among all broadcasts.

        Raises:
            MessageTooLarge: nothing was changed.
        """
        return self._append(self._of_broadcasts, (0, route), kind, payload, now_ns, excluded)

    def _append(
        self,
        last: int,
        key: tuple[int, int],
        kind: Kind,
        payload: bytes,
        now_ns: int,
        excluded: Sequence[ConnectionId],
    ) -> int:
        """Append behind the message that the three words from `last` on tell of.

        Its stores are in the order of docs/topics/journal.md, which is one of the reasons why this
        is one function; the other is that calls cost a publish more than what they do.
        """
        self.check_size(len(payload), len(excluded))
        words, of_last, ring, capacity = self._head_words, self._words, self._ring, self._size
        offset, previous = of_last[last] + 1, of_last[last + _POSITION]
        size = RECORD_WORDS + 2 * len(excluded) + -(-len(payload) // WORD_BYTES)
        head = words[_HEAD]
        if size > (left := capacity - head % capacity):
            head = self._pad(head, left)
        end = head + size
        if words[_TAIL] < end - capacity:
            self._give_up_until(end - capacity)
        at = head % capacity * WORD_BYTES
        lengths = len(excluded), len(payload)
        header = _HEADER.pack(head, size, kind, *key, offset, previous, now_ns, *lengths)
        ring[at : at + _HEADER.size] = header
        at += _HEADER.size
        for pair in excluded:
            ring[at : at + _PAIR.size] = _PAIR.pack(*pair)
            at += _PAIR.size
        ring[at : at + len(payload)] = payload
        words[_INTENT_OFFSET] = offset - 1
        words[_INTENT_POSITION] = previous
        words[_INTENT_NS] = of_last[last + _NS]
        words[_INTENT_HEAD] = end
        words[_INTENT] = last
        of_last[last + _POSITION] = head + 1  # first: see `last_offset`
        of_last[last] = offset
        of_last[last + _NS] = now_ns
        words[_RECORDS] += 1  # one too many if the writer dies before the next store
        words[_HEAD] = end
        words[_INTENT] = 0
        return offset

    def _pad(self, head: int, left: int) -> int:
        """Fill the ring to its end, commit that, and return the new head."""
        self._give_up_until(head + left - self._size)
        if left >= RECORD_WORDS:
            at = head % self._size * WORD_BYTES
            self._ring[at : at + _HEADER.size] = _HEADER.pack(head, left, Kind.PAD, *[0] * 7)
        self._head_words[_HEAD] = head + left
        return head + left

    def _give_up_until(self, limit: int) -> None:
        """Move the tail past the records that begin before a position."""
        tail = first = self._head_words[_TAIL]
        while tail < limit:
            tail += self._length(tail)
        if tail != first:
            self._head_words[_TAIL] = tail

    def _length(self, position: int) -> int:
        at = position % self._size
        left = self._size - at
        if left < RECORD_WORDS:
            return left
        return self._ring_words[at + _WORDS_WORD]

    # -- reading, any process ----------------------------------------------------------------------

    def header(self, position: int) -> Header:
        """Return the header of the record at a position before the head.

        Raises:
            Overrun: it is there no more.
        """
        at = position % self._size
        left = self._size - at
        if left < RECORD_WORDS:  # too little for a header: the ring goes on at its beginning
            return Header(position, left, Kind.PAD, *[0] * 7)
        header = Header._make(_HEADER.unpack_from(self._ring, at * WORD_BYTES))
        if header.position != position or self._head_words[_TAIL] > position:
            raise Overrun
        return header

    def payload(self, header: Header) -> str | bytes:
        """Return the payload of a record: bytes for BYTES, else text.

        Raises:
            Overrun: it is there no more.
        """
        at = header.position % self._size * WORD_BYTES + _HEADER.size + header.excluded * _PAIR.size
        part = self._ring[at : at + header.size_bytes]
        copy = bytes(part)
        if self._head_words[_TAIL] > header.position:
            raise Overrun
        return copy if header.kind == BYTES else copy.decode()

    def excluded(self, header: Header) -> tuple[ConnectionId, ...]:
        """Return the connections that do not get a message.

        Raises:
            Overrun: it is there no more.
        """
        at = header.position % self._size * WORD_BYTES + _HEADER.size
        copy = bytes(self._ring[at : at + header.excluded * _PAIR.size])
        if self._head_words[_TAIL] > header.position:
            raise Overrun
        return tuple((first, second) for first, second in _PAIR.iter_unpack(copy))

    def chain(self, entry: int | None, epoch: int) -> Iterator[Header]:
        """Yield a room's messages from the last to the oldest that is there; None: broadcasts."""
        for header in self._back(entry, epoch, self._words[self._last(entry) + _POSITION]):
            if header.position < self.head:  # else its writer has yet to commit it
                yield header

    def last_offset(self, entry: int | None, epoch: int) -> int:
        """Return the offset of a room's last message, 0 if there was none; None: of broadcasts.

        While a message is being appended, or after its writer died, the words of the room are
        ahead of the head. The record tells its offset as well, and whether it is committed.
        """
        words, at = self._words, self._last(entry)
        while True:
            last = words[at + _POSITION]
            header = next(self._back(entry, epoch, last), None)
            if header is None:  # the last one is gone, so it was committed long ago
                offset = words[at]
            else:
                offset = header.offset if header.position < self.head else header.offset - 1
            if words[at + _POSITION] == last:
                return offset

    def lost_offset(self, entry: int | None, position: int) -> int | None:
        """Return the offset of a room's last message if that was before a position, else None."""
        words, at = self._words, self._last(entry)
        while True:
            last = words[at + _POSITION]
            offset = words[at]
            if last > position:
                return None
            if words[at + _POSITION] == last:
                return offset

    def _last(self, entry: int | None) -> int:
        return self._of_broadcasts if entry is None else self._room(entry) + _LAST_OFFSET

    def _back(self, entry: int | None, epoch: int, last_position: int) -> Iterator[Header]:
        """Yield messages backwards from the one at `last_position` - 1, committed or not."""
        while last_position:
            try:
                header = self.header(last_position - 1)
            except Overrun:
                return
            if header.kind == Kind.PAD or header.room != (0 if entry is None else entry + 1):
                return
            if entry is not None and header.epoch != epoch:
                return
            yield header
            last_position = header.previous
