"""Owns what a mounted ASGI app is given: its scope, and the events of connections that are ours.

A WebSocket under a mount is a connection like any other: it has a row, it is counted, limited and
drained. The app speaks to it in ASGI events, as to any host; it does not know what it sits on.
"""

from typing import TYPE_CHECKING, Any

from server.auth.guards import AllowAny
from server.close_codes import truncate_reason
from server.exceptions import RouteError, WebSocketException
from server.handshake import Scope, route_path
from server.routing import Pattern, join_prefix
from server.transport import Event, Receive, Send
from server.websocket_route import WebSocketRoute, make_websocket_route

if TYPE_CHECKING:
    from server.websocket import WebSocket


OURS = "switchboard.websocket"
"""Where in its scope a mounted app finds the connection that it speaks to."""


class Mount:
    """An ASGI app under a prefix.

    Attributes:
        prefix: without a slash at its end; "" is the root.
        strips: whether the app sees its paths without the prefix.
        websocket: the route that its connections are counted and limited by, `PREFIX/{}`. Who may
            connect, and from which pages, is left to the app.

    Raises:
        RouteError: the prefix is none.
    """

    def __init__(self, prefix: str, app: Any, *, strips: bool) -> None:
        prefix = prefix.rstrip("/")
        join_prefix(prefix, "/")
        if "{" in prefix or "}" in prefix:
            raise RouteError(f"prefix {prefix!r} of a mount cannot have parameters")
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
        await self.app(scope, events.receive, events.send)

    def _inner(self, scope: Scope) -> Scope:
        """Return the scope with the prefix in `root_path`, and off the path if it is stripped."""
        inner = dict(scope)
        inner["root_path"] = scope.get("root_path", "") + self.prefix
        if self.strips:
            inner["path"] = route_path(scope)[len(self.prefix) :] or "/"
            raw = scope.get("raw_path")
            if raw:
                # The raw path is percent-encoded: the prefix is as many segments, not characters.
                segments = raw.split(b"/")[self.prefix.count("/") + 1 :]
                inner["raw_path"] = b"/" + b"/".join(segments)
        return inner


class _Events:
    """A connection as the ASGI specification has it, version 2.5 of its WebSocket part."""

    def __init__(self, ws: "WebSocket") -> None:
        self._ws = ws
        self._denial: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._body = b""

    async def receive(self) -> Event:
        """Return the next event; the disconnect event again and again once it has come."""
        ws = self._ws
        if not ws.has_ended:
            try:
                return await ws.receive_event()
            except WebSocketException as error:  # too big, too fast: what ends a view otherwise
                await ws.ensure_closed(error.code, error.reason)
        return ws._closed_event()

    async def send(self, event: Event) -> None:
        """Take an event from the app.

        Raises:
            OSError: the connection has ended, or the server takes no more of them.
            RuntimeError, ValueError, TypeError: not an event for the state of the connection.
        """
        try:
            if event["type"] == "websocket.http.response.start":
                self._denial = event["status"], [*event.get("headers", ())]
            elif event["type"] == "websocket.http.response.body":
                await self._deny(event)
            else:
                if event["type"] == "websocket.close":  # many hosts take a reason of any length
                    event = {**event, "reason": truncate_reason(event.get("reason") or "")}
                await self._ws.send_event(event)
        except WebSocketException as error:
            raise ConnectionResetError(f"the connection has ended: {error}") from None

    async def _deny(self, event: Event) -> None:
        if self._denial is None:
            raise RuntimeError("a body of a response that was not started")
        self._body += event.get("body", b"")
        if not event.get("more_body", False):
            await self._ws.answer(*self._denial, self._body)
