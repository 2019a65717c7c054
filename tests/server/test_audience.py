"""What reaches the members of a room, and that each member's counts say so, on granian itself."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from server import App, WebSocket
from tests.server.ledger_books import counters, until
from tests.support.embedded import embedded

WAIT_S = 20
ROOMS = ("tea", "coffee")
CODECS = ("json", "msgpack")


@dataclass(eq=False)
class Member:
    """Both ends of a connection, and what came in at the peer's."""

    ws: WebSocket
    client: ClientConnection
    got: list[str | bytes] = field(default_factory=list)

    async def read(self) -> None:
        try:
            while True:
                self.got.append(await self.client.recv())
        except ConnectionClosed:
            pass

    @property
    def counted(self) -> tuple[int, int]:
        return self.ws.messages_sent, self.ws.bytes_sent

    @property
    def arrived(self) -> tuple[int, int]:
        sizes = [len(each.encode() if isinstance(each, str) else each) for each in self.got]
        return len(sizes), sum(sizes)

    def has_all(self) -> bool:
        return self.arrived == self.counted


def make_app() -> tuple[App, asyncio.Queue[WebSocket]]:
    """Return an app, and where the connections come in that its views hold open."""
    app = App()
    arrived: asyncio.Queue[WebSocket] = asyncio.Queue()

    @app.websocket_route("/", subprotocols=CODECS)
    async def view(ws: WebSocket) -> None:
        arrived.put_nowait(ws)
        async for _ in ws.iter_text():
            pass

    return app, arrived


@asynccontextmanager
async def members(count: int) -> AsyncIterator[tuple[App, list[Member]]]:
    """Connect so many to an app, one codec after the other in turn."""
    app, arrived = make_app()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as readers:
        url = await stack.enter_async_context(embedded(app))
        found = []
        for number in range(count):
            client = await connect(f"{url}/", subprotocols=[CODECS[number % 2]])  # type: ignore[list-item]
            ws = await asyncio.wait_for(arrived.get(), WAIT_S)
            found.append(Member(ws, client))
            readers.create_task(found[-1].read())
        yield app, found
        for member in found:
            await member.client.close()


class Rooms:
    """Does at random what can be done to rooms, and keeps what each member should get of it."""

    def __init__(self, app: App, everyone: list[Member], seed: int) -> None:
        self._app = app
        self._everyone = everyone
        self._choose = random.Random(seed)
        self._joined: dict[str, set[Member]] = {room: set() for room in ROOMS}
        self.expected: dict[Member, list[Any]] = {member: [] for member in everyone}

    async def do(self, number: int) -> None:
        one, room = self._choose.choice(self._everyone), self._choose.choice(ROOMS)
        joined, first = self._joined[room], self._everyone[0]
        match self._choose.randrange(8):
            case 0:
                await one.ws.join(room)
                joined.add(one)
            case 1:
                await one.ws.leave(room)
                joined.discard(one)
            case 2:
                await self._app.broadcast({"n": number}, exclude=[one.ws])
                self._expect({"n": number}, {*self._everyone} - {one})
            case 3:
                await self._app.room(room).publish({"n": number}, exclude=[one.ws, first.ws])
                self._expect({"n": number}, joined - {one, first})
            case 4:  # its own, so that what is for many may find it busy
                await one.ws.send_text(f"own {number}")
                self._expect(f"own {number}", {one})
            case 5:  # the books are read in between
                assert one.counted[0] == len(self.expected[one])
            case _:
                await self._app.room(room).publish("x" * number)
                self._expect("x" * number, joined)

    def _expect(self, message: Any, by: set[Member]) -> None:
        for member in by:
            self.expected[member].append(message)


@pytest.mark.parametrize("seed", range(4))
async def test_each_member_counts_just_what_it_got(seed: int) -> None:
    async with members(8) as (app, everyone):
        rooms = Rooms(app, everyone, seed)
        for number in range(400):
            await rooms.do(number)
        await until(lambda: all(member.has_all() for member in everyone), WAIT_S)
        for number, member in enumerate(everyone):
            codec = msgspec.msgpack if number % 2 else msgspec.json
            assert [as_published(each, codec) for each in member.got] == rooms.expected[member]

    total = [sum(column) for column in zip(*(each.arrived for each in everyone), strict=True)]
    await until(lambda: not app.connections)
    block = counters(app)
    assert [block.messages_out, block.bytes_out] == total


def as_published(payload: str | bytes, codec: Any) -> Any:
    if isinstance(payload, str) and not payload.startswith("{"):
        return payload
    return codec.decode(payload)


async def test_who_has_been_closed_gets_nothing_more() -> None:
    async with members(3) as (app, everyone):
        first, second, third = everyone
        for member in everyone:
            await member.ws.join("tea")
        await app.room("tea").publish("before")
        closing = asyncio.create_task(second.ws.kick(4000))
        await asyncio.sleep(0)  # the close frame is on its way, the membership still there
        await app.room("tea").publish("after")
        await app.broadcast("to all")
        await closing
        await until(lambda: first.has_all() and third.has_all() and second.has_all(), WAIT_S)
        assert first.got == third.got == ["before", "after", "to all"]
        assert second.got == ["before"]


async def test_a_member_that_leaves_keeps_its_count() -> None:
    async with members(2) as (app, (first, second)):
        await first.ws.join("tea")
        await second.ws.join("tea")
        await app.room("tea").publish("one")
        await first.ws.leave("tea")
        await app.room("tea").publish("two")
        assert first.counted == (1, 3)
        assert second.counted == (2, 6)
        await first.ws.join("tea")
        await app.room("tea").publish("three")
        assert first.counted == (2, 8)
        assert second.counted == (3, 11)
