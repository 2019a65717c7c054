"""Owns the application object: it joins routes, middleware and lifespan into one ASGI app.

It decides which part handles a scope; it does not know how that part does it.
"""

import asyncio
import inspect
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Literal, TypeVar

from starlette.requests import HTTPConnection

from server.auth.guards import GuardLike
from server.auth.identity import Backend
from server.close_codes import check_close_codes
from server.connections import Connections
from server.draining import Drained, close_some, drain
from server.handshake import Scope, route_path
from server.hoarding import watching
from server.http import build_http, with_checked_status
from server.ledger import Ledger, labels, private_ledger
from server.lifespan import run_lifespan
from server.limits import AdmissionLimits, ConnectionLimits, override
from server.origin import Origins
from server.pipeline import NO_ROUTE, refuse, serve_connection
from server.policy import Policy
from server.proxies import rewrite
from server.room_app import RoomApp
from server.routes import HTTPRoute
from server.runtime import AppRuntime
from server.sessions import TWO_WEEKS_S, SameSite, Sessions, session_options
from server.transport import Receive, Send, TransportLimits
from server.websocket import WebSocket
from server.websocket_route import OriginList, WebSocketRoute, make_access
from workers.doorbell import Disconnect, Message, Wake
from workers.segment import Segment

EventName = Literal["startup", "shutdown", "join", "leave", "missed"]
H = TypeVar("H", bound=Callable[..., Any])
Lifespan = Callable[["App"], AbstractAsyncContextManager[Any]]
DEFAULT_MAX_MESSAGE_SIZE = 1 << 20


