"""Dependencies, the chat room of the first guide, and the app's life."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Annotated, Any

from server import Depends, WebSocket, WebSocketClose, provider
from tests.conformance.base import Watch, app, note
from tests.conformance.steps import (
    Closed,
    Connects,
    Denied,
    Differs,
    Gets,
    GetsJson,
    Leaves,
    SendsJson,
    case,
)

counter = itertools.count()


def page(number: int = 1, size: int = 10) -> dict[str, int]:
    return {"number": number, "size": size}


async def token(ws: WebSocket, page: Annotated[dict[str, int], Depends(page)]) -> str:
    return f"{ws.headers.get('x-token', 'none')} {page['number']}"


async def session(ws: WebSocket) -> AsyncIterator[dict[str, Any]]:
    note(ws, "open")
    yield {"id": next(counter)}
    note(ws, "closed")


def user_of(session: Annotated[dict[str, Any], Depends(session)]) -> dict[str, Any]:
    return session


def guard(role: str = "guest") -> str:
    if role != "admin":
        raise WebSocketClose(4003, "admins only")
    return role


@app.websocket_route("/depends/values")
async def depends(
    ws: WebSocket,
    page: Annotated[dict[str, int], Depends(page)],
    token: str = Depends(token),  # type: ignore[assignment]
) -> None:
    await ws.send_json([page, token])


@app.websocket_route("/depends/shared")
async def depends_shared(
    ws: WebSocket,
    session: Annotated[dict[str, Any], Depends(session)],
    user: Annotated[dict[str, Any], Depends(user_of)],
) -> None:
    note(ws, f"view: {session is user}")


@app.websocket("/depends/guard")
async def depends_guard(ws: WebSocket, role: Annotated[str, Depends(guard)]) -> None:
    await ws.accept()
    await ws.send_text(role)


# -- the chat of the first guide -------------------------------------------------------------------


@provider(scope="app")
def conf_clients() -> dict[str, set[WebSocket]]:
    return {}


@provider(scope="app")
def conf_history() -> dict[str, list[Any]]:
    return {}


@app.websocket_route("/providers/chat", value_type="json")
async def chat(
    ws: WebSocket,
    conf_history: dict[str, list[Any]],
    conf_clients: dict[str, set[WebSocket]],
) -> None:
    key = ws.headers["x-case"]
    history, clients = conf_history.setdefault(key, []), conf_clients.setdefault(key, set())
    clients.add(ws)
    try:
        for message in history:
            await ws.send(message)
        async for message in ws:
            history.append(message)
            if message["type"] == "message":
                for client in tuple(clients):
                    await client.send(message)
    finally:
        clients.remove(ws)
        note(ws, f"{len(clients)} left")


@app.on("startup")
async def started() -> None:
    await asyncio.sleep(0)
    LIFE.append("started")


@app.on("shutdown")
def stopped() -> None:
    LIFE.clear()


LIFE: list[str] = []


@app.websocket_route("/life", send_type="json")
async def life(ws: WebSocket) -> None:
    await ws.send([LIFE, len(Watch.open) > 0])


HELLO = {"type": "message", "user": "ann", "text": "hello"}
BYE = {"type": "message", "user": "bob", "text": "bye"}
OTHER = {"type": "typing", "user": "bob"}

CASES = [
    case(
        "depends",
        "depends; 2.2 markers",
        "/depends/values?number=3",
        *(GetsJson([{"number": 3, "size": 10}, "t 3"]), Closed(1000)),
        headers={"X-Token": "t"},
    ),
    case("depends-invalid", "depends; C21", "/depends/values?number=x", Denied(400, '"number"')),
    case(
        "depends-once",
        "depends",
        "/depends/shared",
        Closed(1000),
        notes=["open", "view: True", "closed"],
    ),
    case("depends-refuses", "depends; C19", "/depends/guard", Denied(403, "admins only")),
    case("depends-allows", "depends", "/depends/guard?role=admin", Gets("admin"), Closed(1000)),
    case(
        "chat-room",
        "S1.36; S2.22",
        "/providers/chat",
        *(SendsJson(HELLO), GetsJson(HELLO), SendsJson(OTHER)),
        *(SendsJson(BYE), GetsJson(BYE)),
        Connects("b", "/providers/chat"),
        *(GetsJson(HELLO, peer="b"), GetsJson(OTHER, peer="b"), GetsJson(BYE, peer="b")),
        *(SendsJson(HELLO, peer="b"), GetsJson(HELLO, peer="b"), GetsJson(HELLO)),
        *(Leaves(1000), Connects("w", "/notes?count=1"), Gets('["1 left"]', peer="w")),
        *(SendsJson(BYE, peer="b"), GetsJson(BYE, peer="b"), Leaves(1001, peer="b")),
        notes=["1 left", "0 left"],
    ),
    case(
        "startup",
        "lifespan",
        "/life",
        GetsJson(
            Differs(
                "WebSocketTestClient runs one connection, not the app's life",
                [["started"], True],
                **{"async": [[], True]},
            )
        ),
        Closed(1000),
    ),
]
