"""The life of a server as an operator and systemd meet it: signals, commands, sudden ends.

The other tests of this package take `serving` and the like from here.
"""

import asyncio
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.server.test_cli import in_a_terminal, read_until
from tests.support.cli import Project, environment
from tests.support.processes import children, is_alive
from tests.support.raw import connect, get
from tests.support.servers import Server, free_port, running
from tests.system.crowd import Crowd, until
from workers.preflight import claim_address

pytestmark = pytest.mark.e2e

READY = "stop    Ctrl-C"
ADMIN = re.compile(r"admin   http://127\.0\.0\.1:(\d+)/")


@pytest.fixture
def base() -> Iterator[Path]:
    """Where servers share what they share; its name is short, as the path of a socket must be."""
    with TemporaryDirectory(prefix="sb-") as folder:
        yield Path(folder)


def serve_command(
    project: Project, base: Path, port: int, *flags: str, app: str = "good", workers: int = 2
) -> list[str]:
    numbers = ("--port", str(port), "--workers", str(workers))
    return project.command("serve", app, *numbers, "--runtime-dir", str(base), *flags)


@contextmanager
def serving(
    project: Project,
    base: Path,
    *flags: str,
    app: str = "good",
    workers: int = 2,
    env: dict[str, str] | None = None,
) -> Iterator[Server]:
    """Serve an app of the project from all its workers."""
    port = free_port()
    command = serve_command(project, base, port, *flags, app=app, workers=workers)
    with running(command, port, env=environment(env), cwd=project.folder) as server:
        server.wait_for_output(READY)
        yield server


def admin(server: Server, path: str) -> tuple[int, str]:
    """Return the status and the body of a page of the admin port."""
    found = ADMIN.search(server.output())
    assert found is not None
    response = get(int(found[1]), path)
    return response.status, response.body.decode()


async def exit_code(server: Server, timeout_s: float) -> int:
    """Wait for the end of the server, while the crowd goes on."""
    await until(lambda: server.process.poll() is not None, timeout_s, message="the server ends")
    assert server.process.returncode is not None
    return server.process.returncode


def is_free(port: int) -> bool:
    """Whether the port can be had; raises what `serve` would say otherwise."""
    return claim_address("127.0.0.1", port) == ("127.0.0.1", port)


def codes(crowd: Crowd) -> set[int]:
    return {end.code for end in crowd.closed}


# -- signals and sudden ends -------------------------------------------------------------------


@pytest.mark.parametrize("drains", [False, True], ids=["serving", "draining"])
async def test_the_supervisor_is_killed(project: Project, base: Path, drains: bool) -> None:
    """Its workers say goodbye to their clients and go, and the next start cleans up."""
    with serving(project, base, "--drain-s", "30") as server, serving(project, base) as neighbour:
        workers = children(server.process.pid)
        async with Crowd(server.port) as crowd:
            clients = await crowd.connect(400, "/echo")
            if drains:
                server.process.send_signal(signal.SIGTERM)
                await until(lambda: len(crowd.closed) > 20, message="the drain begins")
            server.process.kill()
            await until(lambda: not any(map(is_alive, workers)), 5, message="the workers end")
            await crowd.wait_ended(clients, 1)
            assert (len(clients), codes(crowd)) == (400, {1001})
        assert is_free(server.port)
        server.process.wait()
        left = f"switchboard-{os.geteuid()}-{server.process.pid}"
        other = f"switchboard-{os.geteuid()}-{neighbour.process.pid}"
        assert {*os.listdir(base)} == {left, other}
        with serving(project, base) as again:
            assert f"removed what a dead server had left: {left}" in again.output()
            own = f"switchboard-{os.geteuid()}-{again.process.pid}"
            assert {*os.listdir(base)} == {own, other}
            connect(again.port, "/echo").drop()


async def test_ctrl_c_drains(project: Project, base: Path) -> None:
    """Nobody notices that a terminal signals all of its foreground group."""
    port = free_port()
    command = serve_command(project, base, port, "--drain-s", "3")[3:]
    with in_a_terminal(project, *command) as (process, terminal):
        read_until(terminal, READY)
        async with Crowd(port) as crowd:
            clients = await crowd.connect(100, "/echo")
            # Read all the while: a terminal takes a few lines, and then its writers wait.
            output = asyncio.create_task(asyncio.to_thread(read_until, terminal, None))
            os.write(terminal, b"\x03")
            await crowd.wait_ended(clients)
            assert (len(clients), codes(crowd)) == (100, {1001})
            assert "Traceback" not in await output
        assert process.wait(10) == 0
    assert os.listdir(base) == []


