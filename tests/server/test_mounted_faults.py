"""What mounted apps do that a host has to bear, and that costs nobody else anything."""

import asyncio
from typing import Any

import pytest
from starlette._utils import get_route_path
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from server import App, WebSocket
from server.exceptions import RouteError
from server.testing import TestClient
from tests.server.ledger_books import books, one_closed, until
from tests.server.mounted_app import WAIT_S, Foreign, connected
from tests.support.embedded import embedded
from tests.support.raw import get
from workers.layout import CLIENT, SERVER


@pytest.fixture
def foreign() -> Foreign:
    return Foreign()


async def test_it_may_receive_in_another_task_before_it_accepts() -> None:
    """As Quart does: that waits for the first message, or for the end."""
    app = App()

    async def early(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        following = asyncio.create_task(receive())
        await asyncio.sleep(0)
        assert not following.done()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": (await following)["text"]})
        assert (await receive())["type"] == "websocket.disconnect"

    app.mount("/sub", early)
    async with connected(app) as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"


async def test_one_that_waits_for_a_message_and_refuses_hears_of_the_end() -> None:
    app, heard = App(), []

    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        following = asyncio.create_task(receive())
        await asyncio.sleep(0)
        await send({"type": "websocket.close"})
        heard.append((await following)["type"])

    app.mount("/sub", refusing)
    with pytest.raises(InvalidStatus):
        async with connected(app):
            pass
    assert heard == ["websocket.disconnect"]


async def test_it_may_return_while_another_task_of_it_accepts() -> None:
    """The handshake is accepted or refused, not both."""
    app, tasks = App(), []

    async def hasty(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        tasks.append(asyncio.create_task(send({"type": "websocket.accept"})))
        await asyncio.sleep(0)

    app.mount("/sub", hasty)
    async with connected(app) as ws:
        await ws.wait_closed()
        assert ws.close_code == 1000
    await tasks[0]
    await until(lambda: not app.runtime.running)
    assert books(app, "/sub/{}") == one_closed(1000, SERVER)


async def test_a_refusal_waits_for_an_accept_under_way_and_comes_too_late() -> None:
    app, problems = App(), []

    @app.websocket_route("/", auto_accept=False)
    async def view(ws: WebSocket) -> None:
        accepting = asyncio.create_task(ws.accept())
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError) as caught:
            await ws.deny(403)
        problems.append(str(caught.value))
        await accepting
        await ws.send("accepted")

    async with embedded(app) as url, connect(f"{url}/") as ws:
        assert await ws.recv() == "accepted"
        await ws.wait_closed()
    assert problems == ["deny() after the handshake was answered"]
    await until(lambda: not app.runtime.running)
    assert books(app) == one_closed(1000, SERVER)


async def test_a_second_refusal_is_a_fault_of_the_app() -> None:
    app, problems = App(), []

    async def twice(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 418})
        await send({"type": "websocket.http.response.body", "body": b"once"})
        with pytest.raises(RuntimeError) as caught:
            await send({"type": "websocket.http.response.body", "body": b"again"})
        problems.append(str(caught.value))

    app.mount("/sub", twice)
    with pytest.raises(InvalidStatus) as caught:
        async with connected(app):
            pass
    assert (caught.value.response.status_code, caught.value.response.body) == (418, b"once")
    await until(lambda: problems)
    assert problems == ["deny() after the handshake was answered"]


@pytest.mark.parametrize("acts", ["receives", "sends"])
async def test_one_that_goes_on_for_ever_after_the_end_leaves_the_loop_to_others(acts: str) -> None:
    app, over = App(), asyncio.Event()

    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while not over.is_set():
            if acts == "receives":
                await receive()
                continue
            try:
                await send({"type": "websocket.send", "text": "x"})
            except OSError:
                continue
            await asyncio.sleep(0)

    app.mount("/sub", stubborn)

    @app.websocket_route("/echo")
    async def echo(ws: WebSocket) -> None:
        async for message in ws:
            await ws.send(message)

    async with embedded(app) as url:
        async with connect(f"{url}/sub/x", close_timeout=0.1):
            pass  # granian answers a close when the app ends, which this one does not
        async with asyncio.timeout(WAIT_S), connect(f"{url}/echo") as ws:
            for _ in range(20):
                await ws.send("still there")
                assert await ws.recv() == "still there"
        over.set()


