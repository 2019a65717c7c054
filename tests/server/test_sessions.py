"""Owns the proof that a WebSocket sees the session that HTTP has written, and no other."""

import json
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from itsdangerous import TimestampSigner
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket as StarletteWebSocket

from server import App, SettingsError, WebSocket
from server.sessions import MAX_COOKIE_BYTES, SECRET_NAME, Sessions
from server.testing import TestClient
from tests.support.scopes import websocket_scope

SECRET = "0123456789abcdef0123456789abcdef"


class Signer(TimestampSigner):
    """Signs as if it was so many seconds ago."""

    def __init__(self, key: str = SECRET, *, ago_s: int = 0) -> None:
        super().__init__(key)
        self._ago_s = ago_s

    def get_timestamp(self) -> int:
        return super().get_timestamp() - self._ago_s

    def cookie(self, payload: bytes) -> bytes:
        return self.sign(b64encode(payload))


def make_app(**options: Any) -> App:
    app = App()
    app.add_sessions(SECRET, **options)

    @app.route("/login/{name}", methods=["POST"])
    async def login(request: Request, name: str) -> None:
        request.session["user"] = {"name": name, "roles": ["reader"]}

    @app.route("/logout", methods=["POST"])
    async def logout(request: Request) -> None:
        request.session.clear()

    @app.route("/whoami")
    async def whoami(request: Request) -> Any:
        return request.session.get("user")

    @app.websocket_route("/session", value_type="json")
    async def session(ws: WebSocket) -> None:
        await ws.send(ws.session)

    return app


@pytest.fixture
def app() -> App:
    return make_app()


def session_over_websocket(client: TestClient, **options: Any) -> Any:
    with client.websocket_connect("/session", **options) as ws:
        return ws.receive_json()


def session_of(*headers: tuple[bytes, bytes], **options: Any) -> Any:
    """Return the session that a handshake with these headers has."""

    async def inner(scope: Any, receive: Any, send: Any) -> None: ...

    scope = websocket_scope()
    scope["headers"] = list(headers)
    middleware = Sessions(inner, secret_key=SECRET, **options)
    middleware(scope, _never, _never).close()  # type: ignore[attr-defined]
    return scope["session"]


def of_cookie(value: bytes, **options: Any) -> Any:
    return session_of((b"cookie", b"session=" + value), **options)


async def _never(*event: Any) -> Any:
    raise AssertionError("the middleware talks to the host")


# -- HTTP writes, WebSockets read ----------------------------------------------------------------


def test_a_websocket_reads_what_an_http_view_wrote(app: App) -> None:
    client = TestClient(app)
    assert session_over_websocket(client) == {}
    client.post("/login/ann")
    assert session_over_websocket(client) == {"user": {"name": "ann", "roles": ["reader"]}}
    assert client.get("/whoami").json() == {"name": "ann", "roles": ["reader"]}
    client.post("/logout")
    assert session_over_websocket(client) == {}


def test_the_options_are_the_cookies() -> None:
    app = make_app(
        session_cookie="sid",
        max_age_s=60,
        same_site="strict",
        https_only=True,
        path="/x",
        domain="chat.test",
    )
    cookie = TestClient(app).post("/login/ann").headers["set-cookie"]
    name, _, rest = cookie.partition("=")
    assert name == "sid"
    for part in (
        "path=/x",
        "Max-Age=60",
        "httponly",
        "samesite=strict",
        "secure",
        "domain=chat.test",
    ):
        assert f"; {part}" in rest


def test_the_cookie_has_another_name() -> None:
    value = Signer().cookie(b'{"a":1}')
    headers = (b"cookie", b"sid=" + value + b"; session=x")
    assert session_of(headers, session_cookie="sid") == {"a": 1}
    assert session_of(headers) == {}


def test_without_an_age_a_session_lasts(app: App) -> None:
    old = Signer(ago_s=10**8).cookie(b'{"a":1}')
    assert of_cookie(old, max_age=None) == {"a": 1}
    cookie = TestClient(make_app(max_age_s=None)).post("/login/ann").headers["set-cookie"]
    assert "Max-Age" not in cookie


def test_a_mounted_starlette_app_has_its_kind_of_session(app: App) -> None:
    async def endpoint(ws: StarletteWebSocket) -> None:
        await ws.accept()
        await ws.send_json(ws.session)
        await ws.close()

    app.mount("/mounted", Starlette(routes=[WebSocketRoute("/", endpoint)]))
    client = TestClient(app)
    client.post("/login/ann")
    with client.websocket_connect("/mounted/") as ws:
        assert ws.receive_json()["user"]["name"] == "ann"


