"""Names of the host on a real server: others are refused, and sends stay pipelined."""

from collections.abc import Iterator
from contextlib import contextmanager
from socket import create_connection

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support import servers

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with servers.granian("tests.wire.hosts_app:app") as server:
        yield server.port


@contextmanager
def connected(port: int, name: str) -> Iterator[ClientConnection]:
    """Connect to loopback under that name."""
    with (
        create_connection(("127.0.0.1", port)) as sock,
        connect(f"ws://{name}:{port}/outbox", sock=sock, proxy=None) as ws,
    ):
        yield ws


def test_the_name_that_is_allowed(port: int) -> None:
    with connected(port, "example.com") as ws:
        assert ws.recv(timeout=5) == "PipelinedOutbox"


def test_a_name_that_leads_here_and_is_not_ours(port: int) -> None:
    with pytest.raises(InvalidStatus) as refused, connected(port, "attacker.example"):
        pass
    assert refused.value.response.status_code == 400
