"""Owns how tests read the books of an app that runs in their process, and how they visit it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from server import App
from server.testing import HandshakeRejected, WebSocketTestClient
from workers.counters import Block, totals
from workers.layout import INITIATORS, Sizes
from workers.segment import Segment

WAIT_S = 10.0
OTHER = 0
Peer = Callable[[WebSocketTestClient], Awaitable[Any]]


@dataclass
class Books:
    """What an app's counters say of one route, with labels in place of indices."""

    opened: int = 0
    closed: dict[tuple[int, int], int] = field(default_factory=dict)
    refused: dict[int, int] = field(default_factory=dict)
    errors: int = 0
    slow: int = 0


def one_closed(code: int, initiator: int, *, errors: int = 0, slow: int = 0) -> Books:
    return Books(1, {(code, initiator): 1}, {}, errors, slow)


def one_refused(status: int, *, errors: int = 0) -> Books:
    return Books(refused={status: 1}, errors=errors)


def counters(app: App, route: str = "/") -> Block:
    segment = app.runtime.ledger.segment
    return totals(segment).get(segment.route_index(route), Block())


def books(app: App, route: str = "/") -> Books:
    """Return them when nothing is open any more, and check that they balance."""
    block = counters(app, route)
    assert block.opened == block.open + sum(block.closed)
    assert block.open == 0
    assert sum(block.duration) == sum(block.closed)
    assert len(app.connections) == 0
    assert not app.runtime.running
    segment = app.runtime.ledger.segment
    closed = {
        (segment.codes[index // INITIATORS], index % INITIATORS): count
        for index, count in enumerate(block.closed)
        if count
    }
    refused = {segment.statuses[index]: count for index, count in enumerate(block.refused) if count}
    return Books(block.opened, closed, refused, block.errors, block.slow[0])


def give_room(app: App, rows: int) -> None:
    """Give the app room for so many connections."""
    sizes = Sizes(workers=1, slots=1, rows_per_slot=rows, routes=8)
    segment = Segment.private(sizes, routes=["/", "unmatched"], codes=[1000], statuses=[403, 503])
    app.adopt(segment, 0, generation=1, worker_index=0)


async def stay(client: WebSocketTestClient) -> None:
    """Read until the app closes."""
    async for _ in client.iter_bytes():
        pass


def leaving(code: int) -> Peer:
    async def leave(client: WebSocketTestClient) -> None:
        await client.close(code)

    return leave


async def visit(app: App, path: str = "/", peer: Peer = stay, **options: Any) -> int | None:
    """Connect, do what the peer does, wait for the end; returns the status of a refusal."""
    client = WebSocketTestClient(app, path, raise_app_exceptions=False, **options)
    try:
        async with client:
            await peer(client)
    except HandshakeRejected as refused:
        return refused.status_code
    return None


async def until(condition: Callable[[], Any], timeout_s: float = WAIT_S) -> Any:
    """Wait until the condition gives something true, and return that."""
    async with asyncio.timeout(timeout_s):
        while not (found := condition()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found
