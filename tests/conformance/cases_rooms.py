"""Rooms, broadcast, and the guides' own patterns with sets of sockets, inside one worker."""

import asyncio
from collections import defaultdict
from typing import Any

import msgspec

from server import WebSocket
from tests.conformance.base import WAIT_S, Watch, app, case_key, note, outcome
from tests.conformance.steps import (
    Closed,
    Connects,
    Differs,
    Gets,
    GetsJson,
    Leaves,
    Sends,
    SendsJson,
    Step,
    Vanishes,
    case,
)


@app.websocket_route("/rooms/chat/{name}", value_type="json")
async def chat(ws: WebSocket, name: str) -> None:
    """The contract's first sample, with a join."""
    room = app.room(name)
    await ws.join(name)
    await ws.send({"members": room.count(), "rooms": sorted(ws.rooms)})
    async for message in ws:
        await room.publish({"user": ws.headers.get("user"), "message": message})


@app.websocket_route("/rooms/commands/{name}")
async def commands(ws: WebSocket, name: str) -> None:
    room = app.room(name)
    async for command in ws:
        if command == "join":
            await ws.join(name)
        elif command == "leave":
            await ws.leave(name)
        elif command == "text":
            await room.publish("text")
        elif command == "bytes":
            await room.publish(b"bytes")
        elif command == "others":
            await room.publish("not to me", exclude=ws)
        elif command == "bad":
            await ws.send(await outcome(room.publish(object())))
        elif command == "close":
            await ws.close(4000)
            return
        is_member = ws.id in [member.id for member in room.members()]
        await ws.send(f"{command}: {sorted(ws.rooms) == [name]} {is_member}")


@app.websocket_route("/rooms/names")
async def names(ws: WebSocket) -> None:
    for odd in ("", "x" * 256, "a\nb", None, 1, b"a"):
        note(ws, await outcome(ws.join(odd)))  # type: ignore[arg-type]
    for fine in ("é" * 127, "a b", "/x/{y}"):
        note(ws, (await outcome(ws.join(fine)))[:2])
        note(ws, await outcome(ws.leave(fine)))
    note(ws, await outcome(ws.leave("never joined")))


@app.websocket_route("/rooms/broadcast")
async def broadcast(ws: WebSocket, group: str) -> None:
    """Everybody of this case's route; other cases may run on the same server."""
    async for message in ws:
        others = [other for other in list(app.runtime.connections) if not _same(other, ws)]
        exclude = [*others, ws] if message == "others" else others
        await app.broadcast(
            {"text": message},
            route="/rooms/broadcast" if group == "route" else None,
            exclude=exclude,
        )


def _same(one: WebSocket, other: WebSocket) -> bool:
    return one.headers.get("x-case") == case_key(other)


@app.websocket_route("/rooms/listen", value_type="json")
async def listen(ws: WebSocket) -> None:
    async for _ in ws:
        pass


@app.websocket_route("/rooms/pack/{name}", value_type="json", codec="msgpack")
async def packed(ws: WebSocket, name: str) -> None:
    await ws.join(name)
    await ws.send("joined")
    async for message in ws:
        await app.room(name).publish(message)


@app.websocket_route("/rooms/failing/{name}", caught_close_codes=all)
async def failing(ws: WebSocket, name: str) -> None:
    """A member that has closed, but whose view goes on, must not disturb the others."""
    await ws.join(name)
    await ws.send("joined")
    if await ws.receive() == "close":
        await ws.close(4000)
        await app.room(name).publish("news")
    else:
        await app.room(name).publish("news")


@app.websocket_route("/rooms/left/{name}")
async def left(ws: WebSocket, name: str) -> None:
    """Tells how many members there are, and once more when there are `expected`."""
    room, ended = app.room(name), Watch.ended[case_key(ws)]
    async for expected in ws:
        async with asyncio.timeout(WAIT_S):
            while room.count() != int(expected):
                ended.clear()
                await ended.wait()
        await ws.send(expected)


