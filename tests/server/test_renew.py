"""A newer token over an open connection: what it changes, what it may not be, what it ends."""

import asyncio
import time
from typing import Any

import pytest

from server import App, WebSocket
from server.auth import (
    AllowAny,
    AuthenticationFailed,
    HasPermission,
    Identity,
    IsAuthenticated,
    JWTAuthentication,
)
from server.deadlines import deadlines
from server.limits import AdmissionLimits
from server.testing import WebSocketTestClient
from tests.server.auth.tokens import SECRET, now, signed
from tests.server.gate_support import (
    BAD,
    FIRST,
    Tokens,
    assert_nothing_is_claimed,
    closed,
    refused,
    who,
)
from tests.server.ledger_books import books, one_closed, one_refused, until
from tests.server.time_machine import TimeMachine
from workers.layout import SERVER

READS = frozenset({"read"})


def ada(**more: Any) -> Identity:
    return who("ada", **{"permissions": READS, **more})


class Long:
    """An app whose view renews with what the client sends, and tells what it then knows.

    Attributes:
        sockets: of the views that have begun.
    """

    def __init__(self, worth: dict[str, Any], **options: Any) -> None:
        self.backend = Tokens(worth)
        self.sockets: list[WebSocket] = []
        self.app = App(**options.pop("app", {}))
        options = {"auth": [self.backend], "guards": [HasPermission("read")], **options}

        @self.app.websocket_route("/", **options)
        async def view(ws: WebSocket) -> None:
            self.sockets.append(ws)
            async for token in ws.iter_text():
                try:
                    identity = await ws.renew(token)
                except AuthenticationFailed as failure:
                    await ws.send(failure.detail)
                else:
                    assert identity is ws.identity
                    await ws.send("renewed")

    def client(self, path: str = "/?token=1") -> WebSocketTestClient:
        return WebSocketTestClient(self.app, path)


async def ask(client: WebSocketTestClient, token: str) -> str:
    await client.send_text(token)
    return await client.receive_text()


# -- what it changes -------------------------------------------------------------------------------


async def test_what_is_known_of_the_client_is_what_the_new_token_says() -> None:
    newer = ada(permissions=frozenset({"read", "write"}), is_staff=True, claims={"plan": "pro"})
    long = Long({"1": ada(claims={"plan": "free", "old": 1}), "2": newer})
    async with long.client() as client:
        await until(lambda: long.sockets)
        (ws,) = long.sockets
        ws.context["own"] = "kept"
        assert await ask(client, "2") == "renewed"
        assert ws.identity == newer
        assert ws.context == {**newer.context(), "own": "kept"}
        assert ws.context["auth_claims"] == {"plan": "pro"}
    assert_nothing_is_claimed(long.app)


async def test_permissions_that_are_gone_are_gone_from_the_context() -> None:
    long = Long({"1": ada(), "2": ada(permissions=frozenset())}, guards=[IsAuthenticated()])
    async with long.client() as client:
        await until(lambda: long.sockets)
        (ws,) = long.sockets
        assert ws.context["permissions"] == ["read"]
        assert await ask(client, "2") == "renewed"
        assert "permissions" not in ws.context


async def test_a_user_whom_the_view_has_renamed_is_named_by_the_token_again() -> None:
    long = Long({"1": ada(), "2": ada()})
    async with long.client() as client:
        await until(lambda: long.sockets)
        long.sockets[0].user_id = "ada of room 7"
        assert await ask(client, "2") == "renewed"
        assert long.sockets[0].user_id == "ada"
        assert long.app.connections.count(user="ada") == 1


async def test_the_place_of_the_user_is_kept() -> None:
    limits = AdmissionLimits(connections_per_user=1)
    long = Long({"1": ada(), "2": ada()}, app={"admission": limits})
    async with long.client() as client:
        for _ in range(3):
            assert await ask(client, "2") == "renewed"
        answer = await refused(long.app, "/?token=1")
        assert answer.short == (429, "there are 1 connections of this user, the limit")
    async with long.client():
        pass
    assert_nothing_is_claimed(long.app)


