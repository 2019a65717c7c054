"""Rows of connections: what is written is read, by any process, whole, and with every filter."""

import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.processes import wait_until
from tests.workers.memory_support import (
    collect,
    never_give_up,
    private,
    shared,
    writer,
)
from workers.layout import Sizes
from workers.registry import (
    RegistryFull,
    Row,
    SlotRows,
    count_rows,
    newest_rows,
    parse_id,
    read_rows,
)
from workers.segment import Segment
from workers.slots import Slots


def one(segment: Segment) -> Row:
    rows = list(read_rows(segment))
    assert len(rows) == 1
    return rows[0]


def test_a_claimed_row_is_read_as_it_was_written() -> None:
    segment = private()
    Slots(segment).assign(1, 3)
    slot = Slots(segment).assign(0, 7)
    rows = SlotRows(segment, slot, 7)
    before_ns = time.time_ns()
    row = rows.claim(1, "127.0.0.1:5000", "/chat/lobby", "kim")
    found = one(segment)
    assert before_ns <= found.connected_ns == found.received_ns <= time.time_ns()
    assert found == Row(
        number=64 + row,
        id="7-1",
        slot=1,
        worker=0,
        route="/chat",
        client="127.0.0.1:5000",
        user="kim",
        path="/chat/lobby",
        connected_ns=found.connected_ns,
        received_ns=found.connected_ns,
        messages_in=0,
        messages_out=0,
        bytes_in=0,
        bytes_out=0,
        is_closing=False,
    )
    assert rows.id_of(row) == "7-1"


def test_updates_are_read() -> None:
    segment = private()
    rows = SlotRows(segment, 0, 1)
    row = rows.claim(1, "client", "/")
    rows.update(row, 5, 1, 2, 3, 4)
    rows.set_user(row, "late")
    rows.set_closing(row)
    found = one(segment)
    assert (found.received_ns, found.messages_in, found.messages_out) == (5, 1, 2)
    assert (found.bytes_in, found.bytes_out) == (3, 4)
    assert (found.user, found.is_closing) == ("late", True)


def test_a_freed_row_is_claimed_again_and_bears_no_trace() -> None:
    segment = private()
    rows = SlotRows(segment, 0, 1)
    row = rows.claim(1, "a long client text", "/a/long/path", "a long user")
    rows.update(row, 5, 1, 2, 3, 4)
    rows.set_closing(row)
    rows.free(row)
    assert (list(read_rows(segment)), count_rows(segment), rows.used) == ([], 0, 0)
    assert rows.claim(0, "c", "/") == row
    found = one(segment)
    assert (found.id, found.client, found.user, found.path) == ("1-2", "c", "", "/")
    assert (found.messages_in, found.messages_out) == (0, 0)
    assert (found.bytes_in, found.bytes_out, found.is_closing) == (0, 0, False)


def test_a_full_table_refuses_and_loses_nothing() -> None:
    segment = private(Sizes(workers=1, slots=2, rows_per_slot=3, routes=3))
    rows, others = SlotRows(segment, 0, 1), SlotRows(segment, 1, 2)
    taken = [rows.claim(1, f"c{number}", "/") for number in range(3)]
    assert sorted(taken) == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(RegistryFull):
            rows.claim(1, "one too many", "/")
    assert (rows.used, rows.capacity, count_rows(segment)) == (3, 3, 3)
    assert others.claim(1, "elsewhere", "/") == 0
    rows.free(taken[1])
    assert rows.claim(2, "again", "/") == taken[1]
    assert [row.client for row in read_rows(segment)] == ["c0", "again", "c2", "elsewhere"]


@given(st.text(), st.text(), st.text())
def test_texts_are_kept_as_far_as_they_fit(client: str, user: str, path: str) -> None:
    """Whatever a peer sends; what is no Unicode is written with question marks."""
    segment = private(Sizes(workers=1, slots=1, rows_per_slot=1, routes=2))
    SlotRows(segment, 0, 1).claim(0, client, path, user)
    found = one(segment)
    for sent, read, size_bytes in (
        (client, found.client, 48),
        (user, found.user, 64),
        (path, found.path, 80),
    ):
        assert sent.startswith(read)
        assert read == sent or len(sent.encode()) > size_bytes >= len(read.encode())


def test_rows_are_filtered() -> None:
    segment = private()
    slots = Slots(segment)
    for index, generation in ((0, 1), (1, 2), (0, 3)):
        rows = SlotRows(segment, slots.assign(index, generation), generation)
        for route, user in ((0, "kim"), (1, "kim"), (1, "ada"), (2, "")):
            rows.claim(route, "client", "/", user)

    def ids(**wanted: object) -> list[str]:
        return [row.id for row in read_rows(segment, **wanted)]  # type: ignore[arg-type]

    assert len(ids()) == count_rows(segment) == 12
    assert ids(worker=1) == ["2-1", "2-2", "2-3", "2-4"]
    assert ids(worker=0, route="/chat") == ["1-2", "1-3", "3-2", "3-3"]
    assert ids(route="other") == ["1-1", "2-1", "3-1"]
    assert ids(route="/nowhere") == []
    assert ids(user="ada") == ["1-3", "2-3", "3-3"]
    assert ids(user="") == ["1-4", "2-4", "3-4"]
    assert ids(user="kim", route="/chat", worker=1) == ["2-2"]
    assert ids(id="3-2") == ["3-2"]
    assert ids(id="3-2", user="ada") == []
    assert ids(id="9-9") == []


