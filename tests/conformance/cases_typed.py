"""Typed messages, the MessagePack codec, and how a subprotocol chooses one."""

from typing import Any

import msgspec

from server import InvalidMessage, WebSocket, WebSocketException
from tests.conformance.base import app, note, outcome
from tests.conformance.steps import (
    ANY_REASON,
    Accepted,
    Closed,
    Gets,
    GetsJson,
    Sends,
    SendsJson,
    case,
)


class Person(msgspec.Struct):
    name: str
    age: int = 0


class Join(msgspec.Struct, tag="join"):
    room: str


class Say(msgspec.Struct, tag="say"):
    text: str


@app.websocket_route("/typed/person", value_type=Person)
async def person(ws: WebSocket) -> None:
    async for someone in ws:
        assert isinstance(someone, Person)
        await ws.send(Person(someone.name.upper(), someone.age + 1))


@app.websocket_route("/typed/person/msgpack", value_type=Person, codec="msgpack")
async def person_msgpack(ws: WebSocket) -> None:
    async for someone in ws:
        await ws.send(Person(someone.name.upper(), someone.age + 1))


@app.websocket("/typed/bolt", receive_type=Person, send_type="json")
async def bolt(websocket: WebSocket) -> None:
    await websocket.accept()
    someone = await websocket.receive()
    await websocket.send({"hello": someone.name})


