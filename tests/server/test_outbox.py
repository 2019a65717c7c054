"""The outbox on granian itself: order, bounds, and several tasks on one connection."""

import asyncio
import gc
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from server import App, WebSocket, WebSocketDisconnect
from server.outbox import PipelinedOutbox
from server.transport import TransportLimits
from tests.server.bounded_app import LIMITS, WAIT_S, Notes, app, connected, notes, read_all
from tests.support.embedded import embedded

__all__ = ["app", "notes"]  # fixtures


async def test_sends_are_counted_and_keep_their_order(app: App, notes: Notes) -> None:
    app.configure(replace(LIMITS, send_timeout_s=WAIT_S, close_timeout_s=WAIT_S))

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        for number in range(1_000):
            await ws.send_text(str(number))
        await ws.send_bytes(bytearray(b"end"))
        await ws.close(4000)
        notes.add((ws.messages_sent, ws.bytes_sent))

    async with connected(app) as client:
        got = await read_all(client)

        assert [str(number) for number in range(1_000)] + [b"end"] == got
        assert client.close_code == 4000
        assert (1_001, sum(len(message) for message in got)) == await notes.next()


async def test_bytes_and_text_go_back_and_forth(app: App) -> None:
    @app.websocket("/")
    async def view(ws: WebSocket) -> None:
        await ws.accept()
        while True:
            await ws.send_bytes(await ws.receive_bytes())
            await ws.send_text(await ws.receive_text())

    async with connected(app) as client:
        for number in range(10):
            await client.send(bytes([number]))
            assert bytes([number]) == await asyncio.wait_for(client.recv(), WAIT_S)
            await client.send(f"ä{number}")
            assert f"ä{number}" == await asyncio.wait_for(client.recv(), WAIT_S)


async def test_many_tasks_send_and_nothing_is_lost(app: App) -> None:
    app.configure(replace(LIMITS, send_timeout_s=WAIT_S, close_timeout_s=WAIT_S))

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        async def send(task: int) -> None:
            for number in range(100):
                await ws.send_text(f"{task} {number}")

        await asyncio.gather(*(send(task) for task in range(10)))

    async with connected(app) as client:
        got = [tuple(map(int, str(message).split())) for message in await read_all(client)]

    assert len(got) == 1_000
    for task in range(10):
        assert list(range(100)) == [number for name, number in got if name == task]


async def test_a_peer_that_never_reads_is_closed_after_the_bound(app: App, notes: Notes) -> None:
    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        try:
            while True:
                await ws.send_text("x" * 50_000)
        except WebSocketDisconnect as disconnect:
            notes.add((disconnect.code, ws.close_code))
            notes.add(app.runtime.stats["slow_consumer"])

    async with connected(app, max_queue=1, compression=None):
        assert await notes.next() == (1013, 1013)
        assert await notes.next() == 1


async def test_a_sender_waiting_for_room_learns_that_the_peer_left(app: App, notes: Notes) -> None:
    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        app.runtime.limits = TransportLimits()  # patient: only the end of the peer ends the wait
        try:
            while True:
                await ws.send_text("x" * 50_000)
        except WebSocketDisconnect as disconnect:
            notes.add(disconnect.code)

    async with embedded(app) as url:
        client = await connect(f"{url}/", max_queue=1, compression=None)
        while not any(_is_filling(ws) for ws in app.runtime.connections):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        client.transport.abort()

        assert await notes.next() in (1005, 1006, 1013)


async def test_close_waits_for_senders_and_refuses_those_that_come_later(
    app: App, notes: Notes
) -> None:
    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        async def send() -> None:
            try:
                while True:
                    await ws.send_text("x" * 1_000)
            except (RuntimeError, WebSocketDisconnect) as error:
                notes.add(type(error).__name__)

        senders = [asyncio.create_task(send()) for _ in range(3)]
        await asyncio.sleep(0.05)
        await ws.close(4001)
        await asyncio.wait(senders, timeout=WAIT_S)

    async with connected(app) as client:
        assert set(await read_all(client)) == {"x" * 1_000}
        assert client.close_code == 4001
        assert {await notes.next() for _ in range(3)} <= {"RuntimeError", "WebSocketDisconnect"}


