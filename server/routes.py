"""Owns what a route is and the decorators that register one; knows no connection.

`Router` holds routes under a prefix; `App` is the router that is served.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, Unpack

from server.auth.access import Access
from server.auth.guards import GuardLike
from server.auth.identity import Backend
from server.exceptions import RouteError
from server.mounted import Mount
from server.routing import Found, Pattern, RouteTable, join_prefix
from server.websocket_route import (
    CloseCodes,
    RouteOptions,
    View,
    WebSocketRoute,
    make_access,
    make_websocket_route,
    strings,
    view_name,
)

V = TypeVar("V", bound=View)


@dataclass(frozen=True, eq=False)
class HTTPRoute:
    """One HTTP route, as registered."""

    pattern: Pattern
    view: View
    methods: tuple[str, ...]
    access: Access
    name: str


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
        **options: Unpack[RouteOptions],
    ) -> Callable[[V], V]:
        """Register a view that is accepted and closed for you (Bocadillo's decorator).

        Args:
            pattern: `/chat/{channel}`; `{rest:path}` takes the remaining path.
            value_type: sets `receive_type` and `send_type`: "text" (default), "bytes", "json",
                "event", or any type msgspec decodes, such as a Struct.
            caught_close_codes: disconnect codes that end the view quietly, or the builtin `all`.
            options: see `RouteOptions`.

        Raises:
            RouteError: the pattern is bad or taken, or an option has an impossible value.
            ExpectedAsync: the view is not `async def`.
        """

        def register(view: V) -> V:
            self._add_websocket(
                make_websocket_route(
                    Pattern(pattern),
                    view,
                    auto_accept=auto_accept,
                    types=(value_type or receive_type or "text", value_type or send_type or "text"),
                    caught=caught_close_codes,
                    silences_at_exit=auto_accept,
                    **options,
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
        **options: Unpack[RouteOptions],
    ) -> Callable[[V], V]:
        """Register a view that accepts by itself (Django-Bolt's decorator).

        The same route as `websocket_route` with other defaults: no automatic accept, raw events
        for `receive()` and `send()`, and every disconnect code silenced at the view's end.
        """

        def register(view: V) -> V:
            self._add_websocket(
                make_websocket_route(
                    Pattern(path),
                    view,
                    auto_accept=auto_accept,
                    types=(
                        receive_type or value_type or "event",
                        send_type or value_type or "event",
                    ),
                    caught=caught_close_codes,
                    silences_at_exit=True,
                    **options,
                )
            )
            return view

        return register

    def route(
        self,
        path: str,
        methods: Sequence[str] = ("GET",),
        *,
        auth: Sequence[Backend] | None = None,
        guards: Sequence[GuardLike] | None = None,
        name: str | None = None,
    ) -> Callable[[V], V]:
        """Register an HTTP view: `view(request, **parameters)`, async or not.

        It returns a Starlette Response, str, bytes, None (204), or what msgspec encodes as JSON.

        Raises:
            RouteError: the pattern is bad, or taken for one of the methods.
        """

        def register(view: V) -> V:
            pattern = Pattern(path)
            where = f"route {pattern.text!r}"
            upper = tuple(method.upper() for method in strings(where, "methods", methods))
            if not upper:
                raise RouteError(f"{where}: methods must name at least one")
            access = make_access(where, auth, guards)
            self._add_http(HTTPRoute(pattern, view, upper, access, name or view_name(view)))
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
            self._add_mount(mount.under(prefix))
        router._included_in.append((self, prefix))

    def _reaches(self, router: "Router") -> bool:
        return any(parent is router or parent._reaches(router) for parent, _ in self._included_in)

    def mount(self, prefix: str, app: Any) -> None:
        """Hand everything under `prefix` to an ASGI app that sees the path without the prefix.

        Registered routes win over mounts, longer prefixes over shorter ones. Its WebSockets are
        connections of this server, on the route `PREFIX/{}`.

        Raises:
            RouteError: the prefix is none, or taken.
        """
        self._add_mount(Mount(prefix, app, strips=True))

    def mount_asgi(self, prefix: str, app: Any) -> None:
        """Hand everything under `prefix` to an ASGI app that sees the full path.

        `root_path` tells the app its prefix, as the ASGI specification has it.
        """
        self._add_mount(Mount(prefix, app, strips=False))

    def find_websocket(self, path: str) -> Found[WebSocketRoute] | None:
        """Return the route of a WebSocket: a registered one, else that of a mount."""
        found = self.websocket_routes.find(path)
        if found is None and (mount := self.find_mount(path)) is not None:
            return Found(mount.websocket, {})
        return found

    @property
    def counted_routes(self) -> list[WebSocketRoute]:
        """The routes that connections are counted by: the registered ones, and those of mounts."""
        return [*self.websocket_list, *(mount.websocket for mount in self.mounts)]

    def find_mount(self, path: str) -> Mount | None:
        """Return the mount with the longest prefix that contains `path`."""
        found = [mount for mount in self.mounts if mount.contains(path)]
        return max(found, key=lambda mount: len(mount.prefix), default=None)

    # -- tables --------------------------------------------------------------------------------

    def _add_reading(self, path: str, view: View, **options: Unpack[RouteOptions]) -> None:
        """Register a view that takes raw events, and a token out of the first by itself."""
        route = make_websocket_route(
            Pattern(path),
            view,
            auto_accept=False,
            types=("event", "event"),
            caught=all,
            silences_at_exit=True,
            reads_token=True,
            **options,
        )
        self._add_websocket(route)

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
            parent._add_mount(mount.under(prefix))


R = TypeVar("R", WebSocketRoute, HTTPRoute)


def _with_prefix(route: R, prefix: str) -> R:
    return replace(route, pattern=Pattern(join_prefix(prefix, route.pattern.text)))
