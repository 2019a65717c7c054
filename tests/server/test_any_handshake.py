"""Whatever a handshake has in it, an app answers with a status of the pipeline, and no error."""

import asyncio
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import AdmissionLimits, App, ConnectionLimits, Cookie, Header, WebSocket, rate_limit
from server.auth import APIKeyAuthentication, IsAuthenticated, JWTAuthentication
from server.auth.failure import AuthenticationFailed
from server.exceptions import WebSocketDisconnect
from server.gate import _token_in

KEY = "the key of these tests, which protects nothing"
STATUSES = {101, 400, 401, 403, 414, 422, 429, 431, 503}


def make_app() -> App:
    app = App(
        admission=AdmissionLimits(connections_per_ip=3, header_bytes=2000, url_bytes=1000),
        limits=ConnectionLimits(idle_timeout_s=60),
        trusted_proxies=["10.0.0.0/8"],
        allowed_origins=["https://example.com"],
    )
    app.add_sessions(KEY)
    jwt = JWTAuthentication(KEY, cookie="jwt")

    @app.websocket_route("/open/{number}")
    @rate_limit(rps=1e6, key="x-tenant")
    async def open_(
        ws: WebSocket,
        number: int,
        size: float = 1.0,
        colour: Annotated[str, Cookie()] = "red",
        lang: Annotated[str, Header()] = "en",
    ) -> None:
        assert ws.session is not None
        await ws.send(f"{number} {size} {colour} {lang} {ws.url} {ws.client} {ws.subprotocols}")

    @app.websocket_route(
        "/closed", auth=[jwt, APIKeyAuthentication(["k" * 16])], guards=[IsAuthenticated()]
    )
    async def closed(ws: WebSocket) -> None:
        raise AssertionError("nobody has the key")

    @app.websocket_route("/public", auth=[jwt])
    async def public(ws: WebSocket, token: str = "") -> None:
        await ws.send(f"{ws.context} {token}")

    return app


NAMES = st.sampled_from(
    [
        *(b"host", b"origin", b"cookie", b"authorization", b"x-api-key", b"x-forwarded-for"),
        *(b"x-forwarded-proto", b"sec-websocket-key", b"sec-websocket-protocol", b"lang"),
        *(b"x-tenant", b"content-length", b"\xff"),
    ]
)
VALUES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from(
        [
            *(b"localhost:8000", b"http://localhost:8000", b"null", b"https://example.com"),
            *(b"Bearer a.b.c", b"jwt=a.b.c; session=x; colour=blue", b"session=", b"10.0.0.1"),
            *(b"1.2.3.4, unknown, [::1]:80", b"dGhlIHNhbXBsZSBub25jZQ==", b"bearer, a.b.c"),
        ]
    ),
)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=12)
PATHS = st.one_of(
    st.sampled_from(["/open/1", "/open/-7", "/closed", "/public", "/", ""]),
    st.text(max_size=30).map(lambda text: f"/open/{text}"),
    st.text(max_size=30),
)
QUERIES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"token=a.b.c", b"size=nan&token=%ff", b"token&token="]),
)
CLIENTS = st.one_of(
    st.none(),
    st.tuples(st.sampled_from(["10.1.2.3", "::1", "fe80::1%eth0", "unix", ""]), st.just(1)),
)


async def answer(app: App, scope: dict[str, Any]) -> int:
    """Return the status that a handshake gets."""
    events = iter([{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1001}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(events)

    async def send(event: Any) -> None:
        sent.append(event)

    await app(scope, receive, send)
    first = sent[0]
    return 101 if first["type"] == "websocket.accept" else int(first["status"])


@given(
    path=PATHS,
    query=QUERIES,
    headers=HEADERS,
    subprotocols=st.lists(st.text(max_size=20), max_size=4),
    client=CLIENTS,
)
def test_any_handshake_gets_an_answer(
    path: str,
    query: bytes,
    headers: list[tuple[bytes, bytes]],
    subprotocols: list[str],
    client: Any,
) -> None:
    app = make_app()
    scope = {
        "type": "websocket",
        "scheme": "ws",
        "http_version": "1.1",
        "path": path,
        "query_string": query,
        "headers": headers,
        "subprotocols": subprotocols,
        "client": client,
        "server": ("localhost", 8000),
        "extensions": {"websocket.http.response": {}},
    }
    assert asyncio.run(answer(app, scope)) in STATUSES
    assert app.runtime.ledger.connections() == 0
    assert app.connections.count() == 0


@given(st.one_of(st.text(), st.text().map(lambda text: "{" + text), st.binary()))
def test_any_first_message_has_a_token_or_has_none(message: str | bytes) -> None:
    key = "text" if isinstance(message, str) else "bytes"
    try:
        token = _token_in({"type": "websocket.receive", key: message})
    except AuthenticationFailed:
        return
    assert token
    assert token.isascii()


def test_a_first_message_that_is_none_is_a_disconnect() -> None:
    with pytest.raises(WebSocketDisconnect):
        _token_in({"type": "websocket.disconnect", "code": 1001})
