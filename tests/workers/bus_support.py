"""Owns who listens to a bus in tests, and what is done with one."""

import asyncio
from collections.abc import Callable

from workers.bus import Bus
from workers.fields import places
from workers.memory_bus import MemoryBus
from workers.publisher import Message
from workers.room_tables import BUS, Kind
from workers.segment_bus import SegmentBus


class Member:
    """Who listens to a bus: keeps what it is given.

    Attributes:
        on_message: called with each message after it was kept; its result is the listener's.
    """

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.got: list[Message] = []
        self.missed: list[str | None] = []
        self.on_message: Callable[[Message], bool] = lambda message: False
        self.on_missed: Callable[[str | None], None] = lambda room: None
        bus.listen(self._take, self._miss)

    def _take(self, message: Message) -> bool:
        self.got.append(message)
        return self.on_message(message)

    def _miss(self, room: str | None) -> None:
        self.missed.append(room)
        self.on_missed(room)

    async def until_got(self, count: int) -> None:
        await until(lambda: len(self.got) >= count)

    @property
    def texts(self) -> list[str | bytes]:
        return [message.data for message in self.got]


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something is so."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 (any condition)
            await asyncio.sleep(0)


async def say(bus: Bus, *texts: str, room: str = "a") -> None:
    for text in texts:
        await bus.publish(room, Kind.TEXT, text.encode())


def texts(bus: Bus, **wanted: int) -> list[str | bytes]:
    return [message.data for message in bus.history("a", **wanted)]


async def fill(bus: Bus, room: str) -> None:
    """Publish so much that all before is overtaken; the loop does not run meanwhile."""
    await say(bus, *map(str, range(60)), room=room)


def overruns(bus: Bus) -> int:
    if isinstance(bus, MemoryBus):
        return bus.counts["overruns"]
    assert isinstance(bus, SegmentBus)
    return bus._counts[places(BUS)["overruns"]]
