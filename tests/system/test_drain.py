"""The drain of a whole server: what its clients, its peers at the door and its operator see."""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.cli import APP, Project
from tests.support.processes import children
from tests.support.raw import connect
from tests.support.servers import Server
from tests.system.crowd import Client, Crowd, End, until
from tests.system.test_life import admin, base, codes, exit_code, is_free, serving

__all__ = ["base"]  # a fixture

SOAK = os.environ.get("SWITCHBOARD_SOAK") == "1"
CLIENTS, DRAIN_S = (5000, 30.0) if SOAK else (800, 5.0)
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",  # RFC 6455 section 1.3
}
CLOSING_S = DRAIN_S * 0.8  # the rest is for views to finish in

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180 if SOAK else 60)]

ODD = """
import asyncio, time


@app.websocket_route("/stubborn")
async def stubborn(ws):
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass


@app.websocket_route("/flood")
async def flood(ws):
    while True:
        await ws.send("x" * 65536)


@app.websocket_route("/slow")
async def slow(ws):
    try:
        async for message in ws:
            pass
    finally:
        await asyncio.sleep(30)


@app.websocket_route("/block")
async def block(ws):
    await ws.send("now")
    time.sleep(60)
"""


@pytest.fixture
def odd(project: Project) -> Project:
    project.write("odd.py", APP + ODD)
    return project


class Door:
    """Knocks during a drain: what do new peers hear, and what does the balancer?

    Attributes:
        answers: status and Retry-After of each handshake, and how often.
        ready: status of /readyz, and the server's state in it, and how often.
    """

    def __init__(self, server: Server) -> None:
        self.answers: Counter[tuple[int, str]] = Counter()
        self.ready: Counter[tuple[int, str]] = Counter()
        self._server = server

    async def knock(self) -> None:
        """Ask once; in threads, because the loop of the crowd is as busy as the crowd.

        All at a time: under full traffic an answer takes seconds.
        """
        looking = asyncio.to_thread(admin, self._server, "/readyz")
        # Several, so that each worker gets some.
        trying = [asyncio.to_thread(self._try) for _ in range(8)]
        (status, body), *answers = await asyncio.gather(looking, *trying)
        self.ready[status, json.loads(body)["status"]] += 1
        self.answers.update(answers)

    def _try(self) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self._server.port, timeout=20)
        with closing(connection):
            connection.request("GET", "/echo", headers=HANDSHAKE)
            answer = connection.getresponse()
            return answer.status, answer.headers.get("Retry-After", "")


def talk(client: Client) -> None:
    """Send all the time: some messages are always under way, in both directions."""
    client.on_message = client.send
    for _ in range(3):
        client.send("x" * 100)


def assert_even(ends: list[End], closing_s: float) -> None:
    """The closes began at once and took their time; each tenth of it had its share."""
    moments = sorted(end.at_s for end in ends)
    took_s = moments[-1] - moments[0]
    assert closing_s * 0.8 < took_s < closing_s * 1.25
    tenths = Counter(min(int((moment - moments[0]) / took_s * 10), 9) for moment in moments)
    share = len(moments) / 10
    assert all(share / 2.5 < tenths[tenth] < share * 2.5 for tenth in range(10)), tenths
    gaps = [after - before for before, after in pairwise(moments)]
    assert max(gaps) < max(closing_s / 10, 0.5)


@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "under traffic"])
async def test_everybody_is_closed_evenly(project: Project, base: Path, is_busy: bool) -> None:
    """Each client gets its close frame, and new ones hear when to come back."""
    with serving(project, base, "--drain-s", str(DRAIN_S)) as server:
        async with Crowd(server.port) as crowd:
            clients = await crowd.connect(CLIENTS, "/echo")
            assert len(clients) == CLIENTS
            for client in clients if is_busy else ():
                talk(client)
            door = Door(server)
            server.process.send_signal(signal.SIGTERM)
            await until(lambda: len(crowd.open) < CLIENTS, message="the drain begins")
            while len(crowd.open) > CLIENTS * 0.4:  # a knock takes a while when all are busy
                await door.knock()
                await asyncio.sleep(DRAIN_S / 50)
            await crowd.wait_ended(clients, DRAIN_S)
            assert codes(crowd) == {1001}
            assert_even(crowd.closed, CLOSING_S)
            assert door.answers.total() >= 8
            assert set(door.answers) == {(503, "1")}
            assert set(door.ready) == {(503, "draining")}
            assert await exit_code(server, DRAIN_S) == 0
            assert is_free(server.port)
        assert os.listdir(base) == []


