"""Where a token is found: the order of places, what is none, what is refused, and any bytes."""

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import cookie_parser

from server.auth import AuthenticationFailed
from server.auth.failure import MAX_TOKEN_BYTES
from server.auth.places import Found, Places, check_token, find_token, without_token
from server.exceptions import SettingsError
from tests.support.scopes import websocket_scope

ALL = Places(cookie="session", subprotocol="bearer", query_param="token")
KEY = Places(header="x-api-key", schemes=("bearer", "apikey"))


def found(
    places: Places = ALL,
    *,
    is_websocket: bool = True,
    query: str | bytes = b"",
    headers: Any = (),
    **more: Any,
) -> tuple[str, str] | None:
    scope = websocket_scope("/", query, headers, **more)
    token = find_token(places, scope, is_websocket=is_websocket)
    return None if token is None else (token.place, token.token)


def refusal(*args: Any, **more: Any) -> str:
    with pytest.raises(AuthenticationFailed) as caught:
        found(*args, **more)
    return caught.value.detail


# -- the order -------------------------------------------------------------------------------------


def test_the_first_place_with_a_token_is_the_only_one() -> None:
    headers = {"cookie": "session=of-cookie", "authorization": "Bearer of-header"}
    rest: dict[str, Any] = {"subprotocols": ["bearer", "of-subprotocol"], "query": "token=of-query"}
    assert found(headers=headers, **rest) == ("cookie", "of-cookie")
    del headers["cookie"]
    assert found(headers=headers, **rest) == ("header", "of-header")
    assert found(**rest) == ("subprotocol", "of-subprotocol")
    del rest["subprotocols"]
    assert found(**rest) == ("query", "of-query")
    assert found() is None


def test_a_bad_token_does_not_lead_to_the_next_place() -> None:
    headers = {"cookie": "session=\xfc", "authorization": "Bearer good"}
    assert refusal(headers=headers) == "Token is not printable ASCII"


def test_http_has_neither_subprotocols_nor_a_token_in_the_query() -> None:
    rest: dict[str, Any] = {"subprotocols": ["bearer", "a"], "query": "token=b"}
    assert found(is_websocket=False, **rest) is None
    assert found(is_websocket=False, headers={"cookie": "session=c"}, **rest) == ("cookie", "c")


def test_a_place_that_is_none_is_not_looked_at() -> None:
    nowhere = Places(header=None, cookie="other")
    headers = {"cookie": "session=a", "authorization": "Bearer b"}
    assert found(nowhere, headers=headers, subprotocols=["bearer", "c"], query="token=d") is None


def test_a_token_is_not_shown() -> None:
    assert "s3kr3t" not in repr(Found("cookie", "s3kr3t"))


# -- each place ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("Bearer abc", "abc"),
        ("bEARER abc", "abc"),
        ("Bearer   abc ", "abc"),
        (" Bearer abc", "abc"),
        ("abc", "abc"),
        ("a.b-c_d=", "a.b-c_d="),
        ("", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic dXNlcjpwYXNz", None),
        ("ApiKey abc", None),
        ("Digest username=x, realm=y", None),
    ],
)
def test_header(value: str, token: str | None) -> None:
    expected = None if token is None else ("header", token)
    assert found(headers={"Authorization": value}) == expected


@pytest.mark.parametrize("value", ["abc", "Bearer abc", "apikey abc", "APIKEY abc"])
def test_header_with_other_schemes(value: str) -> None:
    assert found(KEY, headers={"X-Api-Key": value}) == ("header", "abc")


def test_a_name_in_capitals_is_the_same_header() -> None:
    scope = websocket_scope() | {"headers": [(b"Authorization", b"abc")]}
    assert find_token(ALL, scope, is_websocket=True) == Found("header", "abc")


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("session=abc", "abc"),
        ("a=1; session=abc; b=2", "abc"),
        ("a=1;session=abc", "abc"),
        (' session = "abc" ', "abc"),
        ("session=a=b", "a=b"),
        ("session=", None),
        ("session", None),
        ("Session=abc", None),
        ("xsession=abc; sessionx=abc", None),
        ("", None),
    ],
)
def test_cookie(value: str, token: str | None) -> None:
    expected = None if token is None else ("cookie", token)
    assert found(headers={"cookie": value}) == expected