def test_the_newest_of_all_slots_are_read() -> None:
    segment = private()
    slots = Slots(segment)
    tables = [SlotRows(segment, slots.assign(index, index + 1), index + 1) for index in (0, 1)]
    claimed = [(table, table.claim(1, "client", "/")) for _ in range(3) for table in tables]
    ids = [table.id_of(row) for table, row in claimed]
    table, row = claimed[4]
    table.free(row)
    found = [row.id for row in newest_rows(segment, 3)]
    assert found == [ids[5], ids[3], ids[2]]
    assert len(newest_rows(segment, 99)) == 5
    assert newest_rows(private(), 3) == []


def test_a_user_id_longer_than_the_row_is_found_by_its_full_text() -> None:
    segment = private()
    user = "ä" * 50
    SlotRows(segment, 0, 1).claim(0, "client", "/", user)
    assert [row.user for row in read_rows(segment, user=user)] == ["ä" * 32]


def test_a_route_that_was_added_later_is_read_by_its_label(tmp_path: Path) -> None:
    with shared(tmp_path) as segment:
        assert segment.path is not None
        reader = Segment.attach(segment.path, writable=False)
        segment.add_routes(["/late"])
        SlotRows(segment, 0, 1).claim(segment.route_index("/late"), "client", "/late")
        assert one(reader).route == "/late"
        reader.close()


@given(st.integers(0, 2**64), st.integers(0, 2**64))
def test_ids_are_parsed(generation: int, number: int) -> None:
    assert parse_id(f"{generation}-{number}") == (generation, number)


@pytest.mark.parametrize(
    "text", ["", "1", "1-", "-1", "1-2-3", "1-x", " 1-2", "+1-2", "1-٢", "1_0-2"]
)
def test_what_is_no_id_is_an_error_at_once(text: str) -> None:
    with pytest.raises(ValueError, match="is no id of a connection: it looks like 3-17"):
        parse_id(text)
    with pytest.raises(ValueError, match="is no id"):
        read_rows(private(), id=text)


def test_rows_freed_while_they_are_read_are_left_out() -> None:
    segment = private()
    rows = SlotRows(segment, 0, 1)
    for number in range(3):
        rows.claim(1, f"c{number}", "/")
    found = read_rows(segment)
    assert next(found).client == "c0"
    rows.free(1)
    assert [row.client for row in found] == ["c2"]


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_those_of_a_plain_dict(seed: int) -> None:
    """Claims and frees in any order; the state machine in test_reaper.py does much more."""
    chance = random.Random(seed)
    segment = private()
    rows = SlotRows(segment, 0, 1)
    model: dict[int, str] = {}
    for number in range(1000):
        if model and (len(model) == rows.capacity or chance.random() < 0.5):
            row = chance.choice(list(model))
            rows.free(row)
            del model[row]
        else:
            row = rows.claim(1, f"c{number}", "/")
            assert row not in model
            model[row] = f"c{number}"
        assert rows.used == len(model)
    assert {row.number: row.client for row in read_rows(segment)} == model


# Another process writes meanwhile


def test_a_reader_sees_whole_updates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process writes all numbers of a row from one, as fast as it can."""
    never_give_up(monkeypatch)
    with shared(tmp_path) as segment:
        slot = Slots(segment).assign(0, 1)
        with writer(segment, slot, "update"):
            wait_until(lambda: any(row.bytes_out for row in read_rows(segment)))
            seen = collect(lambda: read_rows(segment), lambda row: row.received_ns)
    for row in seen:
        first = row.received_ns
        assert (row.messages_in, row.messages_out) == (first + 1, first + 2)
        assert (row.bytes_in, row.bytes_out) == (first + 3, first + 4)


def test_a_reader_sees_whole_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process claims and frees a row as fast as it can, with texts of every length."""
    never_give_up(monkeypatch)
    with shared(tmp_path) as segment:
        slot = Slots(segment).assign(0, 1)
        with writer(segment, slot, "claim"):
            seen = collect(lambda: read_rows(segment), lambda row: int(row.id[2:]))
    for row in seen:
        number = int(row.id.removeprefix("1-")) - 1
        assert row.client == row.user == row.path == str(number % 10) * (1 + number % 40)
        assert row.route == ("other", "/chat")[number % 2]


# How long it takes


def big() -> tuple[Segment, SlotRows]:
    segment = private(Sizes(workers=1, slots=2, rows_per_slot=16_384, routes=4))
    return segment, SlotRows(segment, 0, 1)


def fill(rows: SlotRows, count: int) -> list[int]:
    return [rows.claim(1, "127.0.0.1:50000", f"/chat/{n}", f"user {n}") for n in range(count)]


def test_few_rows_of_many_are_found() -> None:
    """Also below rows that were used before and are free again."""
    segment, rows = big()
    used = fill(rows, 16_384)
    for row in used[:-10]:
        rows.free(row)
    assert {row.path for row in read_rows(segment)} == {f"/chat/{n}" for n in range(16_374, 16_384)}
