"""The admin port while no worker's loop turns: every worker burns its CPU, all on one core."""

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from server.health import HEARTBEAT_BOUND_S
from tests.support.cli import Project, environment
from tests.support.processes import wait_until
from tests.support.raw import RawClient, Response, connect, get
from tests.support.servers import free_port, running

pytestmark = pytest.mark.e2e

WORKERS = 2
ANSWER_S = 2.0
LATE_S = 5.0
BURN_S = 40.0  # at most: the test ends it
PAGES = ("/metrics", "/healthz", "/readyz", "/status", "/connections", "/board", "/board/data")
AGE = "ws_worker_heartbeat_age_seconds"
CPU = "ws_worker_cpu_seconds_total"
READY = "stop    Ctrl-C"
APP = f"""\
import os
import time
from server import App

app = App()


@app.websocket_route("/burn")
async def burn(ws):
    await ws.send(str(os.getpid()))
    async for until in ws:
        deadline = time.monotonic() + {BURN_S}
        while not os.path.exists(until) and time.monotonic() < deadline:
            sum(range(10_000))
        await ws.send("done")
"""
SAMPLE = re.compile(r'^(\w+)\{[^}]*worker="(\d+)"[^}]*\} (\S+)$', re.MULTILINE)


class Admin:
    """The admin port of a server, and how long it took to answer.

    Attributes:
        slowest_s: of all answers so far.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.slowest_s = 0.0

    def get(self, path: str) -> Response:
        asked_at = time.monotonic()
        response = get(self._port, path)
        self.slowest_s = max(self.slowest_s, time.monotonic() - asked_at)
        return response

    def readiness(self) -> tuple[int, Any]:
        response = self.get("/readyz")
        return response.status, json.loads(response.body)

    def of_workers(self, metric: str) -> list[float]:
        """Return a metric's value for each worker."""
        text = self.get("/metrics").body.decode()
        samples = SAMPLE.findall(text)
        found = {worker: float(value) for name, worker, value in samples if name == metric}
        return [found[worker] for worker in sorted(found)]


@pytest.fixture
def one_core() -> Iterator[None]:
    """Have what is started meanwhile share a core: the supervisor competes with all workers."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture
def served(one_core: None, project: Project) -> Iterator[tuple[int, Admin]]:
    """The port of a server and its admin port."""
    project.write("app.py", APP)
    port = free_port()
    command = project.command("serve", "app", "--port", str(port), "--workers", str(WORKERS))
    with running(command, port, env=environment(), cwd=project.folder) as server:
        found = re.search(r"admin +http://127.0.0.1:(\d+)/", server.wait_for_output(READY))
        assert found is not None
        yield port, Admin(int(found[1]))


def one_of_each_worker(port: int, stack: ExitStack) -> list[RawClient]:
    clients: dict[str, RawClient] = {}

    def connect_another() -> bool:
        client = connect(port, "/burn")
        stack.callback(client.drop)
        if clients.setdefault(client.read_text(), client) is not client:
            client.close()
        return len(clients) == WORKERS

    wait_until(connect_another, message="a connection to each worker")
    return list(clients.values())


def test_the_admin_port_answers_while_no_worker_does(
    served: tuple[int, Admin], tmp_path: Path
) -> None:
    """It tells how long that has been so, and from some time on that the server is not ready."""
    port, admin = served
    until = tmp_path / "enough"
    with ExitStack() as stack:
        clients = one_of_each_worker(port, stack)
        wait_until(lambda: admin.readiness()[0] == 200, message="the server is ready")
        began_at, cpu_before_s = time.monotonic(), sum(admin.of_workers(CPU))
        for client in clients:
            client.send_text(str(until))
        wait_until(lambda: min(admin.of_workers(AGE)) > 1, message="no loop turns any more")
        ages_s = [admin.of_workers(AGE)]
        is_ready = True
        while is_ready:
            assert time.monotonic() - began_at < HEARTBEAT_BOUND_S + LATE_S
            for path in PAGES:
                assert admin.get(path).status == 200 or path == "/readyz"
            status, judged = admin.readiness()
            is_ready = status == 200
            assert is_ready or judged == {"status": "unready", "ready": 0, "wanted": WORKERS}
            # One worker that beats is enough to be ready, so the youngest heartbeat counts.
            assert not is_ready or min(ages_s[-1]) <= HEARTBEAT_BOUND_S
            ages_s.append(admin.of_workers(AGE))
            assert is_ready or min(ages_s[-1]) > HEARTBEAT_BOUND_S
        took_s, cpu_s = time.monotonic() - began_at, sum(admin.of_workers(CPU)) - cpu_before_s

        assert admin.slowest_s < ANSWER_S
        for of_one in zip(*ages_s, strict=True):
            assert sorted(of_one) == list(of_one), "the age of a heartbeat grows"
        assert cpu_s > took_s / 8, "the workers had most of a core, unless others needed it"

        until.touch()
        for client in clients:
            assert client.read_text() == "done"
        wait_until(lambda: admin.readiness()[1]["ready"] == WORKERS, message="all serve again")
        assert sum(admin.of_workers("ws_worker_restarts_total")) == 0
