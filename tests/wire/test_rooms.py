"""Fan-out over real sockets: bursts, and a member that never reads."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support import servers

pytestmark = pytest.mark.e2e
WAIT_S = 30


@pytest.fixture(scope="module", params=["granian", "uvicorn"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with getattr(servers, request.param)("tests.wire.rooms_app:app") as server:
        yield server.url


async def joined(url: str, **options: object) -> ClientConnection:
    # Uncompressed: a thousand equal letters would all fit into the kernel's buffers.
    ws = await connect(f"{url}/member", compression=None, **options)  # type: ignore[arg-type]
    assert await asyncio.wait_for(ws.recv(), WAIT_S) == "joined"
    return ws


async def burst(url: str, count: int, size: int) -> None:
    async with connect(f"{url}/publish?count={count}&size={size}") as publisher:
        assert await asyncio.wait_for(publisher.recv(), WAIT_S) == "done"


async def read_numbers(ws: ClientConnection, count: int) -> list[int]:
    async with asyncio.timeout(WAIT_S):
        return [int(str(await ws.recv())[:8]) for _ in range(count)]


@pytest.mark.parametrize(("count", "size"), [(5_000, 10), (500, 20_000)])
async def test_a_burst_reaches_every_member_that_reads_in_order(
    url: str, count: int, size: int
) -> None:
    members = [await joined(url) for _ in range(3)]

    reads = [asyncio.create_task(read_numbers(ws, count)) for ws in members]
    await burst(url, count, size)

    for numbers in await asyncio.gather(*reads):
        assert list(range(count)) == numbers
    for ws in members:
        await ws.close()


async def test_a_member_that_never_reads_is_closed_and_the_others_get_everything(url: str) -> None:
    count, size = 1_000, 20_000
    reader = await joined(url)
    stuck = await joined(url, max_queue=1)  # stops reading its socket after the first message

    read = asyncio.create_task(read_numbers(reader, count))
    await burst(url, count, size)

    assert list(range(count)) == await read
    # It reads again: what the kernel held, then the end. 1006 if the close frame found no room.
    got = 0
    async with asyncio.timeout(WAIT_S):
        with suppress(ConnectionClosed):
            while True:
                await stuck.recv()
                got += 1
    assert got < count
    assert stuck.close_code in (1013, 1006)
    await reader.close()