@given(value=st.text(st.characters(max_codepoint=255), max_size=40))
def test_one_cookie_is_read_as_starlette_reads_it(value: str) -> None:
    pairs = f"a=1; session={value.replace(';', '')}; b=2"
    try:
        token = found(headers={"cookie": pairs})
    except AuthenticationFailed:
        token = ("cookie", "what is no token")
    assert (token is not None) == bool(cookie_parser(pairs)["session"])
    if token is not None and token[1] != "what is no token":
        assert token[1] == cookie_parser(pairs)["session"]


@pytest.mark.parametrize(
    ("offered", "token"),
    [
        (["bearer", "abc"], "abc"),
        (["chat", "bearer", "abc", "json"], "abc"),
        ([" bearer", " abc "], "abc"),
        (["bearer", "bearer"], "bearer"),
        (["chat", "bearer"], None),
        (["bearer", ""], None),
        (["bearer", "", "abc"], None),
        (["Bearer", "abc"], None),
        (["bearer.abc"], None),
        (["abc", "bearer"], None),
        ([], None),
    ],
)
def test_subprotocol(offered: list[str], token: str | None) -> None:
    expected = None if token is None else ("subprotocol", token)
    assert found(subprotocols=offered) == expected


def test_a_scope_without_subprotocols_and_query() -> None:
    assert find_token(ALL, {"headers": []}, is_websocket=True) is None


@pytest.mark.parametrize(
    ("query", "token"),
    [
        ("token=abc", "abc"),
        ("a=1&token=abc&b=2", "abc"),
        ("token=a%2Eb%3d", "a.b="),
        ("%74oken=abc", "abc"),
        ("token=a=b", "a=b"),
        ("token=a%zz", "a%zz"),
        ("token=%", "%"),
        ("token=", None),
        ("token", None),
        ("Token=abc", None),
        ("xtoken=abc&tokenx=abc", None),
        ("a=%ff&token=abc", "abc"),
        ("", None),
    ],
)
def test_query(query: str, token: str | None) -> None:
    expected = None if token is None else ("query", token)
    assert found(query=query) == expected


# -- twice, too long, not ASCII --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "more"),
    [
        ("cookie", {"headers": {"cookie": "session=a; session=b"}}),
        ("cookie", {"headers": {"cookie": "session=a; session=a"}}),
        ("cookie", {"headers": [("cookie", "session=a"), ("cookie", "session=b")]}),
        ("header", {"headers": [("authorization", "Bearer a"), ("authorization", "b")]}),
        ("subprotocol", {"subprotocols": ["bearer", "a", "bearer", "b"]}),
        ("query", {"query": "token=a&token=b"}),
        ("query", {"query": "token=a&%74oken=a"}),
    ],
)
def test_two_tokens_in_one_place_are_refused(place: str, more: dict[str, Any]) -> None:
    assert refusal(**more) == f"Token in the {place} twice"


@pytest.mark.parametrize(
    ("place", "more"),
    [
        ("cookie", {"headers": {"cookie": "session=a; session="}}),
        ("header", {"headers": [("authorization", "Basic b"), ("authorization", "Bearer a")]}),
        ("subprotocol", {"subprotocols": ["bearer", "a", "bearer"]}),
        ("query", {"query": "token=&token=a&token"}),
    ],
)
def test_a_second_one_that_is_empty_does_not_count(place: str, more: dict[str, Any]) -> None:
    assert found(**more) == (place, "a")


def everywhere(token: str) -> list[dict[str, Any]]:
    return [
        {"headers": {"cookie": f"session={token}"}},
        {"headers": {"authorization": f"Bearer {token}"}},
        {"subprotocols": ["bearer", token]},
        {"query": f"token={quote(token, safe='')}"},
    ]


def test_the_limit_is_8192_bytes() -> None:
    for more in everywhere("x" * MAX_TOKEN_BYTES):
        assert found(**more) is not None
    for more in everywhere("x" * (MAX_TOKEN_BYTES + 1)):
        assert refusal(**more) == "Token over 8,192 bytes"


