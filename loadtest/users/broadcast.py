"""Owns the users of a broadcast: one that publishes, and many that listen."""

import time
from collections.abc import Mapping
from typing import Any

from loadtest import payload
from loadtest.link import OPEN
from loadtest.streams import Listener
from loadtest.tally import DELIVER, RTT
from loadtest.users.base import WebSocketUser


class BroadcastListener(WebSocketUser):
    """Counts what is broadcast."""

    route = "/ws/broadcast"

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.listener = Listener(self.tally)
        self.has_heard = False
        self._delivery = self.tally.times(DELIVER, self.route)
        self._rtt = self.tally.times(RTT, self.route)

    def act(self) -> None:
        """Listen for as long as the connection lasts."""
        self.listener, self.has_heard = Listener(self.tally), False
        if not self.open(self.route):
            return
        self.pause(self.fleet.options.answer_timeout)
        if self.ws.state == OPEN and not self.has_heard and not self.fleet.is_ending:
            self.fail(DELIVER, "nothing was broadcast in time")
        while self.ws.state == OPEN and not self.fleet.is_ending:
            self.pause(self.fleet.options.answer_timeout)

    def on_message(self, message: bytes, now_ns: int) -> None:
        """Count a message."""
        self.tally.received += 1
        mark = payload.read(message)
        if mark is None:
            return
        self.has_heard = True
        is_first = self.listener.take(mark.publisher, mark.number)
        if is_first and payload.is_on_our_clock(mark.publisher):
            times = self._rtt if mark.publisher == self.me else self._delivery
            times.add(now_ns - mark.sent_ns)

    @property
    def has_all(self) -> bool:
        """Whether all has come, as far as this process knows of it."""
        return not self.listener.lacks(self.fleet.finals)

    def end(self, finals: Mapping[bytes, int]) -> None:
        """Count what is missing at the end."""
        if self.ws.state == OPEN:
            self.listener.end(finals)


class BroadcastPublisher(BroadcastListener):
    """Publishes --rate messages a second; there is one of it."""

    fixed_count = 1

    def act(self) -> None:
        """Publish for as long as the connection lasts."""
        self.listener = Listener(self.tally)
        if not self.open(self.route):
            return
        gap_s = 1 / self.fleet.rate
        due_s = time.monotonic()
        while self.ws.state == OPEN and not self.fleet.is_ending:
            self.pause(due_s - time.monotonic())
            if self.can_send:
                self.publish()
            due_s = max(due_s + gap_s, time.monotonic() - gap_s)

    def publish(self) -> None:
        """Send the next message to all."""
        number = self.fleet.finals.get(self.me, 0)
        if number == 0:
            self.listener.begin(self.me, 0)
        self.fleet.finals[self.me] = number + 1
        self.send(self.message(number, time.monotonic_ns()))
