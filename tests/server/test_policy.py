"""What an app asks of its clients, by route: what it says itself, and what it leaves to the app."""

from typing import Any

import pytest

from server import App, RouteError, Router, TooManyRooms, WebSocket, rate_limit
from server.auth.places import Places
from server.limits import ConnectionLimits
from server.policy import Policy
from server.testing import HandshakeRejected, TestClient, WebSocketTestClient
from server.transport import TransportLimits
from tests.server.gate_support import ONCE, Tokens, closed, limited, refused

PARTNER = {"origin": "https://partner.example"}
STRANGER = {"origin": "https://evil.example"}
OURS = {"origin": "http://testserver"}


async def view(ws: WebSocket) -> None:
    await ws.send("in")


def once(key: str = "ip") -> Any:
    """Return a view of its own that one client may ask for once."""

    @rate_limit(rps=ONCE, burst=1, key=key)
    async def limited_view(ws: WebSocket) -> None:
        await view(ws)

    return limited_view


def test_a_route_has_one_gate_in_an_app() -> None:
    router = Router()
    router.websocket_route("/")(view)
    router.route("/")(lambda request: "text")
    one, other = App(), App()
    for app in (one, other):
        app.include_router(router)
    for routes in ("websocket_list", "http_list"):
        gates = []
        for app in (one, other):
            (route,) = getattr(app, routes)
            gate = app.runtime.policy.gate(route)
            assert app.runtime.policy.gate(route) is gate
            gates.append(gate)
        assert gates[0] is not gates[1]


async def test_origins_of_a_route_stand_in_place_of_the_apps() -> None:
    app = App(allowed_origins=["https://partner.example"])
    app.websocket_route("/default")(view)
    app.websocket_route("/none", allowed_origins=[])(view)
    app.websocket_route("/all", allowed_origins=["*"])(view)
    expected = {
        "/default": (True, True, False),
        "/none": (True, False, False),
        "/all": (True, True, True),
    }
    for path, answers in expected.items():
        for headers, comes_in in zip((OURS, PARTNER, STRANGER), answers, strict=True):
            if comes_in:
                async with WebSocketTestClient(app, path, headers):
                    pass
            else:
                answer = await refused(app, path, headers=headers)
                assert answer.short == (403, "Origin not allowed")


def test_an_origin_is_none_of_a_requests() -> None:
    """It reads no answer that it is not let to, which is a matter of CORS."""
    app = App()
    app.route("/")(lambda request: "text")
    assert TestClient(app).get("/", headers=STRANGER).text == "text"


async def test_limits_of_a_route_stand_in_place_of_the_apps_as_a_whole() -> None:
    app = App(limits=ConnectionLimits(rooms=1, messages_per_s=ONCE))

    @app.websocket_route("/default")
    @app.websocket_route("/own", limits=ConnectionLimits(rooms=2))
    async def joins(ws: WebSocket) -> None:
        async for room in ws:
            await ws.join(room)
            await ws.send(str(len(ws.rooms)))

    async with WebSocketTestClient(app, "/own") as client:
        for number, room in enumerate(("a", "b", "b"), 1):
            await client.send_text(room)
            assert await client.receive_text() == str(min(number, 2))
        await client.send_text("c")
        assert await closed(client) == (1008, "a connection may be in 2 rooms, the limit")
    assert limited(app, "/own") == {"rooms": 1}
    async with WebSocketTestClient(app, "/default") as client:
        await client.send_text("a")
        await client.receive_text()
        await client.send_text("a")
        assert (await closed(client))[0] == 1008
    assert limited(app, "/default") == {"message_rate": 1}


async def test_a_view_may_catch_that_there_are_too_many_rooms() -> None:
    app = App(limits=ConnectionLimits(rooms=1))

    @app.websocket_route("/")
    async def joins(ws: WebSocket) -> None:
        await ws.join("a")
        with pytest.raises(TooManyRooms):
            await ws.join("b")
        await ws.leave("a")
        await ws.join("b")
        await ws.send(str(sorted(ws.rooms)))

    async with WebSocketTestClient(app, "/") as client:
        assert await client.receive_text() == "['b']"


async def test_rates_are_counted_for_each_route_of_each_app() -> None:
    limited_view = once()
    router = Router()
    router.websocket_route("/one")(limited_view)
    router.websocket_route("/other")(limited_view)
    for app in (App(), App()):
        app.include_router(router)
        app.include_router(router, "/again")
        for path in ("/one", "/other", "/again/one"):
            async with WebSocketTestClient(app, path) as client:
                assert await client.receive_text() == "in"
            assert (await refused(app, path)).status == 429


