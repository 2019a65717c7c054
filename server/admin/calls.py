"""Owns what a key lets programs outside do: publish, disconnect, drain, look into rooms.

It acts through the journal and the doorbells, so no worker has to answer. Whether a request has the
key was seen to before.
"""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from server.admin.answers import json_answer, refusal
from server.admin.bodies import (
    Broadcast,
    Disconnect,
    Drain,
    Publish,
    batch_of,
    decode,
    payload_of,
    read_body,
)
from server.admin.query import check_names, number
from server.admin.repeats import HEADER, Repeats
from server.connections import Connections, DisconnectFailed, describe
from server.metrics.catalog import OTHER, UNMATCHED
from server.room import DEFAULT_HISTORY, check_room_name, epoch_text
from workers.journal import MessageTooLarge
from workers.journal_lock import JournalStalled
from workers.layout import ServerState
from workers.publisher import Message, Publisher, key_of
from workers.room_directory import DirectoryFull
from workers.room_tables import Kind
from workers.segment import Segment

CALLS = {
    "/publish": "POST: publish to a room; needs the key, as do the others below",
    "/broadcast": "POST: to all connections, or those of a route",
    "/disconnect": "POST: close connections",
    "/drain": "POST: stop the server: no new connections, close the others by and by, end",
    "/presence": "who is in a room; ?room= limit= offset=",
    "/history": "what was published to a room; ?room= since= epoch= limit=",
}
METHODS = {path: ["POST" if about.startswith("POST") else "GET"] for path, about in CALLS.items()}
MAX_LIMIT = 1000
DEFAULT_LIMIT = 100
SMALL_BYTES = 64 << 10  # the limit where nothing is published
_A_TURN = 100  # messages of a batch, then the loop goes on with what else it has

Act = Callable[[bytes], Coroutine[Any, Any, Response]]
_STATUSES: dict[type[Exception], int] = {
    msgspec.ValidationError: 422,
    msgspec.DecodeError: 400,
    MessageTooLarge: 413,
    DirectoryFull: 507,
    JournalStalled: 503,
    DisconnectFailed: 503,
    ValueError: 422,
}
_KNOWN: tuple[type[Exception], ...] = (HTTPException, *_STATUSES)


