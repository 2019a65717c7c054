"""The steps before a view, in order: who fails two of them gets the answer of the earlier one."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest

from server import App, Depends, WebSocket, WebSocketClose, rate_limit
from server.auth import AuthenticationFailed, Identity
from server.limits import AdmissionLimits
from server.testing import HandshakeRejected, WebSocketTestClient
from tests.server.gate_support import ONCE, Tokens, assert_nothing_is_claimed, limited, refused, who
from tests.server.ledger_books import counters, give_room

ROUTE = "/club/{floor}"

CODE_OF_STEP = {"authentication": "backend", "guards": "guard", "providers": "first provider"}
"""Which of the app's code runs when a step is taken, first of all."""


class Fault:
    """One way to fail a step.

    Args:
        status, detail: of the answer; the detail may be its start alone.
        limit: that is counted.
    """

    def __init__(self, step: str, status: int, detail: str, limit: str | None = None) -> None:
        self.step = step
        self.status = status
        self.detail = detail
        self.limit = limit

    def __repr__(self) -> str:
        return self.limit or self.step


FAULTS = [
    Fault("draining", 503, "The server is about to stop"),
    Fault("rows", 503, "The worker has 1 connections"),
    Fault("handshakes", 503, "The server takes 0.001 handshakes a second", "handshake_rate"),
    Fault("places", 503, "The server has 1 connections", "connections"),
    Fault("url", 414, "Path and query are ", "url_size"),
    Fault("headers", 431, "The headers are ", "header_size"),
    Fault("route", 403, "No WebSocket route for this path"),
    Fault("address", 429, "There are 1 connections of your address", "connections_per_ip"),
    Fault("handshake", 400, "the handshake needs one valid Host header"),
    Fault("origin", 403, "Origin not allowed"),
    Fault("rate by address", 429, "Rate limit exceeded", "rate_limit"),
    Fault("authentication", 401, "Not today"),
    Fault("guards", 403, "Permission denied"),
    Fault("rate by user", 429, "Rate limit exceeded", "rate_limit"),
    Fault("user", 429, "there are 1 connections of this user", "connections_per_user"),
    Fault("parameters", 400, "path parameter 'floor'"),
    Fault("providers", 403, "members only"),
    Fault("accept", 503, "The server is about to stop"),
]
STEPS = [fault.step for fault in FAULTS]


class Club:
    """An app with all of the steps, in which some are failed by whoever is no longer the first.

    Attributes:
        ran: which of the app's code has run.
    """

    def __init__(self, *faults: Fault) -> None:
        self.fails = {fault.step for fault in faults}
        self.is_first = True
        self.ran: list[str] = []
        one = self._one
        self.app = App(
            admission=AdmissionLimits(
                connections=one("places"),
                connections_per_ip=one("address"),
                connections_per_user=one("user"),
                handshakes_per_s=ONCE if "handshakes" in self.fails else None,
                url_bytes=100 if "url" in self.fails else 65_536,
                header_bytes=1000 if "headers" in self.fails else 32_768,
            ),
            auth=[self],
            guards=[self._guard],
        )
        self.app.websocket_route(ROUTE)(self._view())
        if "rows" in self.fails:
            give_room(self.app, 1)

    places = Tokens({}).places

    async def identify(self, token: str) -> Identity:
        self.ran.append("backend")
        if self.is_failed("authentication"):
            raise AuthenticationFailed("Not today")
        return who(token)

    def is_failed(self, step: str) -> bool:
        return not self.is_first and step in self.fails

    def _one(self, step: str) -> int | None:
        return 1 if step in self.fails else None

    def _guard(self, identity: Identity) -> bool:
        self.ran.append("guard")
        return not self.is_failed("guards")

    def _view(self) -> Callable[..., Any]:
        def first() -> None:
            self.ran.append("first provider")
            if self.is_failed("accept"):
                self.app.runtime.is_refusing = True

        def second() -> None:
            if self.is_failed("providers"):
                raise WebSocketClose(1008, "members only")

        async def view(
            ws: WebSocket, floor: int, one: Any = Depends(first), two: Any = Depends(second)
        ) -> None:
            self.ran.append("view")
            await ws.send("welcome")
            await ws.receive()

        for step, key in (("rate by address", "ip"), ("rate by user", "user")):
            if step in self.fails:
                view = rate_limit(rps=ONCE, burst=1, key=key)(view)
        return view

    def second(self) -> tuple[str, dict[str, str]]:
        """Return the path and the headers of who comes second."""
        self.is_first = False
        self.ran.clear()
        if self.is_failed("draining"):
            self.app.runtime.is_refusing = True
        path = "/club/top" if self.is_failed("parameters") else "/club/3"
        if self.is_failed("route"):
            path = "/nowhere"
        query = "?token=ada" + "&pad=" * 50 if self.is_failed("url") else "?token=ada"
        headers = {"host": "bad host"} if self.is_failed("handshake") else {}
        if self.is_failed("headers"):
            headers["x-pad"] = "x" * 2000
        if self.is_failed("origin"):
            headers["origin"] = "https://evil.example"
        return path + query, headers


async def test_who_fails_no_step_comes_in() -> None:
    club = Club()
    async with WebSocketTestClient(club.app, "/club/3?token=ada") as first:
        assert await first.receive_text() == "welcome"
        path, headers = club.second()
        async with WebSocketTestClient(club.app, path, headers) as second:
            assert await second.receive_text() == "welcome"
    assert club.ran == ["backend", "guard", "first provider", "view"]