def test_a_request_has_a_rate_too() -> None:
    app = App()

    @app.route("/")
    @rate_limit(rps=ONCE, burst=1)
    def http(request: Any) -> str:
        return "text"

    client = TestClient(app)
    assert client.get("/").text == "text"
    answer = client.get("/")
    assert (answer.status_code, answer.json()) == (429, {"detail": "Rate limit exceeded"})
    assert 900 < int(answer.headers["retry-after"]) <= 1000


def test_a_rate_of_a_request_may_count_by_user_or_by_a_header() -> None:
    app = App(auth=[Tokens("ada bob", Places(header="x-key"))])

    @app.route("/user")
    @rate_limit(rps=ONCE, burst=1, key="user")
    def by_user(request: Any) -> str:
        return "text"

    @app.route("/header")
    @rate_limit(rps=ONCE, burst=1, key="X-Tenant")
    def by_header(request: Any) -> str:
        return "text"

    client = TestClient(app)
    for path, name in (("/user", "x-key"), ("/header", "x-tenant")):
        for headers in ({name: "ada"}, {name: "bob"}, {}):
            statuses = [client.get(path, headers=headers).status_code for _ in range(2)]
            assert statuses == [200, 429]


async def test_a_rate_by_a_header_counts_by_address_where_it_is_missing() -> None:
    app = App()
    app.websocket_route("/")(once("x-tenant"))
    for headers in ({"x-tenant": "a"}, {"x-tenant": "b"}, {}):
        async with WebSocketTestClient(app, "/", headers):
            pass
        assert (await refused(app, headers=headers)).status == 429
    assert limited(app) == {"rate_limit": 3}


async def test_a_client_without_an_address_is_one_like_others_without() -> None:
    app = App()
    app.websocket_route("/")(once())
    for comes_in in (True, False):
        client = WebSocketTestClient(app, "/")
        client.scope["client"] = None
        if comes_in:
            async with client:
                assert await client.receive_text() == "in"
        else:
            with pytest.raises(HandshakeRejected, match="429"):
                await client.__aenter__()


@pytest.mark.parametrize("origins", ["*", ["nosuch"], [7]])
def test_origins_that_can_be_none_are_found_when_they_are_given(origins: Any) -> None:
    with pytest.raises(RouteError, match="route '/': allowed_origins: "):
        App().websocket_route("/", allowed_origins=origins)(view)
    with pytest.raises(ValueError, match="allowed origin"):
        App(allowed_origins=origins)


async def test_what_is_configured_takes_the_place_of_what_the_app_says() -> None:
    app = App(limits=ConnectionLimits(rooms=5, lifetime_s=9))
    app.configure(TransportLimits(), limits={"rooms": 1, "lifetime_s": None})
    assert app.runtime.policy.limits == ConnectionLimits(rooms=1, lifetime_s=9)
    with pytest.raises(ValueError, match="limit rooms=0"):
        app.configure(TransportLimits(), limits={"rooms": 0})


async def test_what_is_configured_is_a_ceiling_for_the_limits_of_a_route() -> None:
    app = App(limits=ConnectionLimits(rooms=1))
    own = ConnectionLimits(rooms=7, lifetime_s=9, bytes_per_s=5, on_rate="drop")
    app.websocket_route("/", limits=own)(view)
    given = {"rooms": 9, "lifetime_s": 3, "idle_timeout_s": 4, "on_rate": "disconnect"}
    app.configure(TransportLimits(), limits={**given, "bytes_per_s": None})
    gate = app.runtime.policy.gate(app.websocket_list[0])
    assert gate.limits == ConnectionLimits(
        rooms=7, lifetime_s=3, bytes_per_s=5, idle_timeout_s=4, on_rate="drop"
    )


def test_proxies_that_are_none_are_refused() -> None:
    assert Policy().proxies is None
    assert Policy(proxies=["10.0.0.0/8"]).proxies is not None
    with pytest.raises(ValueError, match="'nosuch' is no address"):
        Policy(proxies=["nosuch"])
    policy = Policy(proxies=["10.0.0.0/8"])
    policy.trust([])
    assert policy.proxies is None


async def test_who_a_trusted_proxy_speaks_for_is_counted_and_shown() -> None:
    app = App(trusted_proxies=["192.0.2.1"])

    @app.websocket_route("/")
    @rate_limit(rps=ONCE, burst=1, key="ip")
    async def tell(ws: WebSocket) -> None:
        assert ws.client is not None
        await ws.send(ws.client.host)

    for address in ("198.51.100.1", "198.51.100.2"):
        client = WebSocketTestClient(app, "/", {"x-forwarded-for": address})
        client.scope["client"] = ("192.0.2.1", 5000)
        async with client:
            assert await client.receive_text() == address
    again = WebSocketTestClient(app, "/", {"x-forwarded-for": "198.51.100.1"})
    again.scope["client"] = ("192.0.2.1", 5000)
    with pytest.raises(HandshakeRejected, match="429"):
        await again.__aenter__()
