"""Owns the traffic of one large room: one member publishes, and all of them get each message."""

import asyncio
from collections.abc import Callable
from time import perf_counter

from picows import WSFrame, WSTransport

from benchmarks.traffic import Client, Load, close, connect, until

JOIN_SECONDS = 20.0
LAST_SECONDS = 5.0
_BEHIND_AT_MOST = 16
_LOOK_AGAIN_SECONDS = 0.001
_GREET_AGAIN_SECONDS = 0.05


class Feed:
    """The numbered messages of one publisher, of which it remembers the latest.

    `recent[number % remembers]` is message `number`, as long as it is one of these.
    """

    __slots__ = ("_mark", "_size", "recent", "remembers", "sent")

    def __init__(self, mark: str, size: int, remembers: int = 64) -> None:
        self.remembers = remembers
        self.recent = [b""] * remembers
        self.sent = 0
        self._mark = mark
        self._size = size

    def next(self) -> bytes:
        """Make the next message."""
        text = f"{self._mark}{self.sent:010d}".encode().ljust(self._size, b".")
        self.recent[self.sent % self.remembers] = text
        self.sent += 1
        return text


class Member(Client):
    """A connection that wants every message, in order, from the first one on that it has seen.

    It joins some time after it has connected, so what the first one is, is up to the server.
    """

    def __init__(self, load: Load, feed: Feed) -> None:
        super().__init__(load)
        self.count = 0
        self._feed = feed
        self._recent = feed.recent
        self._remembers = feed.remembers

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        # The hot path: it must cost less than any server's delivery.
        count = self.count
        if frame.get_payload_as_bytes() == self._recent[count % self._remembers]:
            self.count = count + 1
        else:
            self._first_or_other(frame)

    def _first_or_other(self, frame: WSFrame) -> None:
        payload = frame.get_payload_as_bytes()
        if self.count == 0 and payload in self._recent:
            self.count = int(payload[1:11]) + 1
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
        self._members: list[Member] = [self._publisher]
        self._members += [Member(self, self._feed) for _ in range(connections - 1)]
        self._sent_at = 0.0
        self._is_running = False

    async def open(self) -> None:
        await connect(self._members, self._url)
        await greet(self, self._feed, self._publisher, self._members)

    def start(self) -> None:
        self._is_running = True
        self._publish()

    def counts(self) -> list[int]:
        return [member.count for member in self._members]

    async def stop(self) -> None:
        self._is_running = False
        await all_received(self, self._feed, self._members)
        await close(self._members)

    def _publish(self) -> None:
        if not self._is_running:
            return
        if self._feed.sent - min(self.counts()) > _BEHIND_AT_MOST:
            asyncio.get_running_loop().call_later(_LOOK_AGAIN_SECONDS, self._publish)
            return
        self._sent_at = perf_counter()
        self._publisher.send(self._feed.next())

    def _came_back(self) -> None:
        if self._is_running:
            self.latencies.append(perf_counter() - self._sent_at)
            self._publish()


async def greet(load: Load, feed: Feed, publisher: Client, members: list[Member]) -> None:
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


async def all_received(load: Load, feed: Feed, members: list[Member]) -> None:
    """Wait until every member has every message, or count those that do not get there."""

    def lacking() -> list[Member]:
        return [member for member in members if member.count != feed.sent]

    if not await until(lambda: not lacking(), LAST_SECONDS):
        load.fail(f"{len(lacking())} of {len(members)} members lack messages")
