"""What is due is an exact number: the rules of `loadtest.streams`, each as a test."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from loadtest.payload import Mark
from loadtest.streams import Answers, Listener, Member, Numbers, Room
from loadtest.tally import Tally


def figures(tally: Tally) -> tuple[int, int, int, int]:
    return tally.expected, tally.delivered, tally.duplicated, tally.reordered


# -- numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "arrivals", "skipped"),
    [
        ([0, 1, 2], "new new new", 0),
        ([0, 2], "new new", 1),
        ([2], "new", 2),
        ([0, 2, 1], "new new late", 0),
        ([0, 0], "new again", 0),
        ([0, 2, 1, 1, 2], "new new late again again", 0),
    ],
)
def test_how_a_message_arrives(numbers: Iterable[int], arrivals: str, skipped: int) -> None:
    seen = Numbers()
    assert [seen.take(b"a", number) for number in numbers] == arrivals.split()
    assert seen.skipped == skipped


@given(st.permutations(range(8)), st.lists(st.integers(0, 7)))
def test_each_number_is_taken_once(order: list[int], again: list[int]) -> None:
    seen = Numbers()
    firsts = [number for number in [*order, *again] if seen.take(b"a", number) != "again"]
    assert firsts == order
    assert seen.skipped == 0


def test_publishers_do_not_mix() -> None:
    seen = Numbers({b"a": 5})
    assert [seen.take(b"a", 5), seen.take(b"b", 0), seen.take(b"a", 6)] == ["new"] * 3


# -- answers -------------------------------------------------------------------------------------


def test_an_answer_is_due_for_each_message() -> None:
    tally = Tally()
    answers = Answers(tally)
    assert [answers.send() for _ in range(3)] == [0, 1, 2]
    assert (tally.expected, answers.is_complete) == (3, False)
    assert [answers.take(number) for number in (0, 2, 2, 1)] == [True, True, False, True]
    assert answers.is_complete
    assert figures(tally) == (3, 3, 1, 1)


def test_after_the_end_of_the_connection_only_what_was_skipped_is_missing() -> None:
    tally = Tally()
    answers = Answers(tally)
    for _ in range(5):
        answers.send()
    answers.take(0)
    answers.take(2)
    answers.abandon()
    assert figures(tally) == (3, 2, 0, 0)


# -- rooms ---------------------------------------------------------------------------------------


class Hall:
    """A room with a clock and a server that delivers when it is told to."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.room = Room("hall", self.tally)
        self.now_ns = 100

    def tick(self) -> int:
        self.now_ns += 1
        return self.now_ns

    def publish(self, publisher: bytes) -> Mark:
        number = self.room.publish(publisher)
        return Mark(publisher, number, self.tick())

    def join(self) -> Member:
        return Member(self.room, self.tick(), self.tally)


def test_a_member_is_due_what_is_published_while_it_is_in() -> None:
    hall = Hall()
    before = hall.publish(b"a")
    member = hall.join()
    marks = [hall.publish(b"a"), hall.publish(b"b")]
    member.leave(hall.tick())
    after = hall.publish(b"a")
    assert (member.due, member.is_complete) == (2, False)
    assert [member.take(mark) for mark in (before, *marks, after)] == [False, True, True, False]
    assert member.is_complete
    assert figures(hall.tally) == (2, 2, 0, 0)


def test_what_a_member_does_not_get_is_missing() -> None:
    """The first, one in the middle, and the last."""
    hall = Hall()
    member, other = hall.join(), hall.join()
    marks = [hall.publish(b"a") for _ in range(5)]
    for mark in marks:
        other.take(mark)
    for mark in (marks[1], marks[3]):
        member.take(mark)
    assert other.is_complete
    assert not member.is_complete
    assert hall.tally.expected - hall.tally.delivered == 3


