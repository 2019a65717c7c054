"""Owns one realtime connection: its requests in order, and its deadline.

It knows frames, rooms and hooks; not how frames are encoded, nor how messages are delivered.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from server import room as rooms_api
from server.auth.failure import AuthenticationFailed
from server.close_codes import BAD_CONNECT, NOT_HEARD, NOTHING_SAID, OWN_CODES
from server.deadlines import deadlines
from server.encodings import Encoded
from server.exceptions import TooManyConnections
from server.realtime import frames
from server.realtime.errors import CLOSED_BY, FAILURES, Refused
from server.realtime.hooks import check
from server.realtime.presence import presence_of
from server.room import check_room_name, epoch_text, shadow_of

if TYPE_CHECKING:
    from server.realtime.endpoint import Endpoint
    from server.realtime.wire import Wire
    from server.rooms import Rooms
    from server.websocket import WebSocket

_FAILURES = tuple(FAILURES)


class Session:
    """A connection that has been accepted, until it ends."""

    __slots__ = (
        "_closing",
        "_endpoint",
        "_heard_s",
        "_hooks",
        "_is_busy",
        "_is_connected",
        "_now_s",
        "_rooms",
        "_wire",
        "_ws",
    )

    def __init__(self, endpoint: "Endpoint", ws: "WebSocket", wire: "Wire") -> None:
        self._endpoint = endpoint
        self._hooks = endpoint.hooks
        self._ws = ws
        self._wire = wire
        self._rooms: Rooms = ws._app.rooms
        self._now_s = asyncio.get_running_loop().time
        self._heard_s = self._now_s()
        self._is_connected = False
        self._is_busy = False
        self._closing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Take requests, one after the other, until the connection ends."""
        ws, watch = self._ws, deadlines()
        watch.watch(self)
        try:
            payloads = ws.iter_text() if self._wire.codec.kind == "text" else ws.iter_bytes()
            async for payload in payloads:
                self._is_busy = True
                await self._take(payload)
                self._is_busy = False
                self._heard_s = self._now_s()
        finally:
            watch.forget(self)

    async def _take(self, payload: str | bytes) -> None:
        id: int | None = None
        try:
            request = self._wire.request(payload)
            id = request.id
            if not self._is_connected:
                await self._connect(request)
            elif isinstance(request, frames.Connect):
                raise Refused("already_connected")
            else:
                await _ANSWERS[type(request)](self, request)
        except Refused as refused:
            await self._refuse(refused, refused.id if id is None else id)
        except _FAILURES as error:
            await self._refuse(Refused(FAILURES[type(error)]), id)

    async def _refuse(self, refused: Refused, id: int | None) -> None:
        code, message = refused.code, refused.message
        await self._send(frames.Error(id=id, code=code, message=message, retry=refused.retry))
        if not self._is_connected:
            close_code = CLOSED_BY.get(code, BAD_CONNECT)
            reason = OWN_CODES.get(close_code, "Too Many Connections")
            await self._ws.ensure_closed(close_code, reason)

    async def _send(self, frame: frames.Frame) -> None:
        event, size_bytes = self._wire.frame(frame)
        if not self._ws.offer(event, size_bytes):
            await self._ws.post(event, size_bytes)

    # -- the deadline --------------------------------------------------------------------------

    def due_s(self) -> float:
        """When the client must have said something; not while it is the server that is slow."""
        since_s = self._now_s() if self._is_busy else self._heard_s
        limit = self._endpoint.timeout_s if self._is_connected else self._endpoint.connect_timeout_s
        return since_s + limit

    def expire(self) -> None:
        """Close a silent connection."""
        code = NOT_HEARD if self._is_connected else NOTHING_SAID
        closing = self._ws.kick(code, OWN_CODES[code])
        self._closing = asyncio.get_running_loop().create_task(closing)

    # -- requests ------------------------------------------------------------------------------

    async def _connect(self, request: frames.FromClient) -> None:
        if not isinstance(request, frames.Connect):
            raise Refused("connect_expected")
        ws, endpoint = self._ws, self._endpoint
        user = await self._user(request)
        assert ws.id is not None, "it was accepted"
        limits = frames.Limits(endpoint.message_bytes(ws), endpoint.max_rooms)
        answer = frames.Connected(
            id=request.id,
            client=ws.id,
            user=user,
            expires_in_s=self._expires_in_s(),
            ping_interval_s=endpoint.ping_interval_s,
            timeout_s=endpoint.timeout_s,
            limits=limits,
        )
        await self._send(answer)
        self._is_connected = True
        deadlines().watch(self)  # which may be earlier than that for `connect`
        # Only now: no broadcast is for one that may be anybody.
        ws._app.connections.add(ws)

    async def _user(self, request: frames.Connect) -> str | None:
        """Return whose connection it is: what the route's authentication says, then the hook."""
        ws = self._ws
        try:
            refusal = await ws._gate.admits(ws, request.token)
            if refusal is not None:
                ws.limited(refusal.limit)
                code = "too_many_connections" if refusal.status == 429 else "unauthorized"
                raise Refused(code, refusal.detail)
            user = await self._hooks.user_of(ws, request.data)
            if user is not None:
                ws.user_id = user
        except AuthenticationFailed as failure:
            raise Refused("unauthorized", failure.detail) from None
        except TooManyConnections as error:
            ws.limited("connections_per_user")
            raise Refused("too_many_connections", error.reason) from None
        return ws.user_id

    def _expires_in_s(self) -> float | None:
        identity = self._ws.identity
        if identity is None or identity.expires_at_s is None:
            return None
        return round(max(0.0, identity.expires_at_s - time.time()), 3)

    async def _refresh(self, request: frames.Refresh) -> None:
        try:
            await self._ws.renew(request.token)
        except AuthenticationFailed as failure:
            raise Refused("bad_token", failure.detail) from None
        answer = frames.Refreshed(id=request.id, expires_in_s=self._expires_in_s())
        await self._send(answer)

    async def _join(self, request: frames.Join) -> None:
        ws, room = self._ws, _room(request.room)
        if (request.since is None) != (request.epoch is None):
            raise Refused("invalid_frame", "since and epoch go together")
        if room not in ws._rooms and len(ws.rooms) >= self._endpoint.max_rooms:
            raise Refused("too_many_rooms")
        await check(self._hooks.can_join, ws, room)

        def welcome(joined: rooms_api.Joined) -> Encoded:
            return self._wire.frame(
                frames.Joined(
                    id=request.id,
                    room=room,
                    epoch=joined.epoch,
                    offset=joined.offset,
                    recovered=joined.recovered,
                )
            )

        # Before the room itself, so that nobody's coming is overlooked.
        await self._watch(room)
        try:
            await self._rooms.join(ws, room, request.since, request.epoch, welcome)
        except _FAILURES:
            await self._rooms.leave(ws, shadow_of(room))
            raise

    async def _watch(self, room: str) -> None:
        """Have presence told, if the client may see it."""
        may = self._endpoint.has_presence(room)
        if may:
            try:
                await check(self._hooks.can_see_presence, self._ws, room)
            except Refused:
                may = False
        if may:
            await self._rooms.join(self._ws, shadow_of(room), None, None)
        else:
            await self._rooms.leave(self._ws, shadow_of(room))

    async def _leave(self, request: frames.Leave) -> None:
        room = _room(request.room)
        await self._rooms.leave(self._ws, room)
        await self._send(frames.Left(id=request.id, room=room))

    async def _publish(self, request: frames.Publish) -> None:
        room = _room(request.room)
        data, message = self._wire.data(request.data)
        await check(self._hooks.can_publish, self._ws, room, data)
        done = await self._rooms.publish(room, message, None)
        await self._send(frames.Published(id=request.id, epoch=done.epoch, offset=done.offset))

    async def _presence(self, request: frames.AskPresence) -> None:
        room = self._own_room(request.room)
        if not self._endpoint.has_presence(room):
            raise Refused("no_presence")
        await check(self._hooks.can_see_presence, self._ws, room)
        await self._send(presence_of(self._rooms, room, request.id))

    async def _history(self, request: frames.AskHistory) -> None:
        room = self._own_room(request.room)
        # What comes after that comes as messages.
        position = self._rooms.bus.seen(room)
        answer = frames.History(
            id=request.id,
            room=room,
            epoch=epoch_text(position.epoch),
            offset=position.offset,
            messages=self._kept(room, request, position.offset),
        )
        await self._send(answer)

    def _kept(self, room: str, request: frames.AskHistory, until: int) -> list[frames.Kept]:
        limit = rooms_api.DEFAULT_HISTORY if request.limit is None else request.limit
        kept: list[frames.Kept] = []
        left_bytes = frames.HISTORY_BYTES
        for message in reversed(self._rooms.kept(room, request.since or 0, limit)):
            if message.offset > until:
                continue
            left_bytes -= len(message.data)
            if kept and left_bytes < 0:
                break
            data, base64 = self._wire.published(message)
            at_s = message.time_ns / 1e9
            kept.append(
                frames.Kept(offset=message.offset, data=data, base64=base64, published_at=at_s)
            )
        kept.reverse()
        return kept

    async def _ping(self, request: frames.Ping) -> None:
        await self._send(frames.Pong(id=request.id))

    def _own_room(self, name: str) -> str:
        room = _room(name)
        if room not in self._ws._rooms:
            raise Refused("not_member")
        return room


_ANSWERS: dict[type, Callable[[Session, Any], Awaitable[None]]] = {
    frames.Refresh: Session._refresh,
    frames.Join: Session._join,
    frames.Leave: Session._leave,
    frames.Publish: Session._publish,
    frames.AskPresence: Session._presence,
    frames.AskHistory: Session._history,
    frames.Ping: Session._ping,
}


def _room(name: str) -> str:
    """Return a name that can name a room and its shadow.

    Raises:
        Refused: bad_room.
    """
    try:
        check_room_name(name)
    except ValueError as error:
        raise Refused("bad_room", str(error)) from None
    if len(name.encode()) > frames.ROOM_BYTES:
        raise Refused("bad_room", f"a room name has at most {frames.ROOM_BYTES} bytes")
    return name
