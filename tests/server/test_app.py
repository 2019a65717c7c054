"""The application object: lifespan, handlers, middleware, rooms' handles."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from server import App, Provider, ProviderDoesNotExist, WebSocket, provider, useprovider
from server.testing import TestClient


@pytest.fixture
def app() -> App:
    return App()


def test_startup_lifespan_and_shutdown_run_in_order() -> None:
    happened: list[str] = []

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        happened.append("enter")
        yield
        happened.append("leave")

    app = App(lifespan=lifespan)

    @app.on("startup")
    async def start() -> None:
        happened.append("start")

    @app.on("startup")
    def start_plain() -> None:
        happened.append("start plain")

    @app.on("shutdown")
    async def stop() -> None:
        happened.append("stop")

    with TestClient(app):
        assert happened == ["enter", "start", "start plain"]

    assert happened[3:] == ["stop", "leave"]


def test_failing_startup_stops_the_start(app: App) -> None:
    @app.on("startup")
    def fail() -> None:
        raise LookupError("no database")

    with pytest.raises(LookupError, match="no database"), TestClient(app):
        raise AssertionError("it started")


def test_failing_shutdown_is_told_to_the_host(app: App) -> None:
    @app.on("shutdown")
    def fail() -> None:
        raise LookupError("cannot flush")

    sent: list[Any] = []

    async def run() -> None:
        events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive() -> Any:
            return next(events)

        async def send(event: Any) -> None:
            sent.append(event)

        await app({"type": "lifespan"}, receive, send)

    with pytest.raises(LookupError):
        asyncio.run(run())

    assert sent[-1]["type"] == "lifespan.shutdown.failed"
    assert sent[-1]["message"].endswith("LookupError: cannot flush\n")


def test_unknown_provider_shows_at_startup(app: App) -> None:
    @app.websocket_route("/")
    @useprovider("nobody_declared_this")
    async def view(ws: WebSocket) -> None: ...

    with pytest.raises(ProviderDoesNotExist), TestClient(app):
        pass


def test_app_scoped_value_behind_a_request_scoped_one_is_made_at_startup(app: App) -> None:
    made: list[str] = []

    @provider(scope="app")
    def test_app_pool() -> str:
        made.append("pool")
        return "pool"

    @provider
    def test_app_session(test_app_pool: str) -> str:
        return f"session of {test_app_pool}"

    assert isinstance(test_app_pool, Provider)

    @app.websocket_route("/")
    async def view(ws: WebSocket, test_app_session: str) -> None:
        await ws.send(test_app_session)

    with TestClient(app) as client:
        assert made == ["pool"]
        with client.websocket_connect("/") as ws:
            assert ws.receive_text() == "session of pool"


def test_middleware_sees_both_kinds_and_the_last_is_outermost(app: App) -> None:
    seen: list[str] = []

    class Note:
        def __init__(self, app: Any, name: str) -> None:
            self.app, self.name = app, name

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            seen.append(f"{self.name} {scope['type']}")
            await self.app(scope, receive, send)

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None: ...

    app.add_middleware(Note, name="inner")
    app.add_middleware(Note, name="outer")
    client = TestClient(app)
    with client.websocket_connect("/"):
        pass
    client.get("/")

    assert seen == ["outer websocket", "inner websocket", "outer http", "inner http"]
    with pytest.raises(RuntimeError, match="begun to serve"):
        app.add_middleware(Note, name="late")


def test_wrong_arguments_are_refused(app: App) -> None:
    with pytest.raises(ValueError, match="the events are 'startup', 'shutdown', 'join'"):
        app.on("start")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1 byte"):
        App(max_message_size=0)
    for name in ("", "x" * 256, "a\nb", "é" * 128):
        with pytest.raises(ValueError, match="room name"):
            app.room(name)
    with pytest.raises(TypeError, match="room name"):
        app.room(1)  # type: ignore[arg-type]


def test_accept_headers_on_granian_are_warned_of_once(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        app.runtime.warn_accept_headers_dropped()
        app.runtime.warn_accept_headers_dropped()

    assert caplog.text.count("granian cannot send headers") == 1
    assert app.runtime.stats["accept_headers_dropped"] == 2
