"""What is seen of an app before it is judged, and that none of it is a secret."""

import pickle
import re
import secrets
from typing import Any

import pytest
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from server import AdmissionLimits, App, ConnectionLimits, Router
from server.auth import (
    AllowAny,
    APIKeyAuthentication,
    Backend,
    Identity,
    IsAuthenticated,
    JWTAuthentication,
    Requires,
)
from server.auth.guards import GuardLike
from server.auth.places import Places
from server.protection import BackendLook, Protection, RouteLook, SessionLook, protection_of
from server.websocket import WebSocket

SECRET = secrets.token_urlsafe(32)
KEY = secrets.token_urlsafe(32)


async def view(ws: WebSocket) -> None:
    """Serve nobody: no connection is made here."""


async def page(request: Any) -> None:
    """Answer nobody."""


def is_known(identity: Identity) -> bool:
    return True


class OwnBackend:
    places = Places(cookie="own", header=None)

    async def identify(self, token: str) -> Identity:
        raise NotImplementedError

    def __repr__(self) -> str:
        return SECRET


def look(app: App, path: str = "/x") -> RouteLook:
    (found,) = [one for one in protection_of(app).websockets if one.path == path]
    return found


def test_of_another_asgi_app_nothing_is_known() -> None:
    assert protection_of(page) == Protection(is_app=False)


def test_an_app_with_nothing() -> None:
    app = App()
    app.websocket_route("/x")(view)
    app.route("/y", methods=["get", "post"])(page)
    assert protection_of(app) == Protection(
        websockets=(RouteLook(path="/x", max_message_size=1 << 20),),
        http=(RouteLook(path="/y", methods=("GET", "POST")),),
    )


def test_backends_and_guards() -> None:
    app = App()
    backends: list[Backend] = [JWTAuthentication(SECRET), APIKeyAuthentication({KEY}), OwnBackend()]
    guards: list[GuardLike] = [IsAuthenticated, Requires("role", SECRET), is_known]
    app.websocket_route("/x", auth=backends, guards=guards)(view)
    app.route("/y", auth=backends[1:2], guards=guards[:1])(page)
    found = protection_of(app)
    own = BackendLook(name="OwnBackend", takes_cookie=True)
    keys = BackendLook(name="APIKeyAuthentication")
    jwt = BackendLook(name="JWTAuthentication", query_param="token", expires=True)
    assert found.websockets[0].backends == (jwt, keys, own)
    assert found.websockets[0].guards == ("IsAuthenticated", "Requires", "is_known")
    assert not found.websockets[0].is_public
    assert found.http[0].backends == (keys,)
    assert found.http[0].guards == ("IsAuthenticated",)


def test_what_a_route_leaves_open_is_the_apps() -> None:
    app = App(auth=[JWTAuthentication(SECRET)], guards=[IsAuthenticated()], allowed_origins=["*"])
    app.websocket_route("/x")(view)
    app.websocket_route("/own", auth=[], guards=[AllowAny()], allowed_origins=[])(view)
    assert look(app).guards == ("IsAuthenticated",)
    assert look(app).lets_strangers_in
    assert look(app, "/own") == RouteLook(
        path="/own", guards=("AllowAny",), is_public=True, max_message_size=1 << 20
    )


def test_allow_any_after_another_guard_is_not_public() -> None:
    app = App()
    app.websocket_route("/x", guards=[IsAuthenticated, AllowAny])(view)
    assert not look(app).is_public


@pytest.mark.parametrize(
    ("allowed", "lets_in"),
    [
        ([], False),
        (["https://example.com"], False),
        ([re.compile(r"https://[a-z]+\.example\.com")], False),
        (["*"], True),
        (["null"], True),
        ([re.compile(".*")], True),
        ([re.compile("https://.*")], True),
        ([re.compile("http://.*")], True),
    ],
)
def test_origins_of_strangers(allowed: list[Any], lets_in: bool) -> None:
    app = App()
    app.websocket_route("/x", allowed_origins=allowed)(view)
    assert look(app).lets_strangers_in is lets_in


def test_limits() -> None:
    own = ConnectionLimits(messages_per_s=3)
    app = App(
        max_connections=9,
        max_message_size=77,
        admission=AdmissionLimits(connections_per_ip=2),
        limits=ConnectionLimits(lifetime_s=5),
        trusted_proxies=["10.0.0.1", "fd00::/8"],
    )
    app.websocket_route("/x", limits=own, max_message_size=5)(view)
    app.websocket_route("/y")(view)
    found = protection_of(app)
    assert (look(app).limits, look(app).max_message_size) == (own, 5)
    assert (look(app, "/y").limits, look(app, "/y").max_message_size) == (None, 77)
    assert found.limits == ConnectionLimits(lifetime_s=5)
    assert found.admission == AdmissionLimits(connections=9, connections_per_ip=2)
    assert found.trusted_proxies == ("10.0.0.1/32", "fd00::/8")


def test_realtime_endpoints_and_their_hooks() -> None:
    app, router = App(), Router()
    app.realtime("/x")
    app.realtime("/hooked", authorize=print, can_join=print)
    router.websocket_route("/routed")(view)
    app.include_router(router, prefix="/in")
    assert look(app).hooks == frozenset()
    assert look(app, "/hooked").hooks == frozenset({"authorize", "can_join"})
    assert look(app, "/in/routed").hooks is None


def test_mounts() -> None:
    app = App()
    app.mount("/old", page)
    app.mount_asgi("/", page)
    assert protection_of(app).mounts == ("/old", "/")


def test_sessions() -> None:
    app = App()
    assert protection_of(app).sessions is None
    app.add_sessions(SECRET, same_site="strict", https_only=True, max_age_s=60)
    assert protection_of(app).sessions == SessionLook(
        https_only=True, same_site="strict", max_age_s=60
    )


def test_starlettes_own_sessions_count_too() -> None:
    app = App()
    app.add_middleware(SessionMiddleware, secret_key="short")
    assert protection_of(app).sessions == SessionLook(has_short_secret=True)


@pytest.mark.parametrize(
    ("options", "checks"),
    [
        ({"allowed_hosts": ["example.com", "*.example.com"]}, True),
        ({"allowed_hosts": ["*"]}, False),
        ({}, False),
    ],
)
def test_allowed_hosts(options: dict[str, Any], checks: bool) -> None:
    app = App()
    assert not protection_of(app).checks_hosts
    app.add_middleware(TrustedHostMiddleware, **options)
    app.add_middleware(lambda asgi: asgi)
    assert protection_of(app).checks_hosts is checks


def test_no_secret_is_in_it() -> None:
    """Neither as text nor in what goes from the one process to the other."""
    app = App(auth=[JWTAuthentication(SECRET), OwnBackend(), APIKeyAuthentication({"name": KEY})])
    app.add_sessions(SECRET)
    app.websocket_route("/x", guards=[Requires("role", SECRET)])(view)
    app.route("/y")(page)
    found = protection_of(app)
    for secret in (SECRET, KEY):
        assert secret not in repr(found)
        assert secret.encode() not in pickle.dumps(found)
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301 - our own