@pytest.mark.parametrize("token", ["a b", "a\tb", "a\x00b", "a\x7fb", "\xfcber", "a\nb"])
def test_what_is_no_printable_ascii_is_refused(token: str) -> None:
    for more in everywhere(token):
        assert refusal(**more) == "Token is not printable ASCII"


@pytest.mark.parametrize("token", ["%ff", "%C3", "%ED%A0%80", "%c3%bc", "a+b", "%00"])
def test_a_query_with_bad_utf8_is_refused_and_no_error(token: str) -> None:
    assert refusal(query=f"token={token}") == "Token is not printable ASCII"
    assert refusal(query=b"token=\xff") == "Token is not printable ASCII"


@pytest.mark.parametrize("token", ["", " ", "ü", "a\n", "\ud800"])
def test_a_token_from_elsewhere_is_checked_the_same_way(token: str) -> None:
    with pytest.raises(AuthenticationFailed, match=r"^Token is not printable ASCII$"):
        check_token(token)


# -- the subprotocols that are left ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "left"),
    [
        (["chat", "bearer", "abc", "json"], ["chat", "bearer", "json"]),
        (["bearer", "a", "bearer", "b"], ["bearer", "bearer"]),
        (["bearer", "bearer", "b"], ["bearer", "b"]),
        (["chat", "bearer"], ["chat", "bearer"]),
        (["chat"], ["chat"]),
        ([], []),
    ],
)
def test_the_offered_subprotocols_without_the_token(offered: list[str], left: list[str]) -> None:
    assert without_token(offered, "bearer") == left
    assert without_token(offered, None) == offered


# -- declarations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"cookie": ""}, "cookie=''"),
        ({"cookie": "a b"}, "cookie='a b'"),
        ({"cookie": "a;b"}, "cookie='a;b'"),
        ({"header": "a:b"}, "header='a:b'"),
        ({"header": "Authorization"}, "lower case"),
        ({"header": 5}, "header=5"),
        ({"subprotocol": "a,b"}, "subprotocol='a,b'"),
        ({"query_param": ""}, "query_param=''"),
        ({"first_message_s": 0}, "first_message_s=0"),
        ({"first_message_s": float("inf")}, "first_message_s=inf"),
        ({"header": None}, "no place left"),
    ],
)
def test_places_that_cannot_be_are_refused(options: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        Places(**options)


def test_the_first_message_alone_is_a_place() -> None:
    assert found(Places(header=None, first_message_s=5)) is None


# -- anything at all -------------------------------------------------------------------------------

NAMES = st.sampled_from([b"cookie", b"authorization", b"Cookie", b"x"]) | st.binary(max_size=20)
VALUES = st.sampled_from([b"session=", b"Bearer ", b"Basic ", b"session=a; session"])
BYTES = st.lists(VALUES | st.binary(max_size=30), max_size=4).map(b"".join)
PARTS = st.sampled_from([b"token=", b"&", b"%74oken=", b"%", b"+"])
QUERIES = st.lists(PARTS | st.binary(max_size=9)).map(b"".join)
OFFERED = st.sampled_from(["bearer", "chat", ""]) | st.text(max_size=20)


@given(
    headers=st.lists(st.tuples(NAMES, BYTES), max_size=5),
    query=QUERIES,
    offered=st.lists(OFFERED, max_size=6),
    is_websocket=st.booleans(),
)
@example([(b"cookie", b'session="\\777\\')], b"", [], True)
def test_any_scope_has_a_token_or_none_or_is_refused(
    headers: Any, query: bytes, offered: list[str], is_websocket: bool
) -> None:
    scope = {"headers": headers, "query_string": query, "subprotocols": offered}
    try:
        token = find_token(ALL, scope, is_websocket=is_websocket)
    except AuthenticationFailed:
        return
    if token is not None:
        assert token.token.isascii()
        assert token.token.isprintable()
        assert " " not in token.token
        assert is_websocket or token.place in ("cookie", "header")
