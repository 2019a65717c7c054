"""Owns what handler code calls: receiving, sending, iterating, and the context manager.

It turns payloads into messages and back; the state they depend on is `connection`'s.
docs/topics/websocket.md has the table of methods and states that it implements with `connection`.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine
from types import TracebackType
from typing import Any, Literal, NoReturn, Self

import msgspec

from server.close_codes import CloseCode
from server.codecs import JSON, Kind, encode_json_text, json_bytes
from server.exceptions import (
    InvalidMessage,
    MessageTooBig,
    UnexpectedFrame,
    WebSocketDisconnect,
    WebSocketException,
    sole_cause,
)
from server.exchange import Exchange
from server.inbox import NOT_ARMED, Inbox
from server.room import Joined, check_room_name, is_shadow
from server.states import CONNECTED, Phase, WebSocketState
from server.transport import Event

__all__ = ["WebSocket", "WebSocketState"]

Mode = Literal["text", "binary"]


class WebSocket(Exchange):
    """One WebSocket, as a view sees it. Hashable by identity, so it may live in sets."""

    __slots__ = ()

    @property
    def receive_type(self) -> Any:
        """The type that `receive` returns on this route."""
        return self.route.receive_type

    @property
    def send_type(self) -> Any:
        """The type that `send` takes on this route."""
        return self.route.send_type

    @property
    def auto_accept(self) -> bool:
        """Whether the route accepts before its view runs."""
        return self.route.auto_accept

    @property
    def caught_close_codes(self) -> Any:
        """The disconnect codes that end the view quietly; `all` means every code."""
        return self.route.caught_close_codes

    # -- receive -------------------------------------------------------------------------------

    async def receive(self) -> Any:
        """Return the next message in the route's receive type.

        Raises:
            WebSocketDisconnect: the peer left; again at each further call.
            RuntimeError: before accept or after close.
            WebSocketException: the wrong kind of frame (1003), too big (1009), or on a typed
                route an invalid message (1007); uncaught, it closes with that code.
            msgspec.DecodeError: malformed, on a route of type "json".
        """
        kind = self.route.receive_type
        if kind == "text":
            return await self.receive_text()
        if kind == "bytes":
            return await self.receive_bytes()
        if kind == "event":
            event = await self._open_event()
            if event["type"] == "websocket.disconnect":
                raise self._disconnect()
            return event
        codec = self.encoding.codec
        payload = await self._payload(codec.kind)
        if kind == "json":
            return codec.decode(payload)
        try:
            return codec.decoder(kind)(payload)
        except msgspec.DecodeError as error:
            raise InvalidMessage(str(error)) from None

    def receive_text(self) -> Coroutine[Any, Any, str]:
        """Return the next message, which must be text (else 1003)."""
        return self._payload("text")

    def receive_bytes(self) -> Coroutine[Any, Any, bytes]:
        """Return the next message, which must be binary (else 1003)."""
        return self._payload("bytes")

    async def receive_json(self, mode: Mode = "text") -> Any:
        """Return the next message decoded from JSON.

        Args:
            mode: the kind of frame it must come in.

        Raises:
            msgspec.DecodeError: not JSON; it is a ValueError.
        """
        return JSON.decode(await self._payload("bytes" if _is_binary(mode) else "text"))

    async def receive_event(self) -> Event:
        """Return the next ASGI event: the connect event first, the disconnect event last.

        Raises:
            RuntimeError: a second time before accept, or after the disconnect event.
        """
        if self._phase is Phase.CLOSED:
            return self._closed_event()
        if self._phase is Phase.LEFT:
            raise RuntimeError("receive_event() after the disconnect event")
        if self._phase is Phase.CONNECTING and not self._connect_event_given:
            self._connect_event_given = True
            return {"type": "websocket.connect"}
        try:
            return await self._open_event()
        except WebSocketDisconnect:
            return self._closed_event()

    def _closed_event(self) -> Event:
        code, reason = self.close_code, self.close_reason
        return {"type": "websocket.disconnect", "code": code, "reason": reason}

    async def _open_event(self) -> Event:
        if self._handling_since_s:
            self._note_handled()
        event = await self.next_event()
        if event["type"] == "websocket.receive":
            if not self.messages_received & 15:
                self._handling_since_s = time.perf_counter()
            text = event.get("text")
            self._count(event["bytes"] if text is None else text)
        return event

    async def _payload(self, kind: Kind) -> Any:
        """Return the next message's payload, which must be of that kind."""
        if self._handling_since_s:
            self._note_handled()
        if self._phase is not CONNECTED:
            self._refuse("receive")
        inbox = self._inbox
        while inbox.pending is NOT_ARMED or not inbox.pending.done():
            await inbox.arrival()
        payload = self._take_payload(inbox, kind)
        if payload is None:
            await self._no_payload(kind)
        return payload

    async def _payloads(self, kind: Kind) -> AsyncGenerator[Any, None]:
        """Yield payloads until the connection has ended: `_payload` without a frame a message."""
        while True:
            if self._handling_since_s:
                self._note_handled()
            if self._phase is not CONNECTED:
                if self.has_ended:
                    return
                self._refuse("receive")
            inbox = self._inbox
            while inbox.pending is NOT_ARMED or not inbox.pending.done():
                await inbox.arrival()
            payload = self._take_payload(inbox, kind)
            if payload is None:
                try:
                    await self._no_payload(kind)
                except WebSocketDisconnect:
                    return
            yield payload

    def _take_payload(self, inbox: Inbox, kind: Kind) -> Any:
        """Return what has arrived, or None if that is no message of that kind."""
        try:
            # Hosts may give the other key too, with None; a disconnect event has neither.
            payload = inbox.pending.result().get(kind)
        except (Exception, asyncio.CancelledError):
            return None
        if payload is None:
            return None
        inbox.go_on()
        size = len(payload)
        if kind == "text" and not payload.isascii():
            size = len(payload.encode())
        if not self.messages_received & 15:
            self._handling_since_s = time.perf_counter()
        self.messages_received += 1
        self.bytes_received += size
        if size > self._max_message_size:
            raise MessageTooBig(size, self._max_message_size)
        return payload

    def _note_handled(self) -> None:
        """The view asks for the next message after one that is timed: one in 16 is."""
        assert self.entry is not None
        self.entry.counters.handled(time.perf_counter() - self._handling_since_s)
        self._handling_since_s = 0.0

    async def _no_payload(self, kind: Kind) -> NoReturn:
        """Say why what arrived is no message of that kind."""
        if self._phase is Phase.CLOSED:  # by another task, while this one waited
            raise self._disconnect()
        event = await self._open_event()
        if event["type"] == "websocket.disconnect":
            raise self._disconnect()
        expected, got = ("text", "binary") if kind == "text" else ("binary", "text")
        raise UnexpectedFrame(expected, got)

    def _count(self, payload: str | bytes) -> None:
        size = len(payload)
        if type(payload) is str and not payload.isascii():
            size = len(payload.encode())
        self.messages_received += 1
        self.bytes_received += size
        if size > self._max_message_size:
            raise MessageTooBig(size, self._max_message_size)

    # -- send ----------------------------------------------------------------------------------

    async def send(self, message: Any) -> None:
        """Send a message in the route's send type.

        Raises:
            WebSocketDisconnect: the peer is gone, or was closed for not reading (1013).
            RuntimeError: before accept or after close.
            TypeError: not what the route's send type takes; nothing was sent.
        """
        kind = self.route.send_type
        if kind == "text":
            await self.send_text(message)
        elif kind == "bytes":
            await self.send_bytes(message)
        elif kind == "event":
            await self.send_event(message)
        else:
            if isinstance(kind, type) and not isinstance(message, kind):
                raise TypeError(f"send() takes {kind.__name__} here, not {_type(message)}")
            codec = self.encoding.codec
            payload = codec.encode(message)
            await (self.send_text if codec.kind == "text" else self.send_bytes)(payload)

    async def send_text(self, text: str) -> None:
        """Send a text frame."""
        # granian would send an empty frame for another type.
        if not isinstance(text, str):
            raise TypeError(f"send_text() takes a str, not {_type(text)}")
        # An ASCII str knows that it is one, so the common case costs no encoding.
        size = len(text) if text.isascii() else len(text.encode())
        event: Event = {"type": "websocket.send", "text": text}
        offer = self.offer  # calling a slot's value at once is slower
        if not offer(event, size):
            await self.post(event, size)

    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Send a binary frame from bytes, bytearray or memoryview."""
        if not isinstance(data, bytes):
            if not isinstance(data, bytearray | memoryview):
                raise TypeError(f"send_bytes() takes bytes, not {_type(data)}")
            data = bytes(data)
        size = len(data)
        event: Event = {"type": "websocket.send", "bytes": data}
        offer = self.offer
        if not offer(event, size):
            await self.post(event, size)

    async def send_json(self, message: Any, mode: Mode = "text") -> None:
        """Send compact JSON.

        Args:
            mode: the kind of frame to send it in.

        Raises:
            TypeError: something in `message` has no JSON form; nothing was sent.
        """
        if _is_binary(mode):
            await self.send_bytes(json_bytes(message))
        else:
            await self.send_text(encode_json_text(message))

    async def send_event(self, event: Event) -> None:
        """Send a raw ASGI event: websocket.accept, websocket.send or websocket.close.

        Raises:
            ValueError: another type, or not exactly one of "text" and "bytes".
        """
        kind = event.get("type")
        if kind == "websocket.accept":
            await self.accept(event.get("subprotocol"), event.get("headers"))
        elif kind == "websocket.close":
            await self.close(event.get("code", 1000), event.get("reason") or "")
        elif kind != "websocket.send":
            raise ValueError(f"send_event() does not know events of type {kind!r}")
        elif (text := event.get("text")) is None and event.get("bytes") is not None:
            await self.send_bytes(event["bytes"])
        elif text is not None and event.get("bytes") is None:
            await self.send_text(text)
        else:
            raise ValueError("a websocket.send event has exactly one of 'text' and 'bytes'")

    # -- iterate -------------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        # Ends by exception, as Bocadillo's does; `iter_*` end quietly.
        return await self.receive()

    def iter_text(self) -> AsyncGenerator[str, None]:
        """Iterate over text messages; ends quietly when either side has closed."""
        return self._payloads("text")

    def iter_bytes(self) -> AsyncGenerator[bytes, None]:
        """Iterate over binary messages; ends quietly when either side has closed."""
        return self._payloads("bytes")

    async def iter_json(self) -> AsyncGenerator[Any, None]:
        """Iterate over JSON messages; ends quietly when either side has closed."""
        async for text in self._payloads("text"):
            yield JSON.decode(text)

    # -- context manager -----------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._phase is not CONNECTED:
            await self.accept()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        error = sole_cause(error)
        if isinstance(error, WebSocketDisconnect):
            return self.route.catches(error.code)
        if isinstance(error, WebSocketException):
            await self.ensure_closed(error.code, error.reason)
        elif isinstance(error, Exception):
            await self.ensure_closed(CloseCode.INTERNAL_ERROR)
        elif error is None:
            await self.ensure_closed()
        return False

    # -- rooms ---------------------------------------------------------------------------------

    async def join(
        self, room: str, *, since: int | None = None, epoch: str | None = None
    ) -> Joined:
        """Become a member of a room; joining again changes nothing.

        With `since` and `epoch`, which an earlier join or publish returned, first what was
        published after that is sent, in order, and then what is published from now on; or, if not
        all of it is kept any more, nothing of it.

        Raises:
            TypeError, ValueError: no name of a room, or no such place in it.
            WebSocketDisconnect: the connection has ended, or cannot keep up with the room (1013).
            DirectoryFull, MembershipsFull: there is no place for another room, or membership.
            JournalStalled: a stopped process holds the journal.
        """
        if self._phase is not CONNECTED:
            self._refuse("receive")
        check_room_name(room)
        return await self._app.rooms.join(self, room, since, epoch)

    async def leave(self, room: str) -> None:
        """Leave a room; a room not joined changes nothing."""
        await self._app.rooms.leave(self, room)

    @property
    def rooms(self) -> frozenset[str]:
        """The rooms this connection is a member of."""
        return frozenset(room for room in self._rooms if not is_shadow(room))


def _is_binary(mode: Mode) -> bool:
    if mode not in ("text", "binary"):
        raise ValueError(f"mode must be 'text' or 'binary', not {mode!r}")
    return mode == "binary"


def _type(value: object) -> str:
    return type(value).__name__
