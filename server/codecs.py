"""Owns the encodings of messages, with encoders and decoders made once; knows no connection.

A `Codec` turns objects into the payload of one frame and back. JSON travels in text frames,
MessagePack in binary ones.
"""

from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec

from server.map_keys import check_keys

Kind = Literal["text", "bytes"]
MSGPACK_SUBPROTOCOL = "msgpack"
JSON_SUBPROTOCOL = "json"


class Decode(Protocol):
    """Decodes one payload, or raises `msgspec.DecodeError`."""

    def __call__(self, payload: Any, /) -> Any: ...


class Codec:
    """One encoding: its frame kind, an encoder shared by all connections, decoders by type.

    Attributes:
        name: "json" or "msgpack", which is also its subprotocol.
        kind: the frame it travels in; `encode` returns str for "text" and bytes for "bytes".
    """

    __slots__ = ("_check", "_decoders", "_make_decoder", "decode", "encode", "kind", "name")

    def __init__(
        self,
        name: str,
        kind: Kind,
        encode: Any,
        make_decoder: Any,
        check: Callable[[bytes], None] | None = None,
    ) -> None:
        self.name = name
        self.kind: Kind = kind
        self.encode = encode
        self._make_decoder = make_decoder
        self._decoders: dict[Any, Decode] = {}
        self._check = check
        self.decode: Decode = _checked(make_decoder(Any).decode, check)

    def decoder(self, type_: Any) -> Decode:
        """Return the decoder for `type_`, made at the first call and kept.

        Raises:
            TypeError: msgspec cannot decode that type.
        """
        decode = self._decoders.get(type_)
        if decode is None:
            decode = _checked(self._make_decoder(type_).decode, self._check)
            self._decoders[type_] = decode
        return decode


def _checked(decode: Decode, check: Callable[[bytes], None] | None) -> Decode:
    """Make one error of all that a peer can cause: msgspec has no DecodeError for these two.

    Args:
        check: looks at a payload before; a part of one (`msgspec.Raw`) was looked at with it.
    """

    def checked(payload: Any, /) -> Any:
        try:
            return decode(payload)
        except (UnicodeDecodeError, UnicodeEncodeError) as error:
            raise msgspec.DecodeError(f"Invalid UTF-8: {error.reason}") from None
        except RecursionError:
            raise msgspec.DecodeError("Nested too deeply") from None

    if check is None:
        return checked

    def checked_before(payload: Any, /) -> Any:
        if isinstance(payload, bytes):
            check(payload)
        return checked(payload)

    return checked_before


_json_encode = msgspec.json.Encoder().encode


def encode_json_text(message: Any) -> str:
    """Encode as compact JSON; the str that a text frame takes.

    Raises:
        TypeError: the object, or one inside it, has no JSON form.
    """
    return _json_encode(message).decode()


JSON = Codec("json", "text", encode_json_text, msgspec.json.Decoder)
MSGPACK = Codec(
    "msgpack", "bytes", msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder, check_keys
)
CODECS: dict[str, Codec] = {codec.name: codec for codec in (JSON, MSGPACK)}


def json_bytes(message: Any) -> bytes:
    """Encode as compact JSON in bytes, for binary frames and HTTP bodies."""
    return _json_encode(message)