def test_messages_of_one_publisher_have_an_order_and_those_of_two_have_none() -> None:
    hall = Hall()
    member = hall.join()
    first, second, other = hall.publish(b"a"), hall.publish(b"a"), hall.publish(b"b")
    for mark in (other, second, first, first):
        member.take(mark)
    assert figures(hall.tally) == (3, 3, 1, 1)


def test_a_member_whose_connection_ends_is_due_no_more_than_what_was_skipped() -> None:
    hall = Hall()
    member = hall.join()
    marks = [hall.publish(b"a") for _ in range(5)]
    member.take(marks[0])
    member.take(marks[2])
    member.abandon(hall.tick())
    hall.publish(b"a")
    assert figures(hall.tally) == (3, 2, 0, 0)
    assert hall.room.present == 0


def test_a_member_leaves_once() -> None:
    hall = Hall()
    member = hall.join()
    member.leave(hall.tick())
    member.leave(hall.tick())
    member.abandon(hall.tick())
    assert hall.room.present == 0


class RoomMachine(RuleBasedStateMachine):
    """Members come and go while messages are under way; a perfect server leaves no gap."""

    def __init__(self) -> None:
        super().__init__()
        self.hall = Hall()
        self.members: list[Member] = []
        self.under_way: dict[Member, list[Mark]] = {}
        self.lost = 0

    @rule()
    def join(self) -> None:
        member = self.hall.join()
        self.members.append(member)
        self.under_way[member] = []

    @rule(publisher=st.sampled_from([b"a", b"b"]))
    def publish(self, publisher: bytes) -> None:
        mark = self.hall.publish(publisher)
        for member in self.members:
            self.under_way[member].append(mark)

    @precondition(lambda self: self.members)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        member = data.draw(st.sampled_from(self.members))
        for mark in self.under_way[member]:
            member.take(mark)
        self.under_way[member] = []

    @precondition(lambda self: self.members)
    @rule(data=st.data(), is_lossy=st.booleans())
    def leave(self, data: st.DataObject, is_lossy: bool) -> None:
        member = self.members.pop(data.draw(st.integers(0, len(self.members) - 1)))
        member.leave(self.hall.tick())
        late = self.hall.publish(b"a")
        for other in self.members:
            self.under_way[other].append(late)
        marks = [*self.under_way.pop(member), late]
        if is_lossy and len(marks) > 1:
            del marks[0]
            self.lost += 1
        for mark in marks:
            member.take(mark)
        assert is_lossy or member.is_complete

    @invariant()
    def nothing_is_missing_but_what_is_under_way(self) -> None:
        waiting = sum(len(self.under_way[member]) for member in self.members)
        tally = self.hall.tally
        assert tally.expected - tally.delivered == waiting + self.lost
        assert (tally.duplicated, tally.reordered) == (0, 0)


TestRoomMachine = RoomMachine.TestCase


# -- streams -------------------------------------------------------------------------------------


def test_a_listener_is_due_all_from_the_first_that_it_gets() -> None:
    tally = Tally()
    listener = Listener(tally)
    assert [listener.take(b"a", number) for number in (7, 8, 10, 10)] == [True, True, True, False]
    assert figures(tally) == (4, 3, 1, 0)


def test_a_listener_that_was_told_the_beginning_is_due_all_from_there() -> None:
    tally = Tally()
    listener = Listener(tally)
    listener.begin(b"room", 5)
    listener.take(b"room", 6)
    assert figures(tally) == (2, 1, 0, 0)


def test_at_the_end_of_a_run_what_is_short_of_a_stream_is_missing() -> None:
    tally = Tally()
    listener = Listener(tally)
    listener.take(b"a", 0)
    finals = {b"a": 4, b"never heard of": 9}
    assert listener.lacks(finals)
    listener.end(finals)
    assert figures(tally) == (4, 1, 0, 0)
    assert not listener.lacks(finals)


def test_a_listener_that_has_all_lacks_nothing() -> None:
    listener = Listener(Tally())
    listener.take(b"a", 3)
    assert not listener.lacks({b"a": 4})
    assert not listener.lacks({})
