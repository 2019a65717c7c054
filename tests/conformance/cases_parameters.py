"""Parameters of views: from the path, the query string, headers and cookies."""

import enum
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec

from server import Cookie, Header, Query, WebSocket
from tests.conformance.base import app, note
from tests.conformance.steps import Closed, Denied, Differs, Gets, GetsJson, Sends, case


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


Limited = Annotated[int, msgspec.Meta(ge=1, le=10)]
TYPES: dict[str, Any] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "date": date,
    "time": time,
    "datetime": datetime,
    "uuid": UUID,
    "decimal": Decimal,
    "color": Color,
    "literal": Literal["a", "b"],
    "optional": int | None,
    "limited": Limited,
    "untyped": Any,
}


def _register(name: str, type_: Any) -> None:
    async def by_path(ws: WebSocket, value: Any) -> None:
        await ws.send(repr(value))

    async def by_query(ws: WebSocket, value: Any) -> None:
        await ws.send(repr(value))

    for view in (by_path, by_query):
        view.__annotations__["value"] = type_
    app.websocket_route(f"/path/{name}/{{value}}")(by_path)
    app.websocket_route(f"/query/{name}")(by_query)


for name, type_ in TYPES.items():
    _register(name, type_)


@app.websocket("/parameters/early/{n}")
async def early(ws: WebSocket, n: int) -> None:
    note(ws, f"view ran with {n}")
    await ws.accept()


@app.websocket_route("/parameters/chat/{channel}", value_type="json")
async def chat(ws: WebSocket, channel: str, anonymous: bool = False) -> None:
    user = "Anonymous" if anonymous else ws.headers["user"]
    async for message in ws:
        await ws.send({"user": user, "message": message, "channel": channel})


@app.websocket("/parameters/room/{room_id}")
async def room(websocket: WebSocket, room_id: str, token: str | None = None) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(f"[{room_id}] {text} {token}")


@app.websocket_route("/parameters/defaults")
async def defaults(
    ws: WebSocket,
    a: int = 1,
    b: str = "x",
    *,
    c: float | None = None,
    flags: bool = True,
) -> None:
    await ws.send_json([a, b, c, flags])


@app.websocket_route("/parameters/many")
async def many(ws: WebSocket, ids: list[int], tags: set[str] = frozenset()) -> None:  # type: ignore[assignment]
    await ws.send_json([ids, sorted(tags)])


@app.websocket_route("/parameters/marked")
async def marked(
    ws: WebSocket,
    q: Annotated[int, Query(alias="page")] = 1,
    x_token: Annotated[str, Header()] = "none",
    agent: Annotated[int | None, Header(alias="x-agent")] = None,
    visit: Annotated[int, Cookie()] = 0,
) -> None:
    await ws.send_json([q, x_token, agent, visit])


@app.websocket_route("/parameters/marked/required")
async def marked_required(
    ws: WebSocket, x_token: Annotated[str, Header()], visit: Annotated[int, Cookie()]
) -> None:
    await ws.send_json([x_token, visit])


@app.websocket_route("/parameters/same/{name}")
async def same_name(ws: WebSocket, name: str = "default") -> None:
    await ws.send_json([name, ws.query_params.get("name")])


@app.websocket_route("/parameters/unused/{name}")
async def unused(ws: WebSocket) -> None:
    await ws.send(ws.path_params["name"])


@app.websocket_route("/parameters/variadic/{name}")
async def variadic(ws: WebSocket, *args: Any, **kwargs: Any) -> None:
    await ws.send_json([list(args), kwargs])


@app.websocket_route("/parameters/rest/{rest:path}")
async def rest(ws: WebSocket, rest: str) -> None:
    await ws.send(rest)


class Page(msgspec.Struct):
    number: int
    size: int = 20


@app.websocket_route("/parameters/struct")
async def struct(ws: WebSocket, page: Page) -> None:
    await ws.send_json([page.number, page.size])


