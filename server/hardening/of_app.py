"""Owns the items of the check-list that are about an app: its routes, sessions and limits."""

from collections.abc import Callable, Iterable, Mapping

from server.hardening.findings import Subject, Verdict, fail, ok, warn
from server.limits import ConnectionLimits, override, tighten
from server.protection import RouteLook

LARGEST_MESSAGE = 1 << 20
_OWASP_MESSAGE = 1 << 16
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def _paths(routes: Iterable[RouteLook]) -> tuple[str, ...]:
    return tuple(route.path for route in routes)


def _calls(routes: Iterable[RouteLook]) -> tuple[str, ...]:
    """Return routes of HTTP by method and path."""
    return tuple(f"{'/'.join(route.methods)} {route.path}" for route in routes)


def _app(subject: Subject) -> Verdict:
    app = subject.app
    if not app.is_app:
        return warn(
            "is no App, so none of its routes can be looked at",
            "see what its own framework says, or serve an App with it mounted",
        )
    return ok(f"{len(app.websockets)} WebSocket routes, {len(app.http)} of HTTP")


def _open_routes(subject: Subject) -> Verdict:
    found = [
        route
        for route in subject.app.websockets
        if not route.guards and not route.backends and route.hooks is None
    ]
    if found:
        return fail(
            "everybody may connect, and nothing says that this is meant",
            "give auth= and guards=, or guards=[AllowAny()] where it is meant",
            _paths(found),
        )
    return ok("no WebSocket route is open by oversight")


def _auth_without_guards(subject: Subject) -> Verdict:
    app = subject.app
    sockets = [one for one in app.websockets if one.backends and not one.guards]
    found = [one for one in sockets if one.hooks is None or "authorize" not in one.hooks]
    calls = [one for one in app.http if one.backends and not one.guards]
    if found or calls:
        return fail(
            "has auth= and lets in who has no token all the same",
            "add guards=[IsAuthenticated()]",
            _paths(found) + _calls(calls),
        )
    return ok("none")


def _guards_without_auth(subject: Subject) -> Verdict:
    app = subject.app
    sockets, calls = filter(_asks_in_vain, app.websockets), filter(_asks_in_vain, app.http)
    found = _paths(sockets) + _calls(calls)
    if found:
        return warn("has guards= and no auth=, so nobody gets in", "give auth= as well", found)
    return ok("none")


def _asks_in_vain(route: RouteLook) -> bool:
    return bool(route.guards) and not route.backends and not route.is_public


def _http_routes(subject: Subject) -> Verdict:
    found = [
        one
        for one in subject.app.http
        if not one.guards and not one.backends and not _CHANGING.isdisjoint(one.methods)
    ]
    if found:
        return warn(
            "everybody may call what changes something",
            "give auth= and guards=, or guards=[AllowAny()] where it is meant",
            _calls(found),
        )
    return ok("what changes something has guards")


def _mounts(subject: Subject) -> Verdict:
    mounts = subject.app.mounts
    if mounts:
        return warn(
            "other apps, to which no guard and no origin check applies",
            "see what they do by themselves",
            mounts,
        )
    return ok("none")


def _realtime(subject: Subject) -> Verdict:
    found = [
        route
        for route in subject.app.websockets
        if route.hooks is not None
        and "authorize" not in route.hooks
        and not route.guards
        and not route.backends
    ]
    if found:
        return fail(
            "everybody may connect, join and publish",
            "give auth= and guards=, or authorize=",
            _paths(found),
        )
    return ok("no endpoint is open to everybody")


def _realtime_rooms(subject: Subject) -> Verdict:
    found = [
        route
        for route in subject.app.websockets
        if route.hooks is not None and not route.hooks >= {"can_join", "can_publish"}
    ]
    if found:
        return warn(
            "whoever is let in may join, or publish to, every room",
            "give can_join= and can_publish=",
            _paths(found),
        )
    return ok("every endpoint says who may join and publish")


def _origins(subject: Subject) -> Verdict:
    app = subject.app
    found = [route for route in app.websockets if route.lets_strangers_in]
    with_cookies = [route for route in found if app.sessions is not None or route.takes_cookie]
    remedy = "name the origins of your pages in allowed_origins="
    if with_cookies:
        return fail(
            "pages of all sites may connect, with the cookies of their visitors",
            remedy,
            _paths(with_cookies),
        )
    if found:
        return warn("pages of all sites may connect", remedy, _paths(found))
    return ok("only pages of this host and of named origins connect")


