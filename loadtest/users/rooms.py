"""Owns the users that talk in rooms: room, and slow, where some read too slowly.

What is due to whom is ruled in `loadtest.streams`.
"""

import math
import random
import time
from typing import Any

from loadtest import payload
from loadtest.link import OPEN
from loadtest.streams import Member, Room
from loadtest.tally import DELIVER, RTT
from loadtest.users.base import WebSocketUser

_READS_PER_S = 4
_SMALL_BUFFER_BYTES = 4096
_SILENCE_NS = 300_000_000


class RoomUser(WebSocketUser):
    """Is in a room, and says something every --interval seconds."""

    route = "/ws/room/{room_id}"

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.room: Room
        self.room, self.place = self.fleet.take_place()
        self.member: Member | None = None
        self._hello = -1
        self._rtt = self.tally.times(RTT, self.route)
        self._delivery = self.tally.times(DELIVER, self.route)

    @property
    def path(self) -> str:
        """Where its room is."""
        return f"/ws/room/{self.room.name}"

    def act(self) -> None:
        """Stay for as long as the connection lasts."""
        self.member = None
        if self.open(self.path) and self.join():
            interval_s = self.fleet.interval_s
            self.pause(random.uniform(0, interval_s))
            while self.ws.state == OPEN and not self.fleet.is_ending:
                if self.can_send:
                    self.publish()
                self.pause(interval_s * random.uniform(0.5, 1.5))

    def join(self) -> bool:
        """Say something, and wait until it is back: then it is in. Returns whether it is."""
        deadline_s = time.monotonic() + self.fleet.options.answer_timeout
        if self.can_send:
            self._hello = self.publish()
        while self.ws.state == OPEN and self.member is None:
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                self.fail(DELIVER, "the join was not confirmed in time")
                self.close()
                break
            self.pause(remaining_s)
        return self.member is not None

    def publish(self) -> int:
        """Say something to the room; returns its number."""
        number = self.room.publish(self.me)
        self.send(self.message(number, time.monotonic_ns()))
        return number

    def on_message(self, message: bytes, now_ns: int) -> None:
        """Count what somebody said."""
        self.tally.received += 1
        mark = payload.read(message)
        if mark is None:
            return
        is_own = mark.publisher == self.me
        if self.member is None:
            if is_own and mark.number == self._hello:
                self.member = Member(self.room, now_ns, self.tally)
                self._rtt.add(now_ns - mark.sent_ns)
                self.wake()
        elif self.member.take(mark):
            (self._rtt if is_own else self._delivery).add(now_ns - mark.sent_ns)

    @property
    def has_all(self) -> bool:
        """Whether all has come that was said while it was in."""
        return self.member is None or self.member.is_complete

    def part(self) -> None:
        """Count no more of what is said from now on."""
        if self.member is not None:
            self.member.leave(time.monotonic_ns())

    def on_abandoned(self) -> None:
        """Expect no more."""
        if self.member is not None:
            self.member.abandon(time.monotonic_ns())
            self.member = None

    def on_stop(self) -> None:
        """Leave, and give the place to the next."""
        super().on_stop()
        self.fleet.free_place(self.room, self.place)


class SlowUser(RoomUser):
    """The first of a room talks, the next few read slowly, the others listen.

    A slow one reads --read-bytes a second, and every --stall-seconds all that there is: then it
    learns whether it was closed. Nothing is due to it; it is counted what it gets.
    """

    close_codes = frozenset({1013})

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._came_ns = 0

    def act(self) -> None:
        """Stay for as long as the connection lasts."""
        size = self.fleet.room_size
        slow = min(max(1, math.ceil(self.fleet.options.slow_share * size)), size - 2)
        self.member = None
        self.may_be_lost = 0 < self.place <= slow
        if self.may_be_lost:
            self._read_slowly()
        elif self.open(self.path) and self.join():
            self._talk() if self.place == 0 else self._listen()

    def _talk(self) -> None:
        gap_s = 1 / self.fleet.rate
        due_s = time.monotonic()
        while self.ws.state == OPEN and not self.fleet.is_ending:
            self.pause(due_s - time.monotonic())
            if self.can_send:
                self.publish()
            due_s = max(due_s + gap_s, time.monotonic() - gap_s)

    def _listen(self) -> None:
        while self.ws.state == OPEN and not self.fleet.is_ending:
            self.pause(self.fleet.interval_s)

    def _read_slowly(self) -> None:
        if not self.open(self.path, receive_buffer_bytes=_SMALL_BUFFER_BYTES):
            return
        size = max(1, self.fleet.options.read_bytes // _READS_PER_S)
        while self.ws.state == OPEN and not self.fleet.is_ending:
            self.ws.pause()
            stalled_until_s = time.monotonic() + self.fleet.options.stall_seconds
            while time.monotonic() < stalled_until_s and not self.fleet.is_ending:
                self.pause(1 / _READS_PER_S)
                self.ws.read(size)
            self.ws.resume()
            self.pause(1.0)

    def on_message(self, message: bytes, now_ns: int) -> None:
        """Note when the last one came."""
        self._came_ns = now_ns
        super().on_message(message, now_ns)

    @property
    def has_all(self) -> bool:
        """Whether all has come; for a slow one: nothing more does.

        To send a close frame earlier would lose what it has not read, if it is closed already.
        """
        if self.may_be_lost and self.fleet.is_ending:
            return time.monotonic_ns() - self._came_ns > _SILENCE_NS
        return super().has_all

    def part(self) -> None:
        """Read all that there is, before the end."""
        super().part()
        self.ws.resume()

    def hush(self) -> None:
        """Do so at once."""
        super().hush()
        self._came_ns = time.monotonic_ns()
        self.wake()