def _good(type_: str, text: str, result: str, source: str = "S1.5; C24") -> Any:
    return case(f"path-{type_}-{text}", source, f"/path/{type_}/{text}", Gets(result), Closed(1000))


def _bad(type_: str, text: str, source: str = "C21; S1.5") -> Any:
    body = '"parameter":"value","in":"path"'
    return case(f"path-{type_}-{text}-bad", source, f"/path/{type_}/{text}", Denied(400, body))


def _query(name: str, query: str, *steps: Any, source: str) -> Any:
    return case(f"query-{name}", source, f"/query/{query}", *steps)


BOOLS = {
    "true": True,
    "TRUE": True,
    "1": True,
    "on": True,
    "false": False,
    "Off": False,
    "0": False,
}
SHORT_LINES = "uvicorn's handshake parser never answers a line of more than 8192 bytes"
BAD_QUERY = Denied(400, '"parameter":"value","in":"query"')

CASES = [
    _good("str", "gr%C3%BC%C3%9Fe%20x", "'grüße x'", "S1.5; S2.9"),
    _good("untyped", "42", "'42'", "S1.5"),
    _good("int", "42", "42"),
    _good("int", "-1", "-1"),
    _good("float", "4.25", "4.25"),
    _good("decimal", "4.20", "Decimal('4.20')"),
    _good("date", "2020-01-31", "datetime.date(2020, 1, 31)"),
    _good("time", "10:20:30", "datetime.time(10, 20, 30)"),
    _good("datetime", "2020-01-31T10:20:30", "datetime.datetime(2020, 1, 31, 10, 20, 30)"),
    _good(
        "uuid",
        "12345678-1234-5678-1234-567812345678",
        f"{UUID(int=0x12345678123456781234567812345678)!r}",
    ),
    _good("color", "red", "<Color.RED: 'red'>"),
    _good("literal", "a", "'a'"),
    _good("optional", "5", "5"),
    _good("limited", "10", "10"),
    *(_good("bool", word, str(value), "C23; S1.5") for word, value in BOOLS.items()),
    *(_bad("bool", word, "C23; C21") for word in ("yes", "no", "2", "t")),
    *(_bad("int", text, "C24; C21") for text in ("x", "4.2", "0x10", "%207")),
    *(_bad("float", text, "C24; C21") for text in ("nan", "inf", "-Infinity", "1e999", "x")),
    _bad("date", "2020-13-01"),
    _bad("uuid", "123"),
    _bad("color", "green"),
    _bad("literal", "c"),
    _bad("limited", "11"),
    case(
        "parameter-invalid-view-never-runs",
        "C21",
        "/parameters/early/x",
        Denied(400, '"detail":"path parameter \'n\': '),
    ),
    case(
        "parameter-valid-view-runs",
        "S2.9",
        "/parameters/early/7",
        Closed(1000),
        notes=["view ran with 7"],
    ),
    _query("int", "int?value=42", Gets("42"), Closed(1000), source="S1.6"),
    _query("last-wins", "int?value=1&value=2", Gets("2"), Closed(1000), source="C8"),
    _query("plus", "str?value=a+b%2Bc", Gets("'a b+c'"), Closed(1000), source="S1.6"),
    _query("empty", "str?value", Gets("''"), Closed(1000), source="S1.6"),
    _query("invalid", "int?value=x", BAD_QUERY, source="S1.6; C21"),
    _query("empty-int", "int?value=", BAD_QUERY, source="S1.6; C21"),
    _query("empty-bool", "bool?value=", BAD_QUERY, source="C23; C21"),
    _query("non-finite", "float?value=nan", BAD_QUERY, source="C24; C21"),
    _query("missing", "int", Denied(422, '"parameter":"value","in":"query"'), source="C22"),
    _query("optional-missing", "optional", Denied(422, "required"), source="C22"),
    case(
        "query-too-long",
        "C21; 2.2 value longer than 8192 bytes",
        Differs(SHORT_LINES, f"/query/str?value={'x' * 8193}", uvicorn="/query/int?value=x"),
        BAD_QUERY,
    ),
    case(
        "query-longest",
        "C21; 2.2 value longer than 8192 bytes",
        Differs(SHORT_LINES, f"/query/str?value={'x' * 8192}", uvicorn="/query/str?value=x"),
        Gets(Differs(SHORT_LINES, repr("x" * 8192), uvicorn="'x'")),
    ),
    case(
        "chat-sample",
        "S1.2; S1.6; S1.8; S1.14",
        "/parameters/chat/blue",
        *(Sends('"hi"'), GetsJson({"user": "ann", "message": "hi", "channel": "blue"})),
        headers={"user": "ann"},
    ),
    case(
        "chat-sample-anonymous",
        "S1.6; C23",
        "/parameters/chat/blue?anonymous=on",
        *(Sends("[]"), GetsJson({"user": "Anonymous", "message": [], "channel": "blue"})),
    ),
    case(
        "chat-sample-missing-header",
        "S1.8; S1.21",
        "/parameters/chat/blue?anonymous=0",
        Closed(1011),
        raises="KeyError: 'user'",
    ),
    case(
        "room-sample",
        "S2.9; S2.10",
        "/parameters/room/r1?token=t",
        *(Sends("hi"), Gets("[r1] hi t")),
    ),
    case("room-sample-no-token", "S2.10", "/parameters/room/r1", Sends("hi"), Gets("[r1] hi None")),
    case("defaults", "S1.6", "/parameters/defaults", GetsJson([1, "x", None, True]), Closed(1000)),
    case(
        "defaults-given",
        "S1.6; 2.2 keyword-only",
        "/parameters/defaults?a=7&b=&c=1.5&flags=off",
        GetsJson([7, "", 1.5, False]),
        Closed(1000),
    ),
    case(
        "many-values",
        "C8; 2.2 repeated query key",
        "/parameters/many?ids=1&ids=2&tags=b&tags=a",
        GetsJson([[1, 2], ["a", "b"]]),
        Closed(1000),
    ),
    case("many-values-invalid", "C21", "/parameters/many?ids=1&ids=x", Denied(400, '"ids"')),
    case(
        "marked",
        "2.2 markers",
        "/parameters/marked?page=3",
        GetsJson([3, "secret", 7, 2]),
        headers={"X-Token": "secret", "X-Agent": "7", "Cookie": "visit=2"},
    ),
    case(
        "marked-defaults", "2.2 markers", "/parameters/marked?q=3", GetsJson([1, "none", None, 0])
    ),
    case(
        "marked-missing",
        "C22",
        "/parameters/marked/required",
        Denied(422, '"parameter":"x-token","in":"header"'),
    ),
    case(
        "marked-invalid",
        "C21",
        "/parameters/marked/required",
        Denied(400, '"parameter":"visit","in":"cookie"'),
        headers={"X-Token": "secret", "Cookie": "visit=x"},
    ),
    case(
        "path-before-query",
        "2.2 same name in path and query",
        "/parameters/same/path?name=query",
        GetsJson(["path", "query"]),
    ),
    case("unused-path-parameter", "S1.5", "/parameters/unused/x", Gets("x"), Closed(1000)),
    case("variadic", "2.2 kwargs", "/parameters/variadic/x?a=1", GetsJson([[], {}]), Closed(1000)),
    case("rest-of-path", "S1.5", "/parameters/rest/a/b%20c", Gets("a/b c"), Closed(1000)),
    case("rest-of-path-empty", "S1.5", "/parameters/rest/", Gets(""), Closed(1000)),
    case("struct", "2.2 Struct", "/parameters/struct?number=2", GetsJson([2, 20]), Closed(1000)),
    case("struct-invalid", "C21", "/parameters/struct?number=x", Denied(400, "number")),
]
