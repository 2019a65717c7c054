"""Owns the server and the scripts that the tests of the clients use."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from tests.support import node
from tests.support.cli import environment
from tests.support.node import Script
from tests.support.servers import Server, free_port, running

KEY = "the key of the tests of the clients, long enough"


def script(name: str, url: str, *arguments: object) -> AbstractContextManager[Script]:
    """Run a script of the JavaScript client."""
    return node.script(Path(__file__).parent, name, url, *arguments)


@contextmanager
def served(*arguments: str, workers: int = 3, port: int = 0) -> Iterator[Server]:
    """Serve the tests' app."""
    port = port or free_port()
    command = [
        *(sys.executable, "-m", "server", "serve", "tests.clients.app:app"),
        *("--workers", str(workers), "--port", str(port), *arguments),
    ]
    with running(command, port, env=environment({"TEST_CLIENTS_KEY": KEY})) as server:
        server.wait_for_output("stop    Ctrl-C", 30)
        yield server
