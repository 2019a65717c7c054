"""Owns the hosts that run the conformance table, one server process of each per session."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.support import servers

pytest.register_assert_rewrite("tests.conformance.steps")

from tests.conformance.hosts import AsyncHost, Host, SyncHost, WireHost  # noqa: E402

APP = "tests.conformance.app:app"


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
