"""Owns the traffic of many small rooms: every connection publishes into its own room of ten."""

import asyncio
from time import perf_counter

from picows import WSFrame, WSTransport

from benchmarks.fanout import JOIN_SECONDS, LAST_SECONDS
from benchmarks.feed import Feed
from benchmarks.traffic import Client, Load, close, connect, until

MEMBERS = 10
_GREET_AGAIN_SECONDS = 0.2
_FIRST_MARK = ord("0")


class _Chatter(Client):
    """A member that publishes, too: it wants the messages of each other one in order.

    Attributes:
        at: its place among the members of its room, and the mark of its messages.
        feeds: of all members, by place.
        seen: messages received from each of them.
    """

    def __init__(self, load: Load, at: int, feeds: list[Feed]) -> None:
        super().__init__(load)
        self.at = at
        self.feeds = feeds
        self.seen = [0] * len(feeds)
        self.is_running = False
        self._sent_at = 0.0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        # The hot path: it must cost less than any server's delivery.
        payload = frame.get_payload_as_bytes()
        try:
            at = payload[0] - _FIRST_MARK
            feed, count = self.feeds[at], self.seen[at]
        except IndexError:
            self.other_frame(frame)
            return
        if payload == feed.recent[count % feed.remembers]:
            self.seen[at] = count + 1
            if at == self.at and self.is_running:
                self.load.latencies.append(perf_counter() - self._sent_at)
                self.publish()
        elif first := feed.count_after(count, payload):
            self.seen[at] = first
        else:
            self.other_frame(frame)

    def publish(self) -> None:
        """Send the next message."""
        self._sent_at = perf_counter()
        self.send(self.feeds[self.at].next())

    def has_all(self) -> bool:
        """Whether it has seen all that was sent in its room."""
        return all(seen == feed.sent for seen, feed in zip(self.seen, self.feeds, strict=True))


class SmallRoomsLoad(Load):
    """Rooms of ten in which each member sends its next message when it has its last one."""

    def __init__(self, url: str, connections: int, size: int) -> None:
        super().__init__()
        self._clients: list[_Chatter] = []
        self._urls: list[str] = []
        for room in range(0, connections, MEMBERS):
            feeds = [
                Feed(chr(_FIRST_MARK + at), size) for at in range(min(MEMBERS, connections - room))
            ]
            self._clients += [_Chatter(self, at, feeds) for at in range(len(feeds))]
            self._urls += [f"{url}-{room // MEMBERS}"] * len(feeds)

    async def open(self) -> None:
        await connect(self._clients, self._urls)
        end = asyncio.get_running_loop().time() + JOIN_SECONDS
        while absent := [client for client in self._clients if not client.seen[0]]:
            if asyncio.get_running_loop().time() > end:
                self.fail(f"{len(absent)} members of a room got nothing")
                return
            for client in self._clients[::MEMBERS]:  # the first of each room, for all of them
                client.publish()
            await asyncio.sleep(_GREET_AGAIN_SECONDS)
        await self._all_received()

    def start(self) -> None:
        for client in self._clients:
            client.is_running = True
            client.publish()

    def counts(self) -> list[int]:
        return [sum(client.seen) for client in self._clients]

    async def stop(self) -> None:
        for client in self._clients:
            client.is_running = False
        await self._all_received()
        await close(self._clients)

    async def _all_received(self) -> None:
        def lacking() -> list[_Chatter]:
            return [client for client in self._clients if not client.has_all()]

        if not await until(lambda: not lacking(), LAST_SECONDS):
            self.fail(f"{len(lacking())} of {len(self._clients)} members lack messages")
