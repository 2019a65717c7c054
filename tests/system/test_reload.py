"""The rolling reload of a whole server: nobody is refused or lost, and new code is served."""

import asyncio
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.cli import APP, Project, environment
from tests.support.processes import children, wait_until
from tests.support.raw import Close, RawClient, connect, handshake_request
from tests.support.servers import Server, free_port, running
from tests.system.crowd import Client, Crowd, until
from tests.system.test_life import READY, admin, base, codes, exit_code, serve_command, serving

__all__ = ["base"]  # a fixture

SOAK = os.environ.get("SWITCHBOARD_SOAK") == "1"
CLIENTS = 2000 if SOAK else 200

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120 if SOAK else 60)]

VERSION = """

@app.websocket_route("/version")
async def version(ws):
    await ws.send("{version}")
    async for message in ws:
        await ws.send(message)
"""
NEW_ROUTE = """

@app.websocket_route("/new")
async def new(ws):
    pass
"""
STARTUP = """
import asyncio, pathlib


@app.on("startup")
async def startup():
    {body}
"""
DOES_NOT_IMPORT = "\nraise RuntimeError('not today')\n"
DOES_NOT_START = STARTUP.format(body="raise ConnectionError('no database')")
STARTS_SLOWLY = STARTUP.format(body="pathlib.Path('starting').touch(); await asyncio.sleep({})")


def write(project: Project, version: str, more: str = "") -> None:
    project.write("app.py", APP + VERSION.format(version=version) + more)


def versions(server: Server, count: int = 10) -> set[str]:
    """Return what so many new connections are served."""
    found = set()
    for _ in range(count):
        with connect(server.port, "/version") as client:
            found.add(client.read_text())
    return found


def reload(project: Project, base: Path) -> "subprocess.CompletedProcess[str]":
    return project.run("reload", "--runtime-dir", str(base))


class Watch:
    """Looks at /readyz all the time.

    Attributes:
        seen: status, and the number of ready workers, and how often.
    """

    def __init__(self, server: Server) -> None:
        self.seen: Counter[tuple[int, str]] = Counter()
        self._server = server
        self._is_over = False

    async def __aenter__(self) -> "Watch":
        self._task = asyncio.create_task(asyncio.to_thread(self._look))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        await self._task

    def _look(self) -> None:
        while not self._is_over:
            status, body = admin(self._server, "/readyz")
            self.seen[status, body] += 1
            time.sleep(0.005)


def talk(client: Client) -> None:
    """Send a message, and one more for each that comes back, with a short breath between them."""
    loop = asyncio.get_running_loop()

    def send_again(message: str | bytes) -> None:
        if client.is_open:
            client.send(message)

    client.on_message = lambda message: loop.call_later(0.02, send_again, message)
    client.send("x" * 100)


async def come_and_go(crowd: Crowd, is_over: asyncio.Event) -> None:
    """Make new connections all the time; no two of them are at the same point."""
    while not is_over.is_set():
        clients = await crowd.connect(3, "/version")
        await asyncio.sleep(random.uniform(0, 0.02))
        await crowd.close(clients)


async def test_nobody_is_lost_or_refused(project: Project, base: Path) -> None:
    """Old clients are sent to the new workers one by one; there is always somebody at the door."""
    write(project, "old")
    with serving(project, base, "--drain-s", "2", app="app") as server:
        workers = children(server.process.pid)
        async with Crowd(server.port) as crowd, Watch(server) as watch:
            clients = await crowd.connect(CLIENTS, "/echo")
            for client in clients:
                talk(client)
            is_over = asyncio.Event()
            others = [asyncio.create_task(come_and_go(crowd, is_over)) for _ in range(10)]
            write(project, "newer")
            done = await asyncio.to_thread(reload, project, base)
            is_over.set()
            await asyncio.gather(*others)
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout.splitlines()[-1] == "reloaded"
            assert {client.end.code for client in clients if client.end is not None} == {1012}
            assert [client for client in clients if client.is_open] == []
            assert codes(crowd) <= {1000, 1012}
            assert (crowd.refused, crowd.unanswered) == ([], [])
            assert len(crowd.clients) > CLIENTS + 500
        assert {status for status, _ in watch.seen} == {200}
        assert {json.loads(body)["ready"] for _, body in watch.seen} == {2}
        assert versions(server) == {"newer"}
        assert not {*workers} & {*children(server.process.pid)}
        assert len(children(server.process.pid)) == 2


def test_a_handshake_that_is_half_done_is_finished(project: Project, base: Path) -> None:
    """The kernel has given its connection to the old worker, so nobody else can."""
    with serving(project, base, workers=1) as server, ExitStack() as stack:
        server.process.send_signal(signal.SIGHUP)
        clients = []
        while "replacing the old one" not in server.output():
            clients.append(stack.enter_context(RawClient(server.port)))
            time.sleep(0.1)
        # The others may have been given up by now: half a handshake has five seconds.
        latest = clients[-10:]
        for client in latest:
            client.send(handshake_request("/echo"))
        assert {client.read_response().status for client in latest} == {101}


