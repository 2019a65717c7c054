"""Owns the users that come and go: churn and auth."""

import random
import time
from typing import Any
from urllib.parse import quote

from loadtest import tokens
from loadtest.link import OPEN, ConnectFailed
from loadtest.tally import CONNECT, RTT
from loadtest.users.echo import NO_ANSWER, EchoingUser


class VisitingUser(EchoingUser):
    """Connects, sends --messages one after the other, leaves."""

    abstract = True

    def visit(self) -> None:
        """Send, and leave; when all fall silent it is closed with the others."""
        for _ in range(self.fleet.options.messages):
            self.say()
            self.await_answer()
        if not self.fleet.is_ending:
            self.close()

    def await_answer(self) -> None:
        """Wait for the answer to everything."""
        deadline_s = time.monotonic() + self.fleet.options.answer_timeout
        while self.ws.state == OPEN and not self.has_all:
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                self.fail(RTT, NO_ANSWER)
                return
            self.pause(remaining_s)

    def on_answer(self) -> None:
        """Go on."""
        self.wake()

    def stay_away(self) -> None:
        """Wait for about --interval."""
        self.pause(self.fleet.interval_s * random.uniform(0.5, 1.5))


class ChurnUser(VisitingUser):
    """Comes and goes."""

    route = "/ws/json"

    def act(self) -> None:
        """Make one visit."""
        if self.open(self.route):
            self.visit()
            self.stay_away()

    def message(self, number: int, now_ns: int) -> bytes:
        """Make a message that is JSON."""
        return b'{"load":"%b"}' % super().message(number, now_ns)


class AuthUser(VisitingUser):
    """Comes with a token, which is bad for a share of the visits."""

    route = "/ws/protected"

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._is_bad = False

    def act(self) -> None:
        """Make one visit."""
        options = self.fleet.options
        self._is_bad = random.random() < options.bad_share
        make = tokens.make_bad if self._is_bad else tokens.make
        token = make(options.jwt_secret, self.me.decode(), options.jwt_audience)
        if random.random() < 0.5:
            is_open = self.attempt(f"{self.route}?token={quote(token)}")
        else:
            is_open = self.attempt(self.route, ("bearer", token))
        if is_open:
            self.visit()
        self.stay_away()

    def on_opened(self) -> None:
        """Count, and see whether that may be."""
        super().on_opened()
        if self._is_bad:
            self.fail(CONNECT, "a bad token was let in")

    def on_failed(self, failure: ConnectFailed) -> None:
        """Count, and see whether that is as it should be."""
        if self._is_bad and failure.status == 401:
            self.tally.refused["401"] += 1
        else:
            super().on_failed(failure)
