"""Owns which deliveries are due, and what is a gap, a duplicate or out of order. Knows no socket.

The rules, which make `expected` an exact number although members come and go while messages fly:

- **An answer** (`Answers`) is due for each message that a client sends to a route that echoes.
- **In a room** (`Room`, `Member`) all members are clients of one process of the generator, so it
  knows at each publish who is in. A member is in from when it has got the first message of its own,
  which confirms its join, until it begins to leave. It then stays until what was published before
  has come, or until it has waited long enough. What was published earlier or later than that, by
  the time in the message, is not due, and is counted as received alone.
- **Of a stream** (`Listener`: a broadcast, or a room with offsets) a listener may know neither
  where it began nor where it is. It is due all from the first message that it gets, or from where
  the server said that it begins. At the end of a run the master tells all processes how far each
  stream went, and what is short of that is missing. Who leaves earlier is due nothing after the
  last message that it got.
- **When the server ends a connection**, or it is lost, what has not come by then is not due: the
  end itself is counted, by its code. What was skipped before, because a later message of the same
  publisher had come, stays missing.

Order is that of one publisher's messages (of a stream: of all). A message that comes after a later
one is delivered and reordered; one that comes again is a duplicate, and is delivered once.
"""

from collections.abc import Mapping
from typing import Literal

from loadtest.payload import Mark
from loadtest.tally import Tally

Arrival = Literal["new", "late", "again"]
_NEVER_NS = 1 << 63


class Numbers:
    """The numbers of the messages that one receiver got.

    Attributes:
        all: the number that is to come, by publisher.
    """

    __slots__ = ("_holes", "all")

    def __init__(self, begin: Mapping[bytes, int] | None = None) -> None:
        self.all: dict[bytes, int] = dict(begin or ())
        self._holes: set[tuple[bytes, int]] | None = None

    @property
    def skipped(self) -> int:
        """How many are missing though a later one has come."""
        return len(self._holes) if self._holes else 0

    def next(self, publisher: bytes) -> int | None:
        """Return the number that is to come, None of one that is not known."""
        return self.all.get(publisher)

    def begin(self, publisher: bytes, number: int) -> None:
        """Say what comes next; what was before does not count."""
        self.all[publisher] = number

    def take(self, publisher: bytes, number: int) -> Arrival:
        """Note that a message came; of an unknown publisher the first is due."""
        due = self.all.get(publisher, 0)
        if number == due:
            self.all[publisher] = number + 1
            return "new"
        if number > due:
            self.all[publisher] = number + 1
            holes = self._holes = self._holes or set()
            holes.update((publisher, skipped) for skipped in range(due, number))
            return "new"
        if self._holes and (publisher, number) in self._holes:
            self._holes.remove((publisher, number))
            return "late"
        return "again"


def _count(tally: Tally, arrival: Arrival) -> bool:
    """Count a delivery that was due; returns whether it came for the first time."""
    if arrival == "again":
        tally.duplicated += 1
        return False
    tally.delivered += 1
    if arrival == "late":
        tally.reordered += 1
    return True


class Answers:
    """What one client has sent to a route that echoes, and what came back."""

    __slots__ = ("_numbers", "_tally", "came", "sent")

    def __init__(self, tally: Tally) -> None:
        self.sent = 0
        self.came = 0
        self._numbers = Numbers()
        self._tally = tally

    @property
    def is_complete(self) -> bool:
        """Whether there is an answer to everything."""
        return self.came >= self.sent

    def send(self) -> int:
        """Count a message; returns its number."""
        self._tally.expected += 1
        self.sent += 1
        return self.sent - 1

    def take(self, number: int) -> bool:
        """Count an answer; returns whether it is the first to that message."""
        is_first = _count(self._tally, self._numbers.take(b"", number))
        self.came += is_first
        return is_first

    def abandon(self) -> None:
        """Expect no more, because the connection has ended."""
        self._tally.expected -= self.sent - (self._numbers.next(b"") or 0)


class Room:
    """A room, as the process knows it that all its members are in.

    Attributes:
        published: messages so far.
        sent: the same, by publisher.
        present: members that a message published now is due to.
    """

    __slots__ = ("_tally", "name", "present", "published", "sent")

    def __init__(self, name: str, tally: Tally) -> None:
        self.name = name
        self.published = 0
        self.sent: dict[bytes, int] = {}
        self.present = 0
        self._tally = tally

    def publish(self, publisher: bytes) -> int:
        """Count a message; returns its number. It has to be sent before anybody else runs."""
        number = self.sent.get(publisher, 0)
        self.sent[publisher] = number + 1
        self.published += 1
        self._tally.expected += self.present
        return number


class Member:
    """One that is in a room: made when its join is confirmed."""

    __slots__ = ("_due", "_numbers", "_room", "_since_ns", "_start", "_tally", "_until_ns", "came")

    def __init__(self, room: Room, now_ns: int, tally: Tally) -> None:
        self.came = 0
        self._room = room
        self._tally = tally
        self._since_ns, self._until_ns = now_ns, _NEVER_NS
        self._start = room.published
        self._due: int | None = None
        self._numbers = Numbers(room.sent)
        room.present += 1

    @property
    def due(self) -> int:
        """How many messages were published while it was in."""
        return self._room.published - self._start if self._due is None else self._due

    @property
    def is_complete(self) -> bool:
        """Whether all that was due has come."""
        return self.came >= self.due

    def take(self, mark: Mark) -> bool:
        """Count a message; returns whether it was due and came for the first time."""
        if not self._since_ns < mark.sent_ns <= self._until_ns:
            return False
        is_first = _count(self._tally, self._numbers.take(mark.publisher, mark.number))
        self.came += is_first
        return is_first

    def leave(self, now_ns: int) -> None:
        """Begin to leave: what is published from now on is not due."""
        if self._due is None:
            self._due = self.due
            self._until_ns = now_ns
            self._room.present -= 1

    def abandon(self, now_ns: int) -> None:
        """Expect no more, because the connection has ended."""
        self.leave(now_ns)
        self._tally.expected -= self.due - self.came - self._numbers.skipped


class Listener:
    """One that gets streams whose publishers may be anywhere."""

    __slots__ = ("_numbers", "_tally")

    def __init__(self, tally: Tally) -> None:
        self._numbers = Numbers()
        self._tally = tally

    def begin(self, publisher: bytes, number: int) -> None:
        """Know from the server where a stream begins, or goes on after a loss that it told of."""
        self._numbers.begin(publisher, number)

    def next(self, publisher: bytes) -> int | None:
        """Return the number that is to come, None of a stream that has not begun."""
        return self._numbers.next(publisher)

    def take(self, publisher: bytes, number: int) -> bool:
        """Count a message; returns whether it came for the first time."""
        due = self._numbers.next(publisher)
        if due is None:
            self._numbers.begin(publisher, number)
            due = number
        self._tally.expected += max(0, number + 1 - due)
        return _count(self._tally, self._numbers.take(publisher, number))

    def lacks(self, finals: Mapping[bytes, int]) -> bool:
        """Whether there is more to come of the streams that it knows, if each went so far."""
        return any(due < finals.get(stream, 0) for stream, due in self._numbers.all.items())

    def end(self, finals: Mapping[bytes, int]) -> None:
        """Count what was due until there, and has not come, as missing."""
        for stream, due in list(self._numbers.all.items()):
            end = finals.get(stream, 0)
            if due < end:
                self._tally.expected += end - due
                self._numbers.begin(stream, end)
