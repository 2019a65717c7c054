"""MessagePack maps whose keys are no text: few pass, many do not, whatever is around them."""

import random
import time
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.codecs import MSGPACK
from server.map_keys import FREE_BYTES, MOST, check_keys

REFUSED = f"A map has more than {MOST} keys that are no text"
PADDING = b"\xc5" + FREE_BYTES.to_bytes(2) + bytes(FREE_BYTES)  # so that it is looked at
encode = msgspec.msgpack.encode


def beside(payload: bytes) -> bytes:
    """Return a list of large bytes and that."""
    return b"\x92" + PADDING + payload


def numbered(count: int, value: Any = None) -> bytes:
    return encode(dict.fromkeys(range(count), value))


VALUES = [
    None,
    1.5,
    "text",
    b"bytes",
    "é" * 300,
    b"b" * 70_000,
    -5,
    2**40,
    [],
    [1] * 20,
    [1.5] * 20,
    [1, "a", 1.5] * 9,
    ["a"] * 70_000,
    {"a": {1: [2.5, None]}},
    msgspec.msgpack.Ext(5, b"x"),
    msgspec.msgpack.Ext(5, b"x" * 3),
    msgspec.msgpack.Ext(5, b"x" * 300),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{value!r:.20}")
def test_what_is_around_is_passed_over(value: Any) -> None:
    """Before the map, after it, in it, and as the container that it is in."""
    for count, is_refused in ((MOST, False), (MOST + 1, True)):
        keys = numbered(count)
        for payload in (
            beside(b"\x92" + encode(value) + keys),
            beside(b"\x92" + keys + encode(value)),
            beside(b"\x82\xa1a" + encode(value) + b"\xa1b" + keys),
            beside(b"\x81" + encode("k" * 40) + b"\x93" + keys + keys + encode(value)),
        ):
            if is_refused:
                with pytest.raises(msgspec.DecodeError, match=REFUSED):
                    MSGPACK.decode(payload)
            else:
                assert MSGPACK.decode(payload) == msgspec.msgpack.decode(payload)


@pytest.mark.parametrize("key", [1.5, 2**63, -(2**63), b"bytes", None, True, (1, 2)])
def test_keys_of_every_kind_but_text_count(key: Any) -> None:
    pair = encode(key) + b"\xc0"
    for form in (b"\xde" + (MOST + 1).to_bytes(2), b"\xdf" + (MOST + 1).to_bytes(4)):
        with pytest.raises(msgspec.DecodeError, match=REFUSED):
            MSGPACK.decode(beside(form + pair * (MOST + 1)))


def test_keys_that_are_text_do_not_count() -> None:
    message = {f"{number}" * 7: number for number in range(10 * MOST)}
    assert MSGPACK.decode(encode(message)) == message


def test_a_typed_message_is_looked_at_as_well() -> None:
    payload = b"\x82\xa1a" + PADDING + b"\xa1b" + numbered(MOST + 1)
    with pytest.raises(msgspec.DecodeError, match=REFUSED):
        MSGPACK.decoder(dict[str, Any])(payload)


def test_what_is_cut_off_is_refused_before_it_is_decoded() -> None:
    """Its keys would be inserted all the same."""
    with pytest.raises(msgspec.DecodeError, match=REFUSED):
        MSGPACK.decode(beside(b"\xdf\xff\xff\xff\xff" + numbered(60_000)[3:]))


NOTHING = [b"", b"\xc1", b"\xdf", b"\xde\xff", b"\xdd\xff\xff\xff\xff", b"\xc7\xff\x01\xde"]


@pytest.mark.parametrize("payload", [*NOTHING, b"\x91" * 100_000 + b"\xdf", b"\xde" * 50_000])
def test_what_decodes_to_nothing_is_the_decoders_matter(payload: bytes) -> None:
    check_keys(payload)
    check_keys(beside(payload))
    with pytest.raises(msgspec.DecodeError):
        MSGPACK.decode(beside(payload))


@given(st.binary(max_size=300))
@example(b"\xc1\xde")
def test_bytes_of_any_kind_raise_nothing_else(data: bytes) -> None:
    check_keys(beside(data + b"\xdf"))


def test_it_takes_no_long_time() -> None:
    """For lists of numbers next to none, for anything else not much more than decoding it."""
    chance = random.Random(1)
    floats = encode([chance.random() for _ in range(100_000)])
    mixed = encode([{"id": chance.getrandbits(40), "name": "abc"} for _ in range(30_000)])
    lists = b"\xdd" + (1_000_000).to_bytes(4) + b"\xdf\0\0\0\0" + b"\x90" * 999_999
    for payload, most_s in ((floats, 0.5), (mixed, 2.0), (lists, 12.0)):
        started_s = time.perf_counter()
        check_keys(payload)
        assert time.perf_counter() - started_s < most_s
