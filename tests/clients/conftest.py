"""Owns the server that the tests of the clients share."""

from collections.abc import Iterator

import pytest

from tests.clients.support import served
from tests.support.servers import Server


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    """One with three workers; who kills any starts one of its own."""
    with served() as server:
        yield server
