"""The ring of messages against a plain list: any sizes and order, and readers that are too slow."""

import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.workers.memory_support import private, shared, writer
from tests.workers.room_support import SIZES, Record, assert_whole, entries, read, walk
from workers.journal import ConnectionId, Journal, MessageTooLarge, Overrun
from workers.publisher import Publisher
from workers.room_tables import RECORD_WORDS, Kind
from workers.segment import Segment

LIMIT_BYTES = (SIZES.ring_words // 8 - RECORD_WORDS) * 8
ID = st.tuples(st.integers(1, 2**64 - 1), st.integers(1, 2**64 - 1))
MESSAGE = st.tuples(
    st.sampled_from([0, 1, 2, None]),
    st.sampled_from([Kind.TEXT, Kind.BYTES, Kind.JSON]),
    st.one_of(st.integers(0, 40), st.integers(0, LIMIT_BYTES), st.just(LIMIT_BYTES)),
    st.lists(ID, max_size=3),
)


class Writer:
    """Appends to a journal and to a plain list."""

    def __init__(self, segment: Segment) -> None:
        self.journal = Journal(segment)
        self.entries = entries(segment)
        self.epochs = [segment.words[segment.layout.room(entry) + 2] for entry in self.entries]
        self.model: list[Record] = []
        self.offsets: dict[int | None, int] = {}

    def append(self, room: int | None, kind: Kind, size: int, excluded: list[ConnectionId]) -> None:
        now_ns = len(self.model) + 1
        payload = bytes(32 + (now_ns + at) % 90 for at in range(size))
        offset = self.offsets.get(room, 0) + 1
        if room is None:
            entry, epoch = None, now_ns % 3
            result = self.journal.append_broadcast(epoch, kind, payload, now_ns, excluded)
        else:
            entry, epoch = self.entries[room], self.epochs[room]
            result = self.journal.append(entry, kind, payload, now_ns, excluded)
        assert result == offset
        self.offsets[room] = offset
        data = payload if kind is Kind.BYTES else payload.decode()
        self.model.append(Record(entry, epoch, offset, kind, data, now_ns, tuple(excluded)))


@given(st.lists(MESSAGE, max_size=60))
@example([(0, Kind.TEXT, LIMIT_BYTES, [])] * 30)
@example([(None, Kind.BYTES, size, []) for size in range(0, LIMIT_BYTES, 3)])
def test_it_holds_the_end_of_what_a_list_holds(
    messages: list[tuple[int | None, Kind, int, list[ConnectionId]]],
) -> None:
    segment = private(SIZES)
    writer, cursor = Writer(segment), 0
    for room, kind, size, excluded in messages:
        before = bytes(segment.bytes)
        if size + 16 * len(excluded) > LIMIT_BYTES:
            with pytest.raises(MessageTooLarge, match="raise --journal-mib"):
                writer.append(room, kind, size, excluded)
            assert bytes(segment.bytes) == before
            continue
        writer.append(room, kind, size, excluded)
        (header,) = walk(writer.journal, cursor)
        assert read(writer.journal, header) == writer.model[-1]
        cursor = writer.journal.head
    assert_whole(segment, writer.model)
    assert writer.journal.records == len(writer.model)


@given(st.lists(st.integers(0, LIMIT_BYTES), min_size=1, max_size=80))
def test_nothing_is_given_up_before_its_place_is_needed(sizes: list[int]) -> None:
    segment = private(SIZES)
    writer, starts = Writer(segment), [0]
    for size in sizes:
        writer.append(0, Kind.BYTES, size, [])
        last = writer.journal.header(starts[-1])
        if last.kind == Kind.PAD:
            starts.append(starts[-1] + last.words)
        starts.append(writer.journal.head)
        needed = writer.journal.head - SIZES.ring_words
        assert writer.journal.tail == next(start for start in starts if start >= needed)


@pytest.mark.parametrize("left", range(RECORD_WORDS + 2))
def test_a_ring_that_ends_where_no_header_fits(left: int) -> None:
    """The rest of the ring is a pad, with a header or too short for one."""
    segment = private(SIZES)
    writer = Writer(segment)
    until = SIZES.ring_words - left
    while (words := until - writer.journal.head) > 0:
        words = words if words <= 50 else min(50, words - RECORD_WORDS)
        writer.append(1, Kind.BYTES, (words - RECORD_WORDS) * 8, [])
    assert writer.journal.head == until
    for _ in range(3):
        writer.append(1, Kind.TEXT, 100, [(1, 2)])
        assert_whole(segment, writer.model)


def test_the_largest_message_and_one_byte_more() -> None:
    segment = private(SIZES)
    writer = Writer(segment)
    assert writer.journal.limit_bytes == LIMIT_BYTES
    writer.append(0, Kind.BYTES, LIMIT_BYTES, [])
    writer.append(None, Kind.BYTES, LIMIT_BYTES - 32, [(1, 1), (1, 2)])
    before = bytes(segment.bytes)
    problem = (
        "a message of 433 bytes cannot be published, the limit is 432: send less at once, or"
        " raise --journal-mib"
    )
    with pytest.raises(MessageTooLarge, match=problem):
        writer.append(0, Kind.BYTES, LIMIT_BYTES + 1, [])
    with pytest.raises(MessageTooLarge):
        writer.append(None, Kind.BYTES, LIMIT_BYTES - 31, [(1, 1), (1, 2)])
    assert bytes(segment.bytes) == before
    assert_whole(segment, writer.model)


def test_a_record_that_is_overwritten_between_its_header_and_its_payload() -> None:
    segment = private(SIZES)
    writer = Writer(segment)
    writer.append(0, Kind.TEXT, 20, [(1, 1)])
    header = writer.journal.header(0)
    while not writer.journal.tail:
        writer.append(1, Kind.TEXT, 20, [])
    for late in (writer.journal.payload, writer.journal.excluded):
        with pytest.raises(Overrun):
            late(header)
    with pytest.raises(Overrun):
        writer.journal.header(0)


def test_a_room_whose_messages_are_all_overwritten_still_tells_its_offset() -> None:
    segment = private(SIZES)
    writer = Writer(segment)
    entry, epoch = writer.entries[0], writer.epochs[0]
    assert writer.journal.last_offset(entry, epoch) == 0
    assert writer.journal.lost_offset(entry, 0) == 0
    writer.append(0, Kind.TEXT, 20, [])
    assert writer.journal.lost_offset(entry, 0) is None
    while not writer.journal.tail:
        writer.append(1, Kind.TEXT, 20, [])
    assert list(writer.journal.chain(entry, epoch)) == []
    assert writer.journal.last_offset(entry, epoch) == 1
    assert writer.journal.lost_offset(entry, writer.journal.tail) == 1


def test_readers_that_are_overtaken_never_see_a_torn_message(tmp_path: Path) -> None:
    """Another process writes as fast as it can; this one reads what it is about to overwrite."""
    with shared(tmp_path, SIZES) as segment, writer(segment, 0, "publish"):
        publisher, overruns, rooms = Publisher(segment), 0, 0
        seen: set[tuple[int, int]] = set()
        journal, deadline = publisher.journal, time.monotonic() + 30
        while overruns < 20 or len(seen) < 300 or rooms < 100:
            assert time.monotonic() < deadline, f"{overruns} overruns, {len(seen)} messages"
            try:
                at = journal.tail
                header = journal.header(at)
                if at == journal.head or header.kind == Kind.PAD:
                    continue
                record = read(journal, header)
            except Overrun:
                overruns += 1
                continue
            assert_derived(record.offset, record.data, record.excluded)
            seen.add((record.epoch, record.offset))
            rooms += read_rooms(publisher)
        publisher.close()


def read_rooms(publisher: Publisher) -> int:
    """Ask as any process may, and return how often there was an answer."""
    answers = 0
    for room in ("a", "b"):
        before = publisher.position(room)
        messages = publisher.history(room)
        after = publisher.position(room)
        offsets = [message.offset for message in messages]
        for message in messages:
            assert_derived(message.offset, message.data, message.excluded)
        if before is None or after is None or not offsets:
            continue
        assert before.epoch == after.epoch
        assert offsets == [*range(offsets[0], offsets[0] + len(offsets))]
        assert before.offset <= offsets[-1] <= after.offset
        answers += 1
    return answers


def assert_derived(offset: int, data: str | bytes, excluded: tuple[ConnectionId, ...]) -> None:
    """See `memory_writer.publish`."""
    assert data == f"{offset}:" + str(offset % 10) * (offset % 200)
    assert excluded == ((offset, offset + 1),) * (offset % 3)