async def test_a_signal_is_enough(project: Project, base: Path) -> None:
    write(project, "old")
    with serving(project, base, "--drain-s", "2", app="app") as server:
        write(project, "newer")
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_output('"reloaded"')
        assert versions(server) == {"newer"}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (DOES_NOT_IMPORT, "RuntimeError: not today"),
        (DOES_NOT_START, "new worker 0: startup failed: ConnectionError: no database"),
        (STARTS_SLOWLY.format(3600), "new worker 0: not ready after 4 s"),
    ],
    ids=["does not import", "does not start", "hangs"],
)
async def test_bad_code_is_not_served(
    project: Project, base: Path, fault: str, reason: str
) -> None:
    """Nobody notices but the operator; with better code it works."""
    write(project, "old")
    with serving(project, base, "--ready-timeout-s", "4", "--drain-s", "2", app="app") as server:
        workers = children(server.process.pid)
        async with Crowd(server.port) as crowd, Watch(server) as watch:
            clients = await crowd.connect(20, "/version")
            write(project, "worse", fault)
            done = await asyncio.to_thread(reload, project, base)
            assert done.returncode == 1
            assert "given up, the workers not replaced serve on" in done.stderr
            assert reason in server.output()
            await until(lambda: children(server.process.pid) == workers)
            assert len(crowd.open) == len(clients) == 20
            later = await crowd.connect(10, "/version")
            await until(lambda: all(client.messages == ["old"] for client in later))
            write(project, "better")
            done = await asyncio.to_thread(reload, project, base)
            assert done.returncode == 0, server.output()
            assert {end.code for end in crowd.closed} == {1012}
            assert len(crowd.closed) == 30
        assert {status for status, _ in watch.seen} == {200}
        assert {json.loads(body)["ready"] for _, body in watch.seen} == {2}
        assert versions(server) == {"better"}
        counts = json.loads(admin(server, "/status")[1])["reloads"]
        assert counts == {"done": 1, "failed": 1}


def test_a_new_route_is_counted_by_its_name(project: Project, base: Path) -> None:
    write(project, "old")
    with serving(project, base, "--drain-s", "1", app="app") as server:
        write(project, "newer", NEW_ROUTE)
        assert reload(project, base).returncode == 0
        for _ in range(3):
            with connect(server.port, "/new") as client:
                assert client.next_close() == Close(1000)
        _, metrics = admin(server, "/metrics")
        assert 'ws_connections_opened_total{route="/new"} 3.0' in metrics.splitlines()


async def test_a_stop_during_a_reload(project: Project, base: Path) -> None:
    """Those of the worker that is being replaced are told, too."""
    with serving(project, base, "--drain-s", "4") as server:
        async with Crowd(server.port) as crowd:
            clients = await crowd.connect(400, "/echo")
            server.process.send_signal(signal.SIGHUP)
            await until(lambda: crowd.closed, message="an old worker closes its connections")
            server.process.send_signal(signal.SIGTERM)
            await crowd.wait_ended(clients)
            assert codes(crowd) == {1001, 1012}
            assert await exit_code(server, 10) == 0


def test_a_stop_while_the_new_code_hangs(project: Project, base: Path) -> None:
    """Nobody waits for it."""
    write(project, "old")
    with serving(project, base, app="app") as server:
        slow = "\nimport pathlib, time\npathlib.Path('looked').touch()\ntime.sleep(30)\n"
        write(project, "slow", slow)
        server.process.send_signal(signal.SIGHUP)
        wait_until((project.folder / "looked").exists)
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 5


def test_a_reload_ends_a_crash_loop(project: Project, base: Path) -> None:
    """It need not wait for the next try; a try that comes meanwhile leaves no worker too many."""
    write(project, "worse", DOES_NOT_START)
    port = free_port()
    command = serve_command(project, base, port, app="app", workers=1)
    with running(command, port, env=environment(), cwd=project.folder) as server:
        server.wait_for_output("the same again")
        write(project, "better", STARTS_SLOWLY.format(2))
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_output(READY)
        assert versions(server) == {"better"}
        server.wait_for_output('"reloaded"')
        wait_until(lambda: len(children(server.process.pid)) == 1, message="one worker")
        assert json.loads(admin(server, "/readyz")[1])["status"] == "ready"


def test_a_worker_dies_while_it_is_replaced(project: Project, base: Path) -> None:
    """There is one in its place afterwards, not two."""
    write(project, "old")
    with serving(project, base, app="app", workers=1) as server:
        (old,) = children(server.process.pid)
        write(project, "newer", STARTS_SLOWLY.format(2))
        server.process.send_signal(signal.SIGHUP)
        wait_until((project.folder / "starting").exists)
        os.kill(old, signal.SIGKILL)
        server.wait_for_output('"reloaded"')
        wait_until(lambda: len(children(server.process.pid)) == 1, message="one worker")
        assert versions(server) == {"newer"}
