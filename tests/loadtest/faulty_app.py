"""Owns servers that fail in one way each, on routes of the showcase, for verdicts to see."""

import asyncio
import itertools

from server import App, WebSocket

drops, delays, closes, doubles = (App(name) for name in ("drops", "delays", "closes", "doubles"))


@drops.websocket_route("/ws/echo")
async def drop_one_in_1000(ws: WebSocket) -> None:
    """Answer, but for each thousandth message."""
    async for message in ws:
        if next(_dropped) % 1000:
            await ws.send(message)


@delays.websocket_route("/ws/echo")
async def delay_two_in_100(ws: WebSocket) -> None:
    """Answer; two answers in a hundred take 200 ms more."""
    async for message in ws:
        if next(_delayed) % 50 == 0:
            await asyncio.sleep(0.2)
        await ws.send(message)


@closes.websocket_route("/ws/echo")
async def close_one_in_500(ws: WebSocket) -> None:
    """Answer; each five hundredth message ends the connection."""
    async for message in ws:
        if next(_closed) % 500 == 0:
            await ws.close(1011, "broken on purpose")
            return
        await ws.send(message)


@doubles.websocket_route("/ws/room/{room}")
async def deliver_twice(ws: WebSocket, room: str) -> None:
    """Publish each message twice."""
    await ws.join(room)
    async for message in ws:
        for _ in range(2):
            await doubles.room(room).publish(f"[{room}] {message}")


_dropped, _delayed, _closed = (itertools.count(1) for _ in range(3))
