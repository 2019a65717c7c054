"""HTTP routes and mounts, through Starlette's client against the real app."""

from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

from server import App, RouteError
from server.limits import AdmissionLimits
from server.testing import TestClient


class Point(msgspec.Struct):
    x: int
    y: int = 0


@pytest.fixture
def app() -> App:
    return App()


def get(app: App, path: str, method: str = "GET", **options: Any) -> Any:
    return TestClient(app, raise_server_exceptions=False).request(method, path, **options)


@pytest.mark.parametrize(
    ("result", "media_type", "body"),
    [
        ("<b>text</b>", "text/plain; charset=utf-8", b"<b>text</b>"),
        (b"\x00", "application/octet-stream", b"\x00"),
        ({"a": [1]}, "application/json", b'{"a":[1]}'),
        (Point(1), "application/json", b'{"x":1,"y":0}'),
        ([1, 2], "application/json", b"[1,2]"),
        (Response("as is", media_type="text/x"), "text/x; charset=utf-8", b"as is"),
    ],
)
def test_result_becomes_a_response(app: App, result: Any, media_type: str, body: bytes) -> None:
    @app.route("/")
    async def view(request: Request) -> Any:
        return result

    response = get(app, "/")

    assert (200, media_type, body) == (
        response.status_code,
        response.headers["content-type"],
        response.content,
    )


def test_none_is_no_content(app: App) -> None:
    @app.route("/", methods=["DELETE"])
    async def view(request: Request) -> None:
        return None

    response = get(app, "/", "DELETE")

    assert (response.status_code, response.content) == (204, b"")


def test_result_without_json_form_is_an_error_of_the_view(app: App) -> None:
    @app.route("/")
    async def view(request: Request) -> Any:
        return object()

    assert get(app, "/").status_code == 500


def test_plain_function_runs_too(app: App) -> None:
    @app.route("/{name}")
    def view(request: Request, name: str) -> str:
        return name

    assert get(app, "/ada").text == "ada"


def test_parameters_are_converted_and_refused_as_for_websockets(app: App) -> None:
    @app.route("/items/{number}")
    async def view(request: Request, number: int, limit: int) -> int:
        return number * limit

    assert get(app, "/items/2?limit=3").json() == 6
    assert get(app, "/items/two?limit=3").status_code == 400
    missing = get(app, "/items/2")
    assert missing.status_code == 422
    assert {"detail", "parameter", "in"} == set(missing.json())


def test_methods(app: App) -> None:
    @app.route("/", methods=("GET", "post"))
    async def view(request: Request) -> str:
        return request.method

    assert get(app, "/", "POST").text == "POST"
    assert get(app, "/", "HEAD").status_code == 200
    refused = get(app, "/", "PUT")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, POST")


def test_same_path_with_another_method_is_another_route(app: App) -> None:
    @app.route("/x")
    async def read(request: Request) -> str:
        return "read"

    @app.route("/x", methods=["PUT"])
    async def write(request: Request) -> str:
        return "write"

    assert (get(app, "/x").text, get(app, "/x", "PUT").text) == ("read", "write")
    with pytest.raises(RouteError, match="registered already"):
        app.route("/x", methods=["PUT"])(write)


def test_static_first_and_slash_is_significant(app: App) -> None:
    @app.route("/{name}")
    async def pattern(request: Request, name: str) -> str:
        return "pattern"

    @app.route("/me")
    async def static(request: Request) -> str:
        return "static"

    assert get(app, "/me").text == "static"
    assert get(app, "/me/").status_code == 404


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/{größe}", "/5", {"größe": "5"}),
        ("/a/{rest:path}", "/a/b%0Ac/d", {"rest": "b\nc/d"}),
        ("/a/{}/b/{}", "/a/1/b/2", {}),
        ("{}", "/anything/at/all", {}),
    ],
)
def test_patterns_match_as_for_websockets(
    app: App, pattern: str, path: str, expected: dict[str, str]
) -> None:
    @app.route(pattern)
    async def view(request: Request) -> dict[str, str]:
        return request.path_params

    assert expected == get(app, path).json()


def test_route_added_after_the_first_request_is_found(app: App) -> None:
    assert get(app, "/late").status_code == 404

    @app.route("/late")
    async def late(request: Request) -> str:
        return "here"

    assert get(app, "/late").text == "here"


# -- mounts ---------------------------------------------------------------------------------------


async def show(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI app that tells what it was called with."""
    parts = (scope["path"], scope["root_path"], scope.get("raw_path", b"").decode())
    await PlainTextResponse(" ".join(parts))(scope, receive, send)


def test_mount_strips_the_prefix(app: App) -> None:
    app.mount("/sub", show)

    assert get(app, "/sub/x").text == "/x /sub /x"
    assert get(app, "/sub").text == "/ /sub /"
    assert get(app, "/subway").status_code == 404


def test_mount_asgi_keeps_the_path(app: App) -> None:
    app.mount_asgi("/sub", show)

    assert get(app, "/sub/x").text == "/sub/x /sub /sub/x"


def test_raw_path_of_a_mount_is_cut_by_segments(app: App) -> None:
    app.mount("/ñ", show)

    assert get(app, "/%C3%B1/x%20y").text == "/x y /ñ /x%20y"


def test_route_wins_over_mount_and_longer_prefix_over_shorter(app: App) -> None:
    app.mount("/a", PlainTextResponse("short"))
    app.mount("/a/b", PlainTextResponse("long"))

    @app.route("/a/b/c")
    async def view(request: Request) -> str:
        return "route"

    assert [get(app, p).text for p in ("/a/b/c", "/a/b/d", "/a/c")] == ["route", "long", "short"]


def test_mount_at_the_root_takes_the_rest(app: App) -> None:
    app.mount("/", show)

    @app.route("/mine")
    async def mine(request: Request) -> str:
        return "mine"

    assert (get(app, "/mine").text, get(app, "/other").text) == ("mine", "/other  /other")


@pytest.fixture
def outer(app: App) -> Starlette:
    @app.route("/inside")
    async def inside(request: Request) -> str:
        return "http"

    @app.websocket_route("/inside")
    async def ws_inside(ws: Any) -> None:
        await ws.send("websocket")

    return Starlette(routes=[Route("/", PlainTextResponse("outer")), Mount("/app", app)])


def test_an_app_inside_starlette_matches_below_its_root_path(outer: Starlette) -> None:
    client = TestClient(outer)

    assert client.get("/app/inside").text == "http"
    with client.websocket_connect("/app/inside") as ws:
        assert ws.receive_text() == "websocket"


def test_a_request_may_be_as_large_as_the_limits() -> None:
    """Whatever there is against it beside that."""
    app, ran = App(admission=AdmissionLimits(url_bytes=20, header_bytes=1000)), list[str]()

    @app.route("/{number}")
    async def view(request: Request, number: int) -> None:
        ran.append("view")

    large = {"x-pad": "x" * 1000}
    url = "/" + "1" * 20
    assert get(app, url[:20]).status_code == 204
    for path, headers, status, detail in (
        (url, {}, 414, "Path and query are 21 bytes, the limit is 20"),
        ("/top?pad=" + "x" * 13, large, 414, "Path and query are 21 bytes, the limit is 20"),
        ("/top", large, 431, "The headers are "),
    ):
        answer = get(app, path, headers=headers)
        assert answer.status_code == status
        assert answer.json()["detail"].startswith(detail)
    assert ran == ["view"]
