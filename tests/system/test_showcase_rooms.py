"""The showcase's rooms and its broadcast reach the connections of every worker."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from server.control import running_server
from server.room_commands import describe_rooms
from tests.support.cli import environment
from tests.support.servers import Server, free_port, running
from tests.system.crowd import Client, Crowd, until
from workers.directories import DEFAULT_BASE
from workers.registry import read_rows
from workers.segment import Segment

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]
WORKERS = 3


@dataclass(frozen=True)
class Served:
    server: Server
    segment: Segment

    def workers_of(self, path: str) -> set[int]:
        """Return which workers have a connection on a path."""
        return {row.worker for row in read_rows(self.segment) if row.path == path}


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    port = free_port()
    options = ["--workers", str(WORKERS), "--port", str(port)]
    command = [sys.executable, "-m", "server", "serve", "examples.showcase:app", *options]
    with ExitStack() as stack:
        server = stack.enter_context(running(command, port, env=environment()))
        server.wait_for_output("stop    Ctrl-C", 30)
        segment = stack.enter_context(running_server(DEFAULT_BASE, server.process.pid))
        yield Served(server, segment)


async def connect_everywhere(served: Served, crowd: Crowd, path: str) -> list[Client]:
    """Connect until every worker has a connection there."""
    clients: list[Client] = []
    while len(served.workers_of(path.partition("?")[0])) < WORKERS:
        clients += await crowd.connect(4, path)
    return clients


@pytest.mark.parametrize(
    ("path", "sent", "got"),
    [
        ("/ws/room/tea", "hello", "[tea] hello"),
        ("/ws/broadcast", "hello", "hello"),
        ("/chat/tea?anonymous=1", '"hello"', '{"user":"Anonymous","message":"hello"}'),
    ],
)
async def test_everybody_on_every_worker_gets_it_once(
    served: Served, path: str, sent: str, got: str
) -> None:
    async with Crowd(served.server.port) as crowd:
        clients = await connect_everywhere(served, crowd, path)
        if "broadcast" not in path:
            room = "tea"
            await until(lambda: members(served.segment, room) == len(clients))
        for client in clients:
            client.send(sent)
        expected = [got] * len(clients)
        await until(lambda: all(client.messages == expected for client in clients))
        await crowd.close(clients)


def members(segment: Segment, room: str) -> int:
    """Return how many members a room has, as `python -m server rooms --json` tells it."""
    return sum(each["members"] for each in describe_rooms(segment) if each["room"] == room)