async def test_the_middleware_hands_on_what_the_app_returns_and_the_hosts_own_functions() -> None:
    """Any wrapping costs the pipelined sends, and a coroutine in between every wake-up."""
    seen: list[Any] = []
    answer: Any = object()

    def inner(scope: Any, receive: Any, send: Any) -> Any:
        seen.extend((scope, receive, send))
        return answer

    async def send(event: Any) -> None: ...

    scope = websocket_scope()
    assert Sessions(inner, secret_key=SECRET)(scope, _never, send) is answer
    assert [one is other for one, other in zip(seen, (scope, _never, send), strict=True)] == [
        True
    ] * 3


def test_other_scopes_are_left_alone() -> None:
    def inner(scope: Any, receive: Any, send: Any) -> Any:
        return None

    scope = {"type": "lifespan"}
    assert Sessions(inner, secret_key=SECRET)(scope, _never, _never) is None
    assert scope == {"type": "lifespan"}


# -- cookies that are no good --------------------------------------------------------------------

GOOD = Signer().cookie(b'{"a":1}')


@pytest.mark.parametrize(
    "value", [GOOD, b'"' + GOOD + b'"', b" " + GOOD + b" "], ids=["plain", "quoted", "spaces"]
)
def test_a_good_cookie_is_read(value: bytes) -> None:
    assert of_cookie(value) == {"a": 1}
    assert of_cookie(value + b"; other=1") == {"a": 1}
    assert session_of((b"cookie", b"other=1"), (b"cookie", b"session=" + value)) == {"a": 1}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"garbage", id="garbage"),
        pytest.param(b"a.b.c", id="no signature"),
        pytest.param(b64encode(b'{"a":1}'), id="unsigned"),
        pytest.param(GOOD[:-1], id="cut off"),
        pytest.param(b"x" + GOOD, id="changed"),
        pytest.param(GOOD.replace(b".", b"..", 1), id="dots"),
        pytest.param(Signer("another key" * 5).cookie(b'{"a":1}'), id="forged"),
        pytest.param(Signer(ago_s=2_000_000).cookie(b'{"a":1}'), id="expired"),
        pytest.param(Signer(ago_s=-2_000_000).cookie(b'{"a":1}'), id="of the future"),
        pytest.param(Signer().sign(b"a"), id="not base64"),
        pytest.param(Signer().cookie(b"\xff\xfe"), id="not text"),
        pytest.param(Signer().cookie(b"{"), id="not JSON"),
        pytest.param(Signer().cookie(b"[" * 5000), id="nested too deep"),
        pytest.param(Signer().cookie(b"1" * 5000), id="a number too long"),
        pytest.param(Signer().cookie(b"[1]"), id="a list"),
        pytest.param(Signer().cookie(b'"text"'), id="a text"),
        pytest.param(Signer().cookie(b"null"), id="null"),
        pytest.param(Signer().cookie(b'{"a":"%s"}' % (b"x" * MAX_COOKIE_BYTES)), id="too large"),
        pytest.param(GOOD + b"; session=" + GOOD, id="twice"),
        pytest.param(b"x; session=" + GOOD, id="twice, one of them bad"),
    ],
)
def test_a_bad_cookie_is_an_empty_session(app: App, value: bytes) -> None:
    assert of_cookie(value) == {}
    client = TestClient(app)
    headers = {"cookie": f"session={value.decode()}"}
    assert session_over_websocket(client, headers=headers) == {}


def test_two_cookies_in_two_headers_are_an_empty_session() -> None:
    header = (b"cookie", b"session=" + GOOD)
    assert session_of(header, header) == {}


def test_no_cookie_is_an_empty_session() -> None:
    assert session_of() == {}
    assert session_of((b"cookie", b"other=1; session2=x; xsession=y"), (b"x", b"session=1")) == {}


def test_a_cookie_may_be_as_large_as_the_limit() -> None:
    text = "x" * 6000
    assert of_cookie(Signer().cookie(json.dumps({"a": text}).encode())) == {"a": text}


@given(st.binary(max_size=200))
def test_arbitrary_cookies_are_an_empty_session(value: bytes) -> None:
    assert of_cookie(value) == {}
    assert session_of((b"cookie", value)) == {}


