"""Owns the users that get their own messages back and stay: echo and idle."""

import random
import time
from collections.abc import Sequence
from typing import Any

from loadtest import payload
from loadtest.link import OPEN
from loadtest.streams import Answers
from loadtest.tally import RTT
from loadtest.users.base import WebSocketUser

NO_ANSWER = "no answer in time"


class EchoingUser(WebSocketUser):
    """Sends, and counts what comes back."""

    abstract = True

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.answers = Answers(self.tally)
        self._rtt = self.tally.times(RTT, self.route)

    def attempt(self, path: str, subprotocols: Sequence[str] = (), **more: Any) -> bool:
        """Connect, and begin to count anew."""
        self.answers = Answers(self.tally)
        return super().attempt(path, subprotocols, **more)

    def say(self) -> None:
        """Send the next message, if that can be."""
        if self.can_send:
            self.send(self.message(self.answers.send(), time.monotonic_ns()))

    def on_message(self, message: bytes, now_ns: int) -> None:
        """Count an answer."""
        self.tally.received += 1
        mark = payload.read(message)
        if mark is None or mark.publisher != self.me:
            return
        if self.answers.take(mark.number):
            self._rtt.add(now_ns - mark.sent_ns)
            self.on_answer()

    def on_answer(self) -> None:
        """Hear that a message was answered."""

    @property
    def has_all(self) -> bool:
        """Whether everything was answered."""
        return self.answers.is_complete

    def on_abandoned(self) -> None:
        """Expect no more answers."""
        self.answers.abandon()

    def say_every(self, seconds: float) -> None:
        """Send a message so often, answered or not, until the connection ends."""
        due_s = time.monotonic() + random.uniform(0, seconds)
        while self.ws.state == OPEN and not self.fleet.is_ending:
            self.pause(due_s - time.monotonic())
            self.say()
            if self.ws.is_full:
                self.fail(RTT, "the server does not read")
            # Whoever is late by more than one message does not send the others in a burst.
            due_s = max(due_s + seconds, time.monotonic() - seconds)

    def say_in_turn(self) -> None:
        """Send when the last message was answered, until the connection ends."""
        self.say()
        while self.ws.state == OPEN and not self.fleet.is_ending:
            sent = self.answers.sent
            self.pause(self.fleet.options.answer_timeout)
            if self.can_send and self.answers.sent == sent and not self.has_all:
                self.fail(RTT, NO_ANSWER)
                self.say()


class EchoUser(EchoingUser):
    """Has one message under way, or sends --rate a second."""

    route = "/ws/echo"

    def act(self) -> None:
        """Stay for as long as the connection lasts."""
        if not self.open(self.route):
            return
        if self.fleet.rate > 0:
            self.say_every(1 / self.fleet.rate)
        else:
            self.say_in_turn()

    def on_answer(self) -> None:
        """Send the next at once, with no greenlet between."""
        if not self.fleet.rate:
            self.say()


class IdleUser(EchoingUser):
    """Holds a connection, and sends a message every --interval seconds."""

    route = "/ws/echo"

    def act(self) -> None:
        """Stay for as long as the connection lasts."""
        if self.open(self.route):
            self.say_every(self.fleet.interval_s)