async def test_make_passes_the_signal_on(project: Project, base: Path) -> None:
    """Its whole group is signalled, and it signals the server too: that is still one signal."""
    port = free_port()
    command = " ".join(serve_command(project, base, port, "--drain-s", "3"))
    project.write("Makefile", f"serve:\n\texec {command}\n")
    make = ("setsid", "make", "--silent", "serve")
    with running(make, port, env=environment(), cwd=project.folder) as server:
        server.wait_for_output(READY)
        async with Crowd(port) as crowd:
            clients = await crowd.connect(200, "/echo")
            os.killpg(server.process.pid, signal.SIGTERM)
            await crowd.wait_ended(clients)
            assert (len(clients), codes(crowd)) == (200, {1001})
            await exit_code(server, 10)
        assert os.listdir(base) == []
        assert "stopping at once" not in server.output()


async def test_each_process_gets_the_signal(project: Project, base: Path) -> None:
    """As from systemd, whose `KillMode=control-group` is the default."""
    with serving(project, base, "--drain-s", "3") as server:
        async with Crowd(server.port) as crowd:
            clients = await crowd.connect(200, "/echo")
            for pid in (*children(server.process.pid), server.process.pid):
                os.kill(pid, signal.SIGTERM)
            await crowd.wait_ended(clients)
            assert (len(clients), codes(crowd)) == (200, {1001})
            assert await exit_code(server, 10) == 0


# -- commands ----------------------------------------------------------------------------------


def test_status_tells_of_the_server_and_its_workers(project: Project, base: Path) -> None:
    with serving(project, base) as server, ExitStack() as clients:
        for _ in range(3):
            clients.enter_context(connect(server.port, "/echo"))
        done = project.run("status", "--runtime-dir", str(base))
        assert (done.returncode, done.stderr) == (0, "")
        line, _, *rows = done.stdout.splitlines()
        start = f"good at 127.0.0.1:{server.port}, pid {server.process.pid}: ready"
        assert line.startswith(f"{start}, 2 of 2 workers ready, 3 connections, up ")
        pids = children(server.process.pid)
        assert [row.split()[0] for row in rows] == ["0", "1"]
        assert {int(row.split()[3]) for row in rows} == {*pids}

        told = json.loads(project.run("status", "--json", "--runtime-dir", str(base)).stdout)
        assert (told["status"], told["ready"], told["connections"]) == ("ready", 2, 3)
        assert {worker["pid"] for worker in told["workers"]} == {*pids}
        assert [worker["state"] for worker in told["workers"]] == ["ready", "ready"]
        assert json.loads(admin(server, "/status")[1])["workers"][0]["pid"] in pids


async def test_the_drain_command_waits_for_the_end(project: Project, base: Path) -> None:
    with serving(project, base, "--drain-s", "3") as server:
        async with Crowd(server.port) as crowd:
            clients = await crowd.connect(200, "/echo")
            done = await asyncio.to_thread(project.run, "drain", "--runtime-dir", str(base))
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout.splitlines()[-1] == "the server has ended"
            assert re.search(r"^\d+ connections left$", done.stdout, re.MULTILINE)
            assert server.process.wait(1) == 0
            await crowd.wait_ended(clients, 1)
            assert (len(clients), codes(crowd)) == (200, {1001})
        assert "no server of this user runs" in project.error("status", "--runtime-dir", str(base))


def test_of_two_servers_one_is_named(project: Project, base: Path) -> None:
    """The other one goes on."""
    with serving(project, base, workers=1) as first, serving(project, base, workers=1) as second:
        where = ("--runtime-dir", str(base))
        for command in ("status", "drain"):
            problem = project.error(command, *where)
            assert problem.startswith("several servers run: choose one with --pid: ")
            for server in (first, second):
                assert f"{server.process.pid} (good, port {server.port})" in problem
        done = project.run("drain", *where, "--pid", str(first.process.pid))
        assert (done.returncode, done.stderr) == (0, "")
        assert first.process.wait(1) == 0
        with connect(second.port, "/echo") as client:
            client.send_text("still there")
            assert client.read_text() == "still there"
        status = project.run("status", *where)
        assert f"pid {second.process.pid}: ready" in status.stdout


# -- systemd -----------------------------------------------------------------------------------


def test_systemd_is_told(project: Project, base: Path) -> None:
    """Each turn once, in order, and by the supervisor alone."""
    path = project.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(10)
        heard: list[str] = []

        def hear(wanted: str) -> None:
            while wanted not in heard:
                lines = manager.recv(4096).decode().splitlines()
                heard.extend(line for line in lines if not line.startswith("STATUS="))

        with serving(project, base, workers=1, env={"NOTIFY_SOCKET": str(path)}) as server:
            hear("READY=1")
            assert heard == ["READY=1"]
            heard.clear()
            server.process.send_signal(signal.SIGHUP)
            hear("READY=1")
            reloading, moment, _ = heard
            assert reloading == "RELOADING=1"
            assert re.fullmatch(r"MONOTONIC_USEC=\d+", moment)
            heard.clear()
            assert server.stop() == 0
            hear("STOPPING=1")
            assert heard == ["STOPPING=1"]
