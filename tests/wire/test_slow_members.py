"""Members of a room that never read, one for each policy, beside others that do; real sockets."""

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from websockets.asyncio import client as readers

from server.slow import DISCONNECT, POLICIES
from tests.support import servers
from tests.support.processes import is_held, own_bytes, wait_until
from tests.support.raw import Close, RawClient, connect, get
from tests.support.servers import Server
from tests.wire.slow_app import MIB, WINDOW_MESSAGES

pytestmark = pytest.mark.e2e
APP = "tests.wire.slow_app:app"
WAIT_S = 30
SMALL_BUFFER = 4096  # bytes of SO_RCVBUF
COUNT = 600
SIZE = 20_000  # in all far more than the kernel and the host take for one that does not read
DROPPING = [name for name in POLICIES if name != DISCONNECT]


@pytest.fixture(params=["granian", "uvicorn"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with getattr(servers, request.param)(APP) as server:
        yield server


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def books(server: Server, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(get(server.port, f"/books/{name}").body)
    return found


def never_reading(server: Server, name: str) -> RawClient:
    client = connect(server.port, f"/{name}", receive_buffer=SMALL_BUFFER)
    assert client.read_text() == "joined"
    return client


def number_of(text: str | bytes) -> int:
    return int(text[:8])


async def reading(server: Server) -> readers.ClientConnection:
    ws = await readers.connect(f"{server.url}/reader", compression=None)
    assert await asyncio.wait_for(ws.recv(), WAIT_S) == "joined"
    return ws


async def read_numbers(ws: readers.ClientConnection) -> list[int]:
    async with asyncio.timeout(WAIT_S):
        return [number_of(await ws.recv()) for _ in range(COUNT)]


def publish(server: Server, count: int, size: int) -> None:
    with connect(server.port, f"/publish?count={count}&size={size}") as publisher:
        assert publisher.read_text(WAIT_S) == "done"


async def test_each_policy_beside_members_that_read(server: Server, stack: ExitStack) -> None:
    stuck = {name: stack.enter_context(never_reading(server, name)) for name in POLICIES}
    members = [await reading(server) for _ in range(3)]

    reads = [asyncio.create_task(read_numbers(ws)) for ws in members]
    await asyncio.to_thread(publish, server, COUNT, SIZE)

    for numbers in await asyncio.gather(*reads):
        assert numbers == list(range(COUNT))
    for ws in members:
        await ws.close()
    for name in DROPPING:
        known = books(server, name)
        assert known["sent"] + known["dropped"] == COUNT + 1  # and "joined"
        assert known["slow"] == {name: known["dropped"]}
        assert known["waiting"] <= (1 if name == "latest" else WINDOW_MESSAGES)

        got = [number_of(stuck[name].read_text()) for _ in range(COUNT - known["dropped"])]

        assert got == sorted(set(got))
        if name != "drop_newest":
            assert got[-1] == COUNT - 1
        after = wait_until(partial(all_sent, server, name), message="all is sent")
        assert after["messages_out"] + after["dropped"] == COUNT + 1
        assert after["dropped"] == known["dropped"]
    assert books(server, DISCONNECT)["slow"] == {DISCONNECT: 1}
    # It reads again: in time for the close frame, or too late.
    assert stuck[DISCONNECT].next_close() in (Close(1013, "slow consumer"), None)


def test_what_waits_is_let_go_of_before_the_close_frame_is_sent() -> None:
    limits = {"SWITCHBOARD_CONNECTION_CLOSE_TIMEOUT_S": "60"}  # so that it still waits to send that
    with servers.granian(APP, env=limits) as server, never_reading(server, DISCONNECT):
        publish(server, COUNT, SIZE)

        known = books(server, DISCONNECT)
        assert (known["open"], known["waiting"], known["slow"]) == (1, 0, {DISCONNECT: 1})


def test_a_member_that_is_disconnected_gives_back_its_descriptor_and_memory() -> None:
    """Design fact 17: also when it never reads again. (uvicorn keeps its side until it does.)"""
    limits = {"SWITCHBOARD_CONNECTION_CLOSE_TIMEOUT_S": "1"}
    with servers.granian(APP, env=limits) as server:
        publish(server, 1, MIB)  # once, so that all is there that stays
        worker = int(get(server.port, "/pid").body)
        files, memory = open_files(worker), own_bytes(worker)
        with never_reading(server, "large") as client:
            publish(server, 60, MIB)
            assert books(server, "large")["waiting"] > 40
            assert own_bytes(worker) > memory + 40 * MIB
            assert is_held(server.port, client.port)

            publish(server, 60, MIB)

            wait_until(lambda: not is_held(server.port, client.port), message="released")
            wait_until(lambda: books(server, "large")["open"] == 0, message="taken out")
            wait_until(lambda: open_files(worker) <= files, message="no more files than before")
            wait_until(lambda: own_bytes(worker) < memory + 16 * MIB, message="memory is free")
            assert books(server, "large")["slow"] == {DISCONNECT: 1}


def all_sent(server: Server, name: str) -> dict[str, Any] | None:
    known = books(server, name)
    return None if known["waiting"] else known


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