class App(RoomApp):
    """A WebSocket application; an ASGI 3 callable for granian, uvicorn and the test clients.

    Args:
        name: shown by `python -m server routes` and in logs.
        allowed_origins: whose pages may connect beside those of this host: a list of origins
            ("https://example.com"), compiled patterns, "null", or "*" for all.
        max_connections: of all workers at a time, handshakes under way included; more get 503.
        max_message_size: bytes; a larger message closes its connection with 1009.
        auth: backends that find out who a client is, for routes that name none.
        guards: what a client must be, for routes that name none.
        admission: other limits on who is let in; `max_connections` comes before its own.
        limits: of each connection, for routes that have none of their own.
        trusted_proxies: addresses and networks ("10.0.0.0/8") whose X-Forwarded-For is believed.
        lifespan: a function from the app to an async context manager around its life.
        close_codes: codes of its own (4000-4999, say) with their meaning. Connections closed with
            another code, by whichever side, are counted as `other`.

    Raises:
        TypeError, ValueError: a close code that may not be sent, or too many; a limit that is not
            above 0; no origin, or no network.
        RouteError: something in `auth` or `guards` is none of that.

    Example:
        app = App()

        @app.websocket_route("/echo")
        async def echo(ws):
            async for message in ws:
                await ws.send(message)
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        allowed_origins: OriginList = (),
        max_connections: int | None = None,
        max_message_size: int = DEFAULT_MAX_MESSAGE_SIZE,
        auth: Sequence[Backend] | None = None,
        guards: Sequence[GuardLike] | None = None,
        admission: AdmissionLimits | None = None,
        limits: ConnectionLimits | None = None,
        trusted_proxies: Iterable[str] = (),
        lifespan: Lifespan | None = None,
        close_codes: Mapping[int, str] | None = None,
    ) -> None:
        if max_message_size < 1:
            raise ValueError("max_message_size must be at least 1 byte")
        self.name = name or "switchboard"
        self.close_codes = check_close_codes(close_codes or {})
        runtime = AppRuntime(
            max_message_size, (WebSocket, HTTPConnection), self._make_private_ledger
        )
        super().__init__(runtime)
        runtime.policy = Policy(
            access=make_access("App", auth, guards),
            origins=Origins(allowed_origins),
            limits=limits or ConnectionLimits(),
            proxies=trusted_proxies,
        )
        runtime.admission.configure(
            override(admission or AdmissionLimits(), {"connections": max_connections})
        )
        self._lifespan = lifespan
        self._handlers: dict[str, list[Callable[..., Any]]] = {"startup": [], "shutdown": []}
        self._middleware: list[tuple[Any, dict[str, Any]]] = []
        self._stack: Callable[[Scope, Receive, Send], Any] | None = None
        self._http: tuple[int, Any] = (-1, None)
        self._connections: Connections | None = None
        self._closing: set[asyncio.Task[None]] = set()

    # -- configuration -------------------------------------------------------------------------

    def configure(
        self,
        transport: TransportLimits,
        *,
        admission: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
        trusted_proxies: Sequence[str] = (),
    ) -> None:
        """Take the served process's settings; before the first connection.

        Args:
            admission, limits: by name; those that are None stay the app's. A route's own limits
                may be narrower than `limits`, and not wider.
            trusted_proxies: if there are any, instead of the app's.
        """
        runtime, policy = self.runtime, self.runtime.policy
        runtime.limits = transport
        runtime.admission.configure(override(runtime.admission.limits, admission or {}))
        policy.limits = override(policy.limits, limits or {})
        policy.ceilings = dict(limits or {})
        if trusted_proxies:
            policy.trust(trusted_proxies)

    def on(self, event: EventName) -> Callable[[H], H]:
        """Register a handler, async or not.

        "startup" and "shutdown" are called, without arguments, at the start and the end of each
        worker process. "join" and "leave" are called with a connection and the name of a room, in
        the connection's worker, after it has joined, and after it has left or ended (not if its
        worker was killed). "missed" is called with both when the worker was too far behind to get
        all of the room's messages (None: of the broadcasts); without such a handler the connection
        is closed with 1013 then, unless it is a realtime client's, which is told in a frame.

        Raises:
            ValueError: another event.
        """
        handlers = {**self._handlers, **self.runtime.rooms.handlers}
        if event not in handlers:
            raise ValueError(f"on({event!r}): the events are {', '.join(map(repr, handlers))}")

        def register(handler: H) -> H:
            handlers[event].append(handler)
            return handler

        return register

    def add_middleware(self, middleware: Any, **options: Any) -> None:
        """Wrap the app in an ASGI middleware `middleware(app, **options)`; the last is outermost.

        It sees HTTP and WebSocket scopes alike. One that wraps `send` or `receive` of WebSockets
        costs the pipelining of sends (docs/topics/host.md).

        Raises:
            RuntimeError: the app has served already.
        """
        if self._stack is not None:
            raise RuntimeError("add_middleware() after the app has begun to serve")
        self._middleware.append((middleware, options))

    def add_sessions(
        self,
        secret_key: str | None = None,
        *,
        session_cookie: str = "session",
        max_age_s: int | None = TWO_WEEKS_S,
        same_site: SameSite = "lax",
        https_only: bool = False,
        path: str = "/",
        domain: str | None = None,
    ) -> None:
        """Keep a session in a signed cookie: HTTP views write it, WebSockets read it.

        Args:
            secret_key: of at least 32 characters; None: SWITCHBOARD_SESSION_SECRET, or the file
                that SWITCHBOARD_SESSION_SECRET_FILE names.
            max_age_s: seconds from the last change; None: until the browser is closed.
            same_site, https_only, path, domain: which requests carry the cookie.

        Raises:
            SettingsError: no good secret, an impossible option, or itsdangerous is missing.
            RuntimeError: the app has served already.
        """
        options = session_options(
            secret_key,
            session_cookie=session_cookie,
            max_age=max_age_s,
            same_site=same_site,
            https_only=https_only,
            path=path,
            domain=domain,
        )
        self.add_middleware(Sessions, **options)

    # -- the server it is part of --------------------------------------------------------------

    def adopt(
        self, segment: Segment, slot_number: int, *, generation: int, worker_index: int
    ) -> None:
        """Take the place in the server that this worker was given; before the first connection.

        Without it (under another host, in tests) the app is a server of one worker by itself.

        Raises:
            RuntimeError: the app has begun to serve.
        """
        ledger = Ledger(segment, slot_number, generation, worker_index=worker_index)
        self.runtime.adopt(ledger)

    def _make_private_ledger(self) -> Ledger:
        routes = [route.pattern.text for route in self.counted_routes]
        return private_ledger(labels(routes, self.close_codes))

    @property
    def connections(self) -> Connections:
        """The connections of all workers: list, count and disconnect them."""
        if self._connections is None:
            ledger = self.runtime.ledger
            self._connections = Connections(
                ledger.segment, local_slot=ledger.slot, local=self.handle_message
            )
        return self._connections

    def handle_message(self, message: Message) -> None:
        """Take what another process has sent to this worker; in its event loop."""
        if isinstance(message, Wake):
            self.runtime.rooms.bus.poll()
        elif isinstance(message, Disconnect):
            found = self.runtime.ledger.find(message.ids)
            task = asyncio.create_task(close_some(found, message.code, message.reason))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def drain(self, *, code: int, drain_s: float, refuse: bool) -> Drained:
        """Close all connections with `code`, and wait for their views to end.

        Args:
            drain_s: it returns after that at the latest; the closes take four fifths of it.
            refuse: new handshakes are refused with 503, instead of being served and closed last.
        """
        return await drain(
            self.runtime, code=code, spread_s=drain_s * 0.8, deadline_s=drain_s, refuse=refuse
        )

    # -- ASGI ----------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.call(scope, receive, send)

    def call(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Do what calling the app does, without a coroutine of its own.

        A connection's every wake-up goes through all the coroutines below its view.
        """
        if scope["type"] == "lifespan":
            return run_lifespan(self._life(), receive, send)
        stack = self._stack
        if stack is None:
            stack = self._dispatch
            for middleware, options in self._middleware:
                stack = middleware(stack, **options)
            self._stack = stack
        scope["app"] = self
        if scope["type"] == "http":
            send = with_checked_status(send)
        called: Awaitable[None] = stack(scope, receive, send)
        return called

    def _dispatch(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        runtime = self.runtime
        if runtime.policy.proxies is not None:
            rewrite(scope, runtime.policy.proxies)
        if scope["type"] != "websocket":
            served: Awaitable[None] = self._http_app()(scope, receive, send)
            return served
        found = self.find_websocket(route_path(scope))
        refusal = runtime.refusal(scope)
        if refusal is not None:
            wanted = None if found is None else found[0]
            return refuse(runtime, wanted, refusal, scope, receive, send)
        if found is not None:
            route, params = found
            return serve_connection(runtime, route, params, scope, receive, send)
        return refuse(runtime, None, NO_ROUTE, scope, receive, send)

    def _http_app(self) -> Any:
        count, app = self._http
        if count != len(self.http_list):
            app = build_http(self, self.runtime)
            self._http = (len(self.http_list), app)
        return app

    @asynccontextmanager
    async def _life(self) -> AsyncIterator[None]:
        """From the first startup handler to the last teardown of an app-scoped provider."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.runtime.app_values.close)
            await self._prepare()
            self.runtime.rooms.bus.keep_watch()
            if self._lifespan is not None:
                await stack.enter_async_context(self._lifespan(self))
            if self.runtime.is_adopted:
                await stack.enter_async_context(watching(self.runtime))
            await self._call_handlers("startup")
            yield
            await self._call_handlers("shutdown")

    async def _prepare(self) -> None:
        """Plan every route, so that a mistake shows at startup, and make app-scoped values."""
        routes: list[WebSocketRoute | HTTPRoute] = [*self.counted_routes, *self.http_list]
        for route in routes:
            plan = self.runtime.plan(route)
            for node in plan.all_nodes():
                if node.is_app_scoped:
                    await self.runtime.app_values.get(node)

    async def _call_handlers(self, event: str) -> None:
        async with AsyncExitStack() as rest:
            # Every shutdown handler runs, whatever an earlier one raises; a startup stops at once.
            for handler in reversed(self._handlers[event] if event == "shutdown" else ()):
                rest.push_async_callback(_call, handler)
            for handler in self._handlers[event] if event == "startup" else ():
                await _call(handler)


async def _call(handler: Callable[..., Any]) -> None:
    result = handler()
    if inspect.isawaitable(result):
        await result


BoltAPI = App
"""Django-Bolt's name, so that a handler file needs its import line alone."""
