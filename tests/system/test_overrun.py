"""A worker that stands still while the others publish more than the ring holds."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from server.control import running_server
from tests.support.cli import environment
from tests.support.servers import Server, free_port, running
from tests.system.crowd import Client, Crowd, until
from workers.directories import DEFAULT_BASE
from workers.layout import places
from workers.publisher import Publisher
from workers.room_tables import BUS, Kind
from workers.segment import Segment
from workers.slots import Slots

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

MIB = 1 << 20
PAYLOAD_BYTES = 2000
BATCH = 50
MESSAGES = 3 * MIB // PAYLOAD_BYTES // BATCH * BATCH
QUIET = "quiet"


@dataclass
class Member:
    """A client in the rooms "busy" and "quiet", and what it was told of each."""

    client: Client
    pid: int = 0
    joined: dict[str, dict[str, Any]] = field(default_factory=dict)
    ids: dict[str, list[int]] = field(default_factory=lambda: {"busy": [], QUIET: []})
    missed: list[str | None] = field(default_factory=list)

    def take(self, message: str | bytes) -> None:
        match json.loads(message):
            case {"pid": pid}:
                self.pid = pid
            case {"joined": room} as said:
                self.joined[room] = said
            case {"room": room, "id": id}:
                self.ids[room].append(id)
            case {"missed": room}:
                self.missed.append(room)

    def join(self, room: str, since: int | None = None, epoch: str | None = None) -> None:
        self.client.send(json.dumps({"join": room, "since": since, "epoch": epoch}))


@dataclass(frozen=True)
class Served:
    server: Server
    segment: Segment


@contextmanager
def served(app: str) -> Iterator[Served]:
    port = free_port()
    options = ["--workers", "2", "--journal-mib", "1", "--port", str(port)]
    command = [sys.executable, "-m", "server", "serve", app, *options]
    with ExitStack() as stack:
        server = stack.enter_context(running(command, port, env=environment()))
        server.wait_for_output("stop    Ctrl-C", 30)
        yield Served(
            server,
            stack.enter_context(running_server(DEFAULT_BASE, server.process.pid, writable=True)),
        )
    assert server.process.returncode == 0


async def members_of_both(crowd: Crowd) -> dict[int, list[Member]]:
    """Connect until each of two workers has two members; returns them by the worker's process."""
    found: dict[int, list[Member]] = {}
    while len(found) < 2 or min(map(len, found.values())) < 2:
        (member,) = await comers(crowd, 1)
        found.setdefault(member.pid, []).append(member)
        for room in ("busy", QUIET):
            member.join(room)
        await until(lambda m=member: len(m.joined) == 2)  # type: ignore[misc]
    return found


async def comers(crowd: Crowd, count: int) -> list[Member]:
    members = []
    for client in await crowd.connect(count, "/oracle"):
        member = Member(client)
        for message in client.messages:
            member.take(message)
        client.on_message = member.take
        members.append(member)
        await until(lambda m=member: m.pid)  # type: ignore[misc]
    return members


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def publish(segment: Segment, room: str, first: int, count: int) -> None:
    """Publish from outside, as `python -m server publish` does."""
    publisher = Publisher(segment)
    for id in range(first, first + count):
        payload = json.dumps({"room": room, "id": id}).ljust(PAYLOAD_BYTES)
        publisher.publish_now(room, Kind.JSON, payload.encode())
    publisher.close()


async def publish_all(segment: Segment, readers: list[Member]) -> None:
    """Publish more than the ring holds, no faster than these get it."""
    for first in range(0, MESSAGES, BATCH):
        publish(segment, "busy", first, BATCH)
        got = [*range(first + BATCH)]
        await until(lambda so_far=got: all(m.ids["busy"] == so_far for m in readers))  # type: ignore[misc]


def overruns(segment: Segment) -> int:
    word = places(BUS)["overruns"]
    return sum(
        segment.words[segment.layout.bus_of(slot.number) + word] for slot in Slots(segment).all()
    )


async def test_members_are_told_and_what_goes_on_is_in_order() -> None:
    with served("tests.system.overrun_app:app") as one:
        async with Crowd(one.server.port) as crowd:
            still, other = (await members_of_both(crowd)).values()
            publish(one.segment, QUIET, 0, 1)
            await until(lambda: all(m.ids[QUIET] == [0] for m in (*still, *other)))
            with stopped(still[0].pid):
                # The others notice nothing: they have everything while that one stands still.
                await publish_all(one.segment, other)
            publish(one.segment, "busy", MESSAGES, 10)
            last = MESSAGES + 9
            await until(lambda: all(m.ids["busy"][-1:] == [last] for m in (*still, *other)))

            for member in still:
                assert set(member.missed) == {"busy"}  # the quiet room has no gap
                got = [-1, *member.ids["busy"]]
                assert got == sorted(set(got))
                # A worker that starts again at the tail may be overtaken there again.
                gaps = sum(after != before + 1 for before, after in pairwise(got))
                assert 0 < gaps <= len(member.missed)
                assert got[-1] == last
            assert all(member.missed == [] for member in other)
            assert overruns(one.segment) >= 1


async def test_members_without_a_handler_are_closed_and_learn_that_they_cannot_recover() -> None:
    with served("tests.system.oracle_app:app") as one:
        async with Crowd(one.server.port) as crowd:
            still, other = (await members_of_both(crowd)).values()
            with stopped(still[0].pid):
                await publish_all(one.segment, other)
            await crowd.wait_ended([member.client for member in still])
            for member in still:
                assert member.client.end is not None
                assert (member.client.end.code, member.client.end.reason) == (
                    1013,
                    "missed messages",
                )
            assert all(member.client.is_open for member in other)

            (again,) = await comers(crowd, 1)
            place = still[0].joined["busy"]
            again.join("busy", place["offset"], place["epoch"])
            await until(lambda: again.joined)
            assert again.joined["busy"] == {**place, "offset": MESSAGES, "recovered": False}
            assert again.ids["busy"] == []
