"""Owns the traffic of one room at a fixed rate: each delivery is timed, and members may be deaf."""

import asyncio
import socket
from time import perf_counter
from urllib.parse import urlsplit

from picows import WSFrame, WSTransport

from benchmarks import wire
from benchmarks.fanout import Member, all_received, greet
from benchmarks.feed import Feed
from benchmarks.traffic import Client, Load, close, connect, source

_SPARE = 256  # messages of before the traffic
_DEAF_BUFFER_BYTES = 4 << 10
_DEAF_SEGMENT_BYTES = 1400  # as on Ethernet: with loopback's 64 KB the kernel would take 2.8 MB
_PLACING_SECONDS = 5.0
_STANDSTILL_SECONDS = 5.0


class _Timed(Member):
    """A member that notes how old each message is."""

    def __init__(self, load: Load, feed: Feed, sent_at: list[float]) -> None:
        super().__init__(load, feed)
        self._sent_at = sent_at

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        count = self.count
        super().on_ws_frame(transport, frame)
        if self.count > count > 0:
            self.load.latencies.append(perf_counter() - self._sent_at[count % len(self._sent_at)])


class _Publisher(Client):
    """A connection that does not join; it is told which process it is in."""

    def __init__(self, load: Load) -> None:
        super().__init__(load)
        self.worker: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if self.worker.done():
            self.other_frame(frame)
        else:
            self.worker.set_result(int(frame.get_payload_as_bytes()))


class PacedRoom(Load):
    """So many messages a second into one room, on time whatever comes back.

    Args:
        seconds: for which it goes on at most. A room may get more than a server can carry, so every
            message is remembered until the end.

    Attributes:
        worker_pid: the process of the room, once it is open.
    """

    def __init__(
        self, base: str, members: int, per_second: float, size: int, seconds: float
    ) -> None:
        super().__init__()
        self.worker_pid = 0
        self._base = base
        self._per_second = per_second
        remembers = int(per_second * seconds) + _SPARE
        self._feed = Feed("0", size, remembers)
        self._sent_at = [0.0] * remembers
        self._publisher = _Publisher(self)
        self._members = [_Timed(self, self._feed, self._sent_at) for _ in range(members)]
        self._deaf: list[socket.socket] = []
        self._pacing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await connect([self._publisher], f"{self._base}/placed/publisher/bench")
        async with asyncio.timeout(_PLACING_SECONDS):
            self.worker_pid = await self._publisher.worker
        await connect(self._members, self._room)
        await greet(self, self._feed, self._publisher, self._members)

    def add_deaf(self, number: int) -> None:
        """Add members that never read, not even the answer to their handshake."""
        target = urlsplit(self._room)
        for at in range(number):
            deaf = socket.socket()
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _DEAF_BUFFER_BYTES)
            deaf.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _DEAF_SEGMENT_BYTES)
            deaf.bind((source(at), 0))
            deaf.connect((target.hostname, target.port))
            deaf.sendall(wire.request(self._room))
            self._deaf.append(deaf)

    @property
    def _room(self) -> str:
        return f"{self._base}/room/bench"

    def start(self) -> None:
        self._pacing = asyncio.get_running_loop().create_task(self._pace())

    async def _pace(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self._sent_at[self._feed.sent % len(self._sent_at)] = perf_counter()
            self._publisher.send(self._feed.next())
            due += 1 / self._per_second
            # If it is late, it catches up, and lets what has come be read all the same.
            await asyncio.sleep(max(0.0, due - loop.time()))

    def counts(self) -> list[int]:
        return [member.count for member in self._members]

    async def _let_it_arrive(self) -> None:
        """Wait for what is still on its way, as long as there comes any of it."""
        loop = asyncio.get_running_loop()
        arrived, since = 0, loop.time()
        while min(self.counts()) < self._feed.sent and loop.time() - since < _STANDSTILL_SECONDS:
            await asyncio.sleep(0.05)
            if (now := sum(self.counts())) != arrived:
                arrived, since = now, loop.time()

    async def stop(self) -> None:
        if self._pacing is not None:
            self._pacing.cancel()
        await self._let_it_arrive()
        await all_received(self, self._feed, self._members)
        await close([self._publisher, *self._members])
        for deaf in self._deaf:
            deaf.close()
