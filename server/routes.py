"""Owns what a route is and the decorators that register one; knows no connection.

`Router` holds routes under a prefix; `App` is the router that is served.
"""

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from server.codecs import CODECS, Codec
from server.exceptions import ExpectedAsync, RouteError
from server.routing import Pattern, RouteTable, join_prefix
from server.slow import DISCONNECT, POLICIES
from server.transport import TransportLimits

View = Callable[..., Any]
V = TypeVar("V", bound=View)
CloseCodes = Collection[int] | Callable[..., Any]
"""Codes, or the builtin `all`."""

_WORDS = ("text", "bytes", "json", "event")


@dataclass(frozen=True, eq=False)
class WebSocketRoute:
    """One WebSocket route, as registered.

    Attributes:
        receive_type, send_type: "text", "bytes", "json", "event", or a type msgspec decodes.
        caught_close_codes: disconnects that are silenced; the builtin `all` means every code.
        silences_at_exit: whether a caught disconnect may leave the view; a manual
            `websocket_route` catches only inside `async with ws`, as Bocadillo's does.
        codec: None lets the accepted subprotocol choose, JSON otherwise.
        subprotocols: offered to clients when the route accepts by itself.
        max_message_size: bytes; None takes the app's.
        slow_consumer: the name of one of `slow.POLICIES`.
        outbox_messages, outbox_bytes: what may wait for a client; None takes the settings'.
    """

    pattern: Pattern
    view: View
    auto_accept: bool
    receive_type: Any
    send_type: Any
    caught_close_codes: CloseCodes
    silences_at_exit: bool
    codec: Codec | None
    subprotocols: tuple[str, ...]
    max_message_size: int | None
    slow_consumer: str
    outbox_messages: int | None
    outbox_bytes: int | None
    name: str

    def catches(self, code: int) -> bool:
        """Whether a disconnect with `code` is silenced."""
        codes = self.caught_close_codes
        return codes is all or (isinstance(codes, Collection) and code in codes)

    def bounds(self, limits: TransportLimits) -> TransportLimits:
        """Return the limits of a connection on this route, given those of the app."""
        messages = self.outbox_messages or limits.window_messages
        size_bytes = self.outbox_bytes or limits.window_bytes
        if (messages, size_bytes) == (limits.window_messages, limits.window_bytes):
            return limits
        return replace(limits, window_messages=messages, window_bytes=size_bytes)


@dataclass(frozen=True, eq=False)
class HTTPRoute:
    """One HTTP route, as registered."""

    pattern: Pattern
    view: View
    methods: tuple[str, ...]
    name: str


@dataclass(frozen=True)
class Mount:
    """A foreign ASGI app under a prefix; `strips` tells whether it sees the prefix in its path."""

    prefix: str
    app: Any
    strips: bool


