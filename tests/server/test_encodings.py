"""Encodings: the events that a published message becomes."""

import math

import msgspec
import pytest

from server.codecs import JSON, MSGPACK
from server.encodings import BARE, event_of, msgpack_of_json
from workers.publisher import Message
from workers.room_tables import Kind


def message(kind: Kind, data: str | bytes) -> Message:
    return Message("room", 1, 1, kind, data, 0)


@pytest.mark.parametrize("codec", [JSON, MSGPACK])
@pytest.mark.parametrize(("kind", "data"), [(Kind.TEXT, "é"), (Kind.BYTES, b"\x00")])
def test_text_and_bytes_go_as_they_are(codec, kind, data):
    event, size_bytes = BARE[codec].encode(message(kind, data))
    key = "text" if kind is Kind.TEXT else "bytes"

    assert event == {"type": "websocket.send", key: data}
    assert size_bytes == (2 if kind is Kind.TEXT else 1)


def test_json_goes_in_the_codec_of_the_connection():
    text = '{"a":[1,"é"]}'

    assert BARE[JSON].encode(message(Kind.JSON, text)) == event_of(text)
    event, size_bytes = BARE[MSGPACK].encode(message(Kind.JSON, text))
    assert msgspec.msgpack.decode(event["bytes"]) == {"a": [1, "é"]}
    assert size_bytes == len(event["bytes"])


def test_nothing_is_said_of_what_was_missed():
    assert BARE[JSON].missed("room") is None


@pytest.mark.parametrize(
    ("number", "float_"), [(2**64, 2.0**64), (-(2**63) - 1, -(2.0**63)), (10**400, math.inf)]
)
def test_integers_that_are_too_large_for_messagepack_become_floats(number, float_):
    text = f'{{"n":[{number},{2**64 - 1},true]}}'

    packed = msgpack_of_json(text)
    assert msgspec.msgpack.decode(packed) == {"n": [float_, 2**64 - 1, True]}
