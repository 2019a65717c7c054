"""The commands about rooms, over a real segment."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.room_commands import ROOM_COLUMNS
from tests.server.test_connections import Worker, base, segment, workers
from tests.server.test_control import Output, _elsewhere, error, run, serving
from workers.journal import Journal
from workers.journal_lock import JournalStalled
from workers.publisher import Publisher
from workers.room_directory import DirectoryFull, RoomDirectory
from workers.room_tables import Kind
from workers.segment import Segment
from workers.segment_bus import SegmentBus

__all__ = ["_elsewhere", "base", "segment", "serving", "workers"]  # fixtures


@pytest.fixture
def reader(serving: Segment) -> Iterator[Publisher]:
    publisher = Publisher(serving)
    yield publisher
    publisher.close()


def history(reader: Publisher, room: str = "tea") -> list[tuple[Kind, str | bytes]]:
    return [(message.kind, message.data) for message in reader.history(room)]


# -- publish -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (['{"a": [1, 2]}'], (Kind.JSON, '{"a":[1,2]}')),
        (['"hello"'], (Kind.JSON, '"hello"')),
        (["-5"], (Kind.JSON, "-5")),
        (["null"], (Kind.JSON, "null")),
        (["hello", "--text"], (Kind.TEXT, "hello")),
        (["--text", "-x hä"], (Kind.TEXT, "-x hä")),
        (["", "--text"], (Kind.TEXT, "")),
    ],
)
def test_a_message_is_published(
    base: Path,
    reader: Publisher,
    capsys: Output,
    arguments: list[str],
    expected: tuple[Kind, str],
) -> None:
    for offset in (1, 2):
        assert run(base, "publish", "tea", *arguments) == 0
        assert capsys.readouterr().out == f"room tea: offset {offset}\n"
    assert history(reader) == [expected] * 2


def test_it_can_come_from_a_file(
    base: Path,
    reader: Publisher,
    capsys: Output,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "message"
    path.write_bytes(b'{"a":\n 1}\n')
    assert run(base, "publish", "tea", "--file", str(path)) == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"line\n")))
    assert run(base, "publish", "tea", "--text", "--file", "-") == 0
    assert history(reader) == [(Kind.JSON, '{"a":1}'), (Kind.TEXT, "line\n")]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["tea"], "what? give the message, or --file, and not both"),
        (["tea", "1", "--file", "x"], "what? give the message, or --file, and not both"),
        (["tea", "hello"], "the message is no JSON (JSON is malformed: "),
        (["tea", ""], "the message is no JSON ("),
        (["tea", "{a: 1}"], "the message is no JSON ("),
        (["tea", "[" * 5000], "the message is no JSON ("),
        (["", "1"], "a room name has 1 to 255 bytes, not 0"),
        (["x" * 256, "1"], "a room name has 1 to 255 bytes, not 256"),
        (["a\x1b", "1"], "room name 'a\\x1b' has characters that do not print"),
        (["tea", "--file", "nosuch"], "--file nosuch: No such file or directory"),
        (["tea", "--file", "."], "--file .: Is a directory"),
        (["tea", "--text", "\udcff"], "the message is no UTF-8: invalid start byte"),
        (["tea", "x" * 70_000, "--text"], "a message of 70000 bytes cannot be published, the li"),
    ],
)
def test_what_cannot_be_published_is_said_in_a_line(
    base: Path, serving: Segment, capsys: Output, arguments: list[str], problem: str
) -> None:
    assert error(capsys, base, "publish", *arguments).startswith(problem)
    assert Journal(serving).records == 0


def test_json_that_is_none_comes_with_how_to_quote(
    base: Path, serving: Segment, capsys: Output
) -> None:
    line = error(capsys, base, "publish", "tea", "hello")
    assert line.endswith(
        """: quote it for the shell, as in '{"text": "hello"}' or '"hello"', or send it as it is"""
        " with --text"
    )


@pytest.mark.parametrize("failure", [JournalStalled(4711), DirectoryFull(14)])
def test_a_server_that_cannot_take_it(
    base: Path,
    serving: Segment,
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
) -> None:
    def publish_now(*_: object) -> None:
        raise failure

    monkeypatch.setattr(Publisher, "publish_now", publish_now)
    assert run(base, "publish", "tea", "1") == 1
    assert capsys.readouterr().err == f"switchboard: error: {failure}\n"


@pytest.mark.parametrize("arguments", [["publish", "tea", "1"], ["rooms"]])
def test_without_a_server(base: Path, capsys: Output, arguments: list[str]) -> None:
    assert error(capsys, base, *arguments).startswith("no server of this user runs")


# -- rooms -------------------------------------------------------------------------------------


async def test_rooms_are_listed_with_those_that_have_most_members_first(
    base: Path, serving: Segment, workers: list[Worker], reader: Publisher, capsys: Output
) -> None:
    buses = [SegmentBus(serving, worker.slot) for worker in workers[:2]]
    for bus in buses:
        bus.listen(lambda _: False, lambda _: None)
        await bus.enter("tea", 0)
    await buses[0].enter("chat", 1)
    for _ in range(3):
        place = reader.publish_now("tea", Kind.JSON, b"1")
    reader.publish_now("\x9bodd\u202e", Kind.JSON, b"1")
    for bus in buses:
        bus.close()

    assert run(base, "rooms") == 0
    head, *lines, total = capsys.readouterr().out.splitlines()
    assert tuple(head.split()) == ROOM_COLUMNS
    assert [line.split()[:4] for line in lines] == [
        ["tea", "2", "3", "0s"],
        ["chat", "1", "0", "-"],
        ["\ufffdodd\ufffd", "0", "1", "0s"],
    ]
    assert lines[0].endswith(f"{place.epoch:x}")
    assert total == "3 rooms, 3 memberships"

    assert run(base, "rooms", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["total"] == 3
    first = found["rooms"][0]
    assert 0 <= first.pop("silent_s") < 30
    assert first == {"room": "tea", "members": 2, "offset": 3, "epoch": f"{place.epoch:x}"}


def test_without_rooms(base: Path, serving: Segment, capsys: Output) -> None:
    assert run(base, "rooms") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "0 rooms, 0 memberships"


def test_rooms_that_made_way_are_not_listed(
    base: Path, serving: Segment, reader: Publisher, capsys: Output
) -> None:
    capacity = RoomDirectory(serving).capacity
    for number in range(3 * capacity):
        reader.publish_now(f"room {number}", Kind.JSON, b"1")
    assert run(base, "rooms", "--json") == 0
    found = json.loads(capsys.readouterr().out)["rooms"]
    names = {room["room"] for room in found}
    assert len(names) == len(found) <= capacity
    assert f"room {3 * capacity - 1}" in names
    assert {room["offset"] for room in found} == {1}
