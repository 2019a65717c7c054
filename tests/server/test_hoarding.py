"""Clients that make the host hold an unfinished message are found, and others are not."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect

from server import App, WebSocket
from server.hoarding import close_hoarders, received_bytes, resident_bytes, unread_bytes
from tests.support import raw
from tests.support.embedded import embedded
from tests.support.raw import Close, Op, RawClient, frame

MIB = 1 << 20
WAIT_S = 20


@pytest.fixture
def app() -> App:
    app = App()

    @app.websocket_route("/")
    async def count(ws: WebSocket) -> None:
        async for message in ws.iter_text():
            await ws.send(str(len(message)))

    return app


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RawClient]:
    """A WebSocket as it is on the wire; the server is in this loop, so its calls are in threads."""
    client = await asyncio.to_thread(raw.connect, urlsplit(url).port or 0, "/")
    yield client
    client.drop()


def part(opcode: int, size: int, *, fin: bool = False) -> bytes:
    return frame(opcode, b"a" * size, fin=fin, mask=b"\0\0\0\0")


@pytest.mark.parametrize("sizes", [(2 * MIB,), (MIB, MIB), (1024,) * 2048])
async def test_who_does_not_finish_a_message_over_the_limit_is_closed(
    app: App, sizes: tuple[int, ...]
) -> None:
    async with embedded(app) as url, opened(url) as client:
        for number, size in enumerate(sizes):
            opcode = Op.CONTINUATION if number else Op.TEXT
            await asyncio.to_thread(client.send, part(opcode, size))
        deadline = time.monotonic() + WAIT_S
        while not await close_hoarders(app.runtime):
            assert time.monotonic() < deadline
        closed = await asyncio.to_thread(client.next_close)
        assert closed == Close(1009, "an unfinished message is over the limit")


async def test_a_message_that_is_not_over_the_limit_may_take_its_time(app: App) -> None:
    async with embedded(app) as url, opened(url) as client:
        await asyncio.to_thread(client.send, part(Op.TEXT, MIB - 10))
        for _ in range(20):
            assert await close_hoarders(app.runtime) == 0
        await asyncio.to_thread(client.send, part(Op.CONTINUATION, 10, fin=True))
        assert await asyncio.to_thread(client.read_text) == str(MIB)


async def test_who_sends_much_is_not_taken_for_one_that_hoards(app: App) -> None:
    """Whole messages, in fragments or not, and pings in between."""
    async with embedded(app) as url, connect(url, compression=None) as ws:
        for _ in range(8):
            await ws.send("a" * MIB)
            await ws.send(["a" * 1000] * 1000)
            for _ in range(100):
                await (await ws.ping())
        for _ in range(8):
            assert [await ws.recv(), await ws.recv()] == [str(MIB), "1000000"]
            assert await close_hoarders(app.runtime) == 0


async def test_what_waits_for_a_slow_view_is_not_held_against_its_client() -> None:
    app = App()
    go_on = asyncio.Event()

    @app.websocket_route("/")
    async def slow(ws: WebSocket) -> None:
        await go_on.wait()
        async for message in ws.iter_text():
            await ws.send(str(len(message)))

    async with embedded(app) as url, opened(url) as client:
        sending = asyncio.create_task(
            asyncio.to_thread(client.send, part(Op.TEXT, MIB, fin=True) * 8)
        )
        for _ in range(50):
            assert await close_hoarders(app.runtime) == 0
        go_on.set()
        await sending
        for _ in range(8):
            assert await asyncio.to_thread(client.read_text) == str(MIB)


def test_the_kernel_tells_what_has_come_and_what_is_unread() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0] as served,
    ):
        client.sendall(b"x" * 10_000)
        deadline = time.monotonic() + WAIT_S
        while received_bytes(served) < 10_000:
            assert time.monotonic() < deadline
        assert (received_bytes(served), unread_bytes(served)) == (10_000, 10_000)
        assert served.recv(4_000, socket.MSG_WAITALL) == b"x" * 4_000
        assert (received_bytes(served), unread_bytes(served)) == (10_000, 6_000)


def test_the_memory_of_this_process_is_some_megabytes() -> None:
    assert 10 * MIB < resident_bytes() < 4096 * MIB
