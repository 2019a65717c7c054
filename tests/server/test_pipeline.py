"""Ways out of a view that are no plain exceptions: task groups, cancellations, refusals."""

import asyncio
import logging
from typing import Any

import pytest

from server import App, Depends, WebSocket, WebSocketClose
from server.testing import HandshakeRejected, TestClient


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def client(app: App) -> TestClient:
    return TestClient(app)


def test_a_close_raised_in_a_task_group_closes_with_its_code(app: App, client: TestClient) -> None:
    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        async def child() -> None:
            raise WebSocketClose(4001, "from a child")

        async with asyncio.TaskGroup() as group:
            group.create_task(child())

    with client.websocket_connect("/") as ws:
        assert tuple(map(ws.receive().get, ("code", "reason"))) == (4001, "from a child")


def test_a_disconnect_in_a_task_group_is_quiet(
    app: App, client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    @app.websocket("/")
    async def view(ws: WebSocket) -> None:
        async with ws, asyncio.TaskGroup() as group:
            group.create_task(ws.receive_text())

    with caplog.at_level(logging.INFO), client.websocket_connect("/") as ws:
        ws.close(1001)

    (line,) = caplog.records
    assert "connection closed" in line.getMessage()


def test_other_errors_of_a_task_group_are_errors(app: App, client: TestClient) -> None:
    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.wait_for(asyncio.sleep(1), 0))

    with (
        pytest.raises(ExceptionGroup),
        client.websocket_connect("/") as ws,
    ):
        assert ws.receive()["code"] == 1011


def test_a_cancellation_that_is_not_the_hosts_is_an_error_of_the_view(
    app: App, client: TestClient
) -> None:
    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        task = asyncio.create_task(asyncio.sleep(10))
        task.cancel()
        await task

    with client.websocket_connect("/", raise_app_exceptions=False) as ws:
        assert ws.receive()["code"] == 1011


@pytest.mark.parametrize(("reason", "detail"), [("", "Rejected"), ("no such club", "no such club")])
def test_an_exception_of_ones_own_has_its_status(
    app: App, client: TestClient, reason: str, detail: str
) -> None:
    class NoSuchClub(WebSocketClose):
        http_status = 404

    @app.websocket("/")
    async def view(ws: WebSocket) -> None:
        raise NoSuchClub(4004, reason)

    with pytest.raises(HandshakeRejected) as caught, client.websocket_connect("/"):
        pass

    assert (caught.value.status_code, caught.value.body) == (
        404,
        b'{"detail":"%s"}' % detail.encode(),
    )


def test_a_dependency_may_refuse_with_any_status(app: App, client: TestClient) -> None:
    ran: list[Any] = []

    async def gate(ws: WebSocket) -> None:
        await ws.reject(401)

    @app.websocket_route("/")
    async def view(ws: WebSocket, who: Any = Depends(gate)) -> None:
        ran.append(who)

    with pytest.raises(HandshakeRejected) as caught, client.websocket_connect("/"):
        pass

    assert caught.value.status_code == 401
    assert ran == []
