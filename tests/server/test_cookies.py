"""Cookies are read as Starlette reads them, and in time that has a bound."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import cookie_parser

from server.auth.places import Places, find_token
from server.cookies import cookie_pairs, read_cookies
from server.handshake import Handshake
from tests.support.scopes import websocket_scope

COSTLY = 'a="' + '\\"' * 16_000 + '"'
MOST_S = 0.2  # it takes 3 ms; `http.cookies` of Python 3.11.7 takes 0.6 s


@given(st.text(st.sampled_from('ab= ;"\\0123\n\t') | st.characters(max_codepoint=255), max_size=40))
@example('a="\\101\\"\\8"; a=b; =c; d; "')
@example(COSTLY[:400])
def test_they_are_what_starlette_reads(header: str) -> None:
    assert read_cookies([header]) == cookie_parser(header)


def test_of_two_the_last_counts_and_both_are_pairs() -> None:
    assert read_cookies(["a=1; b=2", "a=3"]) == {"a": "3", "b": "2"}
    assert [*cookie_pairs("a=1; a=2")] == [("a", "1"), ("a", "2")]


@pytest.mark.parametrize(
    "header", [COSTLY, 'a="' + "\\101" * 8_000 + '"', "a=b;" * 8_000, ";" * 32_000]
)
def test_nobody_can_make_it_take_long(header: str) -> None:
    scope = websocket_scope() | {"headers": [(b"cookie", header.encode())]}
    started_s = time.perf_counter()
    assert len(Handshake(scope).cookies) == (1 if "a" in header else 0)
    assert find_token(Places(cookie="other"), scope, is_websocket=True) is None
    assert time.perf_counter() - started_s < MOST_S