@pytest.mark.parametrize(
    ("first_s", "second_s", "ends_s"),
    [
        (None, 10, 10),  # it gets an end
        (1000, 10, 10),  # an earlier one
        (10, 1000, 1000),  # a later one
        (10, None, None),  # none any more
        (10, -1, 0),  # one that is past
    ],
)
async def test_the_end_moves_with_the_token(
    monkeypatch: pytest.MonkeyPatch,
    first_s: float | None,
    second_s: float | None,
    ends_s: float | None,
) -> None:
    machine = TimeMachine(monkeypatch)

    def expiring(in_s: float | None) -> Identity:
        return ada(expires_at_s=None if in_s is None else time.time() + in_s)

    long = Long({"1": expiring(first_s), "2": expiring(second_s)}, caught_close_codes=all)
    async with long.client() as client:
        assert await ask(client, "2") == "renewed"
        await machine.let_pass(2000 if ends_s is None else max(0, ends_s - 1))
        if ends_s != 0:
            assert await ask(client, "no") == BAD
        if ends_s is not None:
            await machine.let_pass(1.5)
            assert await closed(client) == (4003, "Token Expired")


async def test_a_real_token_puts_off_the_end() -> None:
    app, expiries = App(auth=[JWTAuthentication(SECRET, leeway_s=0)]), list[Any]()

    @app.websocket_route("/", guards=[IsAuthenticated()])
    async def view(ws: WebSocket) -> None:
        async for token in ws:
            await ws.renew(token)
            assert ws.identity is not None
            expiries.append(ws.identity.expires_at_s)
            await ws.send("renewed")

    later = now(7200)
    async with WebSocketTestClient(app, f"/?token={signed()}") as client:
        assert await ask(client, signed({"exp": later})) == "renewed"
    assert expiries == [later]


# -- what it may not be ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "detail"),
    [
        ("no", BAD),
        ("eve", "The token is of another user"),
        ("nobody", "The token is of another user"),
        ("fewer", "Permission denied"),
        ("expired", "Token expired"),
        ("", "Token is not printable ASCII"),
        ("two words", "Token is not printable ASCII"),
        ("x" * 8193, "Token over 8,192 bytes"),
    ],
)
async def test_a_token_that_is_no_good_changes_nothing(token: str, detail: str) -> None:
    worth = {
        "1": ada(),
        "eve": who("eve", permissions=READS),
        "nobody": who(None, permissions=READS),
        "fewer": ada(permissions=frozenset()),
        "expired": AuthenticationFailed("Token expired"),
    }
    long = Long(worth)
    async with long.client() as client:
        assert await ask(client, token) == detail
        (ws,) = long.sockets
        assert (ws.identity, ws.user_id) == (ada(), "ada")
        assert ws.context == ada().context()
        assert await ask(client, "1") == "renewed"


@pytest.mark.parametrize("token", [None, 7, ["1"], {"token": "1"}, b"1"])
async def test_what_is_no_text_is_no_token(token: Any) -> None:
    """It comes out of a client's JSON, so it can be anything."""
    long = Long({"1": ada()})
    async with long.client():
        await until(lambda: long.sockets)
        with pytest.raises(AuthenticationFailed, match="not printable ASCII"):
            await long.sockets[0].renew(token)
    assert long.backend.seen == ["1"]


@pytest.mark.parametrize("guards", [[], [AllowAny()]])
async def test_one_who_came_without_a_token_cannot_renew_it(guards: Any) -> None:
    long = Long({"1": ada()}, guards=guards)
    async with long.client("/") as client:
        assert await ask(client, "1") == "The token is of another user"
        assert long.sockets[0].identity is None


@pytest.mark.parametrize("auth", [None, []])
async def test_where_no_token_is_taken_none_is_renewed(auth: Any) -> None:
    long = Long({}, auth=auth, guards=None)
    async with long.client("/") as client:
        assert await ask(client, "1") == "No token is taken here"


