"""Providers: what makes a view's arguments, and when it is torn down."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Annotated

from server import Query, WebSocket, WebSocketClose, provider, useprovider
from tests.conformance.base import app, note
from tests.conformance.steps import (
    Closed,
    Connects,
    Denied,
    Gets,
    GetsJson,
    Leaves,
    Sends,
    case,
)

counter = itertools.count()


@provider
def conf_plain() -> str:
    return "plain"


@provider(name="conf_renamed")
async def any_name(conf_plain: str) -> str:
    return f"renamed {conf_plain}"


@provider
async def conf_user(ws: WebSocket, user: str = "nobody") -> str:
    return f"{user} at {ws.path}"


@provider
async def conf_resource(ws: WebSocket) -> AsyncIterator[str]:
    note(ws, "setup")
    yield "resource"
    note(ws, f"teardown: {ws.state.name}")


@provider
async def conf_failing_end(ws: WebSocket, conf_resource: str) -> AsyncIterator[str]:
    yield conf_resource
    raise ValueError("at the end")


@provider
def conf_sync_resource(ws: WebSocket, conf_resource: str) -> Iterator[str]:
    note(ws, "setup sync")
    yield f"sync {conf_resource}"
    note(ws, "teardown sync")


@provider(scope="app")
def conf_shared() -> list[int]:
    return [next(counter)]


@provider(lazy=True)
async def conf_lazy(ws: WebSocket) -> str:
    note(ws, "made")
    return "lazy"


@provider
def conf_broken() -> str:
    raise ValueError("no value")


@provider
def conf_refusing() -> str:
    raise WebSocketClose(4000, "not today")


@provider
async def conf_used(ws: WebSocket) -> AsyncIterator[None]:
    note(ws, "used")
    yield
    note(ws, "used no more")


@app.websocket_route("/providers/values")
async def values(ws: WebSocket, conf_plain: str, conf_renamed: str, conf_user: str) -> None:
    await ws.send_json([conf_plain, conf_renamed, conf_user])


@app.websocket_route("/providers/required")
async def required(ws: WebSocket, conf_plain: str, missing: int) -> None:
    note(ws, "never")


@app.websocket_route("/providers/resource")
async def resource(ws: WebSocket, conf_sync_resource: str, conf_resource: str) -> None:
    note(ws, f"view: {conf_sync_resource}, {conf_resource}, {ws.state.name}")
    async for message in ws:
        if message == "boom":
            raise ValueError("boom")
        if message == "close":
            await ws.close(4000)
            return


@app.websocket_route("/providers/resource/failing")
async def resource_failing(ws: WebSocket, conf_failing_end: str) -> None:
    await ws.send(conf_failing_end)


@app.websocket("/providers/resource/manual")
async def resource_manual(ws: WebSocket, conf_resource: str) -> None:
    note(ws, f"view: {ws.state.name}")
    await ws.reject()


@app.websocket_route("/providers/shared", send_type="json")
async def shared(ws: WebSocket, conf_shared: list[int]) -> None:
    conf_shared.append(1)
    await ws.receive()
    await ws.send([conf_shared[0] >= 0, len(conf_shared) >= 2])
    conf_shared.pop()


@app.websocket_route("/providers/shared/check", send_type="json")
async def shared_check(ws: WebSocket, conf_shared: list[int]) -> None:
    await ws.send(len(conf_shared))


@app.websocket_route("/providers/lazy/{use}")
async def lazy(ws: WebSocket, use: bool, conf_lazy: Awaitable[str]) -> None:
    note(ws, "view")
    await ws.send(await conf_lazy if use else "unused")


@app.websocket_route("/providers/used")
@useprovider("conf_used")
async def used(ws: WebSocket) -> None:
    note(ws, "view")


@app.websocket_route("/providers/used/object")
@useprovider(conf_used)
async def used_object(ws: WebSocket) -> None:
    note(ws, "view")


@app.websocket_route("/providers/broken")
async def broken(ws: WebSocket, conf_broken: str) -> None:
    note(ws, "never")


@app.websocket_route("/providers/refusing")
async def refusing(ws: WebSocket, conf_refusing: str) -> None:
    note(ws, "never")


@app.websocket_route("/providers/path/{conf_plain}")
async def path_first(ws: WebSocket, conf_plain: str) -> None:
    await ws.send(conf_plain)


@app.websocket_route("/providers/query")
async def query_marked(ws: WebSocket, conf_plain: Annotated[str, Query()] = "none") -> None:
    await ws.send(conf_plain)


RESOURCE = ["setup", "setup sync", "view: sync resource, resource, CONNECTED", "teardown sync"]

CASES = [
    case(
        "providers",
        "providers; S1.2",
        "/providers/values?user=ann",
        GetsJson(["plain", "renamed plain", "ann at /providers/values"]),
        Closed(1000),
    ),
    case(
        "providers-and-missing-parameter",
        "providers; C22",
        "/providers/required",
        Denied(422, '"parameter":"missing"'),
    ),
    case(
        "provider-teardown-return",
        "providers; 2.8 request scope",
        "/providers/resource",
        *(Sends("close"), Closed(4000)),
        notes=[*RESOURCE, "teardown: DISCONNECTED"],
    ),
    case(
        "provider-teardown-exception",
        "providers; 2.8 request scope",
        "/providers/resource",
        *(Sends("boom"), Closed(1011)),
        notes=[*RESOURCE, "teardown: CONNECTED"],
        raises="ValueError: boom",
    ),
    case(
        "provider-teardown-disconnect",
        "providers; 2.8 request scope",
        "/providers/resource",
        Leaves(1001),
        notes=[*RESOURCE, "teardown: DISCONNECTED"],
    ),
    case(
        "provider-teardown-rejected",
        "providers; 2.8 request scope",
        "/providers/resource/manual",
        Denied(403),
        notes=["setup", "view: CONNECTING", "teardown: DISCONNECTED"],
    ),
    case(
        "provider-teardown-fails",
        "providers; exit:Exception",
        "/providers/resource/failing",
        *(Gets("resource"), Closed(1011)),
        notes=["setup", "teardown: CONNECTED"],
        raises="ValueError: at the end",
    ),
    case(
        "provider-app-scope",
        "providers; 2.8 app scope",
        "/providers/shared",
        Connects("b", "/providers/shared/check"),
        Gets("2", peer="b"),
        *(Sends("go"), GetsJson([True, True]), Closed(1000)),
        Connects("c", "/providers/shared/check"),
        Gets("1", peer="c"),
    ),
    case(
        "provider-lazy",
        "providers; 2.8 lazy",
        "/providers/lazy/on",
        *(Gets("lazy"), Closed(1000)),
        notes=["view", "made"],
    ),
    case(
        "provider-lazy-unused",
        "providers; 2.8 lazy",
        "/providers/lazy/off",
        *(Gets("unused"), Closed(1000)),
        notes=["view"],
    ),
    *(
        case(
            f"useprovider-by-{name}",
            "providers; 2.8 useprovider",
            path,
            Closed(1000),
            notes=["used", "view", "used no more"],
        )
        for name, path in (("name", "/providers/used"), ("object", "/providers/used/object"))
    ),
    case(
        "provider-raises",
        "providers; C20",
        "/providers/broken",
        Denied(500),
        raises="ValueError: no value",
    ),
    case("provider-refuses", "providers; C19", "/providers/refusing", Denied(403, "not today")),
    case(
        "provider-after-path",
        "providers; 2.8 injection",
        "/providers/path/x",
        *(Gets("x"), Closed(1000)),
    ),
    case(
        "provider-after-query-marker",
        "providers; 2.2 markers",
        "/providers/query?conf_plain=q",
        *(Gets("q"), Closed(1000)),
    ),
]
