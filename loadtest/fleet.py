"""Owns the users of one process: what they share, and how all of them come to an end together.

It knows greenlets and no locust; `wiring` tells it when a run begins and ends.

The end has two steps, because members of a stream may be in other processes: first all users of all
processes fall silent (`quiet`), then each process takes in what is still under way and closes its
connections (`close`). So whatever was sent is also received and counted before anybody leaves.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from gevent import sleep

from loadtest.addresses import Target
from loadtest.options import Options
from loadtest.scenarios import SCENARIOS, Scenario
from loadtest.streams import Room
from loadtest.tally import Tally

_POLL_S = 0.02
_CLOSES_AT_ONCE = 100
_CLOSE_PAUSE_S = 0.01
_CLOSE_TIMEOUT_S = 10.0


class Client(Protocol):
    """A user, as far as its fleet has to do with it."""

    @property
    def is_settled(self) -> bool:
        """Whether nothing is under way to it that it waits for."""

    @property
    def is_closed(self) -> bool:
        """Whether it has no connection, and opens none."""

    def hush(self) -> None:
        """Hear that all fall silent."""

    def begin_close(self) -> None:
        """Send a close frame, if there is a connection."""

    def end(self, finals: Mapping[bytes, int]) -> None:
        """Count what is missing, if each stream went so far."""

    def give_up(self) -> None:
        """Drop the connection, which did not end in time."""


class Fleet:
    """The users of this process.

    Attributes:
        options, scenario, target: of this run.
        tally: what they count.
        finals: how far each stream went that others cannot know of, by publisher.
        is_ending: whether nobody may send any more.
        is_closing: whether nobody may connect any more.
        started_s: of this run, by `time.monotonic`.
    """

    def __init__(self) -> None:
        self.options = Options()
        self.scenario = SCENARIOS[self.options.scenario]
        self.tally = Tally()
        self.users: set[Client] = set()
        self.finals: dict[bytes, int] = {}
        self.is_ending = self.is_closing = False
        self.started_s = 0.0
        self._joined_s = 0.0
        self._target: Target | None = None
        self._places: list[tuple[Room, int]] = []
        self._room_count = 0
        self._name = ""

    @property
    def target(self) -> Target:
        """Where to connect to."""
        assert self._target is not None, "no run has begun"
        return self._target

    def begin(self, options: Options, scenario: Scenario, target: Target) -> None:
        """Start a run."""
        self.options, self.scenario, self._target = options, scenario, target
        self.tally = Tally()
        self.users.clear()
        self.finals = {}
        self.is_ending = self.is_closing = False
        self.started_s = self._joined_s = time.monotonic()
        self._places = []
        self._room_count = 0
        self._name = f"load-{os.urandom(4).hex()}"

    def join(self, user: Client) -> None:
        """Have one more."""
        self.users.add(user)
        self._joined_s = time.monotonic()

    def is_steady(self, seconds: float) -> bool:
        """Whether nobody has joined for so long."""
        return time.monotonic() - self._joined_s > seconds

    # -- what users ask for --------------------------------------------------------------------

    @property
    def interval_s(self) -> float:
        """Seconds between two messages of a user."""
        asked = self.options.interval
        return self.scenario.interval_s if asked is None else asked

    @property
    def rate(self) -> float:
        """Messages a second of a publisher; 0: no pace."""
        return self.scenario.rate if self.options.rate is None else self.options.rate

    @property
    def payload_bytes(self) -> int:
        """Size of a message."""
        return self.options.payload_bytes or self.scenario.payload_bytes

    @property
    def room_size(self) -> int:
        """Members of a room."""
        return max(1, self.options.room_size or self.scenario.room_size)

    def take_place(self) -> tuple[Room, int]:
        """Give a user a place in a room: the first that is free. Rooms are of this process alone.

        Its members are spread over the workers of the server all the same.
        """
        if not self._places:
            room = Room(f"{self._name}-{self._room_count}", self.tally)
            self._room_count += 1
            self._places = [(room, place) for place in reversed(range(self.room_size))]
        return self._places.pop()

    def free_place(self, room: Room, place: int) -> None:
        """Take it back."""
        self._places.append((room, place))

    # -- the end -------------------------------------------------------------------------------

    def quiet(self) -> dict[bytes, int]:
        """Let all fall silent and have what they wait for; returns how far each stream went."""
        self.is_ending = True
        for user in list(self.users):
            user.hush()
        self._wait(lambda user: user.is_settled, self.options.settle_timeout)
        return self.finals

    def close(self, finals: Mapping[bytes, int]) -> None:
        """Take in the ends of streams from elsewhere, and close all connections with 1000."""
        self.is_ending = True
        self.finals = dict(finals)
        self._wait(lambda user: user.is_settled, self.options.settle_timeout)
        self.is_closing = True
        for number, user in enumerate(list(self.users)):
            user.end(finals)
            user.begin_close()
            if number % _CLOSES_AT_ONCE == _CLOSES_AT_ONCE - 1:
                sleep(_CLOSE_PAUSE_S)
        for user in self._wait(lambda user: user.is_closed, _CLOSE_TIMEOUT_S):
            user.give_up()
        self.tally.missing = max(0, self.tally.outstanding)

    def _wait(self, is_done: Callable[[Client], bool], timeout_s: float) -> Iterable[Client]:
        """Wait until it is so of all users; returns those of which it is not, in the end."""
        deadline_s = time.monotonic() + timeout_s
        rest = [user for user in self.users if not is_done(user)]
        while rest and time.monotonic() < deadline_s:
            sleep(_POLL_S)
            rest = [user for user in rest if not is_done(user)]
        return rest