@pytest.mark.parametrize("ends", ["peer", "size"])
async def test_an_end_that_it_lets_pass_is_no_fault_of_it(
    ends: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither what it sends into a connection that has ended, nor a close of that."""
    app, ended = App(max_message_size=10), asyncio.Event()

    async def careless(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        assert (await receive())["type"] == "websocket.disconnect"
        try:
            await send({"type": "websocket.close", "code": 1000})
            await send({"type": "websocket.send", "text": "x"})
        finally:
            ended.set()

    app.mount("/sub", careless)
    async with connected(app) as ws:
        if ends == "size":
            await ws.send("x" * 11)
            await ws.wait_closed()
            assert ws.close_code == 1009
    async with asyncio.timeout(WAIT_S):
        await ended.wait()
    await until(lambda: not app.runtime.running)
    code, initiator = (1000, CLIENT) if ends == "peer" else (1009, SERVER)
    assert books(app, "/sub/{}") == one_closed(code, initiator)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("status", [0, 99, 101, 600, 1000, "403"])
async def test_a_status_that_is_none_is_refused_before_the_host_sees_it(status: Any) -> None:
    """granian ends the whole process at one over 999."""
    app, errors = App(), []

    async def wrong(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        try:
            await send({"type": "websocket.http.response.start", "status": status})
        except ValueError as error:
            errors.append(str(error))
            raise

    @app.websocket_route("/own", auto_accept=False)
    async def own(ws: WebSocket) -> None:
        await ws.deny(status)

    @app.route("/http")
    async def http(request: Any) -> Any:
        response = PlainTextResponse("x")
        response.status_code = status
        return response

    app.mount("/sub", wrong)
    async with embedded(app) as url:
        for path in ("/sub/x", "/own"):
            with pytest.raises(InvalidStatus) as caught:
                async with connect(f"{url}{path}"):
                    pass
            assert caught.value.response.status_code == 500
        answer = await asyncio.to_thread(get, int(url.rpartition(":")[2]), "/http")
        assert answer.status == 500
    assert errors == [f"{status!r} is no HTTP status that can be answered with (200-599)"]


@pytest.mark.parametrize(
    ("path", "inner", "root", "raw"),
    [
        ("/sub", "/", "/sub", b"/"),
        ("/sub/", "/", "/sub", b"/"),
        ("/sub/x%20y/z", "/x y/z", "/sub", b"/x%20y/z"),
        ("/s%75b/a%2Fb", "/a/b", "/sub", b"/a%2Fb"),
        ("/sub%2Fx/y", "/x/y", "/sub", b"/x/y"),
        ("/sub/sub/x", "/sub/x", "", b"/sub/x"),
        ("/sub/subway", "/subway", "/sub", b"/subway"),
    ],
)
async def test_path_and_raw_path_fit(
    foreign: Foreign, path: str, inner: str, root: str, raw: bytes
) -> None:
    """An app that takes `root_path` off its path finds the same, also where the prefix recurs."""
    app = App()
    app.mount("/sub", foreign)
    async with connected(app, path):
        scope = foreign.scope
    assert (scope["path"], scope["root_path"], scope["raw_path"]) == (inner, root, raw)
    assert get_route_path(scope) == inner


def test_a_starlette_app_finds_its_own_urls() -> None:
    async def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(request.url_for("page", name="ada")))

    app = App()
    app.mount("/sub", Starlette(routes=[Route("/of/{name}", page, name="page")]))
    with TestClient(app) as client:
        assert client.get("/sub/of/ben").text.endswith("/sub/of/ada")
        assert client.get("/sub/sub/of/ben").status_code == 404


@pytest.mark.parametrize("wrong", [None, 1, App])
def test_what_is_no_app_cannot_be_mounted(wrong: Any) -> None:
    with pytest.raises(RouteError, match="no ASGI app"):
        App().mount("/sub", wrong)
