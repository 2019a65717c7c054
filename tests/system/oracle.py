"""Owns the oracle: clients that know what each room's members must see, and judge what they do see.

The first to see a message at a place of a room says which it is; whoever sees another one there, or
the same one at another place, has seen another order. A member counts places by itself: from the
one that its join returned on, one for each message. So a gap shifts all that follows, and shows.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.system.crowd import Client, Crowd
from tests.system.oracle_app import KEPT_BRIEFLY

PATH = "/oracle"
LONG_S = 1.0  # for a brief room to forget something


@dataclass
class Books:
    """What all members and publishers have seen together.

    Attributes:
        messages: the id of the message at each place (room, offset).
        places: the place of each message, by its id.
        epochs: of each room.
        counts: deliveries, recoveries and the like.
        violations: what must not be; the first few.
    """

    messages: dict[tuple[str, int], int] = field(default_factory=dict)
    places: dict[int, tuple[str, int]] = field(default_factory=dict)
    epochs: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def judge(self, is_right: bool, *what: object) -> None:
        if not is_right and len(self.violations) < 20:
            self.violations.append(" ".join(map(str, what)))

    def note(self, room: str, offset: int, id: int, who: object) -> None:
        """Take what somebody has seen at a place."""
        place = (room, offset)
        known = self.messages.setdefault(place, id)
        self.judge(known == id, who, "saw message", id, "at", place, "where others saw", known)
        where = self.places.setdefault(id, place)
        self.judge(where == place, who, "saw message", id, "at", place, "and others at", where)

    def note_epoch(self, room: str, epoch: str, who: object) -> None:
        known = self.epochs.setdefault(room, epoch)
        self.judge(known == epoch, who, "in", room, "got epoch", epoch, "not", known)


@dataclass
class Membership:
    """A member's view of one room.

    Attributes:
        next: the offset of the message that must come next; None until the join is answered.
        since: what the join asked for.
        waiting: ids that came before the answer.
    """

    next: int | None = None
    since: int | None = None
    waiting: list[int] = field(default_factory=list)
    is_leaving: bool = False


class Member:
    """A client that joins, leaves and comes back, and judges what it is sent."""

    def __init__(self, name: str, books: Books) -> None:
        self.name = name
        self.books = books
        self.client: Client | None = None
        self.pid: int | None = None
        self.rooms: dict[str, Membership] = {}
        self.away_until = 0.0
        self.places: dict[str, int] = {}
        """The last offset seen in each room when the connection ended, or the room was left."""

    def __repr__(self) -> str:
        return self.name

    @property
    def is_away(self) -> bool:
        """Whether it has no connection."""
        return self.client is None or not self.client.is_open

    @property
    def is_calm(self) -> bool:
        """Whether it is there, and all that it asked for was answered."""
        return (
            not self.is_away
            and self.pid is not None
            and all(one.next is not None and not one.is_leaving for one in self.rooms.values())
        )

    async def come(self, crowd: Crowd) -> bool:
        """Connect, and rejoin what it was in when it was cut off; False if that failed."""
        found = await crowd.connect(1, PATH)
        if not found:
            return False
        (self.client,) = found
        self.pid = None
        wanted = [*self.rooms]
        self.rooms.clear()
        self.client.on_message = self.take
        for message in tuple(self.client.messages):
            self.take(message)
        self.client.messages.clear()
        for room in wanted:
            self.join(room)
        return True

    def join(self, room: str) -> None:
        """Join, from where it was when it has been there before."""
        since = self.places.get(room)
        epoch = None if since is None else self.books.epochs[room]
        self.rooms[room] = Membership(since=since)
        self.order({"join": room, "since": since, "epoch": epoch})

    def leave(self, room: str) -> None:
        self.rooms[room].is_leaving = True
        self.order({"leave": room})

    def order(self, order: dict[str, object]) -> None:
        assert self.client is not None
        self.client.send(json.dumps(order))

    def end(self, chance: random.Random) -> None:
        """End the connection, one way or the other, and stay away for a while or a longer one."""
        assert self.client is not None
        self.away_until = time.monotonic() + chance.choice((0.0, 0.0, 0.2, LONG_S))
        self.client.on_message = None
        if chance.random() < 0.5:
            self.client.reset()
        else:
            self.client.say_close()
        self.cut_off()

    def cut_off(self) -> None:
        """Remember where it was, for the next connection."""
        assert self.client is not None
        self.client.on_message = None
        for room, one in self.rooms.items():
            if one.next is not None:
                self.places[room] = one.next - 1
        self.rooms = {room: one for room, one in self.rooms.items() if not one.is_leaving}

    # -- what comes ------------------------------------------------------------------------------

    def take(self, message: str | bytes) -> None:
        said = json.loads(message)
        assert self.client is not None
        self.client.messages.clear()
        match said:
            case {"pid": pid}:
                self.pid = pid
            case {"joined": room}:
                self._take_joined(room, said)
            case {"left": room}:
                one = self.rooms.pop(room)
                assert one.next is not None
                self.places[room] = one.next - 1
            case {"room": room, "id": id}:
                self._take_message(room, id)

    def _take_message(self, room: str, id: int) -> None:
        one = self.rooms.get(room)
        if one is None:
            self.books.judge(False, self, "got message", id, "of", room, "which it is not in")
        elif one.next is None:
            one.waiting.append(id)
        else:
            self.books.note(room, one.next, id, self)
            one.next += 1
            self.books.counts["deliveries"] += 1

    def _take_joined(self, room: str, said: dict[str, object]) -> None:
        one, books = self.rooms[room], self.books
        epoch, offset = str(said["epoch"]), said["offset"]
        assert isinstance(offset, int)
        books.note_epoch(room, epoch, self)
        missed = 0 if one.since is None else offset - one.since
        if said["recovered"]:
            books.judge(len(one.waiting) == missed, self, "got", one.waiting, "of", missed, said)
            for place, id in enumerate(one.waiting, start=offset - len(one.waiting) + 1):
                books.note(room, place, id, self)
            books.counts["deliveries"] += len(one.waiting)
            books.counts["recovered"] += 1
            books.counts["replayed"] += len(one.waiting)
        else:
            books.judge(one.waiting == [], self, "was not recovered, but got", one.waiting, said)
            if one.since is not None:
                is_short = room.startswith("brief-")
                books.judge(is_short, self, "was not recovered", said, "from", one.since)
                books.judge(missed > KEPT_BRIEFLY, self, "could be recovered", said, one.since)
                books.counts["not recovered"] += 1
        one.waiting.clear()
        one.next = offset + 1


class Author:
    """A client that publishes to random rooms, one message after the other."""

    def __init__(self, number: int, rooms: Sequence[str], books: Books) -> None:
        self.books = books
        self._rooms = rooms
        self._ids = range(number * 10**9, (number + 1) * 10**9).__iter__()
        self._client: Client | None = None
        self._answered = asyncio.Event()

    async def work(self, crowd: Crowd, chance: random.Random, stop: asyncio.Event) -> None:
        """Publish until told to stop; go on with another connection when one is lost."""
        while not stop.is_set():
            found = await crowd.connect(1, PATH)
            if not found:
                await asyncio.sleep(0.05)
                continue
            (self._client,) = found
            self._client.on_message = self._take
            while self._client.is_open and not stop.is_set():
                self._answered.clear()
                order = {"publish": chance.choice(self._rooms), "id": next(self._ids)}
                self._client.send(json.dumps(order))
                self.books.counts["published"] += 1
                answered = asyncio.ensure_future(self._answered.wait())
                either: list[asyncio.Future[Any]] = [answered, self._client.ended]
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                answered.cancel()

    def _take(self, message: str | bytes) -> None:
        said = json.loads(message)
        assert self._client is not None
        self._client.messages.clear()
        if "published" in said:
            self.books.note(said["in"], said["offset"], said["published"], "its author")
            self.books.note_epoch(said["in"], said["epoch"], "an author")
            self.books.counts["acknowledged"] += 1
            self._answered.set()
