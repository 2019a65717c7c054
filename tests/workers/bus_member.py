"""Owns the other process of tests on the bus, and what both of them do.

Usage: python -m tests.workers.bus_member PATH SLOT ROLE
"""

import asyncio
import itertools
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

from tests.workers.bus_support import Member, say, until
from workers.doorbell import Doorbell
from workers.publisher import Position
from workers.room_tables import Kind
from workers.segment import Segment
from workers.segment_bus import SegmentBus

EACH = 200  # messages that each process publishes to each room


async def talk(
    member: Member, child_is_ready: Callable[[], bool]
) -> list[tuple[str | None, int, str | bytes]]:
    """Publish and broadcast while the other does; returns all that came, in its order."""
    await member.bus.enter("b", 1)
    await member.bus.enter("a", 1)
    await until(child_is_ready)
    for number in range(EACH):
        await say(member.bus, f"{number}", room="a")
        await say(member.bus, f"{number}", room="b")
        if number % 10 == 0:
            await member.bus.broadcast(0, Kind.TEXT, b"all")
        await asyncio.sleep(0)
    total = 2 * (2 * EACH + EACH // 10)
    await member.until_got(total)
    assert member.missed == []
    return [(message.room, message.offset, message.data) for message in member.got]


async def crowd(member: Member) -> None:
    """Publish to more rooms than fit, for ever; one is left alone for long enough to be evicted."""
    chance = random.Random(1)
    for number in itertools.count():
        room = "c" if not chance.randrange(16) else f"room {chance.randrange(40)}"
        await say(member.bus, f"{number}", room=room)
        await asyncio.sleep(0)


Visit = tuple[int, int, list[int]]
"""Epoch, where `seen` was, and the offsets that came."""


async def visit(member: Member, room: str, count: int) -> list[Visit]:
    """Enter and leave a room again and again, and return what came meanwhile."""
    visits = []
    for number in range(count):
        member.got.clear()
        ticket = await member.bus.enter(room, 1)
        seen: Position = member.bus.seen(room)
        # `enter` reads before it returns, and `seen` is behind what came with that.
        assert [message.offset for message in member.got][-1:] in ([], [seen.offset])
        member.got.clear()
        history = member.bus.history(room, until=seen.offset)
        assert not history or history[-1].offset == seen.offset
        await member.until_got(1 + number % 4)
        member.bus.leave(room, ticket)
        assert {message.epoch for message in member.got} == {seen.epoch}
        visits.append((seen.epoch, seen.offset, [message.offset for message in member.got]))
        for _ in range(number % 5 * 20):
            await asyncio.sleep(0)
    return visits


def check_visits(visits: list[Visit]) -> None:
    for _, seen, offsets in visits:
        assert offsets == [*range(seen + 1, seen + 1 + len(offsets))]


async def main(path: Path, slot: int, role: str) -> None:
    """Be a worker as far as the bus is concerned."""
    segment = Segment.attach(path, writable=True)
    bell, bus = Doorbell(path.parent, slot), SegmentBus(segment, slot)
    bell.listen(asyncio.get_running_loop(), lambda _: bus.poll())
    member = Member(bus)
    if role == "talk":
        print(json.dumps(await talk(member, lambda: bus.count("a") == 2)))  # noqa: T201
    else:
        await crowd(member)
    bus.close()
    bell.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
