"""Owns what all users do alike: connect, count, come back, leave; knows no scenario.

A user is one greenlet, which decides when to send. What comes is taken by callbacks of its
connection, which gevent's loop calls: they count, and never wait.
"""

import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from gevent import get_hub, sleep
from gevent.hub import Waiter
from locust import User, task

from loadtest import payload
from loadtest.client import WebSocket
from loadtest.fleet import Fleet
from loadtest.link import CLOSED, OPEN, ConnectFailed
from loadtest.tally import CLOSE, CONNECT

FLEET = Fleet()
"""Of this process: locust runs one environment in each."""

_FIRST_BACKOFF_S, _LAST_BACKOFF_S = 1.0, 10.0
_BATCH_S = 1.0
_POLL_S = 0.02
_CLOSE_TIMEOUT_S = 5.0


class WebSocketUser(User):
    """A client of the server.

    Attributes:
        route: its template; the name of all its requests.
        close_codes: with which the server may close, besides 1000.
        may_be_lost: whether its connection may end without a close frame.
        me: its name as a publisher.
    """

    abstract = True
    route: ClassVar[str] = ""
    close_codes: ClassVar[frozenset[int]] = frozenset()
    may_be_lost = False

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.fleet = FLEET
        self.tally = FLEET.tally
        self.ws = WebSocket(self)
        self.me = payload.new_publisher()
        self._waiter: Any = None
        self._since_ns = 0
        self._backoff_s = _FIRST_BACKOFF_S

    # -- what a scenario says ------------------------------------------------------------------

    def act(self) -> None:
        """Do what the user does, once or until its connection has ended; it begins with `open`."""
        raise NotImplementedError

    def act_at_end(self) -> None:
        """Do what is left to do when all have fallen silent."""

    def on_message(self, message: bytes, now_ns: int) -> None:
        """Take a message, as `client.Owner` has it, and count it as received."""
        raise NotImplementedError

    def on_abandoned(self) -> None:
        """Hear that the connection has ended, but not by us."""

    @property
    def has_all(self) -> bool:
        """Whether all has come that is due."""
        return True

    def part(self) -> None:
        """Begin to leave: what is published from now on is not due."""

    # -- what it does --------------------------------------------------------------------------

    @task
    def live(self) -> None:
        """Do it for as long as the run lasts."""
        self.fleet.join(self)
        # locust starts all users of a second at once, and they would wait for each other.
        self.pause(random.uniform(0, _BATCH_S))
        while not self.fleet.is_ending:
            self.act()
            if self.ws.state == CLOSED and self.ws.ended_by not in ("client", ""):
                self.back_off()
        self.act_at_end()
        while True:
            sleep(3600)  # until it is killed

    def open(self, path: str, subprotocols: Sequence[str] = (), **more: Any) -> bool:
        """Connect; without success wait a while, longer each time. Returns whether it is open."""
        if self.attempt(path, subprotocols, **more):
            self._backoff_s = _FIRST_BACKOFF_S
            return True
        self.back_off()
        return False

    def attempt(self, path: str, subprotocols: Sequence[str] = (), **more: Any) -> bool:
        """Connect; returns whether it is open."""
        if self.fleet.is_closing:
            return False
        self._since_ns = time.monotonic_ns()
        timeout_s = self.fleet.options.connect_timeout
        target = self.fleet.target
        return self.ws.connect(target, path, subprotocols=subprotocols, timeout_s=timeout_s, **more)

    def back_off(self) -> None:
        """Wait before the next attempt, so that not all come at once."""
        self.pause(self._backoff_s * random.uniform(0.5, 1.5))
        self._backoff_s = min(2 * self._backoff_s, _LAST_BACKOFF_S)

    def send(self, message: bytes) -> None:
        """Send a message, and count it; the connection has to be open."""
        self.ws.send(message)
        self.tally.sent += 1

    @property
    def can_send(self) -> bool:
        """Whether it may send now."""
        return self.ws.state == OPEN and not self.fleet.is_ending and not self.ws.is_full

    def message(self, number: int, now_ns: int) -> bytes:
        """Make one of its messages."""
        return payload.make(self.me, number, now_ns, self.fleet.payload_bytes)

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than the connection lasts."""
        waiter = self._waiter = Waiter()
        timer = get_hub().loop.timer(max(0.0, seconds))
        timer.start(waiter.switch, None)
        try:
            waiter.get()
        finally:
            timer.close()
            self._waiter = None

    def wake(self) -> None:
        """End its pause."""
        if self._waiter is not None:
            get_hub().loop.run_callback(self._waiter.switch, None)

    def close(self) -> None:
        """Close with 1000, and wait for the answer."""
        self.begin_close()
        self.ws.wait_closed(time.monotonic() + _CLOSE_TIMEOUT_S)

    def fail(self, kind: str, text: str) -> None:
        """Count something that went wrong."""
        self.tally.fail(kind, self.route, text)

    def on_stop(self) -> None:
        """Leave in the middle of a run, as when there are to be fewer users."""
        settled_s = time.monotonic() + self.fleet.options.settle_timeout
        try:
            self.ws.wait_opened()
            self.part()
            while self.ws.state == OPEN and not self.has_all and time.monotonic() < settled_s:
                sleep(_POLL_S)
            self.close()
        finally:
            self.ws.drop()
            self.fleet.users.discard(self)

    # -- what its fleet asks for ---------------------------------------------------------------

    @property
    def is_settled(self) -> bool:
        """As `fleet.Client` has it."""
        return self.ws.state == CLOSED or (self.ws.state >= OPEN and self.has_all)

    @property
    def is_closed(self) -> bool:
        """As `fleet.Client` has it."""
        return self.ws.state == CLOSED

    def hush(self) -> None:
        """Hear that all fall silent."""
        self.part()

    def begin_close(self) -> None:
        """Send a close frame, if there is a connection."""
        if self.ws.state == OPEN:
            self._since_ns = time.monotonic_ns()
            self.ws.begin_close()

    def end(self, finals: Mapping[bytes, int]) -> None:
        """Count what is missing, if each stream went so far."""

    def give_up(self) -> None:
        """Drop the connection, which did not end in time."""
        self.ws.wait_closed(0)
        self.ws.drop()

    # -- what its connection says --------------------------------------------------------------

    def on_opened(self) -> None:
        """As `client.Owner` has it."""
        self.tally.open()
        self.tally.times(CONNECT, self.route).add(time.monotonic_ns() - self._since_ns)
        if self.fleet.is_closing:
            self.begin_close()

    def on_failed(self, failure: ConnectFailed) -> None:
        """As `client.Owner` has it."""
        if failure.status is not None:
            self.tally.refused[str(failure.status)] += 1
        if failure.limit is not None:
            self.tally.reach(failure.limit)
        self.fail(CONNECT, str(failure))

    def on_closed(self) -> None:
        """As `client.Owner` has it."""
        ws = self.ws
        self.tally.close(ws.code)
        if ws.ended_by == "client":
            self.tally.times(CLOSE, self.route).add(time.monotonic_ns() - self._since_ns)
        else:
            self.on_abandoned()
        if ws.ended_by == "lost" and not self.may_be_lost:
            self.fail(CLOSE, f"lost: {ws.reason}" if ws.reason else "lost without a close frame")
        elif ws.code not in (1000, 1006) and ws.code not in self.close_codes:
            self.fail(CLOSE, f"closed with {ws.code}")
        self.wake()
