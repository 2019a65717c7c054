"""Owns what a mounted ASGI app is given: its scope, and the events of connections that are ours.

A WebSocket under a mount is a connection like any other: it has a row, it is counted, limited and
drained. The app speaks to it in ASGI events, as to any host; it does not know what it sits on.
"""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from server.auth.guards import AllowAny
from server.close_codes import truncate_reason
from server.exceptions import RouteError, WebSocketException, sole_cause
from server.handshake import Scope, accept_headers, check_status, route_path
from server.routing import Pattern, join_prefix
from server.transport import Event, Receive, Send
from server.websocket_route import WebSocketRoute, make_websocket_route

if TYPE_CHECKING:
    from server.websocket import WebSocket


OURS = "switchboard.websocket"
"""Where in its scope a mounted app finds the connection that it speaks to."""
_OF_THE_OUTER_APP = frozenset({"router", "endpoint", "starlette.exception_handlers"})
_AGAIN_S = 0.1


class Mount:
    """An ASGI app under a prefix.

    Attributes:
        prefix: without a slash at its end; "" is the root.
        strips: whether the app sees its paths without the prefix.
        websocket: the route that its connections are counted and limited by, `PREFIX/{}`. Who may
            connect, and from which pages, is left to the app.

    Raises:
        RouteError: the prefix is none, or the app.
    """

    def __init__(self, prefix: str, app: Any, *, strips: bool) -> None:
        prefix = prefix.rstrip("/")
        join_prefix(prefix, "/")
        if not set("{}%?#").isdisjoint(prefix):
            raise RouteError(f"prefix {prefix!r} of a mount cannot have parameters, %, ? or #")
        if not callable(app) or isinstance(app, type):
            raise RouteError(f"what is mounted at {prefix!r} is no ASGI app: {app!r}")
        self.prefix = prefix
        self.app = app
        self.strips = strips
        self.websocket: WebSocketRoute = make_websocket_route(
            Pattern(prefix + "/{}"),
            self._serve,
            auto_accept=False,
            types=("event", "event"),
            caught=all,
            silences_at_exit=True,
            auth=[],
            guards=[AllowAny()],
            allowed_origins=["*"],
            name=f"mount of {type(app).__name__}",
        )

    def under(self, prefix: str) -> "Mount":
        """Return the mount as a router has it that includes this one under a prefix."""
        return Mount(prefix + self.prefix, self.app, strips=self.strips)

    def contains(self, path: str) -> bool:
        """Whether a path is under the prefix."""
        return path == self.prefix or path.startswith(self.prefix + "/")

    async def call(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app for an HTTP request."""
        await self.app(self._inner(scope), receive, send)

    async def _serve(self, ws: "WebSocket") -> None:
        """Serve one connection; the view of the route."""
        # What is broadcast to all is not in the language that this app speaks.
        ws._app.connections.discard(ws)
        events = _Events(ws)
        scope = self._inner(ws.scope)
        scope[OURS] = ws
        try:
            await self.app(scope, events.receive, events.send)
        except BaseException as error:
            if not isinstance(sole_cause(error, _Gone), _Gone):
                raise

    def _inner(self, scope: Scope) -> Scope:
        """Return the scope with the prefix in `root_path`, and off the path if it is stripped."""
        inner = {key: value for key, value in scope.items() if key not in _OF_THE_OUTER_APP}
        inner["root_path"] = root = scope.get("root_path", "") + self.prefix
        if not self.strips:
            return inner
        inner["path"] = path = route_path(scope)[len(self.prefix) :] or "/"
        if route_path(inner) != path:
            # Who understands `root_path` would strip it again from a path that repeats it.
            inner["root_path"] = root.removesuffix(self.prefix)
        if raw := scope.get("raw_path"):
            # It is percent-encoded: the prefix is as many segments, not characters.
            taken = scope["path"].removesuffix(path)
            segments = raw.split(b"/")[taken.count("/") + 1 :]
            rest = b"/" + b"/".join(segments)
            inner["raw_path"] = rest if unquote(rest) == path else quote(path).encode()
        return inner


class _Gone(ConnectionResetError):
    """What an app gets that sends into a connection which has ended; it need not catch it."""


class _Events:
    """A connection as the ASGI specification has it, version 2.5 of its WebSocket part."""

    def __init__(self, ws: "WebSocket") -> None:
        self._ws = ws
        self._denial: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._body = b""
        self._has_heard_of_the_end = False

    async def receive(self) -> Event:
        """Return the next event; the disconnect event again and again once it has come."""
        ws = self._ws
        if ws.has_been_asked:
            await ws.answered()
        if not ws.has_ended:
            try:
                return await ws.receive_event()
            except WebSocketException as error:  # too big, too fast: what ends a view otherwise
                await ws.kick(error.code, error.reason)
        await self._hear_of_the_end()
        return ws._closed_event()

    async def send(self, event: Event) -> None:
        """Take an event from the app.

        Raises:
            OSError: the connection has ended, or the server takes no more of them.
            RuntimeError, ValueError, TypeError: not an event for the state of the connection.
        """
        try:
            if event["type"] == "websocket.http.response.start":
                check_status(event["status"])
                self._denial = event["status"], _denial_headers(event.get("headers", ()))
            elif event["type"] == "websocket.http.response.body":
                await self._deny(event)
            else:
                if event["type"] == "websocket.close":  # many hosts take a reason of any length
                    event = {**event, "reason": truncate_reason(event.get("reason") or "")}
                await self._ws.send_event(event)
        except WebSocketException as error:
            await self._hear_of_the_end()
            raise _Gone(f"the connection has ended: {error}") from None

    async def _hear_of_the_end(self) -> None:
        """Let the loop go on, should the app ask again and again."""
        if self._has_heard_of_the_end:
            await asyncio.sleep(_AGAIN_S)
        self._has_heard_of_the_end = True

    async def _deny(self, event: Event) -> None:
        if self._denial is None:
            raise RuntimeError("a body of a response that was not started")
        self._body += event.get("body", b"")
        if event.get("more_body", False):
            return
        was_answered = self._ws.has_ended
        try:
            await self._ws.answer(*self._denial, self._body)
        except RuntimeError:
            if was_answered or not self._ws.has_ended:
                raise
            raise _Gone("the client left before it was refused") from None


def _denial_headers(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return them without the length of the body, which the host knows better."""
    return [pair for pair in accept_headers([*headers]) if pair[0] != b"content-length"]