class Calls:
    """The endpoints, named like their paths.

    `open` before the first request: without it there are only `disconnect` and `drain`.

    Args:
        begin_drain: has this server drain; returns at once.
    """

    def __init__(self, segment: Segment, begin_drain: Callable[[], None]) -> None:
        self._segment = segment
        self._begin_drain = begin_drain
        self._is_drain_asked = False
        self._connections = Connections(segment)
        self._repeats = Repeats()
        self._opened: Publisher | None = None

    def open(self) -> None:
        """Open what publishing needs; one of it for the whole life of the process."""
        self._opened = Publisher(self._segment)

    def close(self) -> None:
        """Let go of it."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @property
    def _publisher(self) -> Publisher:
        assert self._opened is not None, "the app's lifespan has begun"
        return self._opened

    # -- doing ---------------------------------------------------------------------------------

    async def publish(self, request: Request) -> Response:
        return await self._do(request, self._publish)

    async def broadcast(self, request: Request) -> Response:
        return await self._do(request, self._broadcast)

    async def disconnect(self, request: Request) -> Response:
        return await self._do(request, self._disconnect)

    async def drain(self, request: Request) -> Response:
        return await self._do(request, self._drain)

    async def _do(self, request: Request, act: Act) -> Response:
        limit_bytes = SMALL_BYTES if self._opened is None else self._opened.journal.limit_bytes
        body = await read_body(request, limit_bytes)
        job = partial(_answered, act, body)
        key = request.headers.get(HEADER)
        if key is None:
            return await job()
        fingerprint = hashlib.sha256(f"{request.url.path}\n".encode() + body).digest()
        return await self._repeats.once(key, fingerprint, job)

    async def _publish(self, body: bytes) -> Response:
        batch = batch_of(body)
        if batch is None:
            return json_answer(await self._publish_one(body))
        return json_answer({"results": await self._publish_all(batch)})

    async def _publish_one(self, body: bytes | msgspec.Raw) -> dict[str, Any]:
        message = decode(body, Publish)
        _check_room(message.room)
        kind, payload = payload_of(message)
        place = await self._publisher.publish(message.room, kind, payload)
        return {"epoch": epoch_text(place.epoch), "offset": place.offset}

    async def _publish_all(self, batch: list[msgspec.Raw]) -> list[dict[str, Any]]:
        """Publish one after the other; what is wrong with one does not stop the others."""
        results: list[dict[str, Any]] = []
        stalled: JournalStalled | None = None
        for done, body in enumerate(batch, 1):
            try:
                if stalled is not None:  # it would take 5 s for each
                    raise stalled
                results.append(await self._publish_one(body))
            except JournalStalled as error:
                stalled = error
                results.append(_as_item(_problem(error)))
            except _KNOWN as error:
                results.append(_as_item(_problem(error)))
            if done % _A_TURN == 0:
                await asyncio.sleep(0)
        return results

    async def _broadcast(self, body: bytes) -> Response:
        message = decode(body, Broadcast)
        kind, payload = payload_of(message)
        if message.route is not None:
            self._check_route(message.route)
        route = 0 if message.route is None else key_of(message.route)
        await self._publisher.broadcast(route, kind, payload)
        return json_answer({})

    async def _disconnect(self, body: bytes) -> Response:
        whom = decode(body, Disconnect)
        if whom.route is not None:
            self._check_route(whom.route)
        workers = self._segment.sizes.workers
        if whom.worker is not None and not 0 <= whom.worker < workers:
            raise refusal("worker", f"there is no worker {whom.worker}: 0 to {workers - 1}", 422)
        asked = await self._connections.disconnect(**msgspec.structs.asdict(whom))
        return json_answer({"asked": asked})

    async def _drain(self, body: bytes) -> Response:
        """Begin once: a second signal would end the server at once."""
        decode(body, Drain)
        state = self._segment.server_state
        if state in (ServerState.STARTING, ServerState.SERVING) and not self._is_drain_asked:
            self._is_drain_asked = True
            self._begin_drain()
        return json_answer({"state": "draining", "connections": len(self._connections)})

    def _check_route(self, route: str) -> None:
        if route in (OTHER, UNMATCHED) or route not in self._segment.routes:
            raise refusal("route", f"there is no route {route[:128]!r}: see /routes", 422)

    # -- looking -------------------------------------------------------------------------------

    async def presence(self, request: Request) -> Response:
        query = request.query_params
        check_names(query, ("room", "limit", "offset"))
        room = _room(request)
        limit = number(query, "limit", 0, MAX_LIMIT, "get the others with offset")
        offset = number(query, "offset", 0, None, "count from 0") or 0
        limit = DEFAULT_LIMIT if limit is None else limit
        members = self._publisher.members(room)[offset : offset + limit] if limit else []
        count = self._publisher.count(room)
        shown = [describe(row) for row in members]
        return json_answer({"room": room, "count": count, "members": shown})

    async def history(self, request: Request) -> Response:
        query = request.query_params
        check_names(query, ("room", "since", "epoch", "limit"))
        room = _room(request)
        since = number(query, "since", 0, None, "it is an offset") or 0
        limit = number(query, "limit", 1, MAX_LIMIT, "go on with since")
        place = self._publisher.position(room)
        if place is None:
            return json_answer({"room": room, "epoch": None, "offset": 0, "messages": []})
        epoch = epoch_text(place.epoch)
        messages: list[Message] = []
        if query.get("epoch", epoch) == epoch:
            messages = self._publisher.history(
                room, epoch=place.epoch, since=since, until=place.offset,
                limit=limit or DEFAULT_HISTORY,
            )  # fmt: skip
        shown = [_describe_message(message) for message in messages]
        return json_answer(
            {"room": room, "epoch": epoch, "offset": place.offset, "messages": shown}
        )


def _room(request: Request) -> str:
    room = request.query_params.get("room")
    if room is None:
        raise refusal("room", "is missing: say which")
    _check_room(room)
    return room


def _check_room(name: str) -> None:
    try:
        check_room_name(name)
    except ValueError as error:
        raise refusal("room", str(error), 422) from None


def _describe_message(message: Message) -> dict[str, Any]:
    """Return a message in plain values; bytes become base64."""
    data: Any = message.data
    if message.kind is Kind.JSON:
        data = msgspec.Raw(message.data)
    return {
        "epoch": epoch_text(message.epoch),
        "offset": message.offset,
        "kind": message.kind.name.lower(),
        "data": data,
        "published_at": message.time_ns / 1e9,
    }


async def _answered(act: Act, body: bytes) -> Response:
    try:
        return await act(body)
    except _KNOWN as error:
        raise _problem(error) from None


def _problem(error: Exception) -> HTTPException:
    """Return what is answered for an error."""
    if isinstance(error, HTTPException):
        return error
    text = str(error)
    if isinstance(error, msgspec.DecodeError) and not isinstance(error, msgspec.ValidationError):
        text = f"the body is no JSON: {text}"
    status = next(status for kind, status in _STATUSES.items() if isinstance(error, kind))
    headers = {"Retry-After": "1"} if status == 503 else None
    return HTTPException(status, text, headers)


def _as_item(problem: HTTPException) -> dict[str, Any]:
    return {"error": {"code": problem.status_code, "message": problem.detail}}