@pytest.mark.parametrize(
    "faults", [(fault,) for fault in FAULTS] + list(combinations(FAULTS, 2)), ids=repr
)
async def test_the_earlier_step_answers(faults: tuple[Fault, ...]) -> None:
    club, first_fault = Club(*faults), faults[0]
    async with WebSocketTestClient(club.app, "/club/3?token=ada") as first:
        assert await first.receive_text() == "welcome"
        path, headers = club.second()
        answer = await refused(club.app, path, headers=headers)

    assert answer.status == first_fault.status
    assert answer.detail.startswith(first_fault.detail)
    reached = STEPS[: STEPS.index(first_fault.step) + 1]
    assert club.ran == [CODE_OF_STEP[step] for step in reached if step in CODE_OF_STEP]
    route = "unmatched" if "route" in club.fails and first_fault.step in STEPS[:7] else ROUTE
    assert limited(club.app, route) == ({first_fault.limit: 1} if first_fault.limit else {})
    assert sum(counters(club.app, route).refused) == 1
    assert_nothing_is_claimed(club.app)


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
async def test_a_host_that_can_say_nothing_else_says_403(fault: Fault) -> None:
    """It is told to close before accept, with nothing after it."""
    club = Club(fault)
    async with WebSocketTestClient(club.app, "/club/3?token=ada"):
        path, headers = club.second()
        client = WebSocketTestClient(
            club.app, path, headers, denial_response=False, raise_app_exceptions=False
        )
        with pytest.raises(HandshakeRejected) as caught:
            await client.__aenter__()
    assert (caught.value.status_code, caught.value.body) == (403, b"")
    assert client._from_app.qsize() == 1  # its end
    assert "view" not in club.ran
    route = "unmatched" if fault.step == "route" else ROUTE
    segment = club.app.runtime.ledger.segment
    assert counters(club.app, route).refused[segment.status_index(403)] == 1
    assert_nothing_is_claimed(club.app)


@pytest.mark.parametrize(
    "step", ["draining", "rows", "handshakes", "places", "address", "user", "accept"]
)
async def test_who_may_come_later_is_told_when(step: str) -> None:
    club = Club(*(fault for fault in FAULTS if fault.step == step))
    async with WebSocketTestClient(club.app, "/club/3?token=ada"):
        path, headers = club.second()
        answer = await refused(club.app, path, headers=headers)
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("step", ["rate by address", "rate by user"])
async def test_a_rate_limit_tells_when_the_next_one_may_come(step: str) -> None:
    club = Club(*(fault for fault in FAULTS if fault.step == step))
    async with WebSocketTestClient(club.app, "/club/3?token=ada"):
        path, headers = club.second()
        answer = await refused(club.app, path, headers=headers)
    assert 900 < int(answer.headers["retry-after"]) <= 1000
    assert answer.headers["x-ratelimit-limit"] == "0.001"
    assert answer.headers["x-ratelimit-burst"] == "1"


async def test_what_is_refused_early_spends_nothing_of_what_comes_later() -> None:
    """A page of a stranger does not use up the rate limit of the address it is visited from."""
    app = App(auth=[Tokens("ada")])

    @app.websocket_route("/")
    @rate_limit(rps=ONCE, burst=1, key="user")
    @rate_limit(rps=ONCE, burst=1, key="ip")
    async def view(ws: WebSocket) -> None:
        await ws.send("in")

    stranger = {"origin": "https://evil.example"}
    assert (await refused(app, "/?token=ada", headers=stranger)).status == 403
    assert (await refused(app, "/?token=bob")).status == 401  # spends one of the address
    assert (await refused(app, "/?token=ada")).status == 429
    assert limited(app) == {"rate_limit": 1}


async def test_who_has_no_identity_is_counted_by_address() -> None:
    app = App(auth=[Tokens("ada bob")])

    @app.websocket_route("/")
    @rate_limit(rps=ONCE, burst=1, key="user")
    async def view(ws: WebSocket) -> None:
        await ws.send(str(ws.user_id))

    for path in ("/", "/?token=ada", "/?token=bob"):
        async with WebSocketTestClient(app, path) as client:
            await client.receive_text()
        assert (await refused(app, path)).status == 429


async def test_a_rate_by_key_counts_only_who_came_with_an_api_key() -> None:
    keys = {"of-ada": who("apikey:ada", backend="api_key"), "ada": who("apikey:ada")}
    app = App(auth=[Tokens(keys)])

    @app.websocket_route("/")
    @rate_limit(rps=ONCE, burst=1, key="api_key")
    async def view(ws: WebSocket) -> None:
        await ws.send("in")

    for path in ("/?token=of-ada", "/?token=ada"):  # the second by its address
        async with WebSocketTestClient(app, path) as client:
            await client.receive_text()
    assert (await refused(app, "/?token=of-ada")).status == 429
    assert (await refused(app)).status == 429


async def test_limits_of_user_count_without_authentication_too() -> None:
    app = App()

    @app.websocket_route("/")
    @rate_limit(rps=ONCE, burst=1, key="user")
    async def view(ws: WebSocket) -> None:
        await ws.send("in")

    async with WebSocketTestClient(app, "/") as client:
        await client.receive_text()
    assert (await refused(app)).status == 429
