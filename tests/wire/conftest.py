"""Owns the servers of the wire tests, and the look after each test whether all is well."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support import servers
from tests.support.processes import wait_until
from tests.support.raw import connect, get
from tests.support.servers import Server

APP = "tests.wire.app:app"
LIMITS = {
    "SWITCHBOARD_CONNECTION_SEND_TIMEOUT_S": "1",
    "SWITCHBOARD_CONNECTION_CLOSE_TIMEOUT_S": "1",
}


class WireServer:
    """A server with the app of these tests, and what the app tells about itself."""

    def __init__(self, name: str, server: Server) -> None:
        self.name = name
        self.port = server.port
        self.worker: int = self.ask("/pid")

    def ask(self, path: str) -> Any:
        response = get(self.port, path)
        assert response.status in (200, 204), response
        return json.loads(response.body) if response.body else None

    def end(self, tag: str) -> Any:
        """Wait for the end of the view with this tag, and say what it was."""
        return wait_until(lambda: self.ask(f"/end/{tag}")["end"], message="the end of the view")

    def is_well(self) -> None:
        """Assert that the same worker still echoes, and that no connection was left behind."""
        with connect(self.port, "/echo") as client:
            client.send_text("still there")
            assert client.read_text() == "still there"
            assert client.close() is not None
        assert self.ask("/pid") == self.worker
        wait_until(lambda: self.ask("/stats")["open"] == 0, message="all connections let go")


@pytest.fixture(scope="session")
def start() -> Iterator[Callable[[str], WireServer]]:
    """Start each host once, when it is first asked for."""
    started: dict[str, WireServer] = {}
    with ExitStack() as stack:

        def start(name: str) -> WireServer:
            if name not in started:
                run = (
                    servers.granian(APP, env=LIMITS) if name == "granian" else servers.uvicorn(APP)
                )
                started[name] = WireServer(name, stack.enter_context(run))
            return started[name]

        yield start


@pytest.fixture(params=["granian", "uvicorn"])
def server(request: Any, start: Callable[[str], WireServer]) -> Iterator[WireServer]:
    """Each of the hosts; afterwards it must be well."""
    server = start(request.param)
    yield server
    server.is_well()


@pytest.fixture
def granian(start: Callable[[str], WireServer]) -> Iterator[WireServer]:
    """Only granian, for what other hosts do in their own way."""
    server = start("granian")
    yield server
    server.is_well()
