"""Owns the look at what an app asks of its clients, in plain values; does not know what is enough.

Of backends, guards and middleware there are names and options here, never a key or a secret.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.middleware.trustedhost import TrustedHostMiddleware

from server.app import App
from server.auth.access import Access
from server.auth.guards import Guard
from server.auth.identity import Backend
from server.auth.jwt import JWTAuthentication
from server.limits import AdmissionLimits, ConnectionLimits
from server.origin import Origins
from server.realtime.endpoint import Endpoint
from server.routes import HTTPRoute
from server.sessions import LEAST_SECRET, TWO_WEEKS_S, Sessions
from server.websocket_route import WebSocketRoute, view_name

_HOST = (b"host", b"switchboard.invalid")
_STRANGERS = (b"https://stranger.invalid", b"http://192.0.2.1:8080", b"null")


@dataclass(frozen=True, kw_only=True)
class BackendLook:
    """A backend of a route.

    Attributes:
        name: of its class.
        takes_cookie: whether a cookie may bring its token, which browsers send by themselves.
        query_param: that may bring it.
        expires: whether its tokens are known to.
    """

    name: str
    takes_cookie: bool = False
    query_param: str | None = None
    expires: bool = False


@dataclass(frozen=True, kw_only=True)
class RouteLook:
    """What a route asks, and what it leaves open is as the app has it.

    Attributes:
        methods: of HTTP; empty for a WebSocket route.
        backends: that are tried to find out who a client is.
        guards: their names.
        is_public: whether it lets in everybody in so many words, by AllowAny.
        lets_strangers_in: whether a page of any other host may connect.
        limits: of a connection; None: the app's.
        max_message_size: bytes.
        hooks: of a realtime endpoint, by name; None: it is no such endpoint.
    """

    path: str
    methods: tuple[str, ...] = ()
    backends: tuple[BackendLook, ...] = ()
    guards: tuple[str, ...] = ()
    is_public: bool = False
    lets_strangers_in: bool = False
    limits: ConnectionLimits | None = None
    max_message_size: int = 0
    hooks: frozenset[str] | None = None

    @property
    def takes_cookie(self) -> bool:
        """Whether a browser gets in on its cookies, whichever page has it connect."""
        return any(backend.takes_cookie for backend in self.backends)


@dataclass(frozen=True, kw_only=True)
class SessionLook:
    """The cookie of sessions.

    Attributes:
        has_short_secret: under 32 characters, which only a middleware of others takes.
    """

    https_only: bool = False
    same_site: Literal["lax", "strict", "none"] = "lax"
    max_age_s: int | None = TWO_WEEKS_S
    has_short_secret: bool = False


@dataclass(frozen=True, kw_only=True)
class Protection:
    """What an app asks of its clients.

    Attributes:
        is_app: whether it is an App; of any other ASGI app nothing is known.
        mounts: prefixes under which other apps are.
        sessions: None: there are none.
        limits: of connections, for routes that have none of their own.
        trusted_proxies: networks whose X-Forwarded-For is believed.
        checks_hosts: whether handshakes and requests under other names than its own are refused.
    """

    is_app: bool = True
    websockets: tuple[RouteLook, ...] = ()
    http: tuple[RouteLook, ...] = ()
    mounts: tuple[str, ...] = ()
    sessions: SessionLook | None = None
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)
    admission: AdmissionLimits = field(default_factory=AdmissionLimits)
    trusted_proxies: tuple[str, ...] = ()
    checks_hosts: bool = False


def protection_of(app: Any) -> Protection:
    """Return what an app asks of its clients."""
    if not isinstance(app, App):
        return Protection(is_app=False)
    policy = app.runtime.policy
    middleware = [(kind, options) for kind, options in app._middleware if isinstance(kind, type)]
    return Protection(
        websockets=tuple(_websocket(app, route) for route in app.websocket_list),
        http=tuple(_http(app, route) for route in app.http_list),
        mounts=tuple(mount.prefix or "/" for mount in app.mounts),
        sessions=_sessions(middleware),
        limits=policy.limits,
        admission=app.runtime.admission.limits,
        trusted_proxies=tuple(map(str, policy.proxies.networks)) if policy.proxies else (),
        checks_hosts=any(_checks_hosts(*each) for each in middleware),
    )


def _websocket(app: App, route: WebSocketRoute) -> RouteLook:
    policy = app.runtime.policy
    endpoint = getattr(route.view, "__self__", None)
    hooks = None
    if isinstance(endpoint, Endpoint):
        hooks = frozenset(name for name, hook in vars(endpoint.hooks).items() if hook is not None)
    return RouteLook(
        path=route.pattern.text,
        **_access(route.access.over(policy.access)),
        lets_strangers_in=_lets_strangers_in(route.origins or policy.origins),
        limits=route.limits,
        max_message_size=route.max_message_size or app.runtime.max_message_size,
        hooks=hooks,
    )


def _http(app: App, route: HTTPRoute) -> RouteLook:
    access = route.access.over(app.runtime.policy.access)
    return RouteLook(path=route.pattern.text, methods=route.methods, **_access(access))


def _access(access: Access) -> dict[str, Any]:
    return {
        "backends": tuple(map(_backend, access.backends or ())),
        "guards": tuple(map(_guard_name, access.guards or ())),
        "is_public": access.is_public,
    }


def _backend(backend: Backend) -> BackendLook:
    return BackendLook(
        name=type(backend).__name__,
        takes_cookie=backend.places.cookie is not None,
        query_param=backend.places.query_param,
        expires=isinstance(backend, JWTAuthentication),  # which takes no token without `exp`
    )


def _guard_name(guard: Guard) -> str:
    """Return the name of a guard's class, or of the function that it is; no `repr` of an app's."""
    name = type(guard).__name__
    return view_name(guard.check) if name == "_Function" else name


def _lets_strangers_in(origins: Origins) -> bool:
    """Whether a page gets in that cannot be meant: that is "*", "null", and patterns for all."""
    return any(origins.problem([(b"origin", one), _HOST]) is None for one in _STRANGERS)


def _sessions(middleware: list[tuple[type, dict[str, Any]]]) -> SessionLook | None:
    for kind, options in middleware:
        if issubclass(kind, Sessions) or _is_starlettes(kind):
            return SessionLook(
                https_only=options.get("https_only", False),
                same_site=options.get("same_site", "lax"),
                max_age_s=options.get("max_age", TWO_WEEKS_S),
                has_short_secret=len(str(options.get("secret_key", ""))) < LEAST_SECRET,
            )
    return None


def _is_starlettes(kind: type) -> bool:
    # By its name: importing it takes itsdangerous, which need not be there.
    return any(
        (one.__module__, one.__name__) == ("starlette.middleware.sessions", "SessionMiddleware")
        for one in kind.__mro__
    )


def _checks_hosts(kind: type, options: dict[str, Any]) -> bool:
    names = options.get("allowed_hosts")
    return issubclass(kind, TrustedHostMiddleware) and names is not None and "*" not in names
