"""Owns receiving on one connection: messages by kind and type, and iterating over them.

What a payload may cost its sender is `flow`'s matter; what the state allows, `connection`'s.
docs/topics/websocket.md has the table of methods and states.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Literal, Self

import msgspec

from server.codecs import JSON, Kind
from server.exceptions import (
    InvalidMessage,
    MessageRateExceeded,
    MessageTooBig,
    UnexpectedFrame,
    WebSocketDisconnect,
)
from server.exchange import Exchange
from server.inbox import NOT_ARMED, Inbox
from server.states import CONNECTED, Phase
from server.transport import Event

Mode = Literal["text", "binary"]


class Receiving(Exchange):
    """The receiving half of a WebSocket."""

    __slots__ = ()

    @property
    def receive_type(self) -> Any:
        """The type that `receive` returns on this route."""
        return self.route.receive_type

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
        return JSON.decode(await self._payload("bytes" if is_binary(mode) else "text"))

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

    @property
    def has_been_asked(self) -> bool:
        """Whether the connect event was taken, and the handshake is not answered yet."""
        return self._phase is Phase.CONNECTING and self._connect_event_given

    def _closed_event(self) -> Event:
        code, reason = self.close_code, self.close_reason
        return {"type": "websocket.disconnect", "code": code, "reason": reason}

    async def _open_event(self) -> Event:
        if self._handling_since_s:
            self._note_handled()
        while True:
            event = await self.next_event()
            if event["type"] != "websocket.receive":
                return event
            if not self.messages_received & 15:
                self._handling_since_s = time.perf_counter()
            text = event.get("text")
            if self._count(event["bytes"] if text is None else text):
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
            payload = await self._late_payload(kind)
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
                    payload = await self._late_payload(kind)
                except WebSocketDisconnect:
                    return
            yield payload

    def _take_payload(self, inbox: Inbox, kind: Kind) -> Any:
        """Return what has arrived; None if that is no message of that kind, or is dropped."""
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
        if size > self._free_size and not self._passes(size):
            return None
        return payload

    def _note_handled(self) -> None:
        """The view asks for the next message after one that is timed: one in 16 is."""
        assert self.entry is not None
        self.entry.counters.handled(time.perf_counter() - self._handling_since_s)
        self._handling_since_s = 0.0

    async def _late_payload(self, kind: Kind) -> Any:
        """Return the next payload, or say why what arrived is no message of that kind."""
        if self._phase is Phase.CLOSED:  # by another task, while this one waited
            raise self._disconnect()
        event = await self._open_event()
        if event["type"] == "websocket.disconnect":
            raise self._disconnect()
        payload = event.get(kind)
        if payload is None:
            expected, got = ("text", "binary") if kind == "text" else ("binary", "text")
            raise UnexpectedFrame(expected, got)
        return payload

    def _count(self, payload: str | bytes) -> bool:
        """Count a message that has come; False if it is to be dropped."""
        size = len(payload)
        if type(payload) is str and not payload.isascii():
            size = len(payload.encode())
        self.messages_received += 1
        self.bytes_received += size
        return size <= self._free_size or self._passes(size)

    def _passes(self, size: int) -> bool:
        """Look closer at a message that may be too large, or come too soon after others.

        Raises:
            MessageTooBig: the first.
            MessageRateExceeded: the second, and that is not to be passed over.
        """
        if size > self._max_message_size:
            self.limited("message_size")
            raise MessageTooBig(size, self._max_message_size)
        flow = self._flow
        if flow is None or (limit := flow.take(size)) is None:
            return True
        self.limited(limit)
        if flow.drops:
            self._handling_since_s = 0.0  # nobody handles it
            return False
        raise MessageRateExceeded(*flow.describe(limit))

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


def is_binary(mode: Mode) -> bool:
    """Tell whether structured messages travel in binary frames.

    Raises:
        ValueError: neither "text" nor "binary".
    """
    if mode not in ("text", "binary"):
        raise ValueError(f"mode must be 'text' or 'binary', not {mode!r}")
    return mode == "binary"
