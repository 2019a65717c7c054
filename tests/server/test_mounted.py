"""Apps under a mount: what they are given, and that their WebSockets are like any others."""

import asyncio
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from server import App, ConnectionLimits, WebSocket
from server.mounted import OURS
from server.testing import ConnectionClosed as Ended
from server.testing import TestClient
from tests.server.mounted_app import WAIT_S, Foreign, connected
from tests.support.embedded import embedded


@pytest.fixture
def foreign() -> Foreign:
    return Foreign()


def row(app: App) -> Any:
    (found,) = list(app.connections)
    return found


async def test_an_echo_with_its_scope_and_its_row(foreign: Foreign) -> None:
    app = App()
    app.mount("/sub", foreign)
    async with connected(app, "/sub/deep/er?a=1") as ws:
        await ws.send("text")
        assert await ws.recv() == "text"
        await ws.send(b"bytes")
        assert await ws.recv() == b"bytes"
        assert (foreign.scope["path"], foreign.scope["root_path"]) == ("/deep/er", "/sub")
        assert foreign.scope["query_string"] == b"a=1"
        assert isinstance(foreign.scope[OURS], WebSocket)
        found = row(app)
        assert (found.route, found.path) == ("/sub/{}", "/sub/deep/er")
    await foreign.end()
    assert [event["type"].rpartition(".")[2] for event in foreign.events] == [
        *("connect", "receive", "receive", "disconnect")
    ]
    assert foreign.events[-1]["code"] == 1000
    assert not list(app.connections)


async def test_mount_asgi_keeps_the_path(foreign: Foreign) -> None:
    app = App()
    app.mount_asgi("/sub", foreign)
    async with connected(app):
        assert (foreign.scope["path"], foreign.scope["root_path"]) == ("/sub/x", "/sub")


async def test_its_close_may_have_a_long_reason(foreign: Foreign) -> None:
    app = App()
    app.mount("/sub", foreign)
    async with connected(app) as ws:
        await ws.send("close")
        with pytest.raises(ConnectionClosed):
            await ws.recv()
        assert ws.close_code == 4001
        assert ws.close_reason is not None
        assert len(ws.close_reason) == 123
    await foreign.end()
    assert foreign.events[-1] == {
        "type": "websocket.disconnect",
        "code": 4001,
        "reason": ws.close_reason,
    }


async def test_what_it_raises_closes_with_1011(foreign: Foreign) -> None:
    app = App()
    app.mount("/sub", foreign)
    async with connected(app) as ws:
        await ws.send("raise")
        with pytest.raises(ConnectionClosed):
            await ws.recv()
        assert ws.close_code == 1011


async def test_the_limits_of_the_app_hold(foreign: Foreign) -> None:
    """A view would be ended by an exception; a mounted app gets the disconnect event."""
    app = App(max_message_size=10, limits=ConnectionLimits(rooms=1))
    app.mount("/sub", foreign)
    async with connected(app) as ws:
        await ws.send("x" * 11)
        with pytest.raises(ConnectionClosed):
            await ws.recv()
        assert ws.close_code == 1009
        await foreign.end()
    assert foreign.events[-1]["type"] == "websocket.disconnect"
    assert foreign.events[-1]["code"] == 1009


async def test_it_is_drained_and_disconnected_like_others(foreign: Foreign) -> None:
    app = App()
    app.mount("/sub", foreign)
    async with connected(app) as ws:
        await app.connections.disconnect(route="/sub/{}", code=4321)
        await ws.wait_closed()
        assert ws.close_code == 4321
    await foreign.end()
    assert foreign.events[-1]["code"] == 4321
    again = Foreign()
    app.mount("/again", again)
    async with connected(app, "/again") as ws:
        drained = await app.drain(code=1001, drain_s=2, refuse=True)
        assert (drained.closed, drained.left) == (1, 0)
        await ws.wait_closed()
        assert ws.close_code == 1001
    assert again.events[-1]["code"] == 1001


async def test_broadcasts_are_not_for_it(foreign: Foreign) -> None:
    app = App()
    app.mount("/sub", foreign)

    @app.websocket_route("/mine")
    async def mine(ws: WebSocket) -> None:
        await ws.receive()

    async with (
        embedded(app) as url,
        connect(f"{url}/sub/x") as other,
        connect(f"{url}/mine") as ours,
    ):
        await other.send("here")
        assert await other.recv() == "here"
        await app.broadcast("to all")
        assert await ours.recv() == "to all"
        await other.send("still here")
        assert await other.recv() == "still here"
        with pytest.raises(ValueError, match="there is no route"):
            await app.broadcast("to them", route="/sub/{}")


async def test_an_end_that_it_did_not_notice() -> None:
    """A send to who has gone is an OSError, as the ASGI specification has it."""
    raised: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while not raised.done():
            try:
                await send({"type": "websocket.send", "text": "news"})
            except Exception as error:
                raised.set_result(error)
            await asyncio.sleep(0.01)

    app = App()
    app.mount("/sub", mounted)
    async with connected(app) as ws:
        await ws.recv()
    async with asyncio.timeout(WAIT_S):
        assert isinstance(await raised, OSError)


async def test_it_may_refuse_with_any_response() -> None:
    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        headers = [(b"content-type", b"text/plain"), (b"x-why", b"so")]
        await send({"type": "websocket.http.response.start", "status": 418, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"no ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"tea"})

    app = App()
    app.mount("/sub", mounted)
    with pytest.raises(InvalidStatus) as refused:
        async with connected(app):
            pass
    response = refused.value.response
    assert (response.status_code, response.body) == (418, b"no tea")
    assert response.headers["x-why"] == "so"


async def test_it_may_refuse_with_a_close_event() -> None:
    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close", "reason": "why " * 100})

    app = App()
    app.mount("/sub", mounted)
    with pytest.raises(InvalidStatus) as refused:
        async with connected(app):
            pass
    assert refused.value.response.status_code == 403


async def test_a_body_without_a_start_is_its_mistake() -> None:
    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.http.response.body", "body": b"tea"})

    app = App()
    app.mount("/sub", mounted)
    with pytest.raises(InvalidStatus) as refused:
        async with connected(app):
            pass
    assert refused.value.response.status_code == 500


def test_an_app_of_ours_may_be_mounted() -> None:
    inner = App()

    @inner.websocket_route("/echo/{name}")
    async def echo(ws: WebSocket, name: str) -> None:
        await ws.send(f"{name} {await ws.receive()}")

    app = App()
    app.mount("/inner", inner)
    with TestClient(app).websocket_connect("/inner/echo/ada") as ws:
        ws.send_text("hello")
        assert ws.receive_text() == "ada hello"
        with pytest.raises(Ended) as closed:
            ws.receive_text()
        assert closed.value.code == 1000
