"""Choosing a subprotocol, by the route or by the view."""

from server import WebSocket
from tests.conformance.base import app, note, outcome
from tests.conformance.steps import Accepted, Closed, Denied, Gets, Sends, case


@app.websocket_route("/subprotocols/route", subprotocols=("v2", "v1"))
async def by_route(ws: WebSocket) -> None:
    await ws.send(str(ws.subprotocol))


@app.websocket("/subprotocols/view")
async def by_view(ws: WebSocket) -> None:
    await ws.accept(subprotocol="chat" if "chat" in ws.subprotocols else None)
    await ws.send_text(",".join(ws.subprotocols))


@app.websocket("/subprotocols/not-offered")
async def not_offered(ws: WebSocket) -> None:
    note(ws, await outcome(ws.accept("other")))
    await ws.accept()


@app.websocket("/subprotocols/not-offered/uncaught")
async def not_offered_uncaught(ws: WebSocket) -> None:
    await ws.accept("other")


@app.websocket("/subprotocols/echo")
async def echo(ws: WebSocket) -> None:
    await ws.accept(ws.subprotocols[0])
    async for message in ws.iter_text():
        await ws.send_text(message)


CASES = [
    case(
        "subprotocol-of-route",
        "C27; 2.5 subprotocols",
        "/subprotocols/route",
        *(Accepted("v1"), Gets("v1"), Closed(1000)),
        subprotocols=("v0", "v1", "v2"),
    ),
    case(
        "subprotocol-of-route-none-fits",
        "C27",
        "/subprotocols/route",
        *(Accepted(None), Gets("None"), Closed(1000)),
        subprotocols=("v0",),
    ),
    case(
        "subprotocol-of-route-none-offered",
        "C27",
        "/subprotocols/route",
        *(Accepted(None), Gets("None"), Closed(1000)),
    ),
    case(
        "subprotocol-of-view",
        "C27; C37",
        "/subprotocols/view",
        *(Accepted("chat"), Gets("superchat,chat"), Closed(1000)),
        subprotocols=("superchat", "chat"),
    ),
    case(
        "subprotocol-of-view-none",
        "C27",
        "/subprotocols/view",
        *(Accepted(None), Gets("superchat"), Closed(1000)),
        subprotocols=("superchat",),
    ),
    case(
        "subprotocol-not-offered",
        "C27",
        "/subprotocols/not-offered",
        *(Accepted(None), Closed(1000)),
        subprotocols=("chat",),
        notes=["ValueError"],
    ),
    case(
        "subprotocol-not-offered-uncaught",
        "C27; C20",
        "/subprotocols/not-offered/uncaught",
        Denied(500),
        subprotocols=("chat",),
        raises="ValueError: subprotocol 'other' was not offered by the client; it offered chat",
    ),
    case(
        "subprotocol-none-offered-uncaught",
        "C27; C20",
        "/subprotocols/not-offered/uncaught",
        Denied(500),
        raises="ValueError: subprotocol 'other' was not offered by the client; it offered none",
    ),
    case(
        "subprotocol-odd-token",
        "C27",
        "/subprotocols/echo",
        *(Accepted("a.b+c!#1"), Sends("x"), Gets("x")),
        subprotocols=("a.b+c!#1",),
    ),
]
