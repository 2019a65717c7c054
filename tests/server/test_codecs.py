"""Tests of the encodings of messages."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.codecs import CODECS, JSON, MSGPACK, encode_json_text, json_bytes

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=5,
)


class Chat(msgspec.Struct):
    """A typed message."""

    user: str
    age: int = 0


def test_codecs_are_known_by_their_subprotocols():
    assert {"json": JSON, "msgpack": MSGPACK} == CODECS
    assert (JSON.kind, MSGPACK.kind) == ("text", "bytes")


@given(PLAIN)
def test_json_text_comes_back_and_is_what_the_standard_library_reads(message):
    text = JSON.encode(message)
    assert isinstance(text, str)
    assert JSON.decode(text) == message
    assert json.loads(text) == message


@given(PLAIN)
def test_msgpack_bytes_come_back(message):
    data = MSGPACK.encode(message)
    assert isinstance(data, bytes)
    assert MSGPACK.decode(data) == message


@given(PLAIN)
def test_json_bytes_are_the_text_in_utf_8(message):
    assert json_bytes(message) == encode_json_text(message).encode()


def test_json_is_compact_and_keeps_characters_as_they_are():
    assert encode_json_text({"text": "é💡", "list": [1, None]}) == '{"text":"é💡","list":[1,null]}'


def test_json_decodes_bytes_as_well():
    assert JSON.decode(b'{"a":1}') == {"a": 1}


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
def test_struct_is_encoded_by_its_fields_and_decoded_to_itself(codec):
    payload = codec.encode(Chat("ann", 7))
    assert codec.decode(payload) == {"user": "ann", "age": 7}
    assert codec.decoder(Chat)(payload) == Chat("ann", 7)


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
def test_object_without_a_form_is_a_type_error(codec):
    with pytest.raises(TypeError):
        codec.encode({"a": object()})


def test_number_that_json_lacks_becomes_null():
    assert encode_json_text([math.nan, math.inf]) == "[null,null]"


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
def test_decoder_is_made_once_per_type(codec):
    assert codec.decoder(Chat) is codec.decoder(Chat)
    assert codec.decoder(Chat) is not codec.decoder(list[Chat])


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
def test_type_that_cannot_be_decoded_is_a_type_error(codec):
    with pytest.raises(TypeError):
        codec.decoder(list[int] | set[int])


@pytest.mark.parametrize("codec", [JSON, MSGPACK], ids=lambda codec: codec.name)
def test_validation_error_names_the_field(codec):
    payload = codec.encode({"user": "ann", "age": "old"})
    with pytest.raises(msgspec.ValidationError, match=r"Expected `int`.*\$\.age"):
        codec.decoder(Chat)(payload)


@given(st.text(st.characters()))
@example("")
@example("[" * 100_000)
@example('{"a":' * 100_000)
@example('"\ud800"')
@example("9" * 5000)
@example("1e999")
def test_json_text_of_a_peer_decodes_or_is_a_decode_error(text):
    for decode in (JSON.decode, JSON.decoder(Chat), JSON.decoder(int)):
        decode_or_decode_error(decode, text)


@given(st.binary())
@example(b"")
@example(b"\xa3\x00\x00\x80")
@example(b"\x91" * 100_000 + b"\xc0")
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\x81\x80\xc0")
@example(b"\xc7\x0c\xff" + b"\xff" * 12)
def test_msgpack_of_a_peer_decodes_or_is_a_decode_error(data):
    for decode in (MSGPACK.decode, MSGPACK.decoder(Chat), MSGPACK.decoder(int)):
        decode_or_decode_error(decode, data)


def decode_or_decode_error(decode: Any, payload: Any) -> None:
    try:
        decode(payload)
    except msgspec.DecodeError:
        pass
