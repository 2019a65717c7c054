"""An app with a route for each policy about slow clients, and a room to publish to."""

import os
from typing import Any

from server import App, WebSocket
from server.metrics.catalog import POLICIES as LABELS
from server.slow import POLICIES
from workers.counters import Block, totals

WINDOW_MESSAGES = 32
MIB = 1 << 20

app = App()


async def stay(ws: WebSocket) -> None:
    await ws.join("crowd")
    await ws.send("joined")
    async for _ in ws:
        pass


# Room for all, so that a busy machine is no reason to close those that read.
app.websocket_route("/reader", outbox_messages=10_000, outbox_bytes=64 * MIB)(stay)
for name in POLICIES:
    app.websocket_route(f"/{name}", slow_consumer=name, outbox_messages=WINDOW_MESSAGES)(stay)
app.websocket_route("/large", outbox_messages=64, outbox_bytes=64 * MIB)(stay)


@app.websocket_route("/publish")
async def publish(ws: WebSocket, count: int, size: int) -> None:
    """Publish `count` messages of `size` bytes as fast as it goes, numbered from 0."""
    for number in range(count):
        await app.room("crowd").publish(f"{number:08}".ljust(size, "x"))
    await ws.send("done")


@app.route("/pid")
def pid(request: Any) -> int:
    return os.getpid()


@app.route("/books/{name}")
async def books(request: Any, name: str) -> Any:
    """What is known of the route's connections, and what its counters say."""
    ledger = app.runtime.ledger
    ledger.sweep(100)
    block = totals(ledger.segment).get(ledger.segment.route_index(f"/{name}"), Block())
    connections = [ws for ws in app.runtime.connections if ws.route.pattern.text == f"/{name}"]
    return {
        "open": block.open,
        "sent": sum(ws.messages_sent for ws in connections),
        "waiting": sum(ws.waiting[0] for ws in connections),
        "dropped": sum(ws.messages_dropped for ws in connections),
        "slow": {label: count for label, count in zip(LABELS, block.slow, strict=False) if count},
        "messages_out": block.messages_out,
    }