def _allowed_hosts(subject: Subject) -> Verdict:
    if subject.app.checks_hosts:
        return ok("other names than its own are refused")
    return warn(
        "answers under any name, so also under one that an attacker leads here (DNS rebinding)",
        "add TrustedHostMiddleware, or let the proxy refuse other names",
    )


def _session_cookie(subject: Subject) -> Verdict:
    sessions = subject.app.sessions
    if sessions is None:
        return ok("no sessions")
    if sessions.has_short_secret:
        return fail("its secret has under 32 characters", "use add_sessions() with a longer one")
    if not sessions.https_only:
        return fail("is sent without TLS too, where others read it", "give https_only=True")
    if sessions.same_site == "none":
        return warn(
            "pages of all sites send it (same_site='none')",
            "use 'lax', or ask for a CSRF token in each request that changes something",
        )
    if sessions.max_age_s is None:
        return warn("is good for ever to who has kept it (max_age_s=None)", "give max_age_s=")
    return ok(f"TLS only, same_site={sessions.same_site}, {sessions.max_age_s} s")


def _query_tokens(subject: Subject) -> Verdict:
    found = [
        route
        for route in subject.app.websockets
        if any(backend.query_param is not None for backend in route.backends)
    ]
    if found:
        return warn(
            "takes tokens from the query string, which proxies write to their logs",
            "give query_param=None and use the subprotocol, or keep the query out of the logs",
            _paths(found),
        )
    return ok("no token is taken from a query string")


def _limits(subject: Subject, route: RouteLook) -> ConnectionLimits:
    """Return those in force: a route's own, else the app's with what is set in their place."""
    given = vars(subject.settings.limits)
    if route.limits is not None:
        return tighten(route.limits, given)
    return override(subject.app.limits, given)


def _message_rate(subject: Subject) -> Verdict:
    found = [one for one in subject.app.websockets if _limits(subject, one).messages_per_s is None]
    if found:
        return warn(
            "no limit on messages a second",
            "set --limits.messages-per-s, or limits= of a route",
            _paths(found),
        )
    return ok("every route has a limit")


def _message_size(subject: Subject) -> Verdict:
    routes = subject.app.websockets
    found = [route for route in routes if route.max_message_size > LARGEST_MESSAGE]
    if found:
        return warn(
            "takes messages of over 1 MiB",
            "lower max_message_size; OWASP begins at 64 KiB",
            _paths(found),
        )
    if any(route.max_message_size > _OWASP_MESSAGE for route in routes):
        return ok("at most 1 MiB (OWASP begins at 64 KiB)")
    return ok("at most 64 KiB")


def _idle_timeout(subject: Subject) -> Verdict:
    found = [
        route
        for route in subject.app.websockets
        if route.hooks is None and _limits(subject, route).idle_timeout_s is None
    ]
    if found:
        return warn(
            "keeps connections that never say anything",
            "set --limits.idle-timeout-s, or limits= of a route",
            _paths(found),
        )
    return ok("silent connections are closed")


def _lifetime(subject: Subject) -> Verdict:
    found = [route for route in subject.app.websockets if _is_endless(subject, route)]
    if found:
        return warn(
            "once let in, a client stays in for ever: its key or session is not looked at again",
            "set --limits.lifetime-s, or limits= of a route",
            _paths(found),
        )
    return ok("who was let in is looked at again, or was asked for nothing")


def _is_endless(subject: Subject, route: RouteLook) -> bool:
    """Whether what was asked of a client may be true no longer, and nobody ever notices."""
    if _limits(subject, route).lifetime_s is not None:
        return False
    has_session = subject.app.sessions is not None and not route.backends
    is_asked = has_session or (route.hooks is not None and "authorize" in route.hooks)
    return is_asked or any(not backend.expires for backend in route.backends)


ITEMS: Mapping[str, Callable[[Subject], Verdict]] = {
    "app": _app,
    "open-routes": _open_routes,
    "auth-without-guards": _auth_without_guards,
    "guards-without-auth": _guards_without_auth,
    "realtime": _realtime,
    "realtime-rooms": _realtime_rooms,
    "http-routes": _http_routes,
    "mounts": _mounts,
    "origins": _origins,
    "allowed-hosts": _allowed_hosts,
    "session-cookie": _session_cookie,
    "query-tokens": _query_tokens,
}
LIMIT_ITEMS: Mapping[str, Callable[[Subject], Verdict]] = {
    "message-rate": _message_rate,
    "message-size": _message_size,
    "idle-timeout": _idle_timeout,
    "lifetime": _lifetime,
}