# -- the second guide's patterns -------------------------------------------------------------------

connected_clients: defaultdict[str, set[WebSocket]] = defaultdict(set)


@app.websocket("/patterns/broadcast")
async def pattern_broadcast(websocket: WebSocket) -> None:
    await websocket.accept()
    clients = connected_clients[case_key(websocket)]
    clients.add(websocket)
    try:
        await websocket.send_text(f"{len(clients)} here")
        async for message in websocket.iter_text():
            for client in tuple(clients):
                await client.send_text(message)
    finally:
        clients.discard(websocket)
        note(websocket, f"{len(clients)} left")


rooms: dict[str, set[WebSocket]] = {}


@app.websocket("/patterns/room/{room_id}")
async def pattern_room(websocket: WebSocket, room_id: str) -> None:
    await websocket.accept()
    if room_id not in rooms:
        rooms[room_id] = set()
    rooms[room_id].add(websocket)
    await websocket.send_text("joined")
    try:
        async for message in websocket.iter_text():
            for client in rooms[room_id]:
                await client.send_text(f"[{room_id}] {message}")
    finally:
        rooms[room_id].discard(websocket)


def _commands(*pairs: str) -> list[Step]:
    """Commands and the answers to them, in turn."""
    steps: list[Step] = []
    for command, answer in zip(pairs[::2], pairs[1::2], strict=True):
        steps += [Sends(command), Gets(f"{command}: {answer}")]
    return steps


def _joined(members: int, peer: str = "a") -> Any:
    return GetsJson({"members": members, "rooms": ["{key}"]}, peer=peer)


def _said(user: str, message: Any, *peers: str) -> list[Any]:
    return [GetsJson({"user": user, "message": message}, peer=peer) for peer in peers]


CHAT = "/rooms/chat/{key}"
COMMANDS = "/rooms/commands/{key}"

