"""Owns what handler code calls beside receiving: sending, rooms, and the context manager.

It turns messages into payloads; the state that depends on is `connection`'s.
docs/topics/websocket.md has the table of methods and states that it implements with `connection`.
"""

from types import TracebackType
from typing import Any, Self

from server.auth.identity import AuthenticationFailed, Identity
from server.close_codes import UNAUTHORIZED, CloseCode, truncate_reason
from server.codecs import encode_json_text, json_bytes
from server.exceptions import (
    TooManyRooms,
    WebSocketDisconnect,
    WebSocketException,
    sole_cause,
)
from server.receiving import Mode, Receiving, is_binary
from server.room import Joined, check_room_name, is_shadow
from server.states import CONNECTED, WebSocketState
from server.transport import Event

__all__ = ["WebSocket", "WebSocketState"]


class WebSocket(Receiving):
    """One WebSocket, as a view sees it. Hashable by identity, so it may live in sets."""

    __slots__ = ()

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
        if is_binary(mode):
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
        error = sole_cause(error, AuthenticationFailed)
        if isinstance(error, WebSocketDisconnect):
            return self.route.catches(error.code)
        if isinstance(error, WebSocketException):
            await self.ensure_closed(error.code, error.reason)
        elif isinstance(error, AuthenticationFailed):
            await self.ensure_closed(UNAUTHORIZED, truncate_reason(error.detail))
        elif isinstance(error, Exception):
            await self.ensure_closed(CloseCode.INTERNAL_ERROR)
        elif error is None:
            await self.ensure_closed()
        return False

    # -- its token -----------------------------------------------------------------------------

    async def renew(self, token: str) -> Identity:
        """Take a newer token of this client, which puts off the end of its connection.

        The backends and guards of the route look at it as at the first one.

        Raises:
            AuthenticationFailed: it is no good, or is another user's; the old one counts on.
                Uncaught, it closes with 4502.
        """
        return await self._gate.renew(self, token)

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
            TooManyRooms: it is in as many as its limit lets it be; uncaught, it closes with 1008.
            DirectoryFull, MembershipsFull: there is no place for another room, or membership.
            JournalStalled: a stopped process holds the journal.
        """
        if self._phase is not CONNECTED:
            self._refuse("receive")
        check_room_name(room)
        limit = self._gate.limits.rooms
        if limit is not None and len(self._rooms) >= limit and room not in self._rooms:
            self.limited("rooms")
            raise TooManyRooms(limit)
        return await self._app.rooms.join(self, room, since, epoch)

    async def leave(self, room: str) -> None:
        """Leave a room; a room not joined changes nothing."""
        await self._app.rooms.leave(self, room)

    @property
    def rooms(self) -> frozenset[str]:
        """The rooms this connection is a member of."""
        return frozenset(room for room in self._rooms if not is_shadow(room))


def _type(value: object) -> str:
    return type(value).__name__
