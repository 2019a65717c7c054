"""Owns how tests of the gate visit an app: backends made of names, answers, and what must be left.

It knows no step of the gate.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from server import App, Depends, WebSocket
from server.auth import AuthenticationFailed, Identity, IsAuthenticated
from server.auth.places import Places
from server.limits import LIMITS
from server.testing import HandshakeRejected, WebSocketTestClient
from tests.server.ledger_books import counters

QUERY = Places(header=None, query_param="token")
FIRST = Places(header=None, query_param="token", first_message_s=30)
BAD = "Nobody's token"
ONCE = 0.001
"""A rate a second at which one may come, and the next after a quarter of an hour."""

Worth = Identity | BaseException


def who(user: str | None, **more: Any) -> Identity:
    return Identity(**{"backend": "names", "user_id": user, **more})


class Tokens:
    """A backend that knows what each token is worth; all others are no good.

    Attributes:
        worth: of each token: an identity, or what is raised.
        seen: the tokens that it was asked for, in order.
    """

    def __init__(self, worth: Mapping[str, Worth] | str, places: Places = QUERY) -> None:
        names = {name: who(name) for name in worth.split()} if isinstance(worth, str) else worth
        self.worth: dict[str, Worth] = dict(names)
        self.places = places
        self.seen: list[str] = []

    async def identify(self, token: str) -> Identity:
        self.seen.append(token)
        worth = self.worth.get(token, AuthenticationFailed(BAD))
        if isinstance(worth, BaseException):
            raise worth
        return worth


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Door:
    """An app whose one route takes a token from the first message.

    Attributes:
        ran: what of the app's code has run.
        seen: what the view knew of its client when it began.
    """

    def __init__(
        self, worth: Any = "ada bob", places: Places = FIRST, app: App | None = None, **options: Any
    ) -> None:
        self.app = app or App()
        self.backend = Tokens(worth, places)
        self.ran: list[str] = []
        self.seen: list[Any] = []

        def unused() -> None:
            self.ran.append("provider")

        async def view(ws: WebSocket, number: int = 0, value: Any = Depends(unused)) -> None:
            self.ran.append("view")
            self.seen.append((ws.user_id, ws.context.get("auth_backend"), ws.state, ws.id))
            await ws.accept()
            await ws.send(f"Welcome {ws.user_id}")
            async for text in ws.iter_text():
                await ws.send(text)

        options = {"auth": [self.backend], "guards": [IsAuthenticated()], **options}
        self.app.websocket_route("/", **options)(view)

    def client(self, path: str = "/", **options: Any) -> WebSocketTestClient:
        return WebSocketTestClient(self.app, path, **options)

    async def let_in(self, client: WebSocketTestClient, token: str = "ada") -> None:
        await client.send_text(token)
        assert await client.receive_text() == f"Welcome {token}"


class Answer(NamedTuple):
    """What a client that is refused sees."""

    status: int
    detail: str
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed

    @property
    def short(self) -> tuple[int, str]:
        return self.status, self.detail


async def refused(app: App, path: str = "/", **options: Any) -> Answer:
    """Connect; returns how that is refused, which it must be, with nothing in the answer but this.

    What the app raises into its host is not of interest.
    """
    try:
        async with WebSocketTestClient(app, path, raise_app_exceptions=False, **options):
            pass
    except HandshakeRejected as rejected:
        body = json.loads(rejected.body) if rejected.body else {"detail": ""}
        assert body.keys() <= {"detail", "parameter", "in", "subprotocols"}
        return Answer(rejected.status_code, body["detail"], rejected.headers)
    raise AssertionError("the handshake was accepted")


async def closed(client: WebSocketTestClient) -> tuple[int, str]:
    """Return the code and reason of the close frame, which must be next."""
    event = await client.receive()
    assert event["type"] == "websocket.close", event
    return event["code"], event.get("reason", "")


def limited(app: App, route: str = "/") -> dict[str, int]:
    """Return what limits have stopped on a route."""
    found = counters(app, route).limited
    assert not any(found[len(LIMITS) :])
    return {limit: count for limit, count in zip(LIMITS, found, strict=False) if count}


def assert_nothing_is_claimed(app: App) -> None:
    """All places have been given back, and nothing is kept of who had them."""
    runtime = app.runtime
    assert not runtime.running
    assert runtime.ledger.connections() == 0
    own = runtime.ledger.tallies._own
    assert own.tobytes().count(0) == own.nbytes
    admission = runtime.admission
    assert (admission._places, admission._addresses, admission._users) == (0, {}, {})
