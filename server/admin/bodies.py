"""Owns what requests carry: size, type, and the shapes of the JSON; publishes nothing itself.

Raises what to answer: 400 is no JSON, 422 JSON that is not what is asked for.
"""

from typing import Any, Literal, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

from server.admin.answers import JSON_TYPE, refusal
from server.close_codes import CloseCode
from server.codecs import JSON, json_bytes
from workers.room_tables import Kind

MAX_BATCH = 1000
_T = TypeVar("_T")
TextOrJson = Literal["json", "text"]


class Publish(msgspec.Struct, forbid_unknown_fields=True):
    """A message for a room."""

    room: str
    data: Any
    kind: TextOrJson = "json"


class Broadcast(msgspec.Struct, forbid_unknown_fields=True):
    """A message for all connections, or for those of a route."""

    data: Any
    kind: TextOrJson = "json"
    route: str | None = None


class Disconnect(msgspec.Struct, forbid_unknown_fields=True):
    """Whom to disconnect; all that is given must match."""

    user: str | None = None
    id: str | None = None
    route: str | None = None
    worker: int | None = None
    everyone: bool = False
    code: int = int(CloseCode.POLICY_VIOLATION)
    reason: str = ""


class Drain(msgspec.Struct, forbid_unknown_fields=True):
    """The server is to drain; there is nothing to say about it."""


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    batch: list[msgspec.Raw]


class _Probe(msgspec.Struct):
    batch: msgspec.Raw = msgspec.Raw()


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """Return the body of a request.

    A page of another site can have a browser send a form here, but not this content type.

    Raises:
        HTTPException: 415, not JSON by its header; 413, larger than the limit.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != JSON_TYPE:
        raise refusal("content-type", f"must be {JSON_TYPE}, not {content_type[:60]!r}", 415)
    too_large = HTTPException(
        413, f"the body is too large, the limit is {limit_bytes} bytes: send less at once"
    )
    said = request.headers.get("content-length", "")
    if said.isascii() and said.isdecimal() and int(said[:20]) > limit_bytes:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_bytes:
            raise too_large
    return bytes(body)


def decode(body: bytes | msgspec.Raw, kind: type[_T]) -> _T:
    """Return a body as a struct.

    Raises:
        msgspec.ValidationError: it is JSON, but not of that shape; names the field.
        msgspec.DecodeError: it is no JSON.
    """
    decoded: _T = JSON.decoder(kind)(body)
    return decoded


def batch_of(body: bytes) -> list[msgspec.Raw] | None:
    """Return the messages of a batch, each as it was sent; None if the body is no batch.

    Raises:
        msgspec.DecodeError: as `decode`.
        HTTPException: 422, there are too many.
    """
    if not decode(body, _Probe).batch:
        return None
    batch = decode(body, _Batch).batch
    if len(batch) > MAX_BATCH:
        raise refusal("batch", f"has {len(batch)} messages, the limit is {MAX_BATCH}", 422)
    return batch


def payload_of(message: Publish | Broadcast) -> tuple[Kind, bytes]:
    """Return a message as it is published.

    Raises:
        msgspec.ValidationError: text that is none.
    """
    if message.kind == "json":
        return Kind.JSON, json_bytes(message.data)
    if not isinstance(message.data, str):
        raise msgspec.ValidationError("Expected `str` for a message of kind text - at `$.data`")
    return Kind.TEXT, message.data.encode()
