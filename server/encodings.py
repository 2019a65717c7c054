"""Owns how a published message becomes an event for a connection; knows no member and no room.

A connection has one `Encoding`. All connections with the same one get the same event, so a message
is encoded once for each, however many members there are.
"""

import logging
import math
from typing import Any, Protocol

import msgspec

from server.codecs import JSON, MSGPACK, Codec, json_bytes
from server.transport import Event
from workers.publisher import Message
from workers.room_tables import Kind

log = logging.getLogger("switchboard.rooms")

Encoded = tuple[Event, int]
"""An event, and the size of its payload in bytes."""

_INT64 = range(-(2**63), 2**64)


class Encoding(Protocol):
    """How a connection gets what is published.

    Attributes:
        codec: of the messages that the view sends and receives by itself.
    """

    codec: Codec

    def encode(self, message: Message) -> Encoded:
        """Return the event for a message, of a room or a broadcast."""

    def missed(self, room: str | None) -> Encoded | None:
        """Return the event that tells of lost messages (None: broadcasts); None if there is none.

        One that is told gets no more of the room's messages until it joins again.
        """


class Bare:
    """The bare message, as it was published; structured ones in the connection's codec."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    def encode(self, message: Message) -> Encoded:
        """Return the event with the message alone."""
        data = message.data
        if message.kind is Kind.JSON and self.codec is MSGPACK:
            assert isinstance(data, str)
            return event_of(msgpack_of_json(data))
        return event_of(data)

    def missed(self, room: str | None) -> Encoded | None:
        """There are no words for it."""
        return None


def encoded(encoding: Encoding, message: Message) -> Encoded | None:
    """Return the event for a message; None, and a line in the log, if there cannot be one."""
    try:
        return encoding.encode(message)
    except Exception:
        log.exception("a message of room %r has no form for some", message.room)
        return None


BARE: dict[Codec, Encoding] = {codec: Bare(codec) for codec in (JSON, MSGPACK)}


def event_of(payload: str | bytes) -> Encoded:
    """Return the event that sends a payload, in the frame that fits its type."""
    if isinstance(payload, str):
        size_bytes = len(payload) if payload.isascii() else len(payload.encode())
        return {"type": "websocket.send", "text": payload}, size_bytes
    return {"type": "websocket.send", "bytes": payload}, len(payload)


def msgpack_of_json(text: str) -> bytes:
    """Return JSON as MessagePack; integers that it has no room for become floats."""
    value = msgspec.json.decode(text)
    try:
        packed: bytes = MSGPACK.encode(value)
    except OverflowError:
        packed = MSGPACK.encode(_narrow(value))
    return packed


def _narrow(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _narrow(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_narrow(item) for item in value]
    if isinstance(value, int) and value not in _INT64:
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    return value


def payload_of(message: Any) -> tuple[Kind, bytes]:
    """Return a message as it is published.

    Raises:
        TypeError: it, or something inside it, has no JSON form.
        ValueError: text that is no Unicode.
    """
    if isinstance(message, str):
        return Kind.TEXT, message.encode()
    if isinstance(message, bytes | bytearray | memoryview):
        return Kind.BYTES, bytes(message)
    return Kind.JSON, json_bytes(message)
