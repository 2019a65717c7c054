"""Owns the two encodings of the realtime protocol: requests, frames and messages to payloads.

A `Wire` is the `Encoding` of the connections that speak it. It knows no connection.
"""

from typing import Any

import msgspec

from server.codecs import JSON, MSGPACK, Codec, json_bytes
from server.encodings import Encoded, event_of, msgpack_of_json
from server.realtime.errors import Refused
from server.realtime.frames import (
    DEPTH,
    FROM_CLIENT,
    LARGEST,
    Broadcast,
    FromClient,
    Message,
    Missed,
)
from server.room import is_shadow, owner_of
from workers import publisher
from workers.room_tables import Kind


class Wire:
    """One subprotocol.

    Attributes:
        codec: of the frames.
    """

    def __init__(self, subprotocol: str, codec: Codec) -> None:
        self.subprotocol = subprotocol
        self.codec = codec
        self._decode_request = codec.decoder(FromClient)

    # -- requests ------------------------------------------------------------------------------

    def request(self, payload: str | bytes) -> FromClient:
        """Return the request in a payload.

        Raises:
            Refused: malformed, invalid_frame or unknown_type.
        """
        try:
            request: FromClient = self._decode_request(payload)
        except msgspec.DecodeError as error:
            raise self._refusal(payload, str(error)) from None
        return request

    def _refusal(self, payload: str | bytes, problem: str) -> Refused:
        """Say what is wrong, with the request's id if it has one."""
        try:
            frame = self.codec.decode(payload)
        except msgspec.DecodeError as error:
            return Refused("malformed", str(error))
        if not isinstance(frame, dict):
            return Refused("invalid_frame", problem)
        id, type_ = frame.get("id"), frame.get("type")
        if not isinstance(id, int) or isinstance(id, bool) or not 0 <= id <= LARGEST:
            id = None
        if isinstance(type_, str) and type_ not in FROM_CLIENT:
            return Refused("unknown_type", f"there is no frame of type {type_!r}", id)
        return Refused("invalid_frame", problem, id)

    def data(self, raw: msgspec.Raw) -> tuple[Any, Any]:
        """Return published data, decoded, and as `Room.publish` takes it.

        Raises:
            Refused: bad_data.
        """
        try:
            value = self.codec.decode(raw)
            if isinstance(value, str | bytes):
                return value, value
            text = self._json(raw, value)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise Refused("bad_data", str(error)) from None
        _check_depth(text, value)
        return value, msgspec.Raw(text)

    def _json(self, raw: msgspec.Raw, value: Any) -> bytes:
        return bytes(raw) if self.codec is JSON else json_bytes(value)

    # -- frames --------------------------------------------------------------------------------

    def frame(self, frame: msgspec.Struct) -> Encoded:
        """Return the event that sends a frame."""
        return event_of(self.codec.encode(frame))

    def encode(self, message: publisher.Message) -> Encoded:
        """Return the event for a message: of a room, its shadow, or a broadcast."""
        if message.room is not None and is_shadow(message.room):
            # It is a frame already.
            text = message.data
            assert isinstance(text, str)
            return event_of(text if self.codec is JSON else msgpack_of_json(text))
        data, base64 = self.published(message)
        if message.room is None:
            return self.frame(Broadcast(data=data, base64=base64))
        return self.frame(
            Message(room=message.room, offset=message.offset, data=data, base64=base64)
        )

    def published(self, message: publisher.Message) -> tuple[Any, bool]:
        """Return a message's data as it stands in a frame, and whether that is base64 text."""
        data = message.data
        if message.kind is Kind.BYTES:
            return data, self.codec is JSON
        if message.kind is Kind.TEXT:
            return data, False
        assert isinstance(data, str)
        return msgspec.Raw(data if self.codec is JSON else msgpack_of_json(data)), False

    def missed(self, room: str | None) -> Encoded:
        """Return the event that tells of lost messages."""
        if room is None:
            return self.frame(Missed(what="broadcasts"))
        if is_shadow(room):
            return self.frame(Missed(what="presence", room=owner_of(room)))
        return self.frame(Missed(what="messages", room=room))


def _check_depth(text: bytes, value: Any) -> None:
    """Refuse data that is nested too deeply for those who will decode it, with less stack left.

    Raises:
        Refused: bad_data.
    """
    if text.count(b"[") + text.count(b"{") <= DEPTH:
        return
    level = [value]
    for _ in range(DEPTH + 1):
        level = [child for item in level for child in _children(item)]
        if not level:
            return
    raise Refused("bad_data", f"the data is nested more than {DEPTH} deep")


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


WIRES: dict[str, Wire] = {
    wire.subprotocol: wire
    for wire in (Wire("switchboard.v1", JSON), Wire("switchboard.v1.msgpack", MSGPACK))
}
"""By subprotocol."""