CASES = [
    case(
        "room-publish",
        "rooms; S1.36",
        CHAT,
        _joined(1),
        *(Connects("b", CHAT, {"user": "bob"}), _joined(2, "b")),
        *(SendsJson("hi"), *_said("ann", "hi", "a", "b")),
        *(SendsJson([1], peer="b"), *_said("bob", [1], "a", "b")),
        headers={"user": "ann"},
    ),
    case(
        "room-of-others",
        "rooms",
        CHAT,
        _joined(1),
        Connects("b", "/rooms/chat/other-{key}", {"user": "bob"}),
        GetsJson({"members": 1, "rooms": ["other-{key}"]}, peer="b"),
        *(SendsJson(1, peer="b"), *_said("bob", 1, "b")),
        *(SendsJson(2), *_said("ann", 2, "a")),
        headers={"user": "ann"},
    ),
    case(
        "room-order",
        "rooms",
        CHAT,
        _joined(1),
        *(Connects("b", CHAT), _joined(2, "b")),
        *(SendsJson(number) for number in range(100)),
        *(step for number in range(100) for step in _said("ann", number, "b")),
        *(step for number in range(100) for step in _said("ann", number, "a")),
        headers={"user": "ann"},
    ),
    *(
        case(
            f"room-left-by-{name}",
            "rooms; S2.21",
            CHAT,
            _joined(1),
            *(Connects("b", "/rooms/left/{key}"), Sends("1", peer="b"), Gets("1", peer="b")),
            *(step, Sends("0", peer="b"), Gets("0", peer="b")),
            raises=Differs("real hosts are not told (C7)", raised, wire=None),
        )
        for name, step, raised in (
            ("closing", Leaves(1000), None),
            ("other-code", Leaves(4000), "WebSocketDisconnect: 4000"),
            ("vanishing", Vanishes(), "WebSocketDisconnect: 1006"),
        )
    ),
    case(
        "room-join-leave",
        "rooms; state:join/connected",
        COMMANDS,
        *_commands("none", "False False", "join", "True True", "join", "True True"),
        *(Sends("text"), Gets("text"), Gets("text: True True")),
        *(Sends("bytes"), Gets(b"bytes"), Gets("bytes: True True")),
        *_commands("others", "True True"),
        *(Sends("bad"), Gets("TypeError"), Gets("bad: True True")),
        *_commands("leave", "False False", "leave", "False False", "text", "False False"),
    ),
    case(
        "room-own-close",
        "rooms",
        COMMANDS,
        *_commands("join", "True True"),
        *(Sends("close"), Closed(4000)),
        *(Connects("b", "/rooms/left/{key}"), Sends("0", peer="b"), Gets("0", peer="b")),
    ),
    case(
        "room-names",
        "rooms",
        "/rooms/names",
        Closed(1000),
        notes=["ValueError"] * 3 + ["TypeError"] * 3 + ["ok"] * 7,
    ),
    case(
        "room-two-codecs",
        "rooms; codec",
        CHAT,
        _joined(1),
        *(Connects("b", "/rooms/pack/{key}"), Gets(msgspec.msgpack.encode("joined"), peer="b")),
        SendsJson("é"),
        *_said("ann", "é", "a"),
        Gets(msgspec.msgpack.encode({"user": "ann", "message": "é"}), peer="b"),
        *(
            Sends(msgspec.msgpack.encode([1]), peer="b"),
            Gets(msgspec.msgpack.encode([1]), peer="b"),
        ),
        GetsJson([1]),
        headers={"user": "ann"},
    ),
    case(
        "room-isolates-failures",
        "rooms; S2.21",
        "/rooms/failing/{key}",
        Gets("joined"),
        *(Connects("b", "/rooms/failing/{key}"), Gets("joined", peer="b")),
        *(Connects("c", "/rooms/failing/{key}"), Gets("joined", peer="c")),
        *(Sends("close"), Closed(4000), Gets("news", peer="b"), Gets("news", peer="c")),
        *(
            Vanishes("b"),
            Sends("publish", peer="c"),
            Gets("news", peer="c"),
            Closed(1000, peer="c"),
        ),
    ),
    *(
        case(
            f"broadcast-{group}",
            "rooms; S2.20",
            f"/rooms/broadcast?group={group}",
            Connects("b", f"/rooms/broadcast?group={group}"),
            Connects("c", "/rooms/listen"),
            *(Sends("all"), GetsJson({"text": "all"}), GetsJson({"text": "all"}, peer="b")),
            *([] if group == "route" else [GetsJson({"text": "all"}, peer="c")]),
            *(Sends("others"), GetsJson({"text": "others"}, peer="b")),
            *(Sends("last", peer="b"), GetsJson({"text": "last"})),
            GetsJson({"text": "last"}, peer="b"),
        )
        for group in ("route", "all")
    ),
    case(
        "pattern-broadcast",
        "S2.20; S2.22",
        "/patterns/broadcast",
        Gets("1 here"),
        *(Connects("b", "/patterns/broadcast"), Gets("2 here", peer="b")),
        *(Sends("hi"), Gets("hi"), Gets("hi", peer="b")),
        *(Leaves(1000), Connects("w", "/notes?count=1"), Gets('["1 left"]', peer="w")),
        *(Sends("ho", peer="b"), Gets("ho", peer="b"), Leaves(4000, peer="b")),
        notes=["1 left", "0 left"],
    ),
    case(
        "pattern-rooms",
        "S2.21; S2.22; S2.9",
        "/patterns/room/{key}",
        Gets("joined"),
        *(Connects("b", "/patterns/room/{key}"), Gets("joined", peer="b")),
        *(Connects("c", "/patterns/room/other-{key}"), Gets("joined", peer="c")),
        *(Sends("hi"), Gets("[{key}] hi"), Gets("[{key}] hi", peer="b")),
        *(Sends("ho", peer="c"), Gets("[other-{key}] ho", peer="c")),
    ),
]
