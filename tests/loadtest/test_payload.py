"""A message says who sent it, whatever a server puts around it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest import payload
from loadtest.payload import Mark


@given(st.integers(0, 10**9), st.integers(0, 10**18), st.integers(0, 500))
def test_what_is_made_can_be_read(number: int, sent_ns: int, size: int) -> None:
    publisher = payload.new_publisher()
    message = payload.make(publisher, number, sent_ns, size)
    assert len(message) >= size
    assert payload.read(message) == Mark(publisher, number, sent_ns)
    assert payload.read(b"[some room] " + message) == Mark(publisher, number, sent_ns)
    wrapped = json.dumps({"data": message.decode(), "offset": 3}).encode()
    assert payload.read(wrapped) == Mark(publisher, number, sent_ns)


def test_a_message_is_as_long_as_asked() -> None:
    assert len(payload.make(b"ab-cd", 1, 2, 5000)) == 5000


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"hello",
        b"Welcome, user a@b",
        b"@;",
        b"@a:1;",
        b"@a:b:c;",
        b";@a:1:2",
        b"a@b:c:d;",
        b"\xff@\xff;",
    ],
)
def test_what_has_no_mark_is_none_of_ours(message: bytes) -> None:
    assert payload.read(message) is None


@given(st.binary(max_size=200))
def test_anything_can_be_looked_at(message: bytes) -> None:
    payload.read(message)


def test_publishers_of_this_machine_are_known() -> None:
    first, second = payload.new_publisher(), payload.new_publisher()
    assert first != second
    assert payload.is_on_our_clock(first)
    assert not payload.is_on_our_clock(b"zzzzzz-0123456789ab")
