"""Owns the app under attack: a route for each way in, and for each kind of message.

The keys come in variables, as they would to any app: tests/attacks/keys.py makes them.
"""

import os
from typing import Annotated, Any

import msgspec

from server import App, ConnectionLimits, Cookie, WebSocket, rate_limit
from server.auth import (
    AllowAny,
    APIKeyAuthentication,
    HasPermission,
    IsAuthenticated,
    IsStaff,
    JWTAuthentication,
)
from tests.attacks.facts import (
    AUDIENCE,
    BUECHER,
    BURST,
    BYTES_PER_S,
    COOKIE,
    IDLE_S,
    ISSUER,
    LATE_S,
    LIFETIME_S,
    MAX_MESSAGE,
    MESSAGES_PER_S,
    PARTNER,
    RPS,
)

_known = [IsAuthenticated()]

of_secret = JWTAuthentication()
of_cookie = JWTAuthentication(cookie=COOKIE)
of_late = JWTAuthentication(first_message_s=LATE_S)
of_short = JWTAuthentication(leeway_s=0)
of_claims = JWTAuthentication(
    audience=AUDIENCE,
    issuer=ISSUER,
    require_jti=True,
    revoked_token_handler=lambda claims: claims["jti"].startswith("revoked"),
)
of_rsa = JWTAuthentication(public_key=os.environ["ATTACKED_PUBLIC_KEY"])
of_keys = APIKeyAuthentication()

app = App(max_message_size=MAX_MESSAGE)


class Order(msgspec.Struct):
    item: str
    count: int


# -- who comes in ------------------------------------------------------------------------------


@app.websocket_route("/secret", auth=[of_secret], guards=_known)
@app.websocket_route("/cookie", auth=[of_cookie], guards=_known)
@app.websocket_route("/claims", auth=[of_claims], guards=_known)
@app.websocket_route("/rsa", auth=[of_rsa], guards=_known)
@app.websocket_route("/two", auth=[of_rsa, of_secret], guards=_known)
@app.websocket_route("/key", auth=[of_keys], guards=_known)
@app.websocket_route("/late", auth=[of_late], guards=_known)
@app.websocket_route("/short", auth=[of_short], guards=_known)
@app.websocket_route("/staff", auth=[of_secret], guards=[IsStaff()])
@app.websocket_route("/late-staff", auth=[of_late], guards=[IsStaff()])
@app.websocket_route("/permitted", auth=[of_secret], guards=[HasPermission("publish")])
@app.websocket_route("/unguarded", auth=[of_secret])
@app.websocket_route("/public", auth=[of_secret], guards=[AllowAny()])
@app.websocket_route("/chat", auth=[of_secret], guards=_known, subprotocols=["chat.v1"])
async def greet(ws: WebSocket) -> None:
    """Say who it is, what is seen of its offer, and then echo."""
    await ws.send_json([ws.user_id, ws.subprotocols])
    async for message in ws:
        await ws.send(message)


@app.route("/http", auth=[of_cookie], guards=_known)
async def answer(request: Any) -> Any:
    return request.state.identity.user_id


@app.websocket_route("/origin")
@app.websocket_route("/partner", allowed_origins=[PARTNER, BUECHER])
@app.websocket_route("/sandbox", allowed_origins=["null"])
async def page(ws: WebSocket) -> None:
    await ws.send("in")


@app.websocket_route("/baked")
async def baked(ws: WebSocket, token: Annotated[str, Cookie()] = "") -> None:
    await ws.send_json([token, len(ws.cookies)])


@app.websocket_route("/who")
async def who(ws: WebSocket) -> None:
    assert ws.client is not None
    await ws.send(ws.client.host)
    async for message in ws:
        await ws.send(message)


# -- how much they send ------------------------------------------------------------------------


@app.websocket_route("/bystander")
async def bystander(ws: WebSocket) -> None:
    await ws.send(str(os.getpid()))
    async for message in ws:
        await ws.send(message)


@app.websocket_route("/echo")
@app.websocket_route("/text/{text}")
@app.websocket_route("/rest/{text:path}")
@app.websocket_route("/messages", limits=ConnectionLimits(messages_per_s=MESSAGES_PER_S))
@app.websocket_route(
    "/drops", limits=ConnectionLimits(messages_per_s=MESSAGES_PER_S, on_rate="drop")
)
@app.websocket_route("/rate-of-bytes", limits=ConnectionLimits(bytes_per_s=BYTES_PER_S))
@app.websocket_route(
    "/drops-bytes", limits=ConnectionLimits(bytes_per_s=BYTES_PER_S, on_rate="drop")
)
@app.websocket_route("/idle", limits=ConnectionLimits(idle_timeout_s=IDLE_S))
@app.websocket_route("/lifetime", limits=ConnectionLimits(lifetime_s=LIFETIME_S))
async def echo(ws: WebSocket, text: str = "") -> None:
    if text:
        await ws.send(text)
    async for message in ws:
        await ws.send(message)


@app.websocket_route("/bytes", value_type="bytes")
async def echo_bytes(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@app.websocket_route("/json", value_type="json", codec="json")
@app.websocket_route("/msgpack", value_type="json", codec="msgpack")
@app.websocket_route("/typed", value_type=Order, codec="json")
@app.websocket_route("/typed-msgpack", value_type=Order, codec="msgpack")
async def echo_values(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@app.websocket_route("/by-address")
@rate_limit(rps=RPS, burst=BURST, key="ip")
async def by_address(ws: WebSocket) -> None:
    await ws.send(str(os.getpid()))


@app.websocket_route("/by-user", auth=[of_secret], guards=_known)
@rate_limit(rps=RPS, burst=BURST, key="user")
async def by_user(ws: WebSocket) -> None:
    await ws.send(str(os.getpid()))


# -- the ready-made endpoint -------------------------------------------------------------------

app.realtime("/realtime", connect_timeout_s=LATE_S)
app.realtime("/realtime-known", auth=[of_secret], guards=_known, connect_timeout_s=LATE_S)