class Router:
    """Registers routes; `include_router` puts them under a prefix of another router.

    A route added later to an included router appears in the including one as well.
    """

    def __init__(self) -> None:
        self.websocket_routes: RouteTable[WebSocketRoute] = RouteTable()
        self.websocket_list: list[WebSocketRoute] = []
        self.http_list: list[HTTPRoute] = []
        self.mounts: list[Mount] = []
        self._http_taken: dict[tuple[str, str], str] = {}
        self._included_in: list[tuple[Router, str]] = []

    # -- decorators ----------------------------------------------------------------------------

    def websocket_route(
        self,
        pattern: str,
        *,
        auto_accept: bool = True,
        value_type: Any = None,
        receive_type: Any = None,
        send_type: Any = None,
        caught_close_codes: CloseCodes = (1000, 1001),
        codec: str | None = None,
        subprotocols: Sequence[str] = (),
        max_message_size: int | None = None,
        slow_consumer: str = DISCONNECT,
        outbox_messages: int | None = None,
        outbox_bytes: int | None = None,
        name: str | None = None,
    ) -> Callable[[V], V]:
        """Register a view that is accepted and closed for you (Bocadillo's decorator).

        Args:
            pattern: `/chat/{channel}`; `{rest:path}` takes the remaining path.
            value_type: sets `receive_type` and `send_type`: "text" (default), "bytes", "json",
                "event", or any type msgspec decodes, such as a Struct.
            caught_close_codes: disconnect codes that end the view quietly, or the builtin `all`.
            codec: "json" or "msgpack" for structured types; None lets the subprotocol choose.
            subprotocols: accepted when the client offers one of them.
            max_message_size: bytes, over which a message closes with 1009; None: the app's.
            slow_consumer: what a message to many does that finds a client's outbox full:
                "disconnect" closes that client (1013), "drop_oldest" and "drop_newest" drop
                messages to many, "latest" keeps one of them waiting at most, the newest.
            outbox_messages, outbox_bytes: how many messages, and how many bytes of payload, may
                wait for a client; None: the settings' `window_messages` and `window_bytes`.

        Raises:
            RouteError: the pattern is bad or taken, or an option has an impossible value.
            ExpectedAsync: the view is not `async def`.
        """

        def register(view: V) -> V:
            self._add_websocket(
                _websocket_route(
                    Pattern(pattern),
                    view,
                    auto_accept=auto_accept,
                    types=(value_type or receive_type or "text", value_type or send_type or "text"),
                    caught=caught_close_codes,
                    silences_at_exit=auto_accept,
                    codec=codec,
                    subprotocols=subprotocols,
                    max_message_size=max_message_size,
                    slow_consumer=slow_consumer,
                    outbox=(outbox_messages, outbox_bytes),
                    name=name,
                )
            )
            return view

        return register

    def websocket(
        self,
        path: str,
        *,
        auto_accept: bool = False,
        value_type: Any = "event",
        receive_type: Any = None,
        send_type: Any = None,
        caught_close_codes: CloseCodes = all,
        codec: str | None = None,
        subprotocols: Sequence[str] = (),
        max_message_size: int | None = None,
        slow_consumer: str = DISCONNECT,
        outbox_messages: int | None = None,
        outbox_bytes: int | None = None,
        name: str | None = None,
    ) -> Callable[[V], V]:
        """Register a view that accepts by itself (Django-Bolt's decorator).

        The same route as `websocket_route` with other defaults: no automatic accept, raw events
        for `receive()` and `send()`, and every disconnect code silenced at the view's end.
        """

        def register(view: V) -> V:
            self._add_websocket(
                _websocket_route(
                    Pattern(path),
                    view,
                    auto_accept=auto_accept,
                    types=(
                        receive_type or value_type or "event",
                        send_type or value_type or "event",
                    ),
                    caught=caught_close_codes,
                    silences_at_exit=True,
                    codec=codec,
                    subprotocols=subprotocols,
                    max_message_size=max_message_size,
                    slow_consumer=slow_consumer,
                    outbox=(outbox_messages, outbox_bytes),
                    name=name,
                )
            )
            return view

        return register

    def route(
        self, path: str, methods: Sequence[str] = ("GET",), *, name: str | None = None
    ) -> Callable[[V], V]:
        """Register an HTTP view: `view(request, **parameters)`, async or not.

        It returns a Starlette Response, str, bytes, None (204), or what msgspec encodes as JSON.

        Raises:
            RouteError: the pattern is bad, or taken for one of the methods.
        """

        def register(view: V) -> V:
            pattern = Pattern(path)
            where = f"route {pattern.text!r}"
            upper = tuple(method.upper() for method in _strings(where, "methods", methods))
            if not upper:
                raise RouteError(f"{where}: methods must name at least one")
            self._add_http(HTTPRoute(pattern, view, upper, name or _name(view)))
            return view

        return register

    # -- composition ---------------------------------------------------------------------------

    def include_router(self, router: "Router", prefix: str = "") -> None:
        """Add the routes of `router`, present and future, under `prefix`.

        Raises:
            RouteError: a bad prefix, a pattern that is taken, or a circle of routers.
        """
        join_prefix(prefix, "/")
        if router is self or self._reaches(router):
            raise RouteError("include_router() would make a circle of routers")
        for websocket_route in router.websocket_list:
            self._add_websocket(_with_prefix(websocket_route, prefix))
        for http_route in router.http_list:
            self._add_http(_with_prefix(http_route, prefix))
        for mount in router.mounts:
            self._add_mount(replace(mount, prefix=prefix + mount.prefix))
        router._included_in.append((self, prefix))

    def _reaches(self, router: "Router") -> bool:
        return any(parent is router or parent._reaches(router) for parent, _ in self._included_in)

    def mount(self, prefix: str, app: Any) -> None:
        """Hand everything under `prefix` to an ASGI app that sees the path without the prefix.

        Registered routes win over mounts, longer prefixes over shorter ones.
        """
        self._add_mount(Mount(_check_mount(prefix), app, strips=True))

    def mount_asgi(self, prefix: str, app: Any) -> None:
        """Hand everything under `prefix` to an ASGI app that sees the full path.

        `root_path` tells the app its prefix, as the ASGI specification has it.
        """
        self._add_mount(Mount(_check_mount(prefix), app, strips=False))

    def find_mount(self, path: str) -> Mount | None:
        """Return the mount with the longest prefix that contains `path`."""
        found = [m for m in self.mounts if path == m.prefix or path.startswith(m.prefix + "/")]
        return max(found, key=lambda mount: len(mount.prefix), default=None)

    # -- tables --------------------------------------------------------------------------------

    def _add_websocket(self, route: WebSocketRoute) -> None:
        self.websocket_routes.add(route.pattern, route)
        self.websocket_list.append(route)
        for parent, prefix in self._included_in:
            parent._add_websocket(_with_prefix(route, prefix))

    def _add_http(self, route: HTTPRoute) -> None:
        for method in route.methods:
            if (route.pattern.shape, method) in self._http_taken:
                raise RouteError(f"route {method} {route.pattern.text!r} is registered already")
        for method in route.methods:
            self._http_taken[route.pattern.shape, method] = route.pattern.text
        self.http_list.append(route)
        for parent, prefix in self._included_in:
            parent._add_http(_with_prefix(route, prefix))

    def _add_mount(self, mount: Mount) -> None:
        if any(mount.prefix == other.prefix for other in self.mounts):
            raise RouteError(f"something is mounted at {mount.prefix or '/'!r} already")
        self.mounts.append(mount)
        for parent, prefix in self._included_in:
            parent._add_mount(replace(mount, prefix=prefix + mount.prefix))


