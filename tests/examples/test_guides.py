"""Django-Bolt's protected route and Bocadillo's API-key example, as printed, over the wire."""

import secrets
import time
from collections.abc import Iterator

import jwt
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.servers import Server, granian

pytestmark = pytest.mark.e2e

SECRET = secrets.token_urlsafe(32)


@pytest.fixture(scope="module")
def django_bolt() -> Iterator[Server]:
    env = {"SWITCHBOARD_JWT_SECRET": SECRET}
    with granian("tests.examples.django_bolt:api", env=env) as server:
        yield server


@pytest.fixture(scope="module")
def bocadillo() -> Iterator[Server]:
    with granian("tests.examples.bocadillo:app") as server:
        yield server


def token(key: str = SECRET, **claims: object) -> str:
    return jwt.encode({"sub": "7", "exp": time.time() + 60, **claims}, key, "HS256")


def refusal(url: str, **headers: str) -> tuple[int, bytes]:
    """Return with which status and body a handshake is refused."""
    with pytest.raises(InvalidStatus) as refused:
        connect(url, additional_headers=headers)
    return refused.value.response.status_code, bytes(refused.value.response.body or b"")


def end_of(ws: ClientConnection) -> int | None:
    """Wait for the server to close; returns its code."""
    assert list(ws) == []
    return ws.close_code


def test_a_good_token_in_the_query_is_welcome(django_bolt: Server) -> None:
    """`new WebSocket("ws://localhost:8000/ws/protected?token=<jwt>")`, as the guide has it."""
    with connect(f"{django_bolt.url}/ws/protected?token={token()}") as ws:
        assert ws.recv(timeout=5) == "Welcome, user 7"
        assert end_of(ws) == 1000


def test_no_token_is_refused_before_the_view(django_bolt: Server) -> None:
    answer = refusal(f"{django_bolt.url}/ws/protected")
    assert answer == (401, b'{"detail":"Authentication required"}')


@pytest.mark.parametrize(
    ("bad", "detail"),
    [
        ("a.b.c", "Invalid token"),
        (token("another key, which is long enough"), "Invalid token"),
        (token(exp=time.time() - 3600), "Token expired"),
        (jwt.encode({"sub": "7", "exp": time.time() + 60}, "", "none"), "Invalid token"),
        (jwt.encode({"sub": "7"}, SECRET, "HS256"), "Token without exp"),
    ],
    ids=["no token", "another key", "expired", "no algorithm", "no end"],
)
def test_a_bad_token_is_refused(django_bolt: Server, bad: str, detail: str) -> None:
    answer = refusal(f"{django_bolt.url}/ws/protected?token={bad}")
    assert answer == (401, f'{{"detail":"{detail}"}}'.encode())


def test_nothing_of_a_token_or_the_secret_is_printed(django_bolt: Server) -> None:
    good, bad = token(), token("another key, which is long enough")
    with connect(f"{django_bolt.url}/ws/protected?token={good}") as ws:
        assert list(ws) == ["Welcome, user 7"]
    refusal(f"{django_bolt.url}/ws/protected?token={bad}")
    output = django_bolt.output()
    for hidden in (SECRET, good, bad, good.rpartition(".")[2], "token="):
        assert hidden not in output


@pytest.mark.parametrize("headers", [{}, {"api-key": "guess"}, {"api-key": ""}])
def test_without_the_key_it_is_403(bocadillo: Server, headers: dict[str, str]) -> None:
    status, _ = refusal(f"{bocadillo.url}/hello", **headers)
    assert status == 403


def test_with_the_key_it_proceeds(bocadillo: Server) -> None:
    with connect(f"{bocadillo.url}/hello", additional_headers={"api-key": "s3kr3t"}) as ws:
        assert end_of(ws) == 1000
    assert "Traceback" not in bocadillo.output()
