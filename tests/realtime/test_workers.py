"""The protocol on a server of two workers: rooms, presence and recovery, also after a kill."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.realtime.conftest import APP
from tests.realtime.support import JSON, MSGPACK, WAIT_S, Closed, Host, Peer, Wire, new_room
from tests.support.servers import Server, free_port, running

pytestmark = pytest.mark.e2e
SEEN_WITHIN_S = 5.0  # a second on a machine that has nothing else to do


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with _server("--workers", "2") as server:
        yield server


def _server(*flags: str):
    port = free_port()
    command = [sys.executable, "-m", "server", "serve", APP, "--port", str(port), *flags]
    return running(command, port)


def _host(server: Server, subprotocol: str = JSON) -> Host:
    return Host(lambda path, offers: Wire.open(server.url, path, offers), subprotocol)


@pytest.fixture(params=[JSON, MSGPACK])
async def host(server: Server, request: pytest.FixtureRequest) -> AsyncIterator[Host]:
    host = _host(server, request.param)
    yield host
    await host.close()


async def connect(host: Host) -> tuple[Peer, int]:
    """Connect; returns the process id of the worker, too."""
    peer = await host.peer("/pid")
    answer = await peer.ask("connect")
    peer.client = answer["client"]
    return peer, int(answer["user"])


async def pair(host: Host) -> tuple[tuple[Peer, int], tuple[Peer, int]]:
    """Return a client of each worker."""
    first, pid = await connect(host)
    async with asyncio.timeout(WAIT_S):
        while True:
            second, other_pid = await connect(host)
            if other_pid != pid:
                return (first, pid), (second, other_pid)
            await second.link.close()


async def test_rooms_reach_both_workers(host: Host):
    (ada, _), (ben, _) = await pair(host)
    room = new_room()
    joined = [await peer.ask("join", room=room) for peer in (ada, ben)]
    assert joined[0]["epoch"] == joined[1]["epoch"]
    await ada.expect(type="member_joined", client=ben.client)

    for number in range(50):
        await (ada, ben)[number % 2].ask("publish", room=room, data={"n": number})
    for peer in (ada, ben):
        for number in range(50):
            await peer.expect(type="message", offset=number + 1, data={"n": number})


async def test_presence_on_both_workers(host: Host):
    (ada, _), (ben, ben_pid) = await pair(host)
    room = new_room()
    for peer in (ada, ben):
        await peer.ask("join", room=room)

    await ada.expect(type="member_joined", room=room, client=ben.client, user=str(ben_pid))
    for peer in (ada, ben):
        members = (await peer.ask("presence", room=room))["members"]
        assert {member["client"] for member in members} == {ada.client, ben.client}
    await ben.link.close()
    await ada.expect(type="member_left", room=room, client=ben.client)
    assert (await ada.ask("presence", room=room))["count"] == 1


async def test_recovery_at_the_other_worker(host: Host):
    (ada, _), (ben, _) = await pair(host)
    room = new_room()
    epoch = (await ada.ask("join", room=room))["epoch"]
    await ada.ask("publish", room=room, data=1)
    await ada.link.close()
    for number in (2, 3):
        await ben.ask("publish", room=room, data=number)

    await ben.send("join", room=room, since=1, epoch=epoch)
    await ben.expect(type="message", offset=2, data=2)
    await ben.expect(type="message", offset=3, data=3)
    await ben.expect(type="joined", offset=3, recovered=True)


async def test_a_killed_worker(host: Host):
    """Its members are gone from presence soon, and recover elsewhere what they miss."""
    (ada, _), (ben, ben_pid) = await pair(host)
    room = new_room()
    for peer in (ada, ben):
        epoch = (await peer.ask("join", room=room))["epoch"]
    await ada.expect(type="member_joined")
    os.kill(ben_pid, signal.SIGKILL)

    killed_s = time.monotonic()
    while (await ada.ask("presence", room=room))["count"] == 2:
        assert time.monotonic() < killed_s + SEEN_WITHIN_S
        await asyncio.sleep(0.02)
    await ada.nothing_more()  # no member_left
    assert (await ben.until_closed()).code == 1006
    await ada.ask("publish", room=room, data="while you were away")
    ben = await _come_back(host)
    await ben.send("join", room=room, since=0, epoch=epoch)
    await ben.expect(type="message", offset=1, data="while you were away")
    await ben.expect(type="joined", recovered=True)
    await ada.expect(type="message", offset=1)
    await ada.expect(type="member_joined", client=ben.client)


async def _come_back(host: Host) -> Peer:
    """Connect as soon as that is possible: what was on its way to a killed worker is lost."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return await host.connect()
        except (Closed, OSError, EOFError):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


async def test_the_limits_of_a_server():
    """Places for rooms and memberships are given back."""
    with _server("--workers", "1", "--rooms", "16", "--memberships", "16") as server:
        host = _host(server)
        ada, ben = await host.connect("/quiet"), await host.connect("/quiet")
        joined: list[str] = []
        while (answer := await ada.ask("join", room=f"room-{len(joined)}"))["type"] == "joined":
            joined.append(answer["room"])
        assert (answer["code"], answer["retry"]) == ("rooms_full", True)
        for room in joined:
            if (answer := await ben.ask("join", room=room))["type"] != "joined":
                break
        assert (answer["code"], answer["retry"]) == ("memberships_full", True)

        await ada.ask("leave", room=joined[0])
        await ben.ask("leave", room=joined[0])
        assert (await ben.ask("join", room="another"))["type"] == "joined"
        await host.close()


async def test_a_stop():
    """Nobody who reads sees the connection lost."""
    with _server("--workers", "2", "--drain-s", "1") as server:
        host = _host(server)
        peers = [await host.member("tea") for _ in range(4)]
        server.process.terminate()
        for peer in peers:
            assert (await peer.until_closed()).code == 1001
        await host.close()
