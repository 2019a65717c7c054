"""Owns the rows of connections: one for each, which any process can read; knows no socket."""

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import nlargest

from workers.layout import OTHER, ROW, ROW_WORDS, SAID, WORD_BYTES, RowState, cut, places, take
from workers.segment import OTHER_NAME, Segment
from workers.slots import SlotInfo, Slots

_AT = places(ROW)
_SIZE = {field.name: field.words * WORD_BYTES for field in ROW}
_STATE, _GENERATION, _ID, _ROUTE = _AT["state"], _AT["generation"], _AT["id"], _AT["route"]
_CONNECTED, _RECEIVED = _AT["connected_ns"], _AT["received_ns"]
_MESSAGES_IN, _MESSAGES_OUT = _AT["messages_in"], _AT["messages_out"]
_BYTES_IN, _BYTES_OUT = _AT["bytes_in"], _AT["bytes_out"]
_HIGH = places(SAID)["rows_high"]
_NUMBERS = struct.Struct(f"{_AT['client']}Q")


@dataclass(frozen=True, slots=True)
class _Text:
    """Where a text of a row begins, how much of it there may be, which word has its length."""

    start_bytes: int
    size_bytes: int
    length: int


def _find(name: str) -> _Text:
    return _Text(_AT[name] * WORD_BYTES, _SIZE[name], _AT[f"{name}_length"])


_CLIENT, _USER, _PATH = _find("client"), _find("user"), _find("path")


class RegistryFull(Exception):
    """The worker has no row left: the handshake is refused."""


@dataclass(frozen=True, slots=True)
class Row:
    """A connection as any process sees it.

    Attributes:
        number: of its row in the whole segment.
        id: "generation-n", unlike any other of this server.
        slot, worker: where it is; worker is the index.
        route: the label of its route.
        client, user, path: as much of them as the row holds.
        connected_ns, received_ns: in unix nanoseconds.
    """

    number: int
    id: str
    slot: int
    worker: int
    route: str
    client: str
    user: str
    path: str
    connected_ns: int
    received_ns: int
    messages_in: int
    messages_out: int
    bytes_in: int
    bytes_out: int
    is_closing: bool


class SlotRows:
    """The writer of one slot's rows; rows are numbered within the slot.

    It keeps to itself which rows are free. At its start all are: the reaper has seen to that.
    """

    def __init__(self, segment: Segment, slot: int, generation: int) -> None:
        layout = segment.layout
        start, stop = layout.row(slot, 0), layout.row(slot + 1, 0)
        self._words = segment.words[start:stop]
        self._bytes = segment.bytes[start * WORD_BYTES : stop * WORD_BYTES]
        self._high_word = segment.words[layout.said(slot) + _HIGH : layout.said(slot) + _HIGH + 1]
        self._generation = generation
        self._capacity = segment.sizes.rows_per_slot
        self._high = 0
        self._freed: list[int] = []
        self._last_id = 0

    @property
    def used(self) -> int:
        """How many rows are taken."""
        return self._high - len(self._freed)

    @property
    def capacity(self) -> int:
        """How many rows there are."""
        return self._capacity

    def claim(self, route_index: int, client: str, path: str, user: str = "") -> int:
        """Enter a connection; returns the number of its row.

        Raises:
            RegistryFull: no row is free.
        """
        if not self._freed:
            self._raise_high()
        row = self._freed[-1]
        words, at = self._words, row * ROW_WORDS
        now_ns = time.time_ns()
        self._last_id += 1
        odd = words[at] | 1
        words[at] = odd
        words[at + _GENERATION] = self._generation
        words[at + _ID] = self._last_id
        words[at + _ROUTE] = route_index
        words[at + _CONNECTED] = words[at + _RECEIVED] = now_ns
        words[at + _MESSAGES_IN] = words[at + _MESSAGES_OUT] = 0
        words[at + _BYTES_IN] = words[at + _BYTES_OUT] = 0
        self._put(at, _CLIENT, client)
        self._put(at, _USER, user)
        self._put(at, _PATH, path)
        words[at + _STATE] = RowState.OPEN
        words[at] = odd + 1
        self._freed.pop()
        return row

    def _raise_high(self) -> None:
        """Take one more row into use; readers look no further than that."""
        if self._high == self._capacity:
            raise RegistryFull
        self._freed.append(self._high)
        self._high += 1
        self._high_word[0] = self._high

    def _put(self, at: int, text: _Text, value: str) -> None:
        encoded = cut(value, text.size_bytes)
        start = at * WORD_BYTES + text.start_bytes
        self._bytes[start : start + len(encoded)] = encoded
        self._words[at + text.length] = len(encoded)

    def id_of(self, row: int) -> str:
        """Return the id of the connection in a row."""
        return id_text(self._generation, self._words[row * ROW_WORDS + _ID])

    def update(
        self,
        row: int,
        received_ns: int,
        messages_in: int,
        messages_out: int,
        bytes_in: int,
        bytes_out: int,
    ) -> None:
        """Say what the connection has received and sent since its beginning."""
        words, at = self._words, row * ROW_WORDS
        odd = words[at] | 1
        words[at] = odd
        words[at + _RECEIVED] = received_ns
        words[at + _MESSAGES_IN] = messages_in
        words[at + _MESSAGES_OUT] = messages_out
        words[at + _BYTES_IN] = bytes_in
        words[at + _BYTES_OUT] = bytes_out
        words[at] = odd + 1

    def set_user(self, row: int, user: str) -> None:
        """Say whose connection it is."""
        words, at = self._words, row * ROW_WORDS
        odd = words[at] | 1
        words[at] = odd
        self._put(at, _USER, user)
        words[at] = odd + 1

    def set_closing(self, row: int) -> None:
        """Say that the connection is on its way out."""
        self._words[row * ROW_WORDS + _STATE] = RowState.CLOSING

    def free(self, row: int) -> None:
        """Give the row back, once, after the connection was counted as closed."""
        self._words[row * ROW_WORDS + _STATE] = RowState.FREE
        self._freed.append(row)


