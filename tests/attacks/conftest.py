"""Owns the servers under attack: `python -m server serve` with two workers, logs in JSON."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.attacks.arena import Arena
from tests.attacks.keys import ENVIRONMENT, leaked
from tests.support.cli import environment
from tests.support.servers import free_port, running

APP = "tests.attacks.app:app"
READY = "stop    Ctrl-C"
LIMITS = {
    # The limits are the defaults; a peer that does not read its close frame is left sooner.
    "main": ["--log-level", "debug", "--connection.close-timeout-s", "2"],
    "addresses": [
        "--admission.connections-per-ip=8",
        "--admission.connections-per-user=3",
        "--trusted-proxies=127.0.0.1",
    ],
    "full": ["--admission.connections=20", "--admission.url-bytes=1000"],
    "hasty": ["--admission.handshakes-per-s=20"],
}


@contextmanager
def _serving(*arguments: str) -> Iterator[Arena]:
    port, admin_port = free_port(), free_port()
    where = ["--port", str(port), "--admin-port", str(admin_port)]
    options = ["--workers", "2", "--log-format", "json", "--drain-s", "1", *arguments]
    command = [sys.executable, "-m", "server", "serve", APP, *where, *options]
    with running(command, port, env=environment(ENVIRONMENT)) as server:
        server.wait_for_output(READY, 30)
        with ExitStack() as stack:
            yield Arena(server, admin_port, stack)
        server.stop()
        assert server.process.returncode == 0
        assert leaked(server.output()) == []


@pytest.fixture(scope="session")
def start() -> Iterator[Callable[[str], Arena]]:
    """Start each server once, when it is first asked for; at the end, its whole log is searched."""
    started: dict[str, Arena] = {}
    with ExitStack() as stack:

        def start(name: str) -> Arena:
            if name not in started:
                started[name] = stack.enter_context(_serving(*LIMITS[name]))
            return started[name]

        yield start


@pytest.fixture
def arena(start: Callable[[str], Arena]) -> Arena:
    """The server with default limits; it logs at debug, where there is most to leak."""
    return start("main")
