"""Who the client is: known to providers, views, HTTP views and the registry, before they run."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from server import App, Depends, WebSocket, provider, providers, runtime
from server.auth import AllowAny, HasPermission, Identity, IsAuthenticated
from server.auth.places import Places
from server.testing import TestClient, WebSocketTestClient
from tests.server.gate_support import BAD, Tokens, closed, refused, who
from tests.server.ledger_books import until

HEADER = Places(header="x-key")
ADA = who(
    "ada",
    permissions=frozenset({"write", "read"}),
    is_staff=True,
    claims={"plan": "pro", "teams": ("a", "b")},
)
CONTEXT = {
    "user_id": "ada",
    "is_staff": True,
    "is_superuser": False,
    "auth_backend": "names",
    "auth_claims": {"plan": "pro"},
    "permissions": ["read", "write"],
}


def app_of(places: Places | None = None, **options: Any) -> App:
    backend = Tokens({"ada": ADA, "bob": who("bob")}, *([places] if places else []))
    return App(**{"auth": [backend], **options})


# -- WebSockets ------------------------------------------------------------------------------------


async def test_the_view_knows_who_it_is_before_it_accepts() -> None:
    app, found = app_of(), list[Any]()

    @app.websocket("/")
    async def view(websocket: WebSocket) -> None:
        found.extend([websocket.context, websocket.identity, websocket.user_id])
        await websocket.accept()
        await websocket.receive()

    async with WebSocketTestClient(app, "/?token=ada"):
        assert found == [CONTEXT, ADA, "ada"]
        (row,) = app.connections.list(user="ada")
        assert row.path == "/"


async def test_nobody_has_an_empty_context() -> None:
    app, found = app_of(), list[Any]()

    @app.websocket("/")
    async def view(websocket: WebSocket) -> None:
        found.extend([dict(websocket.context), websocket.identity, websocket.user_id])
        websocket.context["own"] = 1
        await websocket.accept()

    for _ in range(2):
        async with WebSocketTestClient(app, "/"):
            pass
    assert found == [{}, None, None] * 2


@pytest.mark.parametrize("user", ["bob", None])
async def test_without_permissions_the_context_has_none(user: str | None) -> None:
    app, found = App(auth=[Tokens({"x": who(user)})], guards=[IsAuthenticated()]), list[Any]()

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        found.extend([ws.context, ws.user_id, ws.identity])

    async with WebSocketTestClient(app, "/?token=x"):
        pass
    context = {name: value for name, value in CONTEXT.items() if name != "permissions"}
    context |= {"user_id": user, "is_staff": False, "auth_claims": {}}
    assert found == [context, user, who(user)]


async def test_providers_know_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    store = providers.ProviderStore()  # so that nothing is declared for other tests
    for module in (providers, runtime):
        monkeypatch.setattr(module, "STORE", store)
    app, found = app_of(), list[Any]()

    @provider
    def greeting(ws: WebSocket) -> str:
        found.append(ws.state)
        return f"Hello {ws.user_id}, {ws.context.get('auth_backend')}"

    async def may_write(ws: WebSocket) -> bool:
        return ws.identity is not None and "write" in ws.identity.permissions

    @app.websocket_route("/")
    async def view(ws: WebSocket, greeting: str, writes: Any = Depends(may_write)) -> None:
        await ws.send_json([greeting, writes])

    async with WebSocketTestClient(app, "/?token=ada") as client:
        assert await client.receive_json() == ["Hello ada, names", True]
    async with WebSocketTestClient(app, "/") as client:
        assert await client.receive_json() == ["Hello None, None", False]
    assert found == [0, 0]


async def test_what_a_user_may_be_has_room_in_the_registry() -> None:
    longest = "é" * 32
    app = App(auth=[Tokens({"x": who(longest)})])

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        await ws.receive()

    async with WebSocketTestClient(app, "/?token=x"):
        await until(lambda: app.connections.count(user=longest) == 1)


async def test_the_context_is_each_connections_own() -> None:
    app = app_of()

    @app.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        await ws.receive()
        ws.context["auth_claims"]["plan"] = "free"
        ws.context["permissions"].append("all")
        await ws.send_json(ws.context)

    async with (
        WebSocketTestClient(app, "/?token=ada") as one,
        WebSocketTestClient(app, "/?token=ada") as other,
    ):
        for client in (one, other):
            await client.send_text("go")
            context = await client.receive_json()
            assert context["permissions"] == ["read", "write", "all"]
    assert ADA.context() == CONTEXT


# -- HTTP ------------------------------------------------------------------------------------------


def tell(request: Request) -> Any:
    identity: Identity | None = request.state.identity
    return [request.state.context, identity and identity.user_id]


async def tell_async(request: Request) -> Any:
    return tell(request)


@pytest.mark.parametrize("view", [tell, tell_async])
def test_an_http_view_knows_who_it_is(view: Any) -> None:
    app = app_of(HEADER)
    app.route("/")(view)
    app.route("/strict", guards=[HasPermission("write")])(view)
    app.route("/public", guards=[AllowAny()])(view)
    app.route("/open", auth=[], guards=[])(view)
    client = TestClient(app)

    def answer(path: str, key: str | None) -> Any:
        got = client.get(path, headers={} if key is None else {"x-key": key})
        return got.json() if got.status_code == 200 else (got.status_code, got.json()["detail"])

    assert answer("/", "ada") == [CONTEXT, "ada"]
    assert answer("/", None) == [{}, None]
    assert answer("/", "no") == (401, BAD)
    assert answer("/strict", "ada") == [CONTEXT, "ada"]
    assert answer("/strict", "bob") == (403, "Permission denied")
    assert answer("/strict", None) == (401, "Authentication required")
    assert answer("/public", "no") == [{}, None]
    assert answer("/open", "no") == [{}, None]


def test_a_request_that_is_refused_is_told_how_to_come_in() -> None:
    app, ran = app_of(HEADER, guards=[IsAuthenticated()]), list[str]()

    def unused() -> None:
        ran.append("provider")

    @app.route("/{number}")
    async def view(request: Request, number: int, value: Any = Depends(unused)) -> None:
        ran.append("view")

    client = TestClient(app)
    nobody, bad = client.get("/top"), client.get("/top", headers={"x-key": "no"})
    assert (nobody.status_code, nobody.headers["www-authenticate"]) == (401, "Bearer")
    assert nobody.headers["content-type"] == "application/json"
    assert bad.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert client.get("/top", headers={"x-key": "ada"}).status_code == 400
    assert ran == []


def test_a_token_in_the_query_is_none_of_a_request() -> None:
    app = app_of(Places(header="x-key", query_param="token"))
    app.route("/")(tell)
    assert TestClient(app).get("/?token=ada").json() == [{}, None]


def test_head_is_asked_as_get_is_and_405_comes_first() -> None:
    app, ran = app_of(HEADER, guards=[IsAuthenticated()]), list[str]()

    @app.route("/", methods=["GET", "PUT"])
    def view(request: Request) -> str:
        ran.append(request.method)
        return "text"

    client = TestClient(app)
    assert client.head("/").status_code == 401
    wrong = client.post("/")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "GET, HEAD, PUT")
    assert client.put("/", headers={"x-key": "no"}).status_code == 401
    assert ran == []
    answer = client.head("/", headers={"x-key": "ada"})
    assert (answer.status_code, ran) == (200, ["HEAD"])


def test_two_views_of_one_path_have_guards_of_their_own() -> None:
    app = app_of(HEADER)
    app.route("/", guards=[AllowAny()])(lambda request: "read")
    app.route("/", methods=["POST"], guards=[IsAuthenticated()])(lambda request: "written")
    client = TestClient(app)
    assert client.get("/").text == "read"
    assert client.post("/").status_code == 401
    assert client.post("/", headers={"x-key": "bob"}).text == "written"


async def test_what_is_mounted_asks_by_itself() -> None:
    """The app's backends and guards are for its routes; a mounted app has its own."""
    app, inner = app_of(guards=[IsAuthenticated()]), App(auth=[Tokens("eve")])
    other = Starlette(routes=[Route("/", lambda request: PlainTextResponse("mounted"))])

    @inner.websocket_route("/")
    async def view(ws: WebSocket) -> None:
        await ws.send(str(ws.user_id))

    app.mount("/inner", inner)
    app.mount("/other", other)

    assert TestClient(app).get("/other/").text == "mounted"
    async with WebSocketTestClient(app, "/inner/?token=eve") as client:
        assert await client.receive_text() == "eve"
        assert await closed(client) == (1000, "")
    assert (await refused(app, "/inner/?token=ada")).short == (401, BAD)
