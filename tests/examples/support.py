"""Owns the start of an example on several workers, as `python -m server serve` runs it."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.support.cli import environment
from tests.support.servers import Server, free_port, running


@contextmanager
def serving(app: str, *, workers: int, env: Mapping[str, str]) -> Iterator[Server]:
    """Serve an app until the block ends; all workers are ready when it begins."""
    port = free_port()
    flags = ["--workers", str(workers), "--port", str(port)]
    command = [sys.executable, "-m", "server", "serve", app, *flags]
    with running(command, port, env=environment(env)) as server:
        server.wait_for_output("stop    Ctrl-C", 30)
        yield server
