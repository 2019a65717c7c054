"""Owns the servers of the tests of the load test."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.loadtest.running import SECRET, Watched, watched

settings.register_profile(
    "loadtest", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("loadtest")


@pytest.fixture(scope="session")
def showcase() -> Iterator[Watched]:
    """The app that is tested by default, with two workers."""
    with watched("examples.showcase:app") as server:
        yield server


@pytest.fixture(scope="session")
def protected() -> Iterator[Watched]:
    with watched("tests.loadtest.protected_app:app", env={"LOADTEST_JWT_SECRET": SECRET}) as server:
        yield server