async def test_kick_ends_the_view_with_its_code(app: App, notes: Notes) -> None:
    @app.websocket_route("/", caught_close_codes=())
    async def view(ws: WebSocket) -> None:
        notes.add(ws)
        try:
            await ws.receive()
        except WebSocketDisconnect as disconnect:
            notes.add(disconnect.code)

    async with connected(app) as client:
        ws = await notes.next()
        assert isinstance(ws, WebSocket)
        await ws.kick(4010, "moderated")

        assert await notes.next() == 4010
        await read_all(client)
        assert (client.close_code, client.close_reason) == (4010, "moderated")
        assert not app.runtime.connections


async def test_a_close_that_was_cancelled_still_frees_the_connection(
    app: App, notes: Notes
) -> None:
    """The peer never reads, so nothing but the server's own close ends it (design fact 17)."""

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                while True:
                    await ws.send_text("x" * 50_000)
        with suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await ws.close(4000)
        notes.add("returned")

    async with embedded(app) as url:
        client = await connect(f"{url}/", max_queue=1, compression=None)
        assert await notes.next() == "returned"
        async with asyncio.timeout(WAIT_S):
            while established(int(url.rpartition(":")[2])):  # noqa: ASYNC110 - the kernel's state
                await asyncio.sleep(0.02)
        client.transport.abort()


def _is_filling(ws: WebSocket) -> bool:
    return ws.messages_sent > 0 and ws._outbox.filling_since is not None


def established(port: int) -> int:
    """Count the connections that a server on `port` holds open."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


async def test_two_tasks_cannot_accept_at_once(app: App) -> None:
    @app.websocket("/")
    async def view(ws: WebSocket) -> None:
        results = await asyncio.gather(ws.accept(), ws.accept(), return_exceptions=True)
        await ws.send_text(", ".join(str(result) for result in results))

    async with connected(app) as client:
        assert await read_all(client) == ["None, accept() while another task is accepting"]


async def test_nothing_is_left_of_a_peer_that_did_not_read(app: App) -> None:
    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        while True:
            await ws.send_bytes(bytes(50_000))

    def outboxes() -> int:
        gc.collect()
        return sum(type(each) is PipelinedOutbox for each in gc.get_objects())

    before = outboxes()
    async with embedded(app) as url:
        for _ in range(3):
            client = await connect(f"{url}/", max_queue=1, compression=None)
            async with asyncio.timeout(WAIT_S):
                while app.runtime.running:  # noqa: ASYNC110 - until it is disconnected as too slow
                    await asyncio.sleep(0.01)
            client.transport.abort()
        async with asyncio.timeout(WAIT_S):
            while outboxes() > before:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("wrapped", ["send", "receive", "both"])
async def test_a_middleware_may_wrap_either_side(app: App, wrapped: str) -> None:
    class Wrap:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            async def own_receive() -> Any:
                return await receive()

            async def own_send(event: Any) -> None:
                await send(event)

            await self.inner(
                scope,
                receive if wrapped == "send" else own_receive,
                send if wrapped == "receive" else own_send,
            )

    app.add_middleware(Wrap)

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        async for text in ws.iter_text():
            await ws.join("all")
            await app.room("all").publish("published")
            await ws.send_text(text)
            await ws.close(4003)

    async with connected(app) as client:
        await client.send("hello")
        assert await read_all(client) == ["published", "hello"]
        assert client.close_code == 4003


async def test_a_slow_member_is_kicked_once(app: App, notes: Notes) -> None:
    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        notes.add(await asyncio.gather(*(app.broadcast("x" * 50_000) for _ in range(400))))
        await ws.receive()  # until it is disconnected

    async with connected(app, max_queue=1, compression=None) as client:
        await notes.next()
        async with asyncio.timeout(WAIT_S):
            while not app.runtime.stats["slow_consumer"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await read_all(client)
        assert app.runtime.stats["slow_consumer"] == 1
