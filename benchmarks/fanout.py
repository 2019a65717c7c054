"""Owns the traffic of one large room: one member publishes, and all of them get each message."""

import asyncio
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Protocol

from picows import WSFrame, WSTransport

from benchmarks.feed import Feed
from benchmarks.listeners import Listeners
from benchmarks.traffic import Client, Load, connect, until

JOIN_SECONDS = 20.0
LAST_SECONDS = 5.0
_BEHIND_AT_MOST = 16
_READ_EVERY = 8  # messages
_LOOK_AGAIN_SECONDS = 0.001
_GREET_AGAIN_SECONDS = 0.05


class HasCount(Protocol):
    """Whoever knows how many messages of the feed it has seen."""

    @property
    def count(self) -> int:
        """The number."""


class Member(Client):
    """A connection that wants every message, in order, from the first one on that it has seen."""

    def __init__(self, load: Load, feed: Feed) -> None:
        super().__init__(load)
        self.count = 0
        self._feed = feed
        self._recent = feed.recent
        self._remembers = feed.remembers

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        count = self.count
        if frame.get_payload_as_bytes() == self._recent[count % self._remembers]:
            self.count = count + 1
        else:
            self._first_or_other(frame)

    def _first_or_other(self, frame: WSFrame) -> None:
        if count := self._feed.count_after(self.count, frame.get_payload_as_bytes()):
            self.count = count
        else:
            self.other_frame(frame)


class _Publisher(Member):
    """The member that sends: it tells when its own copy has come back."""

    def __init__(self, load: Load, feed: Feed, came_back: Callable[[], None]) -> None:
        super().__init__(load, feed)
        self._came_back = came_back

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        before = self.count
        super().on_ws_frame(transport, frame)
        if self.count > before:
            self._came_back()


class FanoutLoad(Load):
    """A room in which the first member sends the next message when it has the one before.

    It waits if another member is many messages behind: on a server of several processes nobody
    else would hold it back.
    """

    def __init__(self, url: str, connections: int, size: int) -> None:
        super().__init__()
        self._url = url
        self._feed = Feed("0", size)
        self._publisher = _Publisher(self, self._feed, self._came_back)
        self._others = Listeners(self, self._feed)
        self._number = connections - 1
        self._sent_at = 0.0
        self._is_running = False

    async def open(self) -> None:
        await connect([self._publisher], self._url)
        await self._others.open(self._url, self._number)
        await greet(self, self._feed, self._publisher, self._members())

    def start(self) -> None:
        self._is_running = True
        self._publish()

    def counts(self) -> list[int]:
        self._others.read()
        return [member.count for member in self._members()]

    async def stop(self) -> None:
        self._is_running = False
        await all_received(self, self._feed, self._members())
        self._others.close()
        await self._publisher.close()

    def _members(self) -> list[HasCount]:
        return [self._publisher, *self._others.members]

    def _publish(self) -> None:
        if not self._is_running:
            return
        if self._lag() > _BEHIND_AT_MOST:
            self._others.read()
        if self._lag() > _BEHIND_AT_MOST:
            asyncio.get_running_loop().call_later(_LOOK_AGAIN_SECONDS, self._publish)
            return
        self._sent_at = perf_counter()
        self._publisher.send(self._feed.next())

    def _lag(self) -> int:
        """How many messages the last one is behind, as far as it has been read."""
        return self._feed.sent - min(member.count for member in self._members())

    def _came_back(self) -> None:
        if self._is_running:
            self.latencies.append(perf_counter() - self._sent_at)
            self._publish()
            if self._feed.sent % _READ_EVERY == 0:
                self._others.read()


async def greet(load: Load, feed: Feed, publisher: Client, members: Sequence[HasCount]) -> None:
    """Publish until every member has joined, and let all of that arrive."""
    loop = asyncio.get_running_loop()
    end = loop.time() + JOIN_SECONDS
    while absent := [member for member in members if not member.count]:
        if loop.time() > end:
            load.fail(f"{len(absent)} of {len(members)} members of a room got nothing")
            return
        publisher.send(feed.next())
        await asyncio.sleep(_GREET_AGAIN_SECONDS)
        if not await until(lambda: any(one.count == feed.sent for one in members), LAST_SECONDS):
            load.fail("a message reached nobody")
            return
    await all_received(load, feed, members)


async def all_received(load: Load, feed: Feed, members: Sequence[HasCount]) -> None:
    """Wait until every member has every message, or count those that do not get there."""

    def lacking() -> list[HasCount]:
        return [member for member in members if member.count != feed.sent]

    if not await until(lambda: not lacking(), LAST_SECONDS):
        load.fail(f"{len(lacking())} of {len(members)} members lack messages")
