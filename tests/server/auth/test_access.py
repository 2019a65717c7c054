"""Who may come in: several backends, what guards make of them, lists that override each other."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from server import App, RouteError, Router, WebSocket
from server.auth import (
    AllowAny,
    AuthenticationFailed,
    Guard,
    HasPermission,
    Identity,
    IsAuthenticated,
    IsStaff,
    JWTAuthentication,
)
from server.auth.access import Access
from server.auth.places import Places
from server.testing import TestClient, WebSocketTestClient
from tests.server.auth.tokens import SECRET, signed
from tests.server.gate_support import BAD, QUERY, Tokens, refused, who
from tests.server.ledger_books import books, one_refused
from tests.support.scopes import websocket_scope

COOKIE = Places(header=None, cookie="key")
HEADER = Places(header="x-key")


def identify(access: Access, query: str = "", **headers: str) -> Identity | None:
    scope = websocket_scope(query=query, headers={"cookie": headers.get("cookie", "")})
    return asyncio.run(access.identify(scope, is_websocket=True))


def access(*backends: Tokens, guards: Sequence[Guard | type[Guard]] | None = None) -> Access:
    return Access.of(list(backends), guards)


# -- several backends ------------------------------------------------------------------------------


def test_the_first_that_knows_the_token_counts():
    first, second = Tokens({"x": who("ada")}), Tokens({"x": who("bob"), "y": who("eve")})
    assert identify(access(first, second), "token=x") == who("ada")
    assert (first.seen, second.seen) == (["x"], [])
    assert identify(access(first, second), "token=y") == who("eve")
    assert (first.seen, second.seen) == (["x", "y"], ["y"])


def test_one_without_a_token_is_passed_over():
    first, second = Tokens("ada", COOKIE), Tokens("bob", QUERY)
    assert identify(access(first, second), "token=bob") == who("bob")
    assert first.seen == []
    assert identify(access(first, second)) is None


def test_after_a_bad_token_a_good_one_counts():
    both = access(Tokens("ada", COOKIE), Tokens("bob", QUERY))
    assert identify(both, "token=bob", cookie="key=no") == who("bob")


def test_after_a_good_token_a_bad_one_is_not_even_looked_at():
    second = Tokens("bob", QUERY)
    assert identify(access(Tokens("ada", COOKIE), second), "token=no", cookie="key=ada") == (
        who("ada")
    )
    assert second.seen == []


def test_of_bad_tokens_the_first_is_told_of():
    worth = {"no": AuthenticationFailed("the first"), "bad": AuthenticationFailed("the second")}
    both = access(Tokens(worth, COOKIE), Tokens(worth, QUERY))
    with pytest.raises(AuthenticationFailed, match="the first"):
        identify(both, "token=bad", cookie="key=no")


def test_a_token_twice_in_a_place_is_bad_and_another_backend_may_have_a_good_one():
    both = access(Tokens("ada", QUERY), Tokens("bob", COOKIE))
    assert identify(both, "token=ada&token=ada", cookie="key=bob") == who("bob")
    with pytest.raises(AuthenticationFailed, match="Token in the query twice"):
        identify(both, "token=ada&token=ada")


@pytest.mark.parametrize("guards", [None, [], [IsAuthenticated], [IsStaff(), AllowAny()]])
def test_a_bad_token_is_refused_unless_everybody_is_let_in(guards: Any):
    with pytest.raises(AuthenticationFailed, match=BAD):
        identify(access(Tokens("ada"), guards=guards), "token=no")


@pytest.mark.parametrize("guards", [[AllowAny()], [AllowAny], [AllowAny(), IsStaff()]])
def test_where_everybody_is_let_in_a_bad_token_is_none(guards: Any):
    public = access(Tokens("ada", COOKIE), Tokens("bob", QUERY), guards=guards)
    assert identify(public, "token=no", cookie="key=no") is None
    assert identify(public, "token=bob", cookie="key=no") == who("bob")
    assert public.check(None) is None
    assert public.check(who("bob")) is None


def test_what_a_backend_raises_beside_that_ends_the_search():
    second = Tokens("bob", QUERY)
    both = access(Tokens({"x": LookupError("of the database")}, COOKIE), second, guards=[AllowAny])
    with pytest.raises(LookupError):
        identify(both, "token=bob", cookie="key=x")
    assert second.seen == []


# -- tokens in messages ----------------------------------------------------------------------------


def test_a_token_of_the_first_message_is_for_those_who_wait_for_one():
    waits = Places(header=None, first_message_s=1)
    first, second = Tokens("ada", QUERY), Tokens("ada bob", waits)
    both = access(first, second)
    assert asyncio.run(both.identify_token("ada", late=True)) == who("ada")
    assert first.seen == []
    assert asyncio.run(both.identify_token("ada", late=False)) == who("ada")
    assert (first.seen, second.seen) == (["ada"], ["ada"])
    assert asyncio.run(both.identify_token("bob", late=False)) == who("bob")


@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("backends", [None, []])
def test_without_backends_no_token_of_a_message_is_good(backends: Any, late: bool):
    with pytest.raises(AuthenticationFailed, match="No token is taken here"):
        asyncio.run(Access.of(backends, None).identify_token("ada", late=late))


def test_the_longest_wait_for_a_first_message_counts():
    waits = [Tokens("", Places(first_message_s=wait_s)) for wait_s in (2, None, 7, 5)]
    assert access(*waits).first_message_s == 7
    assert access(waits[1]).first_message_s is None
    assert Access().first_message_s is None


# -- lists that override each other ----------------------------------------------------------------


def test_what_a_route_does_not_say_is_the_apps():
    default = access(Tokens("ada"), guards=[IsStaff()])
    nothing, empty = Access(), Access.of([], [])
    assert nothing.over(default) == default
    assert empty.over(default) == empty
    only_guards = Access.of(None, [AllowAny()]).over(default)
    assert only_guards.backends == default.backends
    assert only_guards.is_public
    only_auth = Access.of([], None).over(default)
    assert (only_auth.backends, only_auth.guards) == ((), default.guards)


@pytest.mark.parametrize(
    ("of", "is_open"),
    [
        (Access(), True),
        (Access.of([], []), True),
        (Access.of(None, [AllowAny()]), False),
        (Access.of([Tokens("")], None), False),
    ],
)
def test_it_is_open_if_nobody_is_asked(of: Access, is_open: bool):
    assert of.is_open is is_open


async def who_comes_in(app: App, path: str) -> str:
    async with WebSocketTestClient(app, path) as client:
        return await client.receive_text()


async def tell(ws: WebSocket) -> None:
    await ws.send(str(ws.user_id))


async def test_an_empty_list_on_a_route_takes_the_apps_away():
    app = App(auth=[Tokens("ada")], guards=[IsAuthenticated()])
    app.websocket_route("/default")(tell)
    app.websocket_route("/open", auth=[], guards=[])(tell)
    app.websocket_route("/anybody", guards=[])(tell)
    app.websocket_route("/nobody", auth=[])(tell)

    assert (await refused(app, "/default")).short == (401, "Authentication required")
    assert await who_comes_in(app, "/default?token=ada") == "ada"
    assert await who_comes_in(app, "/open?token=no") == "None"
    assert await who_comes_in(app, "/anybody") == "None"
    assert await who_comes_in(app, "/anybody?token=ada") == "ada"
    assert (await refused(app, "/anybody?token=no")).short == (401, BAD)
    assert (await refused(app, "/nobody?token=ada")).short == (401, "Authentication required")


async def test_a_router_in_two_apps_has_the_defaults_of_each():
    router = Router()
    router.websocket_route("/default")(tell)
    router.websocket_route("/own", auth=[Tokens("own")], guards=[IsAuthenticated])(tell)
    router.route("/http")(lambda request: str(request.state.identity is None))
    strict = App(auth=[Tokens("ada")], guards=[IsAuthenticated()])
    other = App(auth=[Tokens("bob")])
    strict.include_router(router, "/in")
    other.include_router(router)

    assert (await refused(strict, "/in/default")).status == 401
    assert (await refused(strict, "/in/default?token=bob")).status == 401
    assert await who_comes_in(strict, "/in/default?token=ada") == "ada"
    assert await who_comes_in(other, "/default") == "None"
    assert (await refused(other, "/default?token=ada")).status == 401
    for app, prefix in ((strict, "/in"), (other, "")):
        assert await who_comes_in(app, f"{prefix}/own?token=own") == "own"
        assert (await refused(app, f"{prefix}/own?token=ada")).status == 401
    assert TestClient(strict).get("/in/http").status_code == 401
    assert TestClient(other).get("/http").text == "True"


@pytest.mark.parametrize("option", ["auth", "guards"])
def test_what_is_no_backend_or_guard_is_found_when_it_is_given(option: str):
    wrong: dict[str, Any] = {option: ["ada"]}
    for make in (
        lambda: App(**wrong),
        lambda: App().websocket_route("/", **wrong)(tell),
        lambda: App().websocket("/", **wrong)(tell),
        lambda: App().route("/", **wrong)(lambda request: None),
        lambda: App().realtime("/", **wrong),
    ):
        with pytest.raises(RouteError, match=f"{option}= has"):
            make()


# -- refusals, and what raises ---------------------------------------------------------------------


async def test_the_answer_says_how_to_come_in():
    app = App(auth=[Tokens("ada")], guards=[IsAuthenticated(), IsStaff()])
    app.websocket_route("/")(tell)
    nobody, bad, not_staff = [
        await refused(app, path) for path in ("/", "/?token=no", "/?token=ada")
    ]
    assert nobody.short == (401, "Authentication required")
    assert nobody.headers["www-authenticate"] == "Bearer"
    assert bad.short == (401, BAD)
    assert bad.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert not_staff.short == (403, "Permission denied")
    assert "www-authenticate" not in not_staff.headers


def says_neither(identity: Identity) -> bool:
    return 1  # type: ignore[return-value]


def raises(identity: Identity) -> bool:
    raise LookupError("a secret of the guard")


class Revoking:
    def __call__(self, claims: dict[str, Any]) -> bool:
        raise TimeoutError("a secret of the database")


@pytest.mark.parametrize(
    "options",
    [
        {"auth": [Tokens({"x": LookupError("a secret of the backend")})]},
        {"auth": [Tokens({"x": TimeoutError("a secret of the backend")})]},
        {"auth": [Tokens("x")], "guards": [raises]},
        {"auth": [Tokens("x")], "guards": [says_neither]},
        {"auth": [JWTAuthentication(SECRET, revoked_token_handler=Revoking())]},
    ],
)
async def test_what_a_backend_or_guard_raises_is_an_error_of_which_nothing_leaks(
    options: dict[str, Any],
):
    app, ran = App(**options), list[str]()

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        ran.append("view")

    @app.route("/", methods=["POST"])
    def http(request: Any) -> None:
        ran.append("http")

    token = signed() if isinstance(options["auth"][0], JWTAuthentication) else "x"
    answer = await refused(app, f"/?token={token}")

    assert answer.short == (500, "Error")
    assert "secret" not in str(answer)
    assert books(app) == one_refused(500, errors=1)
    assert (await refused(app, f"/?token={token}", denial_response=False)).status == 403
    with pytest.raises((LookupError, TimeoutError, TypeError)):  # the host has it, to log
        await WebSocketTestClient(app, f"/?token={token}").__aenter__()
    assert ran == []


@pytest.mark.parametrize("error", [LookupError("a secret"), TimeoutError("a secret")])
def test_for_a_request_it_is_a_500_too(error: Exception):
    app = App(auth=[Tokens({"x": error}, HEADER)])
    app.route("/")(lambda request: "in")
    client = TestClient(app, raise_server_exceptions=False)
    answer = client.get("/", headers={"x-key": "x"})
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")


async def test_a_guard_sees_what_the_backend_has_found():
    seen: list[Identity] = []
    ada = who("ada", permissions=frozenset({"read"}), claims={"plan": "pro"})

    def note(identity: Identity) -> bool:
        seen.append(identity)
        return True

    app = App(auth=[Tokens({"a": ada})], guards=[HasPermission("read"), note])
    app.websocket_route("/")(tell)
    assert await who_comes_in(app, "/?token=a") == "ada"
    assert seen == [ada]
