"""Which view a path reaches: patterns, their order, routers, mounts and middleware."""

import contextlib
from typing import Any

from server import App, BoltAPI, ExpectedAsync, RouteError, Router, WebSocket
from tests.conformance.base import app, note
from tests.conformance.steps import (
    ANY_REASON,
    Closed,
    Denied,
    Gets,
    GetsJson,
    Leaves,
    Sends,
    case,
)


def _view(text: str) -> Any:
    async def view(ws: WebSocket) -> None:
        await ws.send_text(f"{text} {dict(ws.path_params)}")

    return view


def _route(pattern: str, text: str, router: Router = app) -> None:
    router.websocket_route(pattern)(_view(text))


# The pattern comes first, so that the order alone would choose it.
_route("/order/{name}", "pattern")
_route("/order/static", "static")
_route("/order/{name}/{more}", "two")
_route("/order/{first}/x", "never: the pattern before matches the same paths")
_route("/slash/with/", "with slash")
_route("/slash/without", "without slash")
_route("no-leading-slash", "no leading slash")
_route("/literal/a.b", "literal")
_route("/files/{folder}/{rest:path}", "files")
_route("/anything/{}", "anything")
_route("/mixed/v{version}-{name}", "mixed")


@app.route("/only-http")
async def only_http(request: Any) -> str:
    return "http"


# -- routers ---------------------------------------------------------------------------------------

router = Router()
inner = Router()
_route("/hello", "router", router)
_route("/hello", "inner", inner)
router.include_router(inner, "/inner")
app.include_router(router, "/router")
_route("/later/{name}", "later", router)
_route("/later", "inner later", inner)


