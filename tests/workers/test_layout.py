"""The tables of the segment: every word once, aligned, and within the file."""

from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers import layout, room_tables
from workers.layout import (
    ASSIGNED,
    COUNTERS,
    HEADER,
    LABEL,
    ROW,
    ROW_WORDS,
    SAID,
    TALLY_COUNTER_BYTES,
    TALLY_KINDS,
    TALLY_ROWS,
    WORD_BYTES,
    Field,
    Layout,
    Sizes,
    TallyKind,
    changing,
    cut,
    fence,
    length,
    places,
    take,
)

OF_ROOMS = [
    room_tables.JOURNAL,
    room_tables.RECORD,
    room_tables.ROOM,
    room_tables.MEMBERSHIP,
    room_tables.BUS,
]
TABLES = [HEADER, LABEL, ASSIGNED, SAID, COUNTERS, ROW, *OF_ROOMS]
SIZES = st.builds(
    Sizes,
    workers=st.integers(1, 256),
    slots=st.integers(1, 512),
    rows_per_slot=st.integers(1, 20_000),
    routes=st.integers(1, 500),
    rooms=st.integers(1, 100_000),
    memberships_per_slot=st.integers(1, 1_000_000),
    ring_words=st.integers(512, 2**30),
)


@pytest.mark.parametrize("table", TABLES)
def test_every_word_has_one_field_one_writer_and_a_meaning(table: tuple[Field, ...]) -> None:
    found = places(table)
    assert len(found) == len(table)
    words = [found[field.name] + word for field in table for word in range(field.words)]
    assert words == list(range(length(table)))
    assert all(field.writer and field.meaning for field in table)


def test_a_row_is_320_bytes_with_texts_of_48_64_and_80() -> None:
    sizes = {field.name: field.words * WORD_BYTES for field in ROW}
    assert ROW_WORDS * WORD_BYTES == 320
    assert (sizes["client"], sizes["user"], sizes["path"]) == (48, 64, 80)


@given(SIZES)
def test_parts_follow_each_other_without_a_gap(sizes: Sizes) -> None:
    found = Layout(sizes)
    assert found.label(0) == layout.HEADER_WORDS
    assert found.label(sizes.routes) == found.assigned(0)
    assert found.said(0) - found.assigned(0) == length(ASSIGNED)
    assert found.assigned(1) - found.said(0) == length(SAID)
    assert found.assigned(sizes.slots) == found.block(0, 0)
    assert found.block(0, sizes.routes) == found.block(1, 0)
    assert found.block(sizes.slots, 0) == found.row(0, 0)
    assert found.row(0, sizes.rows_per_slot) == found.row(1, 0)
    assert found.row(sizes.slots, 0) == found.tally(0, 0)
    assert found.tally(0, TALLY_KINDS) == found.tally(1, 0)
    assert found.tally(0, 1) * WORD_BYTES % TALLY_COUNTER_BYTES == 0
    assert found.tally(sizes.slots, 0) == found.bus_of(0)
    assert found.bus_of(1) - found.bus_of(0) == length(room_tables.BUS)
    assert found.bus_of(sizes.slots) == found.membership(0, 0)
    assert found.membership(0, 1) - found.membership(0, 0) == length(room_tables.MEMBERSHIP)
    assert found.membership(0, sizes.memberships_per_slot) == found.membership(1, 0)
    assert found.membership(sizes.slots, 0) == found.room(0)
    assert found.room_members(0, 0) - found.room(0) == length(room_tables.ROOM)
    assert found.room_members(0, sizes.slots) == found.room(1)
    assert found.room_entries > sizes.rooms
    assert found.room(found.room_entries) == found.journal
    assert found.ring - found.journal == length(room_tables.JOURNAL)
    assert (found.ring + sizes.ring_words) * WORD_BYTES == found.size_bytes


@given(SIZES)
def test_a_tally_has_at_least_four_columns_for_each_connection(sizes: Sizes) -> None:
    found = Layout(sizes)
    assert 4 * sizes.rows_per_slot <= found.tally_columns < 8 * sizes.rows_per_slot
    assert found.tally_columns.bit_count() == 1
    counters = TALLY_ROWS * found.tally_columns
    assert found.tally_words * WORD_BYTES == counters * TALLY_COUNTER_BYTES


def test_every_kind_of_tally_has_a_place() -> None:
    assert [*TallyKind] == [*range(TALLY_KINDS)]
    assert memoryview(bytes(4)).cast("I").itemsize == TALLY_COUNTER_BYTES


def test_what_is_last_in_a_room_is_last_among_broadcasts() -> None:
    """These three words follow each other in both, so that one writer serves both."""
    names = ["last_offset", "last_position", "last_ns"]
    for table in (room_tables.ROOM, room_tables.JOURNAL):
        at = [places(table)[name] for name in names]
        assert at == [*range(at[0], at[0] + 3)]


@pytest.mark.parametrize(
    "numbers",
    [
        (0, 1, 1, 1),
        (1, 0, 1, 1),
        (1, 1, 0, 1),
        (1, 1, 1, 0),
        (257, 257, 1, 1),
        (1, 1, 1, 1, 0),
        (1, 1, 1, 1, 1, 0),
        (1, 1, 1, 1, 1, 1, 511),
    ],
)
def test_sizes_that_cannot_be(numbers: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="a segment cannot have Sizes"):
        Sizes(*numbers)


@given(st.text(), st.integers(0, 40))
def test_cut_keeps_as_many_whole_characters_as_fit(text: str, size_bytes: int) -> None:
    kept = cut(text, size_bytes).decode()
    assert text.startswith(kept)
    assert len(kept.encode()) <= size_bytes
    if kept != text:
        assert len((kept + text[len(kept)]).encode()) > size_bytes


def test_cut_takes_text_that_is_no_unicode() -> None:
    """A request's path may hold a lone surrogate."""
    assert cut("/\udc80", 80) == b"/?"


def memory() -> memoryview:
    return memoryview(bytearray(8 * WORD_BYTES)).cast("Q")


def test_a_sequence_is_odd_while_it_is_written_and_another_one_after() -> None:
    words = memory()
    with changing(words, 2):
        assert words[2] == 1
    assert words[2] == 2


def test_a_writing_that_failed_is_put_right_by_the_next() -> None:
    words = memory()
    with pytest.raises(KeyError), changing(words, 0):
        raise KeyError
    assert words[0] == 1
    with changing(words, 0):
        assert words[0] == 1
    assert words[0] == 2


def test_a_fence_holds_nobody_up() -> None:
    """It is no lock: threads of a process pass it one after the other."""

    def pass_often() -> None:
        for _ in range(1000):
            fence()

    threads = [Thread(target=pass_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in threads)


def test_a_copy_is_of_all_words() -> None:
    words = memory()
    words[2] = 4
    words[4] = 7
    assert memoryview(take(words, 2, 3)).cast("Q").tolist() == [4, 0, 7]


def test_a_writer_that_died_half_way_is_not_waited_for_for_ever() -> None:
    words = memory()
    words[0] = 1
    words[1] = 7
    assert memoryview(take(words, 0, 2)).cast("Q").tolist() == [1, 7]
