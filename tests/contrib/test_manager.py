"""The client manager by itself: what it refuses, and that nobody waits for whom it cannot."""

import asyncio
import json
from typing import Any

import pytest
import socketio

from server import App
from server.contrib.socketio import BusManager
from server.testing import TestClient, WebSocketTestClient
from workers.room_directory import DirectoryFull

PATH = "/socket.io/?EIO=4&transport=websocket"


def sio_of(app: App, **options: Any) -> socketio.AsyncServer:
    sio = socketio.AsyncServer(
        async_mode="asgi", client_manager=BusManager(app), transports=["websocket"], **options
    )
    app.mount("/socket.io", socketio.ASGIApp(sio, socketio_path=None))
    return sio


async def next_event(client: WebSocketTestClient) -> list[Any]:
    """Return the next event that is no packet of the connection itself."""
    async with asyncio.timeout(10):
        while not (text := await client.receive_text()).startswith("42"):
            if text == "2":
                await client.send_text("3")
    event: list[Any] = json.loads(text[2:])
    return event


async def open_session(client: WebSocketTestClient) -> None:
    assert (await client.receive_text()).startswith("0")
    await client.send_text("40")
    assert (await client.receive_text()).startswith("40")


def test_a_channel_is_for_one_server() -> None:
    app = App()
    BusManager(app)
    BusManager(app, channel="other")
    with pytest.raises(ValueError, match="channel 'socketio' is taken"):
        BusManager(app)
    BusManager(App())


def test_a_channel_is_a_name_of_a_room() -> None:
    with pytest.raises(ValueError, match="255 bytes"):
        BusManager(App(), channel="x" * 255)


def test_it_does_not_write_only() -> None:
    with pytest.raises(ValueError, match="write_only"):
        BusManager(App(), write_only=True)


def test_a_server_with_long_polling_is_refused() -> None:
    with pytest.raises(ValueError, match=r'transports=\["websocket"\]'):
        socketio.AsyncServer(async_mode="asgi", client_manager=BusManager(App()))


def test_an_app_may_be_tested_again_and_again() -> None:
    """Each test client has a loop of its own."""
    app = App()
    sio = sio_of(app)

    @sio.event
    async def say(sid: str, text: str) -> None:
        await asyncio.wait_for(sio.emit("said", text), 5)

    for text in ("first", "second"):
        with TestClient(app) as client, client.websocket_connect(PATH) as session:
            assert session.receive_text().startswith("0")
            session.send_text("40")
            assert session.receive_text().startswith("40")
            session.send_text("42" + json.dumps(["say", text]))
            while not (got := session.receive_text()).startswith("42"):
                pass
            assert json.loads(got[2:]) == ["said", text]


async def test_nobody_waits_for_the_end_of_a_silent_client() -> None:
    """It is found by a send, and its `disconnect` handler may emit, or take its time."""
    app = App()
    sio = sio_of(app)
    slowly = asyncio.Event()

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        await sio.emit("left", reason)
        await slowly.wait()

    @sio.event
    async def say(sid: str, text: str) -> None:
        (silent,) = [eio for one, eio in sio.manager.get_participants("/", None) if one != sid]
        sio.eio.sockets[silent].last_ping = 1  # its last pong is long ago
        await asyncio.wait_for(sio.emit("said", text), 5)
        await asyncio.wait_for(sio.emit("said", "again"), 5)

    async with WebSocketTestClient(app, PATH) as ada, WebSocketTestClient(app, PATH) as silent:
        await open_session(ada)
        await open_session(silent)
        await ada.send_text('42["say","hello"]')
        heard = [await next_event(ada) for _ in range(3)]
        slowly.set()
    assert [event for event in heard if event[0] == "said"] == [
        ["said", "hello"],
        ["said", "again"],
    ]
    assert ["left", "ping timeout"] in heard


def test_a_worker_hears_the_others_before_it_has_a_client() -> None:
    """So it can call theirs, and be answered."""
    app = App()
    sio = sio_of(app)
    with TestClient(app):
        assert sio.manager._is_attending


async def test_a_room_that_cannot_be_heard_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker starts all the same, the loop is free, and the log is not flooded."""
    monkeypatch.setattr("server.contrib.socketio.RETRY_S", 0.01)
    app = App()
    manager = BusManager(app)
    attend, tries = app.runtime.rooms.attend, []

    async def failing(*arguments: Any) -> None:
        tries.append(arguments)
        if len(tries) < 3:
            raise DirectoryFull(16)
        await attend(*arguments)

    monkeypatch.setattr(app.runtime.rooms, "attend", failing)
    sio = socketio.AsyncServer(async_mode="asgi", client_manager=manager, transports=["websocket"])
    await manager._start()
    async with asyncio.timeout(10):
        while not manager._is_attending:  # noqa: ASYNC110 - it is not told
            await asyncio.sleep(0.01)
    manager.thread.cancel()
    assert len(tries) == 3
    assert caplog.text.count("Socket.IO clients hear nothing: ") == 1
    assert sio.manager is manager