@router.websocket("/bolt", value_type="json")
async def router_bolt(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send([await websocket.receive(), websocket.auto_accept])


# -- mounts ----------------------------------------------------------------------------------------


def _asgi(name: str) -> Any:
    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        """A foreign ASGI app, which tells what it sees."""
        await receive()
        await send({"type": "websocket.accept"})
        raw = scope.get("raw_path", b"").decode()
        text = f"{name} path={scope['path']} root_path={scope['root_path']} raw_path={raw}"
        await send({"type": "websocket.send", "text": text})
        await send({"type": "websocket.close", "code": 4000})

    return mounted


class Stateful:
    """Echoes until the peer leaves, as a foreign framework does."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while True:
            event = await receive()
            if event["type"] == "websocket.connect":
                await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0]})
            elif event["type"] == "websocket.receive":
                await send({"type": "websocket.send", "text": event["text"]})
            else:
                return


mounted_app = App()
_route("/echo", "mounted app", mounted_app)

app.mount("/stripped", _asgi("stripped"))
app.mount("/stripped/deeper", _asgi("deeper"))
app.mount_asgi("/kept", _asgi("kept"))
app.mount("/foreign", Stateful())
app.mount("/app", mounted_app)
_route("/stripped/own", "route before mount")


# -- registration, told over a socket --------------------------------------------------------------


def _attempt(register: Any) -> str:
    try:
        register()
    except Exception as error:
        return type(error).__name__
    return "ok"


@app.websocket_route("/registration", send_type="json")
async def registration(ws: WebSocket) -> None:
    scratch = App()

    async def view(ws: WebSocket) -> None: ...

    def sync_view(ws: WebSocket) -> None: ...

    results = {
        "returns the function": scratch.websocket_route("/a")(view) is view,
        "returns the function (bolt)": scratch.websocket("/b")(view) is view,
        "sync": _attempt(lambda: scratch.websocket_route("/c")(sync_view)),
        "sync (bolt)": _attempt(lambda: scratch.websocket("/c")(sync_view)),
        "duplicate": _attempt(lambda: scratch.websocket_route("/a")(view)),
        "duplicate over decorators": _attempt(lambda: scratch.websocket("/a")(view)),
        "first pattern": _attempt(lambda: scratch.websocket("/p/{x}")(view)),
        "same shape": _attempt(lambda: scratch.websocket("/p/{y}")(view)),
        "other shape": _attempt(lambda: scratch.websocket("/p/{y}/")(view)),
        "converter": _attempt(lambda: scratch.websocket("/q/{y:int}")(view)),
        "unbalanced": _attempt(lambda: scratch.websocket("/q/{y")(view)),
        "value type": _attempt(lambda: scratch.websocket_route("/q", value_type="xml")(view)),
        "codes": _attempt(lambda: scratch.websocket_route("/q", caught_close_codes=any)(view)),
        "positional": _attempt(lambda: scratch.websocket_route("/q", False)(view)),  # type: ignore[call-arg]
        "prefix": _attempt(lambda: scratch.include_router(Router(), "x/")),
        "types": [issubclass(ExpectedAsync, TypeError), issubclass(RouteError, ValueError)],
        "alias": BoltAPI is App,
    }
    await ws.send(results)


# -- middleware ------------------------------------------------------------------------------------


@app.websocket_route("/wrapped/echo")
async def wrapped_echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@app.websocket("/wrapped/iterate")
async def wrapped_iterate(ws: WebSocket) -> None:
    await ws.accept()
    async for message in ws.iter_text():
        await ws.send_text(message)
    note(ws, f"after: {ws.close_code}")


@app.websocket_route("/wrapped/many")
async def wrapped_many(ws: WebSocket) -> None:
    for number in range(600):
        await ws.send(str(number))
    await ws.close(4000, "all sent")


@app.websocket_route("/wrapped/raises")
async def wrapped_raises(ws: WebSocket) -> None:
    await ws.send("before")
    with contextlib.suppress(KeyError):
        raise ValueError("boom")


@app.websocket("/wrapped/rejects")
async def wrapped_rejects(ws: WebSocket) -> None:
    await ws.reject()


MOUNTED = "path={} root_path={} raw_path={}"

CASES = [
    case("static-before-pattern", "C26", "/order/static", Gets("static {}"), Closed(1000)),
    case("pattern", "C26; S1.5", "/order/x", Gets("pattern {'name': 'x'}"), Closed(1000)),
    case(
        "pattern-order", "C26", "/order/a/x", Gets("two {'name': 'a', 'more': 'x'}"), Closed(1000)
    ),
    case("pattern-one-segment", "C26", "/order/a/b/c", Denied(403)),
    case("slash-with", "C26", "/slash/with/", Gets("with slash {}"), Closed(1000)),
    case("slash-missing", "C26; C25", "/slash/with", Denied(403)),
    case("slash-without", "C26", "/slash/without", Gets("without slash {}"), Closed(1000)),
    case("slash-added", "C26; C25", "/slash/without/", Denied(403)),
    case("no-leading-slash", "C26", "/no-leading-slash", Gets("no leading slash {}")),
    case("literal-dot", "C26", "/literal/a.b", Gets("literal {}"), Closed(1000)),
    case("literal-dot-is-no-wildcard", "C26; C25", "/literal/axb", Denied(403)),
    case("case-sensitive", "C25", "/Literal/a.b", Denied(403)),
    case("rest", "S1.5", "/files/f/a/b", Gets("files {'folder': 'f', 'rest': 'a/b'}")),
    case("anonymous", "S1.5", "/anything/a/b", Gets("anything {}"), Closed(1000)),
    case("mixed-segment", "S1.5", "/mixed/v2-x", Gets("mixed {'version': '2', 'name': 'x'}")),
    case(
        "unknown-path",
        "S1.4; C25; S1.3",
        "/nowhere",
        Denied(403, '{"detail":"No WebSocket route for this path"}'),
    ),
    case("unknown-path-root", "S1.4; C25", "/", Denied(403)),
    case("http-route-is-no-websocket", "S1.1; C25", "/only-http", Denied(403)),
    case("router", "S2.1; S1.1", "/router/hello", Gets("router {}"), Closed(1000)),
    case("router-inner", "S2.1", "/router/inner/hello", Gets("inner {}"), Closed(1000)),
    case("router-later", "S2.1", "/router/later/x", Gets("later {'name': 'x'}"), Closed(1000)),
    case("router-inner-later", "S2.1", "/router/inner/later", Gets("inner later {}")),
    case(
        "router-keeps-options",
        "S2.1; C5",
        "/router/bolt",
        *(Sends("[1]"), GetsJson([[1], False]), Closed(1000)),
    ),
    case("router-without-prefix", "C25", "/hello", Denied(403)),
    case(
        "mount-strips",
        "C33; S1.37",
        "/stripped/a%20b",
        Gets("stripped " + MOUNTED.format("/a b", "/stripped", "/a%20b")),
        Closed(4000),
    ),
    case(
        "mount-root",
        "C33",
        "/stripped",
        Gets("stripped " + MOUNTED.format("/", "/stripped", "/")),
        Closed(4000),
    ),
    case(
        "mount-longest",
        "C33",
        "/stripped/deeper/x",
        Gets("deeper " + MOUNTED.format("/x", "/stripped/deeper", "/x")),
        Closed(4000),
    ),
    case("mount-only-at-slash", "C33; C25", "/strippedx", Denied(403)),
    case("route-before-mount", "C33", "/stripped/own", Gets("route before mount {}")),
    case(
        "mount-asgi-keeps",
        "C33",
        "/kept/a%20b",
        Gets("kept " + MOUNTED.format("/kept/a b", "/kept", "/kept/a%20b")),
        Closed(4000),
    ),
    case(
        "mount-foreign",
        "C33; S1.37",
        "/foreign/x",
        *(Sends("a"), Gets("a"), Sends("b"), Gets("b"), Leaves(4001)),
        subprotocols=("chat",),
    ),
    case("mount-app", "C33", "/app/echo", Gets("mounted app {}"), Closed(1000)),
    case("mount-app-unknown", "C33; C25", "/app/nowhere", Denied(403)),
    case(
        "registration",
        "C26; C38; C39; S1.2; S1.12; S1.35; S2.1",
        "/registration",
        GetsJson(
            {
                "returns the function": True,
                "returns the function (bolt)": True,
                "sync": "ExpectedAsync",
                "sync (bolt)": "ExpectedAsync",
                "duplicate": "RouteError",
                "duplicate over decorators": "RouteError",
                "first pattern": "ok",
                "same shape": "RouteError",
                "other shape": "ok",
                "converter": "TypeError",
                "unbalanced": "RouteError",
                "value type": "RouteError",
                "codes": "RouteError",
                "positional": "TypeError",
                "prefix": "RouteError",
                "types": [True, True],
                "alias": True,
            }
        ),
        Closed(1000),
    ),
    case(
        "middleware-echo",
        "2.1 Middleware",
        "/wrapped/echo",
        *(Sends("a"), Gets("a"), Sends("b"), Gets("b"), Leaves(1001)),
    ),
    case(
        "middleware-wrong-frame",
        "2.1 Middleware; C15",
        "/wrapped/echo",
        *(Sends(b"a"), Closed(1003, ANY_REASON)),
    ),
    case(
        "middleware-iterate",
        "2.1 Middleware; S2.6",
        "/wrapped/iterate",
        *(Sends("a"), Gets("a"), Leaves(4000)),
        notes=["after: 4000"],
    ),
    case(
        "middleware-many",
        "2.1 Middleware",
        "/wrapped/many",
        *(Gets(str(number)) for number in range(600)),
        Closed(4000, "all sent"),
    ),
    case(
        "middleware-exception",
        "2.1 Middleware; C18; exit:Exception",
        "/wrapped/raises",
        *(Gets("before"), Closed(1011)),
        raises="ValueError: boom",
    ),
    case("middleware-reject", "2.1 Middleware; C29", "/wrapped/rejects", Denied(403)),
    case("middleware-unknown-path", "2.1 Middleware; C25", "/wrapped/nowhere", Denied(403)),
]
