"""Owns the servers of the tests of the load test."""

from collections.abc import Iterator

import pytest

from tests.loadtest.running import SECRET, Watched, watched


@pytest.fixture(scope="session")
def showcase() -> Iterator[Watched]:
    """The app that is tested by default, with two workers."""
    with watched("examples.showcase:app") as server:
        yield server


@pytest.fixture(scope="session")
def protected() -> Iterator[Watched]:
    with watched("tests.loadtest.protected_app:app", env={"LOADTEST_JWT_SECRET": SECRET}) as server:
        yield server
