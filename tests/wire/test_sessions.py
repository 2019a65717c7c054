"""Sessions on a real server: the cookie goes its way, and sends stay pipelined."""

import json

import pytest

from tests.support import servers
from tests.support.raw import RawClient, get

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("app", "outbox"),
    [
        pytest.param("app", "PipelinedOutbox", id="ours"),
        # What it would be with `send` wrapped: else the first case would prove nothing.
        pytest.param("wrapped", "QueuedOutbox", id="starlette's"),
    ],
)
def test_sends_of_a_connection_with_a_session(app: str, outbox: str) -> None:
    with servers.granian(f"tests.wire.sessions_app:{app}") as server:
        cookie = get(server.port, "/login").headers["set-cookie"].partition(";")[0]
        with RawClient(server.port) as client:
            assert client.handshake("/session", [f"Cookie: {cookie}"]).status == 101
            told = json.loads(client.read_text())
    assert told == {"session": {"user": "ann"}, "outbox": outbox}
