"""Owns granian serving the bare app, started with none of our code."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.servers import Server, free_port, running

# What workers/granian.py asks for, but for a small `--backpressure`.
FLAGS = (
    *("--interface", "asgi", "--loop", "uvloop", "--http", "1", "--ws"),
    *("--runtime-mode", "mt", "--runtime-threads", "1", "--backpressure", "8"),
)


@contextmanager
def bare_granian() -> Iterator[Server]:
    port = free_port()
    where = ("--host", "127.0.0.1", "--port", str(port), "--workers", "1")
    command = [sys.executable, "-m", "granian", "tests.host.app:app", *where, *FLAGS]
    with running(command, port) as server:
        yield server


@pytest.fixture(scope="session")
def host() -> Iterator[Server]:
    with bare_granian() as server:
        yield server