R = TypeVar("R", WebSocketRoute, HTTPRoute)


def _with_prefix(route: R, prefix: str) -> R:
    return replace(route, pattern=Pattern(join_prefix(prefix, route.pattern.text)))


def _check_mount(prefix: str) -> str:
    prefix = prefix.rstrip("/")
    join_prefix(prefix, "/")
    return prefix


def _websocket_route(
    pattern: Pattern,
    view: View,
    *,
    auto_accept: bool,
    types: tuple[Any, Any],
    caught: CloseCodes,
    silences_at_exit: bool,
    codec: str | None,
    subprotocols: Sequence[str],
    max_message_size: int | None,
    slow_consumer: str,
    outbox: tuple[int | None, int | None],
    name: str | None,
) -> WebSocketRoute:
    where = f"route {pattern.text!r}"
    if not inspect.iscoroutinefunction(view):
        raise ExpectedAsync(f"{where}: {_name(view)!r} must be 'async def'")
    subprotocols = _strings(where, "subprotocols", subprotocols)
    if codec is not None and codec not in CODECS:
        raise RouteError(f"{where}: codec {codec!r} is unknown, use one of {sorted(CODECS)}")
    if caught is not all and not (
        isinstance(caught, Collection) and all(isinstance(code, int) for code in caught)
    ):
        raise RouteError(f"{where}: caught_close_codes must be a tuple of codes, or all")
    if slow_consumer not in POLICIES:
        raise RouteError(
            f"{where}: slow_consumer {slow_consumer!r} is none of {', '.join(POLICIES)}"
        )
    _check_at_least_1(where, "max_message_size", max_message_size, "byte")
    _check_at_least_1(where, "outbox_messages", outbox[0], "message")
    _check_at_least_1(where, "outbox_bytes", outbox[1], "byte")
    for type_ in types:
        _check_type(where, type_)
    structured = any(not isinstance(type_, str) or type_ == "json" for type_ in types)
    if structured and codec is None and not subprotocols:
        subprotocols = tuple(CODECS)
    return WebSocketRoute(
        pattern,
        view,
        auto_accept,
        *types,
        caught,
        silences_at_exit,
        CODECS[codec] if codec else None,
        subprotocols,
        max_message_size,
        slow_consumer,
        *outbox,
        name or _name(view),
    )


def _name(view: View) -> str:
    # A functools.partial has no name of its own.
    return str(getattr(view, "__name__", view))


def _strings(where: str, option: str, values: Sequence[str]) -> tuple[str, ...]:
    # A lone string is a sequence too, of its characters.
    if isinstance(values, str):
        raise RouteError(f"{where}: {option} must be a list, such as [{values!r}]")
    return tuple(values)


def _check_at_least_1(where: str, option: str, value: int | None, unit: str) -> None:
    if value is not None and value < 1:
        raise RouteError(f"{where}: {option} must be at least 1 {unit}")


def _check_type(where: str, type_: Any) -> None:
    if isinstance(type_, str):
        if type_ not in _WORDS:
            raise RouteError(f"{where}: value type {type_!r} is none of {', '.join(_WORDS)}")
        return
    try:
        CODECS["json"].decoder(type_)
    except TypeError as error:
        raise RouteError(f"{where}: messages cannot have type {type_!r}: {error}") from None
