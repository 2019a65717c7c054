"""The rules watch a real server in a real Prometheus: silent while it is well, then real faults.

`tests.grafana.prometheus` says how their times are divided, so that minutes become seconds.
"""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from tests.grafana.prometheus import Prometheus, needs_prometheus, prometheus
from tests.support.processes import children
from tests.support.servers import Server, free_port, running

pytestmark = [pytest.mark.e2e, needs_prometheus]

SERVE = (sys.executable, "-m", "server", "serve")
CROWD = 60
LIMIT = 70
WELL_S = 4.0


@pytest.mark.timeout(120)
async def test_faults_of_a_real_server(tmp_path: Path):
    """No alert while it is well; then a crash, refusals and workers that hang."""
    port, admin_port = free_port(), free_port()
    numbers = ("--workers", "2", "--port", str(port), "--admin-port", str(admin_port))
    limit = ("--admission.connections", str(LIMIT), "--drain-s", "1")
    command = [*SERVE, "examples.showcase:app", *numbers, *limit]
    with (
        running(command, port) as server,
        prometheus(tmp_path, admin_port) as watching,
    ):
        async with crowd(server):
            await is_silent(server, watching)
            os.kill(children(server.process.pid)[0], signal.SIGKILL)
            await fires(watching, "SwitchboardWorkerRestarted", "SwitchboardAbnormalCloses")
        async with knocking(server):
            await fires(watching, "SwitchboardHandshakesRefused")
        with stopped(children(server.process.pid)):
            await fires(watching, "SwitchboardHeartbeatStale", "SwitchboardNoReadyWorker")
        # The books were right through all of this.
        assert watching.query('max_over_time(ALERTS{alertname=~".*Books.*"}[5m])') == []


async def is_silent(server: Server, watching: Prometheus) -> None:
    """No alert fires under traffic and a reload; what it watches is there all the time."""
    await until(lambda: watching.query(f"sum(worker:ws_connections:sum) > {CROWD / 2}"), 10)
    server.process.send_signal(signal.SIGHUP)
    await until(lambda: watching.query("ws_reloads_total == 1"), 25)
    await asyncio.sleep(WELL_S)  # this is about time that passes
    assert watching.query("sum(route:ws_connections_opened:increase5m) > 0")
    assert watching.query("min_over_time(up[20s])")[0]["value"][1] == "1"
    assert watching.query('max_over_time(ALERTS{alertstate="firing"}[5m])') == []


async def fires(watching: Prometheus, *names: str) -> None:
    """Wait until those alerts fire, and see that they say of whom they speak."""

    def firing() -> bool:
        return set(names) <= set(watching.alerts())

    await until(firing, 25)
    for name in names:
        said = watching.alerts()[name]
        assert said["summary"]
        assert "{{" not in "".join(said.values())
        assert "<no value>" not in "".join(said.values())


async def until(condition: Callable[[], object], timeout_s: float) -> None:
    """Wait until it is true, asking in a thread: clients go on meanwhile."""
    deadline = time.monotonic() + timeout_s
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, f"it did not happen within {timeout_s} seconds"
        await asyncio.sleep(0.1)


@asynccontextmanager
async def crowd(server: Server) -> AsyncIterator[None]:
    """Clients that talk, and that come again when they are lost; some of them leave."""
    async with asyncio.TaskGroup() as group:
        talking = [group.create_task(_talk(server)) for _ in range(CROWD)]
        yield
        for task in talking:
            task.cancel()


async def _talk(server: Server) -> None:
    while True:
        try:
            async with connect(f"{server.url}/ws/echo") as ws:
                for _ in range(random.randint(20, 200)):
                    await ws.send("1")
                    assert await ws.recv() == "1"
                    await asyncio.sleep(0.1)
        except (ConnectionClosed, InvalidMessage, OSError):
            await asyncio.sleep(0.1)


@asynccontextmanager
async def knocking(server: Server) -> AsyncIterator[None]:
    """More clients than are let in, which try again and again."""
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        for _ in range(LIMIT):
            await stack.enter_async_context(connect(f"{server.url}/ws/echo"))
        task = group.create_task(_knock(server))
        yield
        task.cancel()


async def _knock(server: Server) -> None:
    while True:
        with pytest.raises(InvalidStatus, match="503"):
            await connect(f"{server.url}/ws/echo")
        await asyncio.sleep(0.05)


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    """Processes that do nothing for a while, as if their loops hung."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
