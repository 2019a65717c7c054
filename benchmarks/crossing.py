"""Owns the traffic from worker to worker: a paced publisher on one, all members on another."""

import asyncio
from collections.abc import Sequence
from time import perf_counter

from picows import WSFrame, WSTransport

from benchmarks.fanout import Member, all_received, greet
from benchmarks.feed import Feed
from benchmarks.traffic import Client, Load, close, connect

PER_SECOND = 1000
_REMEMBERS = 1024  # messages: a member may be a second behind
_PLACING_SECONDS = 15.0
_AT_ONCE = 8


class _Placed(Member):
    """A connection that is told first which process it is in; `is_member` says if it joined."""

    def __init__(self, load: Load, feed: Feed, sent_at: list[float]) -> None:
        super().__init__(load, feed)
        self.worker: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._sent_at = sent_at

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if not self.worker.done():
            self.worker.set_result(frame.get_payload_as_bytes())
            return
        count = self.count
        super().on_ws_frame(transport, frame)
        if self.count > count > 0:
            self.load.latencies.append(perf_counter() - self._sent_at[count % _REMEMBERS])


class CrossingLoad(Load):
    """A thousand messages a second into a room whose members are all on one worker.

    The publisher is no member. A message counts once, however many members it has.

    Args:
        is_elsewhere: whether the members' worker is another than the publisher's.
    """

    def __init__(self, url: str, connections: int, size: int, *, is_elsewhere: bool) -> None:
        super().__init__()
        self._url = url
        self._wanted = max(1, connections - 1)
        self._is_elsewhere = is_elsewhere
        self._feed = Feed("0", size, _REMEMBERS)
        self._sent_at = [0.0] * _REMEMBERS
        self._publisher: Client | None = None
        self._members: list[Member] = []
        self._pacing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        [publisher] = await self._connect("publisher", 1)
        self._publisher = publisher
        async with asyncio.timeout(_PLACING_SECONDS):
            while len(self._members) < self._wanted:
                await self._place(await publisher.worker)
        await greet(self, self._feed, publisher, self._members)

    async def _place(self, home: bytes) -> None:
        """Connect some; keep those on the right worker, as long as there are too few."""
        for candidate in await self._connect("member", _AT_ONCE):
            is_elsewhere = await candidate.worker != home
            if is_elsewhere == self._is_elsewhere and len(self._members) < self._wanted:
                self._members.append(candidate)
            else:
                await candidate.close()

    async def _connect(self, role: str, number: int) -> Sequence[_Placed]:
        placed = [_Placed(self, self._feed, self._sent_at) for _ in range(number)]
        await connect(placed, f"{self._url}/{role}/bench")
        return placed

    def start(self) -> None:
        self._pacing = asyncio.get_running_loop().create_task(self._pace())

    async def _pace(self) -> None:
        assert self._publisher is not None
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self._sent_at[self._feed.sent % _REMEMBERS] = perf_counter()
            self._publisher.send(self._feed.next())
            due += 1 / PER_SECOND
            if (early := due - loop.time()) > 0:  # else it is late: it catches up
                await asyncio.sleep(early)

    def counts(self) -> list[int]:
        return [self._members[0].count] if self._members else [0]

    async def stop(self) -> None:
        if self._pacing is not None:
            self._pacing.cancel()
        await all_received(self, self._feed, self._members)
        if self._publisher is not None:
            await close([self._publisher, *self._members])
