"""Owns the gate of a route: what a handshake or request must pass before its parameters are read.

Origin, rate limits, who the client is and what the guards say, in that order. How many clients
there may be is `admission`'s matter, and what a token is worth is the backends'.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from server.admission import RETRY_LATER, Refusal
from server.auth.access import Access
from server.auth.failure import AuthenticationFailed
from server.auth.identity import Identity
from server.auth.places import check_token, without_token
from server.close_codes import (
    FORBIDDEN,
    NOTHING_SAID,
    OWN_CODES,
    UNAUTHORIZED,
    CloseCode,
    truncate_reason,
)
from server.codecs import json_bytes
from server.exceptions import TooManyConnections, WebSocketDisconnect
from server.limits import ConnectionLimits
from server.origin import Origins
from server.proxies import one_client
from server.rates import Exceeded, RateLimiter, rate_limits_of
from server.transport import Event

if TYPE_CHECKING:
    from server.routes import HTTPRoute
    from server.websocket import WebSocket
    from server.websocket_route import WebSocketRoute

_OF_IDENTITY = ("user", "api_key")
_CHALLENGE = {"WWW-Authenticate": "Bearer"}
_BAD_TOKEN = {"WWW-Authenticate": 'Bearer error="invalid_token"'}  # RFC 6750 section 3


class FirstMessage(msgspec.Struct):
    """A first message that brings a token, if it is not the bare token."""

    token: str


class Gate:
    """The gate of one route in one app.

    Attributes:
        access: who may come in.
        limits: of a connection.
    """

    __slots__ = ("_early", "_late", "_origins", "_rates", "_route", "access", "limits")

    def __init__(
        self,
        route: "WebSocketRoute | HTTPRoute",
        *,
        access: Access,
        origins: Origins,
        limits: ConnectionLimits,
        rates: RateLimiter,
    ) -> None:
        declared = rate_limits_of(route.view)
        self._route = route
        self._early = tuple(limit for limit in declared if limit.key not in _OF_IDENTITY)
        self._late = tuple(limit for limit in declared if limit.key in _OF_IDENTITY)
        self._origins = origins
        self._rates = rates
        self.access = access
        self.limits = limits

    # -- handshakes ------------------------------------------------------------------------------

    async def let_in(self, ws: "WebSocket") -> bool:
        """Take a handshake through; False if it was refused, or closed when it had been accepted.

        Raises:
            Exception: what a backend or a guard raised that is no answer.
        """
        if self._origins.problem(ws.scope["headers"]) is not None:
            return await _refuse(ws, Refusal(403, "Origin not allowed"))
        if self._early and (exceeded := self._exceeded(self._early, ws.scope, None)):
            return await _refuse(ws, _too_fast(exceeded))
        if self.access.is_open and not self._late:
            return True
        try:
            identity = await self.access.identify(ws.scope, is_websocket=True)
        except AuthenticationFailed as failure:
            return await _refuse(ws, Refusal(401, failure.detail, headers=_BAD_TOKEN))
        finally:
            self._hide_token(ws)
        if identity is None and ws.route.reads_token:
            return True  # its view asks `admits` in time
        if identity is None and self._waits_for_token():
            return await self._let_in_late(ws)
        refusal = self._refusal_of(ws, identity)
        return refusal is None or await _refuse(ws, refusal)

    def _waits_for_token(self) -> bool:
        if self.access.first_message_s is None:
            return False
        denied = self.access.check(None)
        return denied is not None and denied.status == 401

    def _hide_token(self, ws: "WebSocket") -> None:
        """Take a token out of the offered subprotocols; its marker may stand for it."""
        markers = [backend.places.subprotocol for backend in self.access.backends or ()]
        for marker in dict.fromkeys(markers):  # once each: what comes after a marker is its token
            offered = ws.scope.get("subprotocols")
            if marker is not None and offered and marker in offered:
                ws.scope["subprotocols"] = without_token(offered, marker)
                ws.fallback_subprotocol = marker

    def _refusal_of(self, ws: "WebSocket", identity: Identity | None) -> Refusal | None:
        """Make the connection this client's; returns why not, if so."""
        denied = self.access.check(identity)
        if denied is not None:
            headers = _CHALLENGE if denied.status == 401 else {}
            return Refusal(denied.status, denied.detail, headers=headers)
        if exceeded := self._exceeded(self._late, ws.scope, identity):
            return _too_fast(exceeded)
        try:
            ws.become(identity)
        except TooManyConnections as error:
            return Refusal(429, error.reason, headers=RETRY_LATER)  # it has been counted
        return None

    # -- the first message -----------------------------------------------------------------------

    async def _let_in_late(self, ws: "WebSocket") -> bool:
        """Accept, and wait for the message that brings the token."""
        try:
            await ws.accept(ws.choose_subprotocol(ws.route.subprotocols))
            event = await self._first_event(ws)
            return event is not None and await self.let_in_with(ws, _token_in(event))
        except WebSocketDisconnect:
            return False
        except AuthenticationFailed as failure:
            await ws.ensure_closed(UNAUTHORIZED, truncate_reason(failure.detail))
            return False

    async def _first_event(self, ws: "WebSocket") -> Event | None:
        """Return the first event; None if there was none in time: then the connection is closed."""
        try:
            async with asyncio.timeout(self.access.first_message_s):
                return await ws.receive_event()
        except TimeoutError:
            await ws.ensure_closed(NOTHING_SAID, OWN_CODES[NOTHING_SAID])
            return None

    async def let_in_with(self, ws: "WebSocket", token: str) -> bool:
        """Take an accepted connection through with a token from a message; False if it was closed.

        Raises:
            AuthenticationFailed: the token is no good.
        """
        refusal = self._refusal_of(ws, await self.access.identify_token(token, late=True))
        if refusal is None:
            return not ws.has_ended  # it may have been closed meanwhile
        ws.limited(refusal.limit)
        # Who is over a limit may come again later, which FORBIDDEN would deny.
        code = CloseCode.POLICY_VIOLATION if refusal.status == 429 else FORBIDDEN
        await ws.ensure_closed(code, truncate_reason(refusal.detail))
        return False

    async def admits(self, ws: "WebSocket", token: str | None) -> Refusal | None:
        """Take an accepted connection of a route that reads the token by itself; or say why not.

        Raises:
            AuthenticationFailed: the token is no good.
        """
        if token is None:
            return None if ws.identity is not None else self._refusal_of(ws, None)
        if ws.identity is not None:
            await self.renew(ws, token)
            return None
        check_token(token)
        return self._refusal_of(ws, await self.access.identify_token(token, late=False))

    async def renew(self, ws: "WebSocket", token: str) -> Identity:
        """Take a newer token of the client that a connection is already.

        Raises:
            AuthenticationFailed: the token is no good, or another user's, or the guards object.
        """
        check_token(token)
        identity = await self.access.identify_token(token, late=False)
        if ws.identity is None or identity.user_id != ws.identity.user_id:
            raise AuthenticationFailed("The token is of another user")
        denied = self.access.check(identity)
        if denied is not None:
            raise AuthenticationFailed(denied.detail)
        ws.become(identity)
        return identity

    # -- requests --------------------------------------------------------------------------------

    async def refusal(self, request: Request) -> Refusal | None:
        """Take an HTTP request through; returns why not, if so."""
        scope = request.scope
        if self._early and (exceeded := self._exceeded(self._early, scope, None)):
            return _too_fast(exceeded)
        try:
            identity = await self.access.identify(scope, is_websocket=False)
        except AuthenticationFailed as failure:
            return Refusal(401, failure.detail, headers=_BAD_TOKEN)
        denied = self.access.check(identity)
        if denied is not None:
            headers = _CHALLENGE if denied.status == 401 else {}
            return Refusal(denied.status, denied.detail, headers=headers)
        if exceeded := self._exceeded(self._late, scope, identity):
            return _too_fast(exceeded)
        request.state.identity = identity
        request.state.context = {} if identity is None else identity.context()
        return None

    # -- rates -----------------------------------------------------------------------------------

    def _exceeded(
        self, limits: tuple[Any, ...], scope: Mapping[str, Any], identity: Identity | None
    ) -> Exceeded | None:
        def key_of(key: str) -> str | None:
            if key == "ip":
                return one_client(str(scope["client"][0])) if scope.get("client") else None
            if key in _OF_IDENTITY:
                is_other = identity is None or (key == "api_key" and identity.backend != key)
                return None if is_other or identity is None else identity.user_id
            wanted = key.encode("latin-1")
            found = [value for name, value in scope["headers"] if name == wanted]
            return found[0].decode("latin-1") if found else None

        return self._rates.check(self._route, limits, key_of)


def _too_fast(exceeded: Exceeded) -> Refusal:
    return Refusal(429, "Rate limit exceeded", "rate_limit", exceeded.headers)


async def _refuse(ws: "WebSocket", refusal: Refusal) -> bool:
    ws.limited(refusal.limit)
    await ws.deny(refusal.status, {"detail": refusal.detail}, refusal.headers)
    return False


def refusal_response(refusal: Refusal) -> Response:
    """Return the answer to an HTTP request that is refused."""
    body = json_bytes({"detail": refusal.detail})
    return Response(body, refusal.status, refusal.headers, "application/json")


def _token_in(event: Event) -> str:
    """Return the token in a first message: the bare token, or JSON with `token`.

    Raises:
        WebSocketDisconnect: it is no message: the client left.
        AuthenticationFailed: there is none in it.
    """
    if event["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(event.get("code", 1005))
    text = event.get("text")
    payload = event["bytes"] if text is None else text
    if payload.lstrip()[:1] in ("{", b"{"):
        try:
            payload = msgspec.json.decode(payload, type=FirstMessage).token
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise AuthenticationFailed("The first message brings no token") from None
    token = payload if isinstance(payload, str) else payload.decode("latin-1")
    check_token(token)
    return token
