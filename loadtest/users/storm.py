"""Owns the users of the realtime protocol that are cut off in storms, and come back.

See docs/protocol.md. Gaps and duplicates are found by the offsets that the server gives; what was
missed meanwhile has to come before `joined`, or `joined` says that it is not recovered.
"""

import random
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from loadtest import payload
from loadtest.link import OPEN
from loadtest.streams import Listener
from loadtest.tally import CONNECT, DELIVER, RECONNECT, RTT
from loadtest.users.base import WebSocketUser

SUBPROTOCOL = "switchboard.v1"
_PING_S = 20.0
_AT_END_S = 10.0


class Frame(msgspec.Struct):
    """Any frame of the server, as far as it matters here."""

    type: str
    id: int | None = None
    epoch: str = ""
    offset: int = 0
    recovered: bool = False
    data: msgspec.Raw = msgspec.Raw(b"")
    code: str = ""
    what: str = ""


_DECODER = msgspec.json.Decoder(Frame)


class StormUser(WebSocketUser):
    """Is in a room of the realtime protocol, and says something every --interval seconds."""

    route = "/realtime"

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.room, self.place = self.fleet.take_place()
        self.listener = Listener(self.tally)
        self.is_in = False
        self.stream = self.room.name.encode()
        self._epoch = ""
        self._id = 0
        self._asked: dict[int, int] = {}
        self._lost_ns = 0
        self._storms = 0
        self._rtt = self.tally.times(RTT, self.route)
        self._delivery = self.tally.times(DELIVER, self.route)

    # -- what it does --------------------------------------------------------------------------

    def act(self) -> None:
        """Come, and stay until it is cut off or closed."""
        if not self.come():
            return
        self._pass_over_storms()
        speak_s = time.monotonic() + random.uniform(0, self.fleet.interval_s)
        while self.ws.state == OPEN and not self.fleet.is_ending:
            storm_s = self._next_storm_s()
            self.pause(min(speak_s, storm_s, time.monotonic() + _PING_S) - time.monotonic())
            now_s = time.monotonic()
            if now_s >= storm_s:
                self._weather()
            elif now_s >= speak_s:
                self.publish()
                speak_s = now_s + self.fleet.interval_s * random.uniform(0.5, 1.5)
            elif self.can_send:
                self._ask("ping")

    def act_at_end(self) -> None:
        """Whoever is away comes back once more, to be told what it has missed."""
        deadline_s = time.monotonic() + _AT_END_S
        while not self.is_in and time.monotonic() < deadline_s and not self.come():
            pass

    def come(self) -> bool:
        """Connect and join; returns whether it is in the room."""
        self._asked.clear()
        self._id = 0
        if not self.open(self.route, (SUBPROTOCOL,)):
            return False
        deadline_s = time.monotonic() + self.fleet.options.answer_timeout
        self._ask("connect")
        while self.ws.state == OPEN and not self.is_in:
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                self.fail(CONNECT, "the join was not answered in time")
                self.close()
                break
            self.pause(remaining_s)
        return self.is_in

    def publish(self) -> None:
        """Say something to the room."""
        if self.can_send:
            now_ns = time.monotonic_ns()
            data = self.message(self._id, now_ns).decode()
            self._asked[self._id + 1] = now_ns
            self._ask("publish", room=self.room.name, data=data)

    def _ask(self, kind: str, **fields: object) -> None:
        if self.ws.state != OPEN:
            return
        self._id += 1
        self.send(msgspec.json.encode({"type": kind, "id": self._id, **fields}))

    def _next_storm_s(self) -> float:
        return self.fleet.started_s + (self._storms + 1) * self.fleet.options.storm_every

    def _pass_over_storms(self) -> None:
        """Have nothing to do with those that were before now."""
        while self._next_storm_s() <= time.monotonic():
            self._storms += 1

    def _weather(self) -> None:
        """There is a storm: be cut off, or not."""
        self._pass_over_storms()
        if random.random() >= self.fleet.options.storm_share:
            return
        # With an answer under way it would not know whether the server has got its message.
        deadline_s = time.monotonic() + self.fleet.options.answer_timeout
        while self._asked and self.ws.state == OPEN and time.monotonic() < deadline_s:
            self.pause(deadline_s - time.monotonic())
        if not self.fleet.is_ending:
            self.ws.drop()

    # -- what comes ----------------------------------------------------------------------------

    def on_message(self, message: bytes, now_ns: int) -> None:
        """Take a frame."""
        self.tally.received += 1
        try:
            frame = _DECODER.decode(message)
        except msgspec.MsgspecError:
            self.fail(DELIVER, "a frame that is none of the protocol")
            return
        if frame.type == "message":
            self._on_published_to_room(frame, now_ns)
        elif frame.type == "published":
            self._on_published(frame, now_ns)
        elif frame.type == "connected":
            self._join()
        elif frame.type == "joined":
            self._on_joined(frame, now_ns)
        elif frame.type == "missed" and frame.what == "messages":
            self._join()
        elif frame.type == "error":
            self.fail(RTT, f"error {frame.code}")

    def _join(self) -> None:
        since = self.listener.next(self.stream)
        place = {} if since is None else {"since": since - 1, "epoch": self._epoch}
        self._ask("join", room=self.room.name, **place)

    def _on_joined(self, frame: Frame, now_ns: int) -> None:
        due = self.listener.next(self.stream)
        if due is not None and frame.recovered:
            self.tally.recovered += 1
            # What it says to have sent and has not is missing.
            self.listener.end({self.stream: frame.offset + 1})
        else:
            self.tally.not_recovered += due is not None
            self.listener.begin(self.stream, frame.offset + 1)
        self._epoch = frame.epoch
        self._know(frame.offset)
        if self._lost_ns:
            self.tally.times(RECONNECT, self.route).add(now_ns - self._lost_ns)
            self._lost_ns = 0
        self.is_in = True
        self.wake()

    def _on_published_to_room(self, frame: Frame, now_ns: int) -> None:
        self._know(frame.offset)
        is_replayed = not self.is_in
        if self.listener.take(self.stream, frame.offset) and not is_replayed:
            mark = payload.read(bytes(frame.data))
            if mark is not None and mark.publisher != self.me:
                self._delivery.add(now_ns - mark.sent_ns)

    def _on_published(self, frame: Frame, now_ns: int) -> None:
        self._know(frame.offset)
        asked_ns = self._asked.pop(frame.id or 0, 0)
        if asked_ns:
            self._rtt.add(now_ns - asked_ns)
        if not self._asked:
            self.wake()

    def _know(self, offset: int) -> None:
        """Note how far the room has got."""
        if self.fleet.finals.get(self.stream, 0) <= offset:
            self.fleet.finals[self.stream] = offset + 1

    # -- the end -------------------------------------------------------------------------------

    @property
    def has_all(self) -> bool:
        """Whether all has come, as far as this process knows of it."""
        return not self._asked and not self.listener.lacks(self.fleet.finals)

    @property
    def is_settled(self) -> bool:
        """Whether it is in and has all; who is away is to come back."""
        return self.is_in and self.ws.state == OPEN and self.has_all

    def hush(self) -> None:
        """Whoever is away comes back at once."""
        super().hush()
        self.wake()

    def end(self, finals: Mapping[bytes, int]) -> None:
        """Count what is missing at the end."""
        if self.is_in:
            self.listener.end(finals)

    def on_closed(self) -> None:
        """Note since when it is away."""
        if self.ws.ended_by != "client":
            self._lost_ns = time.monotonic_ns()
        self.is_in = False
        super().on_closed()

    def on_stop(self) -> None:
        """Leave, and give the place to the next."""
        super().on_stop()
        self.fleet.free_place(self.room, self.place)