async def test_a_worker_that_is_done_leaves_nobody_at_its_door(odd: Project, base: Path) -> None:
    """While another one still drains, each handshake is answered."""
    with serving(odd, base, "--drain-s", "4", app="odd") as server:
        async with Crowd(server.port) as crowd:
            await crowd.connect(1, "/slow")
            workers = children(server.process.pid)
            server.process.send_signal(signal.SIGTERM)
            await until(lambda: len(children(server.process.pid)) < len(workers))
            door = Door(server)
            async with asyncio.timeout(2):
                for _ in range(5):
                    await door.knock()
            assert set(door.answers) == {(503, "1")}
            assert await exit_code(server, 10) == 0


async def test_a_worker_that_is_stopped_by_itself_is_replaced(project: Project, base: Path) -> None:
    """It drains, as in the end of the server; the one after it is given connections."""
    with serving(project, base, workers=1) as server:
        async with Crowd(server.port) as crowd:
            clients = await crowd.connect(20, "/echo")
            (worker,) = children(server.process.pid)
            os.kill(worker, signal.SIGTERM)
            await crowd.wait_ended(clients)
            assert codes(crowd) == {1001}
            await until(lambda: children(server.process.pid) not in ([], [worker]))
            await until(lambda: admin(server, "/readyz")[0] == 200)
            assert len(await crowd.connect(20, "/echo")) == 20


async def test_views_that_do_not_end_are_given_up(odd: Project, base: Path) -> None:
    """Nor do they hold up others; what they swallow is their cancellation."""
    limits = ("--drain-s", "2", "--stop-timeout-s", "2")
    with serving(odd, base, *limits, app="odd") as server:
        async with Crowd(server.port) as crowd:
            clients = await crowd.connect_each(["/stubborn", "/echo"] * 20)
            assert len(clients) == 40
            started = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert await exit_code(server, 20) == 0
            assert time.monotonic() - started < 2 + 2 + 1
            assert codes(crowd) == {1001}
        assert os.listdir(base) == []


async def test_peers_that_do_not_read_are_given_up(odd: Project, base: Path) -> None:
    limits = ("--drain-s", "2", "--stop-timeout-s", "2")
    with serving(odd, base, *limits, app="odd") as server, ExitStack() as deaf:
        for _ in range(10):
            deaf.enter_context(connect(server.port, "/flood", receive_buffer=4096))
        async with Crowd(server.port) as crowd:
            clients = await crowd.connect(20, "/echo")
            await asyncio.sleep(0.5)  # that is for the flood to fill what the kernel takes
            started = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert await exit_code(server, 20) == 0
            assert time.monotonic() - started < 2 + 2 + 1
            await crowd.wait_ended(clients, 1)
            assert codes(crowd) == {1001}


async def test_a_worker_that_hangs_is_killed(odd: Project, base: Path) -> None:
    """Its clients are lost with it, and nobody else's; the server ends as it should."""
    limits = ("--drain-s", "1", "--stop-timeout-s", "1")
    with serving(odd, base, *limits, app="odd") as server, connect(server.port, "/block") as client:
        assert client.read_text() == "now"
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert await exit_code(server, 20) == 0
        assert time.monotonic() - started < 1 + 1 + 2
        assert "did not end; killing it" in server.output()
    assert os.listdir(base) == []


async def test_a_second_signal_stops_at_once(odd: Project, base: Path) -> None:
    """Clients are told even so."""
    with serving(odd, base, "--drain-s", "30", app="odd") as server:
        async with Crowd(server.port) as crowd:
            clients = await crowd.connect_each(["/slow"] * 20 + ["/echo"] * 1000)
            server.process.send_signal(signal.SIGTERM)
            await until(lambda: crowd.closed, message="the drain begins")
            await asyncio.sleep(0.5)  # sooner it would be the same signal once more
            assert len(crowd.open) > 900
            started = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert await exit_code(server, 20) == 0
            assert time.monotonic() - started < 3
            await crowd.wait_ended(clients, 1)
            assert codes(crowd) == {1001}
        assert "stopping at once" in server.output()
        assert os.listdir(base) == []