async def test_a_token_without_a_user_renews_one_without_a_user() -> None:
    nobody = who(None, permissions=READS)
    long = Long({"1": nobody, "2": nobody, "ada": ada()})
    async with long.client() as client:
        assert await ask(client, "2") == "renewed"
        assert await ask(client, "ada") == "The token is of another user"


async def test_any_backend_of_the_route_may_know_it() -> None:
    header = Tokens({"h": ada()})
    long = Long({"1": ada()}, auth=[header, Tokens({"first": ada()}, FIRST)])
    async with long.client("/?token=h") as client:
        assert await ask(client, "first") == "renewed"
        assert await ask(client, "h") == "renewed"


# -- uncaught --------------------------------------------------------------------------------------


async def plainly(ws: WebSocket) -> None:
    await ws.accept()
    await ws.renew(await ws.receive_text())


async def in_a_context(ws: WebSocket) -> None:
    async with ws:
        await ws.renew(await ws.receive_text())


async def in_a_task(ws: WebSocket) -> None:
    await ws.accept()
    async with asyncio.TaskGroup() as group:
        group.create_task(plainly(ws))


async def in_a_task_in_a_context(ws: WebSocket) -> None:
    async with ws, asyncio.TaskGroup() as group:
        group.create_task(plainly(ws))


BODIES = [plainly, in_a_context, in_a_task, in_a_task_in_a_context]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(("token", "detail"), [("no", BAD), ("x" * 9000, "Token over 8,192 bytes")])
async def test_uncaught_it_closes_with_4502(body: Any, token: str, detail: str) -> None:
    app = App(auth=[Tokens("ada")])

    @app.websocket("/")
    async def view(ws: WebSocket) -> None:
        await body(ws)

    async with WebSocketTestClient(app, "/?token=ada") as client:
        await client.send_text(token)
        assert await closed(client) == (4502, detail)
    assert books(app) == one_closed(4502, SERVER)  # which is no error of the view


@pytest.mark.parametrize("body", BODIES)
async def test_other_errors_of_it_are_errors_of_the_view(body: Any) -> None:
    app = App(auth=[Tokens({"1": ada(), "2": LookupError("of the database")})])

    @app.websocket("/")
    async def view(ws: WebSocket) -> None:
        await body(ws)

    client = WebSocketTestClient(app, "/?token=1", raise_app_exceptions=False)
    async with client:
        await client.send_text("2")
        assert await closed(client) == (1011, "")
    assert books(app) == one_closed(1011, SERVER, errors=1)


async def test_before_accept_it_refuses_with_401() -> None:
    app = App(auth=[Tokens("ada")])

    @app.websocket("/")
    async def view(ws: WebSocket) -> None:
        await ws.renew("no")

    assert (await refused(app, "/?token=ada")).short == (401, BAD)
    assert books(app) == one_refused(401)


async def test_before_accept_it_counts_from_accept_on() -> None:
    app = App(auth=[Tokens({"1": ada(), "2": ada(expires_at_s=time.time())})])

    @app.websocket("/")
    async def view(ws: WebSocket) -> None:
        await ws.renew("2")
        await ws.accept()
        await ws.receive()

    async with WebSocketTestClient(app, "/?token=1") as client:
        assert await closed(client) == (4003, "Token Expired")


# -- after the end ---------------------------------------------------------------------------------


async def test_after_the_end_it_holds_on_to_nothing() -> None:
    """A task that the view leaves behind may still be waiting for the backend."""
    limits = AdmissionLimits(connections_per_user=1)
    app = App(auth=[Tokens({"1": ada(expires_at_s=time.time() + 3600)})], admission=limits)
    left: list[asyncio.Task[Any]] = []
    has_ended = asyncio.Event()

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        async def later() -> None:
            await has_ended.wait()
            await ws.renew("1")
            ws.user_id = "eve"

        left.append(asyncio.create_task(later()))

    async with WebSocketTestClient(app, "/?token=1") as client:
        assert await closed(client) == (1000, "")
    await until(lambda: not app.runtime.running)
    has_ended.set()
    await left[0]

    assert_nothing_is_claimed(app)
    assert not deadlines()._tick_of
    assert books(app) == one_closed(1000, SERVER)