@app.websocket_route("/typed/union", receive_type=Join | Say, send_type="json")
async def union(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send([type(message).__name__, message])


@app.websocket_route("/typed/list", value_type=list[int])
async def numbers(ws: WebSocket) -> None:
    async for items in ws:
        await ws.send([sum(items)])


@app.websocket_route("/typed/caught", value_type=Person)
async def caught(ws: WebSocket) -> None:
    while True:
        try:
            someone = await ws.receive()
        except msgspec.ValidationError as error:
            if isinstance(error, InvalidMessage) and isinstance(error, WebSocketException):
                note(ws, f"{error.code} {error.reason}")
        else:
            await ws.send(someone)


@app.websocket_route("/typed/send", value_type=Person)
async def sends_wrong(ws: WebSocket) -> None:
    note(ws, await outcome(ws.send({"name": "ann"})))
    note(ws, await outcome(ws.send("ann")))
    await ws.send(Person("ann"))


@app.websocket_route("/typed/json", value_type="json")
async def free_json(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send([message, ws.codec.name, ws.subprotocol])


@app.websocket_route("/typed/json/msgpack", value_type="json", codec="msgpack")
async def free_msgpack(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send([message, ws.codec.name, ws.subprotocol])


@app.websocket("/typed/manual", value_type="json")
async def manual(ws: WebSocket) -> None:
    await ws.accept("msgpack")
    await ws.send(await ws.receive())


def pack(value: Any) -> bytes:
    return msgspec.msgpack.encode(value)


TOO_OLD = '{"name":"ann","age":"old"}'
OLD_REASON = "Expected `int`, got `str` - at `$.age`"

CASES = [
    case(
        "typed-struct",
        "typed; S1.18",
        "/typed/person",
        *(Sends('{"name":"ann","age":7}'), Gets('{"name":"ANN","age":8}')),
        *(SendsJson({"name": "é", "more": 1}), GetsJson({"name": "É", "age": 1})),
    ),
    case(
        "typed-struct-invalid", "typed", "/typed/person", Sends(TOO_OLD), Closed(1007, OLD_REASON)
    ),
    case(
        "typed-struct-missing-field",
        "typed",
        "/typed/person",
        Sends("{}"),
        Closed(1007, "Object missing required field `name`"),
    ),
    case(
        "typed-struct-malformed",
        "typed; C17",
        "/typed/person",
        Sends("{"),
        Closed(1007, ANY_REASON),
    ),
    case(
        "typed-struct-wrong-frame",
        "typed; C15",
        "/typed/person",
        Sends(b"{}"),
        Closed(1003, ANY_REASON),
    ),
    case(
        "typed-struct-long-problem",
        "typed; C28",
        "/typed/union",
        SendsJson({"type": "x" * 300}),
        Closed(1007, ANY_REASON),
    ),
    case(
        "typed-struct-caught",
        "typed",
        "/typed/caught",
        *(Sends(TOO_OLD), Sends('{"name":"ann"}'), GetsJson({"name": "ann", "age": 0})),
        notes=[f"1007 {OLD_REASON}"],
    ),
    case(
        "typed-struct-send-wrong-type",
        "typed; C16",
        "/typed/send",
        GetsJson({"name": "ann", "age": 0}),
        Closed(1000),
        notes=["TypeError", "TypeError"],
    ),
    case(
        "typed-struct-bolt",
        "typed; C5",
        "/typed/bolt",
        Sends('{"name":"ann"}'),
        Gets('{"hello":"ann"}'),
    ),
    case(
        "tagged-union",
        "typed",
        "/typed/union",
        *(Sends('{"type":"say","text":"hi"}'), Gets('["Say",{"type":"say","text":"hi"}]')),
        *(Sends('{"type":"join","room":"r"}'), Gets('["Join",{"type":"join","room":"r"}]')),
        *(Sends('{"type":"leave"}'), Closed(1007, ANY_REASON)),
    ),
    case(
        "list",
        "typed",
        "/typed/list",
        Sends("[1,2]"),
        Gets("[3]"),
        Sends("[1.5]"),
        Closed(1007, ANY_REASON),
    ),
    case(
        "msgpack",
        "codec",
        "/typed/person/msgpack",
        *(Sends(pack({"name": "ann", "age": 7})), Gets(pack({"name": "ANN", "age": 8}))),
    ),
    case(
        "msgpack-invalid",
        "codec; typed",
        "/typed/person/msgpack",
        *(Sends(pack({"name": "ann", "age": "old"})), Closed(1007, OLD_REASON)),
    ),
    case(
        "msgpack-malformed",
        "codec; typed",
        "/typed/person/msgpack",
        *(Sends(b"\xc1"), Closed(1007, ANY_REASON)),
    ),
    case(
        "msgpack-wrong-frame",
        "codec; C15",
        "/typed/person/msgpack",
        *(Sends("{}"), Closed(1003, ANY_REASON)),
    ),
    case(
        "msgpack-json-type",
        "codec",
        "/typed/json/msgpack",
        *(Sends(pack({"a": b"raw"})), Gets(pack([{"a": b"raw"}, "msgpack", None]))),
    ),
    case(
        "codec-default",
        "codec",
        "/typed/json",
        *(Accepted(None), Sends("1"), Gets('[1,"json",null]')),
    ),
    *(
        case(
            f"codec-by-subprotocol-{name}",
            "codec; C27",
            "/typed/json",
            *(Accepted(chosen), Sends(sent), Gets(got)),
            subprotocols=offered,
        )
        for name, offered, chosen, sent, got in (
            ("json", ("json",), "json", "1", '[1,"json","json"]'),
            ("msgpack", ("msgpack",), "msgpack", pack(1), pack([1, "msgpack", "msgpack"])),
            (
                "first",
                ("x", "msgpack", "json"),
                "msgpack",
                pack(1),
                pack([1, "msgpack", "msgpack"]),
            ),
        )
    ),
    case(
        "codec-unknown-subprotocol",
        "codec",
        "/typed/json",
        *(Accepted(None), Sends("1"), Gets('[1,"json",null]')),
        subprotocols=("other",),
    ),
    case(
        "codec-manual-accept",
        "codec; C27",
        "/typed/manual",
        *(Accepted("msgpack"), Sends(pack("x")), Gets(pack("x")), Closed(1000)),
        subprotocols=("json", "msgpack"),
    ),
    case(
        "codec-invalid-uncaught",
        "codec; C17",
        "/typed/json/msgpack",
        *(Sends(b"\xc1"), Closed(1011)),
        raises="DecodeError",
    ),
]