def id_text(generation: int, number: int) -> str:
    """Return a connection's id."""
    return f"{generation}-{number}"


def parse_id(text: str) -> tuple[int, int]:
    """Return the generation and the number of a connection's id.

    Raises:
        ValueError: it is no id.
    """
    generation, _, number = text.partition("-")
    if not (text.isascii() and generation.isdigit() and number.isdigit()):
        raise ValueError(f"{text!r} is no id of a connection: it looks like 3-17")
    return int(generation), int(number)


def row_states(segment: Segment, slot: int) -> list[int]:
    """Return the state words of a slot's rows, as far as any has been used."""
    high = segment.words[segment.layout.said(slot) + _HIGH]
    start, stop = segment.layout.row(slot, 0), segment.layout.row(slot, high)
    return segment.words[start + _STATE : stop : ROW_WORDS].tolist()


def newest_rows(segment: Segment, limit: int) -> list[Row]:
    """Return the connections that were made last, the newest first; reads whole rows of those
    alone."""
    found: list[tuple[int, int, int]] = []
    slots = Slots(segment).all()
    for slot in slots:
        states = row_states(segment, slot.number)
        start = segment.layout.row(slot.number, 0)
        stop = segment.layout.row(slot.number, len(states))
        times = segment.words[start + _CONNECTED : stop : ROW_WORDS].tolist()
        found += [
            (connected_ns, slot.number, row)
            for row, (state, connected_ns) in enumerate(zip(states, times, strict=True))
            if state != RowState.FREE
        ]
    newest = nlargest(limit, found)
    rows = (read_row(segment, slots[number], row) for _, number, row in newest)
    return [row for row in rows if row is not None]


def count_rows(segment: Segment) -> int:
    """Return how many rows are taken."""
    states = (row_states(segment, slot) for slot in range(segment.sizes.slots))
    return sum(len(taken) - taken.count(RowState.FREE) for taken in states)


def read_rows(
    segment: Segment,
    *,
    route: str | None = None,
    user: str | None = None,
    worker: int | None = None,
    id: str | None = None,
) -> Iterator[Row]:
    """Yield the connections, or those of a route, a user id, a worker index, or with one id.

    Raises:
        ValueError: `id` is no id.
    """
    wanted = _Wanted(
        route=None if route is None else segment.route_index(route),
        user=None if user is None else cut(user, _USER.size_bytes),
        id=None if id is None else parse_id(id),
    )
    if wanted.route == OTHER and route != OTHER_NAME:  # no route has this label
        return iter(())
    return _rows(segment, wanted, worker)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a row must have; None stands for anything."""

    route: int | None
    user: bytes | None
    id: tuple[int, int] | None

    def fits(self, copy: bytes, numbers: tuple[int, ...]) -> bool:
        if self.route is not None and numbers[_ROUTE] != self.route:
            return False
        if self.id is not None and (numbers[_GENERATION], numbers[_ID]) != self.id:
            return False
        return self.user is None or _encoded(copy, numbers, _USER) == self.user


def _rows(segment: Segment, wanted: _Wanted, worker: int | None) -> Iterator[Row]:
    for slot in Slots(segment).all():
        if worker is not None and slot.index != worker:
            continue
        for row, state in enumerate(row_states(segment, slot.number)):
            if state == RowState.FREE:
                continue
            copy = take(segment.words, segment.layout.row(slot.number, row), ROW_WORDS)
            numbers = _NUMBERS.unpack_from(copy)
            # It may have been freed since the states were read.
            if numbers[_STATE] != RowState.FREE and wanted.fits(copy, numbers):
                yield _row(segment, slot, row, copy, numbers)


def read_row(segment: Segment, slot: SlotInfo, row: int) -> Row | None:
    """Return the connection in a row of a slot; None if the row is free."""
    copy = take(segment.words, segment.layout.row(slot.number, row), ROW_WORDS)
    numbers = _NUMBERS.unpack_from(copy)
    if numbers[_STATE] == RowState.FREE:
        return None
    return _row(segment, slot, row, copy, numbers)


def _row(segment: Segment, slot: SlotInfo, row: int, copy: bytes, numbers: tuple[int, ...]) -> Row:
    return Row(
        number=slot.number * segment.sizes.rows_per_slot + row,
        id=id_text(numbers[_GENERATION], numbers[_ID]),
        slot=slot.number,
        worker=slot.index,
        route=segment.route_name(numbers[_ROUTE]),
        client=_text(copy, numbers, _CLIENT),
        user=_text(copy, numbers, _USER),
        path=_text(copy, numbers, _PATH),
        connected_ns=numbers[_CONNECTED],
        received_ns=numbers[_RECEIVED],
        messages_in=numbers[_MESSAGES_IN],
        messages_out=numbers[_MESSAGES_OUT],
        bytes_in=numbers[_BYTES_IN],
        bytes_out=numbers[_BYTES_OUT],
        is_closing=numbers[_STATE] == RowState.CLOSING,
    )


def _encoded(copy: bytes, numbers: tuple[int, ...], text: _Text) -> bytes:
    return copy[text.start_bytes : text.start_bytes + numbers[text.length]]


def _text(copy: bytes, numbers: tuple[int, ...], text: _Text) -> str:
    return _encoded(copy, numbers, text).decode("utf-8", "replace")  # a torn copy may be broken
