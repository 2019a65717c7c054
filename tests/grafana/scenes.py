"""Owns what happens to a server while a Prometheus watches it: load, kills, slow clients, drain.

Each scene goes on until what it is about has happened; how it shows is the panels' matter.
"""

import asyncio
import itertools
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage
from websockets.typing import Subprotocol

from tests.grafana.prometheus import Prometheus
from tests.support.processes import children, title
from tests.support.servers import ROOT, Server, free_port, running

APP = """
import asyncio
from examples.showcase import app


@app.websocket_route("/stays")
async def stays(ws):
    try:
        await ws.receive()
    finally:
        await asyncio.sleep(2)  # a drain waits for that
"""
LIMIT = 90  # connections
ROOMS = 16
BIG = "x" * 60_000
GONE = (ConnectionClosed, InvalidHandshake, InvalidMessage, OSError)
SETTINGS = (
    *("--workers", "2", "--drain-s", "3", "--rooms", f"{ROOMS}", "--journal-mib", "1"),
    *("--admission.connections", f"{LIMIT}", "--connection.window-bytes", "131072"),
)


@contextmanager
def served(folder: Path) -> Iterator[tuple[Server, int, Path]]:
    """Serve the showcase with little room in everything; yields its admin port and file, too."""
    port, admin_port = free_port(), free_port()
    app = folder / "scene_app.py"
    app.write_text(APP)
    command = [
        *(sys.executable, "-m", "server", "serve", "scene_app:app", *SETTINGS),
        *("--port", str(port), "--admin-port", str(admin_port)),
    ]
    path = os.pathsep.join((str(ROOT), str(folder)))
    with running(command, port, env={"PYTHONPATH": path}, cwd=folder) as server:
        yield server, admin_port, app


