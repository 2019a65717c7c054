"""The supervisor and its workers as processes: titles, groups, respawn, and ways to end."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect as ws_connect

from tests.support.cli import APP, Project, environment
from tests.support.processes import children, is_alive, title, wait_until
from tests.support.raw import RawClient, connect
from tests.support.servers import Server, free_port, running
from workers.preflight import claim_address

pytestmark = pytest.mark.e2e

READY = "stop    Ctrl-C"
TELLS_PID = """
import os


@app.websocket_route("/pid")
async def pid(ws):
    await ws.send(str(os.getpid()))
    async for message in ws:
        await ws.send(message)
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    project.write("app.py", APP + TELLS_PID)
    return project


@contextmanager
def serving(
    project: Project, app: str = "app", *more: str, workers: int = 2, before: tuple[str, ...] = ()
) -> Iterator[Server]:
    port = free_port()
    flags = ("--port", str(port), "--workers", str(workers), *more)
    command = [*before, *project.command("serve", app, *flags)]
    with running(command, port, env=environment(), cwd=project.folder) as server:
        server.wait_for_output(READY)
        yield server


def all_workers(server: Server, count: int) -> list[int]:
    return wait_until(
        lambda: pids if len(pids := children(server.process.pid)) == count else None,
        message=f"{count} workers",
    )


def client_of(server: Server, worker: int) -> RawClient:
    """Return a client whose connection landed on `worker`."""

    def attempt() -> RawClient | None:
        client = connect(server.port, "/pid")
        if int(client.read_text()) == worker:
            return client
        client.drop()
        return None

    return wait_until(attempt, message=f"a connection to worker {worker}")


def test_processes_have_titles_groups_and_files(project: Project) -> None:
    """Titles for `ps`, groups that Ctrl-C spares, and as many files as the hard limit allows."""
    few_files = ("sh", "-c", 'ulimit -Sn 256 && exec "$@"', "sh")
    with serving(project, before=few_files) as server:
        supervisor = server.process.pid
        workers = all_workers(server, 2)
        assert title(supervisor) == "switchboard app"
        assert {title(worker) for worker in workers} == {
            "switchboard app worker 0",
            "switchboard app worker 1",
        }
        assert {os.getpgid(worker) for worker in workers} == set(workers)
        for pid in (supervisor, *workers):
            limits = Path(f"/proc/{pid}/limits").read_text()
            (line,) = (line for line in limits.splitlines() if line.startswith("Max open files"))
            soft, hard = line.split()[3:5]
            assert soft == hard


def test_equal_pages_are_merged_when_asked_for(project: Project) -> None:
    """`--merge-pages` tells the kernel so for the workers (Linux 6.4 shows it)."""
    for flags, shown in ((["--merge-pages"], "yes"), ([], "no")):
        with serving(project, "app", *flags, workers=1) as server:
            (worker,) = all_workers(server, 1)
            try:
                lines = Path(f"/proc/{worker}/ksm_stat").read_text().splitlines()
            except FileNotFoundError:
                pytest.skip("this kernel has no /proc/<pid>/ksm_stat")
            merges = dict(line.rpartition(" ")[::2] for line in lines)
            if "ksm_merge_any:" not in merges:
                pytest.skip("this kernel does not show ksm_merge_any")
            assert merges["ksm_merge_any:"] == shown


@pytest.mark.parametrize(("given", "kept"), [(os.SCHED_OTHER, False), (os.SCHED_IDLE, True)])
def test_all_threads_of_workers_take_long_turns(project: Project, given: int, kept: bool) -> None:
    """They are batch processes, unless the server was given a policy; the supervisor is none."""
    code = "import os, sys; os.sched_setscheduler(0, int(sys.argv[1]), os.sched_param(0)); "
    code += "os.execv(sys.argv[2], sys.argv[2:])"
    with serving(project, before=(sys.executable, "-c", code, str(given))) as server:
        connect(server.port, "/pid").drop()  # granian's threads are there
        assert os.sched_getscheduler(server.process.pid) == given
        for worker in all_workers(server, 2):
            threads = [int(thread) for thread in os.listdir(f"/proc/{worker}/task")]
            policies = {os.sched_getscheduler(thread) for thread in threads}
            assert len(threads) > 1
            assert policies == {given if kept else os.SCHED_BATCH}


