"""Runs the conformance table: every case on every host, and whether the table is complete."""

import asyncio
import re
from collections.abc import Iterator
from importlib import import_module

import pytest

from tests.conformance.app import TOPICS
from tests.conformance.hosts import AsyncHost, Host, SyncHost, WireHost
from tests.conformance.rows import EXCLUDED, REQUIRED
from tests.conformance.steps import Case, play
from tests.support import servers

APP = "tests.conformance.app:app"
CASES: list[Case] = [
    case for topic in TOPICS for case in import_module(f"tests.conformance.{topic}").CASES
]
HOSTS = [
    "sync",
    "async",
    pytest.param("granian", marks=pytest.mark.e2e),
    pytest.param("uvicorn", marks=pytest.mark.e2e),
]
TRACEBACK = "Traceback (most recent call last)"


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def sync_host() -> Host:
    return SyncHost()


@pytest.fixture(scope="session")
def async_host() -> Host:
    return AsyncHost()


@pytest.fixture(scope="session")
def granian_host() -> Iterator[Host]:
    with servers.granian(APP) as server:
        yield WireHost("granian", server)


@pytest.fixture(scope="session")
def uvicorn_host() -> Iterator[Host]:
    with servers.uvicorn(APP) as server:
        yield WireHost("uvicorn", server)


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Host:
    return request.getfixturevalue(f"{request.param}_host")  # type: ignore[no-any-return]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("host", HOSTS, indirect=True)
def test_case(host: Host, case: Case, runner: asyncio.Runner) -> None:
    runner.run(play(case, host))