class Scenes:
    """What may happen.

    Attributes:
        url: of the server.
    """

    def __init__(self, server: Server, watching: Prometheus, app: Path) -> None:
        self.server = server
        self.url = server.url
        self._watching = watching
        self._app = app

    async def play(self) -> None:
        """Have everything happen, and the server end."""
        async with self.crowd():
            await self.seen("sum(rate(ws_room_delivered_total[2s])) > 0")
            await self.returns()
            await self.faults()
            await self.rooms_that_make_way()
            await self.slow()
            await self.knocks()
            await self.kill()
            await self.stop_one()
            await self.reloads()
            await self.drain()

    # -- the load --------------------------------------------------------------------------------

    @asynccontextmanager
    async def crowd(self) -> AsyncIterator[None]:
        """Clients that talk, leave and come again, however they are ended."""
        paths = [*["/ws/echo"] * 16, *["/ws/room/tea"] * 8, *["/ws/broadcast"] * 4]
        async with asyncio.TaskGroup() as group:
            for number, path in enumerate(paths):
                group.create_task(self.talk(path, number))
            yield  # until the server has ended: then they have nobody to talk to

    async def talk(self, path: str, number: int) -> None:
        visit = number
        while self.server.process.poll() is None:
            visit += 1
            with suppress(*GONE):
                async with connect(self.url + path) as ws:
                    reader = asyncio.create_task(self.read(ws))
                    for _ in range(20 + visit % 7 * 10):
                        await ws.send(f"from {number}")
                        await asyncio.sleep(0.05)
                    reader.cancel()
            await asyncio.sleep(0.1)

    async def read(self, ws: ClientConnection) -> None:
        with suppress(*GONE):
            async for _ in ws:
                pass

    # -- the scenes ------------------------------------------------------------------------------

    async def returns(self) -> None:
        """Clients that come back to a room: one in time, one with a place of another epoch."""
        async with self.member() as first:
            joined = await self.ask(first, "join", room="news")
            for number in range(5):
                await self.ask(first, "publish", room="news", data=number)
        place = {"since": joined["offset"], "epoch": joined["epoch"]}

        async def again() -> None:
            async with self.member() as late, self.member() as lost:
                assert (await self.ask(late, "join", room="news", **place))["recovered"]
                other = {**place, "epoch": "1"}
                assert not (await self.ask(lost, "join", room="news", **other))["recovered"]

        await self.until_seen("count(rate(ws_room_recoveries_total[2s]) > 0) == 2", again)

    @asynccontextmanager
    async def member(self) -> AsyncIterator[ClientConnection]:
        async with connect(
            f"{self.url}/realtime", subprotocols=[Subprotocol("switchboard.v1")]
        ) as ws:
            await self.ask(ws, "connect")
            yield ws

    async def ask(self, ws: ClientConnection, kind: str, **fields: Any) -> dict[str, Any]:
        await ws.send(json.dumps({"type": kind, "id": 7, **fields}))
        while (answer := json.loads(await ws.recv())).get("id") != 7:
            pass
        assert answer["type"] != "error", answer
        return dict(answer)

    async def faults(self) -> None:
        """Views that raise, codes of all kinds, paths that there are not."""

        async def again() -> None:
            await self.visit("/ws/boom")
            for code in (1000, 1003, 1011, 4001):
                await self.visit(f"/ws/close/{code}")
            await self.visit("/nowhere")

        await self.until_seen("sum(rate(ws_handler_errors_total[2s])) > 0", again)

    async def visit(self, path: str) -> None:
        with suppress(*GONE):
            async with connect(self.url + path) as ws:
                await ws.send("hello")
                await ws.recv()

    async def rooms_that_make_way(self) -> None:
        numbers = itertools.count()

        async def again() -> None:
            for _ in range(ROOMS):
                await self.visit(f"/ws/room/{next(numbers)}")

        await self.until_seen("sum(rate(ws_rooms_evicted_total[2s])) > 0", again)

    async def slow(self) -> None:
        """A client that does not read its echo, and members that do not read their room."""
        async with AsyncExitStack() as stack:
            for path in ("/ws/echo", "/ws/room/slow", "/ws/room/slow"):
                stack.push_async_callback(self.leave, ws := await self.deaf(path))
                if path == "/ws/echo":
                    stack.callback((asyncio.create_task(self.shout(ws))).cancel)
            talker = await stack.enter_async_context(connect(f"{self.url}/ws/room/slow"))
            stack.callback(asyncio.create_task(self.read(talker)).cancel)

            async def again() -> None:
                await talker.send(BIG)

            await self.until_seen("sum(ws_slow_consumers_total) > 0", again, 0.001)
            await self.seen("sum(ws_outbox_bytes) > 0")

    async def deaf(self, path: str) -> ClientConnection:
        return await connect(self.url + path, max_queue=1, close_timeout=0.1)

    async def shout(self, ws: ClientConnection) -> None:
        with suppress(*GONE):
            for _ in range(200):
                await ws.send(BIG)

    async def leave(self, ws: ClientConnection) -> None:
        ws.transport.abort()
        await ws.wait_closed()

    async def knocks(self) -> None:
        """More clients than are let in."""
        async with AsyncExitStack() as stack:
            for _ in range(LIMIT):
                with suppress(*GONE):
                    await stack.enter_async_context(connect(f"{self.url}/ws/echo"))

            async def again() -> None:
                await self.visit("/ws/echo")

            await self.until_seen(
                "sum(rate(ws_limited_total[2s])) > 0"
                ' and sum(route_status:ws_handshakes_rejected:increase5m{status="503"}) > 0',
                again,
            )

    async def kill(self) -> None:
        os.kill(self.workers()[0], signal.SIGKILL)
        await self.seen("sum(ws_worker_restarts_total) > 0")
        await self.seen("sum(ws_workers_ready) == 2")
        await self.seen(
            'sum(route_code_initiator:ws_connections_closed:increase5m{initiator="crash"}) > 0'
        )

    async def stop_one(self) -> None:
        """A worker that hangs while others publish more than the journal has room for."""
        async with AsyncExitStack() as stack:
            talkers = [
                await stack.enter_async_context(connect(f"{self.url}/ws/room/tea"))
                for _ in range(8)
            ]
            for talker in talkers:
                stack.callback(asyncio.create_task(self.read(talker)).cancel)
            pid = self.workers()[0]
            os.kill(pid, signal.SIGSTOP)
            try:
                await self.seen("max(ws_worker_heartbeat_age_seconds) > 1")
                # All that is there is unread; what comes next overtakes it.
                all_unread = "max(ws_journal_lag_bytes) >= max(ws_journal_used_bytes)"
                await self.until_seen(all_unread, partial(self.say, talkers))
                for _ in range(10):
                    await self.say(talkers)
            finally:
                os.kill(pid, signal.SIGCONT)
            await self.seen("sum(ws_journal_overruns_total) > 0")
            await self.seen("sum(ws_room_incomplete_total) > 0")

    async def say(self, talkers: list[ClientConnection]) -> None:
        """Have all of them say something, as far as their workers take it.

        What one round brings has room in the window of a member: all of them are.
        """
        with suppress(*GONE, TimeoutError):
            async with asyncio.timeout(0.1):
                await asyncio.gather(*(talker.send(BIG[:8_000]) for talker in talkers))

    async def reloads(self) -> None:
        """One that is done, and one that is given up for code that does not import."""
        self.server.process.send_signal(signal.SIGHUP)
        await self.seen("sum(ws_reloads_total) == 1")
        self._app.write_text("raise ImportError\n")
        self.server.process.send_signal(signal.SIGHUP)
        await self.seen("sum(ws_reloads_failed_total) == 1")
        await asyncio.sleep(2)  # the windows of five minutes are to see it

    async def drain(self) -> None:
        async with connect(f"{self.url}/stays"):
            self.server.process.send_signal(signal.SIGTERM)
            await self.seen("sum(ws_server_draining) == 1")
        code = await asyncio.to_thread(self.server.process.wait, 20)
        assert code == 0, self.server.output()

    # -- looking ---------------------------------------------------------------------------------

    def workers(self) -> list[int]:
        return [pid for pid in children(self.server.process.pid) if "worker" in title(pid)]

    async def seen(self, query: str) -> None:
        """Wait until Prometheus has seen something."""
        await self.until_seen(query, None)

    @asynccontextmanager
    async def bounded(self, query: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(30):
                yield
        except TimeoutError:
            names = sorted(set(re.findall(r"ws_\w+", query)))
            now = {name: self._watching.query(name) for name in names}
            raise AssertionError(
                f"not seen: {query}, but {now}\n{self.server.output()[-3000:]}"
            ) from None

    async def until_seen(
        self, query: str, again: Callable[[], Awaitable[None]] | None, pause_s: float = 0.05
    ) -> None:
        """Do something again and again until Prometheus has seen what comes of it."""
        async with self.bounded(query):
            asked = asyncio.create_task(asyncio.to_thread(self._watching.query, query))
            while True:
                if again is not None:
                    await again()
                await asyncio.sleep(pause_s)
                if asked.done():
                    if asked.result():
                        return
                    asked = asyncio.create_task(asyncio.to_thread(self._watching.query, query))
