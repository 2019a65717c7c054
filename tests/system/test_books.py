"""The books balance: whatever ends connections, metrics, registry, log and clients agree.

`make soak` runs the long form. The seed of a run is printed; SWITCHBOARD_SEED=n gives it again, as
far as the machine lets things happen in the same order.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import pytest

from server.control import running_server
from tests.support.cli import Project, environment
from tests.support.servers import Server, free_port, running
from tests.system.crowd import Client, Crowd, until
from tests.system.crowd_churn import Churn, Farewell, id_of, label_of, pid_of, route_of
from tests.system.crowd_scrapes import Scrape, Scraper, scraping
from workers.directories import DEFAULT_BASE
from workers.layout import SlotState
from workers.registry import read_rows
from workers.segment import Segment
from workers.slots import SlotInfo, Slots

IS_LONG = os.environ.get("SWITCHBOARD_SOAK") == "1"
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300 if IS_LONG else 120)]

READY = "stop    Ctrl-C"
KILL_INTERVAL_S = 1.0
KILLS_A_ROUND = 4
BOOKED_WITHIN_S = 1.0
NOTICED_WITHIN_S = 5.0  # by a client or a worker, on a busy machine
COUNTED_STATUSES = ("401", "403", "400", "429", "500")


@dataclass(frozen=True)
class Size:
    """Enough workers that each is killed so seldom that another is started soon."""

    workers: int
    clients: int
    ends_per_s: int
    rounds: int


SIZE = Size(12, 2_000, 300, 15) if IS_LONG else Size(4, 600, 150, 2)


class Run:
    """A server, its crowd, and those who watch both.

    Attributes:
        killed: when each worker was killed, by its pid.
        booked_after_s: how long it took until the connections of each were counted.
    """

    def __init__(
        self,
        server: Server,
        segment: Segment,
        scraper: Scraper,
        crowd: Crowd,
        chance: random.Random,
    ) -> None:
        self.server = server
        self.segment = segment
        self.scraper = scraper
        self.crowd = crowd
        self.chance = chance
        self.churn = Churn(crowd, size=SIZE.clients, ends_per_s=SIZE.ends_per_s, chance=chance)
        self.killed: dict[int, float] = {}
        self.booked_after_s: list[float] = []

    # -- one step ------------------------------------------------------------------------------

    async def kill_one(self) -> None:
        """Kill a worker; within a second its connections are counted, and nobody else noticed."""
        victim = await until(self._pick, 30, message="two workers are ready")
        present = self.churn.present
        lost = Counter(route_of(c.path) for c in present if pid_of(c) == victim.pid)
        others = [c for c in present if pid_of(c) not in (victim.pid, *self.killed)]
        before = self.scraper.latest
        os.kill(victim.pid, signal.SIGKILL)
        killed_s = self.killed[victim.pid] = time.monotonic()

        def booked() -> Scrape | None:
            now = self.scraper.latest
            has_all = all(now.crashed(r) - before.crashed(r) >= n for r, n in lost.items())
            assert has_all or now.begun_s < killed_s + BOOKED_WITHIN_S, f"not counted: {lost}"
            return now if has_all else None

        books = await until(booked, message="scrapes")
        self.booked_after_s.append(books.ended_s - killed_s)
        await until(lambda: not self._has_rows(victim), BOOKED_WITHIN_S, message="rows are free")
        await self._talk(self.chance.sample(others, min(50, len(others))))
        self._check_rows()

    def _pick(self) -> SlotInfo | None:
        """Return any of the ready workers, if another one remains."""
        ready = [
            slot
            for slot in Slots(self.segment).in_use()
            if slot.state is SlotState.READY and slot.pid not in self.killed
        ]
        return self.chance.choice(ready) if len(ready) > 1 else None

    def _has_rows(self, worker: SlotInfo) -> bool:
        return any(id.startswith(f"{worker.generation}-") for id in self.rows())

    def rows(self) -> set[str]:
        return {row.id for row in read_rows(self.segment)}

    async def _talk(self, clients: Sequence[Client]) -> None:
        """Have all of these, unless they are to end, get an answer to a message."""
        for client in clients:
            if client not in self.churn.farewells:
                client.send("still there?")

        def all_answered() -> bool:
            return all(
                client in self.churn.farewells or len(client.messages) > 1 for client in clients
            )

        await until(all_answered, NOTICED_WITHIN_S, message="bystanders are answered")
        for client in clients:
            del client.messages[1:]

    def _check_rows(self) -> None:
        """Whoever is connected has a row, and who has long been gone has none."""
        rows, now_s = self.rows(), time.monotonic()
        alive = [c for c in self.churn.present if pid_of(c) not in self.killed]
        assert [c.path for c in alive if id_of(c) not in rows] == []
        gone = [c for c in self.crowd.clients if c.end and c.end.at_s < now_s - NOTICED_WITHIN_S]
        assert [(c.path, c.end) for c in gone if id_of(c) in rows] == []

    # -- when all is quiet ---------------------------------------------------------------------

    async def check_settled(self) -> None:
        """The registry is what the clients know, and so are the counts of every route."""
        known = {id_of(client) for client in self.churn.present}
        with suppress(AssertionError):
            await until(lambda: self.rows() == known)
        assert self.rows() == known  # which shows the difference
        await self._talk(self.churn.present)
        self._check_losses()
        books = await self._fresh_scrape()
        accepted = Counter(route_of(client.path) for client in self.crowd.clients)
        unanswered = Counter(route_of(client.path) for client in self.crowd.unanswered)
        present = Counter(route_of(client.path) for client in self.churn.present)
        for route in {*books.opened, *accepted}:
            # A connection is counted right before its 101 leaves, which a kill may prevent.
            surplus = books.opened[route] - accepted[route]
            assert 0 <= surplus <= unanswered[route], (route, books.opened, accepted, unanswered)
            assert books.open[route] == present[route], route
            assert books.lasted[route] == books.closed_of(route), route
        refused = self._refused()
        for route, status in {*books.refused, *refused}:
            surplus = books.refused[route, status] - refused[route, status]
            assert 0 <= surplus <= unanswered[route], (route, status, surplus)

    async def _fresh_scrape(self) -> Scrape:
        now_s = time.monotonic()
        return await until(
            lambda: latest if (latest := self.scraper.latest).begun_s > now_s else None,
            message="a scrape",
        )

    def _check_losses(self) -> None:
        """Only who was on a killed worker lost the connection, and right then."""
        for client in [*self.crowd.lost(), *self.crowd.unanswered]:
            assert client.end is not None
            pid = pid_of(client)
            assert pid in {*self.killed, None}, (client.path, client.end)
            # Who was not told yet may have been on any of them.
            times = self.killed.values() if pid is None else [self.killed[pid]]
            delays_s = [client.end.at_s - killed_s for killed_s in times]
            assert any(-0.01 <= delay_s < NOTICED_WITHIN_S for delay_s in delays_s), delays_s

    def _refused(self) -> Counter[tuple[str, str]]:
        refused: Counter[tuple[str, str]] = Counter()
        for client in self.crowd.seen:
            if client.answer is not None and client.answer.status != 101:
                status = str(client.answer.status)
                label = status if status in COUNTED_STATUSES else "other"
                refused[route_of(client.path), label] += 1
        return refused

    # -- at the end ----------------------------------------------------------------------------

    async def check_codes(self) -> None:
        """Each end is in the log once, with what the client knows of it, and counted likewise.

        Not in the log are the ends of clients whose worker was killed first.
        """
        logged = self._logged()
        for client in self.crowd.clients:
            farewell, id = self.churn.farewells.get(client), id_of(client)
            if id in logged:
                assert farewell is not None, client.end
                assert logged[id] == (route_of(client.path), farewell), client.end
            else:
                assert client.is_open or id is None or pid_of(client) in self.killed, client.end
        told = Counter((route, label_of(code), by) for route, (code, by) in logged.values())
        books = await self._fresh_scrape()
        counted = Counter({end: n for end, n in books.closed.items() if end[2] != "crash"})
        assert not told - counted
        # A worker may be killed between the count and the line.
        assert (counted - told).total() <= len(self.killed), counted - told
        failed = Counter(route for route, end in logged.values() if end == (1011, "server"))
        for route, errors in books.errors.items():
            surplus = errors - failed[route] - books.refused[route, "500"]
            assert 0 <= surplus <= len(self.killed), (route, books.errors, failed)
        certain = [c for c in self.crowd.lost() if c not in self.churn.farewells]
        assert sum(map(books.crashed, books.opened)) >= len(certain) > 0

    def _logged(self) -> dict[str, tuple[str, Farewell]]:
        """Return route, code and initiator of each connection that has a line, by its id."""
        ends: dict[str, tuple[str, Farewell]] = {}
        for line in self.server.output().splitlines():
            if '"event":"connection closed"' in line:
                said = json.loads(line)
                assert said["id"] not in ends
                ends[said["id"]] = said["route"], (said["code"], said["initiator"])
        return ends

    async def leave_all(self) -> None:
        """Have everybody leave, in any way."""
        for client in self.churn.present:
            self.churn.end(client)
        await self.churn.calm_down()


@dataclass(frozen=True)
class Served:
    server: Server
    segment: Segment
    scraper: Scraper


@pytest.fixture
def served() -> Iterator[Served]:
    port, admin_port = free_port(), free_port()
    app = ("serve", "tests.system.crowd_app:app", "--log-format", "json")
    ports = ("--port", str(port), "--admin-port", str(admin_port))
    command = [sys.executable, "-m", "server", *app, *ports, "--workers", str(SIZE.workers)]
    with ExitStack() as stack:
        server = stack.enter_context(running(command, port, env=environment()))
        server.wait_for_output(READY, 30)
        segment = stack.enter_context(running_server(DEFAULT_BASE, server.process.pid))
        yield Served(server, segment, stack.enter_context(scraping(admin_port)))
    assert server.process.returncode == 0


async def test_the_books_balance_while_workers_are_killed(served: Served, project: Project) -> None:
    """Every second, amid comings and goings; opened = open + closed in any scrape meanwhile."""
    seed = int(os.environ.get("SWITCHBOARD_SEED") or random.randrange(10**6))
    print(f"SWITCHBOARD_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    scraper = served.scraper

    def listed() -> set[str]:
        mine = ("--pid", str(served.server.process.pid))
        output = project.run("connections", "--json", *mine).stdout
        return {row["id"] for row in json.loads(output)["connections"]}

    async with Crowd(served.server.port) as crowd:
        run = Run(served.server, served.segment, scraper, crowd, random.Random(seed))
        await run.churn.fill()
        for _ in range(SIZE.rounds):
            async with run.churn.going_on():
                next_s = time.monotonic()
                for _ in range(KILLS_A_ROUND):
                    next_s += KILL_INTERVAL_S
                    await asyncio.sleep(next_s - time.monotonic())
                    await run.kill_one()
            await run.check_settled()
        assert listed() == run.rows()
        await run.leave_all()
        await run.check_settled()
        await run.check_codes()
        assert listed() == set()
        print(  # noqa: T201
            f"{len(crowd.clients)} connections, {len(crowd.refused)} refused,"
            f" {len(crowd.unanswered)} unanswered, {len(crowd.lost())} lost in"
            f" {len(run.killed)} kills, counted after {max(run.booked_after_s):.3f} s at most;"
            f" {scraper.count} scrapes"
        )
    assert scraper.problems == [], f"kills: {run.killed}"
    assert len(run.killed) == SIZE.rounds * KILLS_A_ROUND