def test_a_killed_worker_is_replaced(project: Project) -> None:
    """The other worker's connections do not notice, and both serve again."""
    with serving(project) as server:
        victim, other = all_workers(server, 2)
        with client_of(server, other) as bystander, client_of(server, victim) as lost:
            os.kill(victim, signal.SIGKILL)
            lost.wait_end()
            (new,) = wait_until(
                lambda: {*children(server.process.pid)} - {victim, other}, message="a new worker"
            )
            client_of(server, new).drop()
            bystander.send_text("still there")
            assert bystander.read_text() == "still there"
        assert children(server.process.pid) == sorted([other, new])
        assert server.stop() == 0


def test_workers_end_when_the_supervisor_is_killed(project: Project) -> None:
    """No orphan keeps the port."""
    with serving(project) as server:
        workers = all_workers(server, 2)
        server.stop(signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, workers)), 5, message="the workers end")
    assert claim_address("127.0.0.1", server.port)


def test_stop_right_after_the_start(project: Project) -> None:
    """A signal that comes before a worker is ready counts as well."""
    port = free_port()
    command = project.command("serve", "app", "--port", str(port), "--workers", "1")
    for _ in range(3):
        with running(command, port, env=environment(), cwd=project.folder) as server:
            started = time.monotonic()
            assert server.stop() == 0
            assert time.monotonic() - started < 5, server.output()


ENDS = """
import asyncio, pathlib


@app.websocket_route("/busy")
async def busy(ws):
    pathlib.Path("busy").touch()
    await asyncio.sleep(60)


@app.websocket_route("/flood")
async def flood(ws):
    while True:
        await ws.send("x" * 65536)


@app.on("shutdown")
async def shutdown():
    pathlib.Path("ended").touch()
"""


def test_no_peer_holds_up_the_end(project: Project) -> None:
    """Shutdown handlers run, whatever peers do: the worker is not killed after `stop_timeout_s`.

    Half a handshake is not waited for.
    """
    project.write("ends.py", APP + ENDS)
    with serving(project, "ends", "--drain-s", "2", workers=1) as server, ExitStack() as peers:
        for path in ("/echo", "/busy", "/flood"):
            peers.enter_context(connect(server.port, path, receive_buffer=4096))
        for request in (b"", b"GET /ec", b"GET / HTTP/1.1\r\n\r\n"):
            peers.enter_context(RawClient(server.port)).send(request)
        wait_until((project.folder / "busy").exists)
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 2 + 3, server.output()
        assert (project.folder / "ended").exists(), server.output()


ONLY_IN_WORKERS = """
import sys

if sys.argv[0].endswith("worker.py"):
    raise RuntimeError("only here")
"""
NO_DATABASE = """

@app.on("startup")
async def startup():
    raise ConnectionError("no database")
"""
EXITS_AT_FIRST_CONNECTION = """
import os, pathlib


@app.websocket_route("/exit")
async def exit(ws):
    if pathlib.Path("spared").read_text() != str(os.getpid()):
        os._exit(7)
"""


@pytest.mark.parametrize(
    ("code", "reason"),
    [(ONLY_IN_WORKERS, "RuntimeError: only here"), (NO_DATABASE, "no database")],
    ids=["import", "startup"],
)
def test_an_app_that_cannot_start_is_tried_again(project: Project, code: str, reason: str) -> None:
    """The server stays, says why once, waits longer each time, and serves when it can."""
    project.write("fails.py", APP + code)
    port = free_port()
    command = project.command("serve", "fails", "--port", str(port), "--workers", "1")
    with running(command, port, env=environment(), cwd=project.folder) as server:
        output = server.wait_for_output("the same again", 20)
        assert output.count(reason) <= 3  # the app's own line, the reason, the end of a traceback
        assert output.count("the same again") == 1
        project.write("fails.py", APP)
        output = server.wait_for_output(READY, 30)
        with connect(port, "/echo") as client:
            client.send_text("at last")
            assert client.read_text() == "at last"
        assert server.stop() == 0


def test_an_app_that_exits_at_its_first_connection(project: Project) -> None:
    """The other worker's clients never notice, and the server goes on however often it happens."""
    project.write("exits.py", APP + TELLS_PID + EXITS_AT_FIRST_CONNECTION)
    with serving(project, "exits") as server:
        spared, _ = all_workers(server, 2)
        project.write("spared", str(spared))
        with client_of(server, spared) as bystander:
            wait_until(lambda: knock(server) and "same again" in server.output(), 30)
            bystander.send_text("still there")
            assert bystander.read_text() == "still there"
        assert "exit code 7" in server.output()
        assert server.stop() == 0


def knock(server: Server) -> bool:
    """Try a connection to the view that exits; whatever comes of it."""
    with (
        suppress(OSError, WebSocketException),
        ws_connect(f"{server.url}/exit", open_timeout=1),
    ):
        pass
    return True
