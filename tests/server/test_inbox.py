"""The inbox on granian itself: timeouts, several tasks on one connection, and what is left."""

import asyncio
import gc
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import pytest
from websockets.asyncio.client import connect

from server import App, WebSocket, WebSocketDisconnect
from server.inbox import Inbox
from tests.server.bounded_app import WAIT_S, Notes, app, connected, notes, read_all
from tests.support.embedded import embedded

__all__ = ["app", "notes"]  # fixtures


async def test_a_receive_that_timed_out_loses_no_message(app: App) -> None:
    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        received = 0
        while received < 50:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.001):
                    await ws.receive_text()
                    received += 1
        await ws.send_text(str(received))

    async with connected(app) as client:
        for number in range(50):
            await client.send(str(number))
            await asyncio.sleep(0.002)

        assert await asyncio.wait_for(client.recv(), WAIT_S) == "50"


async def test_a_second_receiver_is_refused_and_the_first_goes_on(app: App) -> None:
    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        first = asyncio.create_task(ws.receive_text())
        await asyncio.sleep(0)
        try:
            await ws.receive_text()
        except RuntimeError as error:
            await ws.send_text(str(error))
        await ws.send_text(await first)

    async with connected(app) as client:
        assert "another task is receiving" in str(await asyncio.wait_for(client.recv(), WAIT_S))
        await client.send("for the first")
        assert await asyncio.wait_for(client.recv(), WAIT_S) == "for the first"


@pytest.mark.parametrize("method", ["receive", "receive_json", "receive_event", "iter"])
async def test_a_close_in_another_task_ends_the_wait_of_a_receiver(
    app: App, notes: Notes, method: str
) -> None:
    async def receive(ws: WebSocket) -> object:
        if method == "iter":
            return [text async for text in ws.iter_text()]
        return await getattr(ws, method)()

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        waiting = asyncio.create_task(receive(ws))
        await asyncio.sleep(0.01)
        await ws.close(4002, "enough")
        try:
            notes.add(await waiting)
        except WebSocketDisconnect as disconnect:
            notes.add((disconnect.code, disconnect.reason))

    async with connected(app) as client:
        assert await read_all(client) == []
        assert (client.close_code, client.close_reason) == (4002, "enough")
        event = {"type": "websocket.disconnect", "code": 4002, "reason": "enough"}
        expected = {"iter": [], "receive_event": event}.get(method, (4002, "enough"))
        assert expected == await notes.next()


@pytest.mark.parametrize("method", ["receive_text", "receive_event", "iter"])
async def test_a_stale_wake_up_takes_no_message(app: App, method: str) -> None:
    """A receive that timed out leaves a callback behind, which may come at any later time."""

    async def receive(ws: WebSocket) -> Any:
        if method == "iter":
            return await anext(ws.iter_text())
        message = await getattr(ws, method)()
        return message if isinstance(message, str) else message["text"]

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        waiting = asyncio.create_task(receive(ws))
        await asyncio.sleep(0.01)
        asyncio.get_running_loop().call_soon(ws._inbox._wake, None)  # what granian does
        await asyncio.sleep(0.01)
        await ws.send_text("go")
        await ws.send_text(await waiting)

    async with connected(app) as client:
        assert await asyncio.wait_for(client.recv(), WAIT_S) == "go"
        await client.send("hello")
        assert await read_all(client) == ["hello"]


async def test_a_receiver_goes_on_in_its_own_context(app: App) -> None:
    """Granian's future keeps one callback, and with it the context of one task."""
    name = ContextVar("name", default="view")

    async def receive(ws: WebSocket, own_name: str) -> str:
        name.set(own_name)
        return f"{await ws.receive_text()} to {name.get()}"

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        for number in range(3):
            with suppress(TimeoutError):
                await asyncio.wait_for(receive(ws, "early"), 0.01)
            late = asyncio.create_task(receive(ws, f"late {number}"))
            await asyncio.sleep(0.01)
            await ws.send_text("go")
            await ws.send_text(await late)
        await ws.send_text(f"{await ws.receive_text()} to {name.get()}")

    async with connected(app) as client:
        for number in range(3):
            assert await asyncio.wait_for(client.recv(), WAIT_S) == "go"
            await client.send("hello")
            assert await asyncio.wait_for(client.recv(), WAIT_S) == f"hello to late {number}"
        await client.send("bye")
        assert await read_all(client) == ["bye to view"]


@pytest.mark.parametrize("first", ["peer", "view"])
async def test_nothing_of_a_connection_is_left_after_it(app: App, first: str) -> None:
    """What granian's objects hold is nothing that the garbage collector could find."""

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        async for text in ws.iter_text():
            await ws.send_text(text)
            if first == "view":
                break

    def inboxes() -> int:
        gc.collect()
        return sum(type(each) is Inbox for each in gc.get_objects())

    before = inboxes()
    async with embedded(app) as url:
        for _ in range(5):
            async with connect(f"{url}/") as client:
                await client.send("hello")
                assert await client.recv() == "hello"
                if first == "view":
                    await client.wait_closed()
        async with asyncio.timeout(WAIT_S):
            while inboxes() > before:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