@given(st.binary(max_size=100))
def test_arbitrary_signed_values_are_a_session_or_an_empty_one(value: bytes) -> None:
    for signed in (Signer().sign(value), Signer().cookie(value)):
        assert isinstance(of_cookie(signed), dict)


@pytest.mark.parametrize(
    "value",
    [b"garbage", b"a.b.c", GOOD[:-1], b"", b"%ff"],
    ids=["garbage", "dots", "forged", "empty", "escape"],
)
def test_a_bad_cookie_is_no_error_over_http_either(app: App, value: bytes) -> None:
    response = TestClient(app).get("/whoami", headers={"cookie": f"session={value.decode()}"})
    assert (response.status_code, response.content) == (204, b"")


# -- the secret ----------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["", "short", "x" * 31])
def test_a_short_secret_is_refused_with_the_way_to_make_one(secret: str) -> None:
    with pytest.raises(SettingsError, match="needs 32; make one with: python3 -c 'import secrets"):
        App().add_sessions(secret)
    with pytest.raises(SettingsError, match="needs 32"):
        Sessions(_never, secret_key=secret)


def test_the_secret_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_NAME, SECRET)
    app = App()
    app.add_sessions()

    @app.websocket_route("/session", value_type="json")
    async def session(ws: WebSocket) -> None:
        await ws.send(ws.session)

    headers = {"cookie": f"session={GOOD.decode()}"}
    assert session_over_websocket(TestClient(app), headers=headers) == {"a": 1}


def test_the_secret_is_read_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    monkeypatch.setenv(f"{SECRET_NAME}_FILE", str(file))
    App().add_sessions()
    file.write_text("short")
    with pytest.raises(SettingsError, match="has 5 characters and needs 32"):
        App().add_sessions()


@pytest.mark.parametrize("content", [None, b"\xff" * 40, SECRET.encode()])
def test_a_secret_that_cannot_be_told_is_refused_and_not_shown(
    content: bytes | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No such file, no text, or two secrets."""
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    if content == SECRET.encode():
        monkeypatch.setenv(SECRET_NAME, SECRET)
    monkeypatch.setenv(f"{SECRET_NAME}_FILE", str(file))
    with pytest.raises(SettingsError, match=f"{SECRET_NAME}_FILE") as raised:
        App().add_sessions()
    assert SECRET not in str(raised.value)


def test_without_a_secret_it_says_where_to_put_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SECRET_NAME, raising=False)
    monkeypatch.delenv(f"{SECRET_NAME}_FILE", raising=False)
    with pytest.raises(SettingsError, match=f"set {SECRET_NAME}, or {SECRET_NAME}_FILE"):
        App().add_sessions()


def test_the_secret_is_in_no_repr(app: App) -> None:
    for shown in (
        repr(app._middleware),
        repr(vars(app)),
        repr(vars(Sessions(_never, secret_key=SECRET))),
    ):
        assert SECRET not in shown


# -- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"session_cookie": ""}, "is no name of a cookie"),
        ({"session_cookie": "a b"}, "is no name of a cookie"),
        ({"session_cookie": "a;b"}, "is no name of a cookie"),
        ({"session_cookie": "a=b"}, "is no name of a cookie"),
        ({"max_age_s": 0}, "at least 1 second"),
        ({"max_age_s": -5}, "at least 1 second"),
        ({"same_site": "Lax"}, "is none of 'lax', 'strict', 'none'"),
        ({"same_site": "none"}, "needs https_only=True"),
        ({"path": ""}, "begins with a slash"),
        ({"path": "x"}, "begins with a slash"),
        ({"path": "/x; domain=y"}, "begins with a slash"),
        ({"domain": ""}, "which is none"),
        ({"domain": "a;b"}, "which is none"),
        ({"domain": "a\r\nb"}, "which is none"),
    ],
)
def test_what_a_browser_would_drop_is_refused_at_once(options: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        App().add_sessions(SECRET, **options)


def test_sessions_for_other_sites_need_tls() -> None:
    App().add_sessions(SECRET, same_site="none", https_only=True)


def test_sessions_come_before_the_app_serves(app: App) -> None:
    session_over_websocket(TestClient(app))
    with pytest.raises(RuntimeError, match="after the app has begun to serve"):
        app.add_sessions(SECRET)


def test_without_itsdangerous_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "itsdangerous", None)
    with pytest.raises(SettingsError, match=r"pip install 'switchboard-server\[sessions\]'"):
        App().add_sessions(SECRET)
