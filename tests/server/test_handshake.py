"""Tests of the read-only view of a handshake."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers, MutableHeaders

from server.handshake import Handshake, accept_headers, handshake_problem
from tests.support.scopes import websocket_scope


def handshake(*args, **more) -> Handshake:
    return Handshake(websocket_scope(*args, **more))


# -- what the client asked for ---------------------------------------------------------------------


def test_url_is_complete_and_equal_to_its_text():
    url = handshake("/chat/a b", "x=1", {"host": "example.org:8000"}, scheme="wss").url
    assert url == "wss://example.org:8000/chat/a b?x=1"
    assert (url.scheme, url.hostname, url.port) == ("wss", "example.org", 8000)
    assert (url.path, url.query, url.is_secure) == ("/chat/a b", "x=1", True)


def test_url_without_a_host_header_takes_the_server():
    assert handshake("/x").url == "ws://server.test/x"


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (b"a=\xff&b=%20+c?/", "a=%FF&b=%20+c?/"),
        (b"a=\xc3\xa9", "a=é"),
        (b"%\x80%\x00", "%%80%%00"),
    ],
)
def test_url_has_a_query_that_the_client_did_not_escape(query, text):
    assert handshake("/x", query).url == f"ws://server.test/x?{text}"


def test_path_and_query_string_stand_apart():
    asked = handshake("/häß/1", "a=%20&b")
    assert asked.path == "/häß/1"
    assert asked.query_string == b"a=%20&b"


def test_query_string_may_be_missing_or_none():
    scope = websocket_scope()
    del scope["query_string"]
    for asked in (Handshake(scope), handshake(query_string=None)):
        assert asked.query_string == b""
        assert dict(asked.query_params) == {}
        assert asked.url == "ws://server.test/"


def test_query_params_give_the_last_value_and_all_of_them():
    params = handshake(query="a=1&a=2&b=x+y&c=%C3%A9&d&e=").query_params
    assert params["a"] == "2"
    assert params.getlist("a") == ["1", "2"]
    assert (params["b"], params["c"], params["d"], params["e"]) == ("x y", "é", "", "")
    assert params.get("z") is None
    with pytest.raises(TypeError):
        params["a"] = "3"  # type: ignore[index]


def test_both_guides_names_give_the_same_query_object():
    asked = handshake(query="a=1")
    assert asked.query_params is asked.query_parameters


def test_headers_ignore_case_and_keep_repeated_ones():
    headers = handshake(headers=[("X-Tag", "a"), ("x-tag", "b"), ("Api-Key", "k")]).headers
    assert headers["API-KEY"] == "k"
    assert headers["X-TAG"] == "a"
    assert headers.getlist("x-Tag") == ["a", "b"]
    assert "x-none" not in headers
    with pytest.raises(TypeError):
        headers["x-tag"] = "c"  # type: ignore[index]


def test_cookies_are_read_from_the_header():
    assert handshake(headers={"cookie": "a=1; b=two"}).cookies == {"a": "1", "b": "two"}
    assert handshake().cookies == {}


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("192.0.2.7", 4711), ("192.0.2.7", 4711)),
        (["192.0.2.7", "4711"], ("192.0.2.7", 4711)),
        (("::1", 1), ("::1", 1)),
        (("unix", None), ("unix", 0)),
        (("", ""), ("", 0)),
        (None, None),
    ],
)
def test_client_is_host_and_port_number(client, address):
    assert handshake(client=client).client == address


def test_client_has_host_and_port_by_name():
    client = handshake().client
    assert client is not None
    assert (client.host, client.port) == ("192.0.2.1", 54321)


def test_client_may_be_missing():
    scope = websocket_scope()
    del scope["client"]
    assert Handshake(scope).client is None


def test_path_params_are_read_only_text():
    params = handshake(path_params={"id": "7"}).path_params
    assert params == {"id": "7"}
    with pytest.raises(TypeError):
        params["id"] = "8"  # type: ignore[index]


def test_path_params_are_empty_before_routing():
    assert handshake().path_params == {}


def test_context_is_free_storage_of_one_connection():
    one, other = handshake(), handshake()
    assert one.context == {}
    one.context["user_id"] = 7
    assert one.context.get("user_id") == 7
    assert other.context == {}


def test_session_is_read_only_however_deep():
    kept = {"user": {"name": "ann"}, "cart": [{"item": "tea"}]}
    session = handshake(session=kept).session
    assert session == kept
    with pytest.raises(TypeError, match="read-only"):
        session["user"] = "bob"  # type: ignore[index]
    with pytest.raises(TypeError, match="read-only"):
        session["user"]["name"] = "bob"
    with pytest.raises(TypeError, match="read-only"):
        session["cart"][0]["item"] = "coffee"
    with pytest.raises(TypeError, match="read-only"):
        session["cart"].append("milk")
    assert kept == {"user": {"name": "ann"}, "cart": [{"item": "tea"}]}


def test_session_is_what_a_middleware_has_put_there_by_now():
    scope = websocket_scope(session={})
    asked = Handshake(scope)
    assert asked.session == {}
    scope["session"]["user"] = "ann"
    assert asked.session == {"user": "ann"}


def test_session_without_sessions_says_what_to_call():
    with pytest.raises(RuntimeError, match=r"app\.add_sessions\(\)"):
        _ = handshake().session


@pytest.mark.parametrize(
    ("extensions", "has_denial"),
    [
        ({"websocket.http.response": {}}, True),
        ({"tls": {}}, False),
        ({}, False),
        (None, False),
    ],
)
def test_denial_response_is_the_hosts_extension(extensions, has_denial):
    assert handshake(extensions=extensions).has_denial_response is has_denial


def test_extensions_may_be_missing():
    scope = websocket_scope()
    del scope["extensions"]
    assert Handshake(scope).has_denial_response is False


# -- subprotocols ----------------------------------------------------------------------------------


def test_subprotocols_keep_the_clients_order_and_are_a_copy():
    asked = handshake(subprotocols=("v2", "v1"))
    assert asked.subprotocols == ["v2", "v1"]
    asked.subprotocols.clear()
    assert asked.subprotocols == ["v2", "v1"]


def test_subprotocols_may_be_missing_or_none():
    scope = websocket_scope()
    del scope["subprotocols"]
    assert Handshake(scope).subprotocols == []
    assert handshake(subprotocols=None).subprotocols == []


@pytest.mark.parametrize("subprotocol", [None, "v1", "v2"])
def test_offered_subprotocol_or_none_may_be_accepted(subprotocol):
    handshake(subprotocols=["v1", "v2"]).check_subprotocol(subprotocol)


@pytest.mark.parametrize(
    ("offered", "subprotocol", "message"),
    [
        (["v1", "v2"], "v3", "it offered v1, v2"),
        (["v1"], "V1", "it offered v1"),
        ([], "v1", "it offered none"),
        (["v1"], "", "was not offered"),
        (["v 1"], "v 1", "not an HTTP token"),
        (["v1\r\nx: y"], "v1\r\nx: y", "not an HTTP token"),
        (["é"], "é", "not an HTTP token"),
        (["v1\n"], "v1\n", "not an HTTP token"),
        ([""], "", "not an HTTP token"),
    ],
)
def test_other_subprotocol_is_refused(offered, subprotocol, message):
    with pytest.raises(ValueError, match=message):
        handshake(subprotocols=offered).check_subprotocol(subprotocol)


@pytest.mark.parametrize(
    ("offered", "supported", "chosen"),
    [
        (["b", "a"], ("a", "b"), "b"),
        (["x", "a"], ("a", "b"), "a"),
        (["x"], ("a",), None),
        ([], ("a",), None),
        (["a"], (), None),
        (["A"], ("a",), None),
        (["a b", "a"], ("a b", "a"), "a"),
    ],
)
def test_choice_follows_the_clients_preference(offered, supported, chosen):
    assert handshake(subprotocols=offered).choose_subprotocol(supported) == chosen


@given(st.lists(st.text(max_size=5)), st.lists(st.text(max_size=5)))
def test_chosen_subprotocol_may_always_be_accepted(offered, supported):
    asked = handshake(subprotocols=offered)
    asked.check_subprotocol(asked.choose_subprotocol(supported))


# -- what hosts let pass ---------------------------------------------------------------------------


def problem(*headers: tuple[str, str], **more) -> str | None:
    return handshake_problem(websocket_scope(headers=headers, **more))


@pytest.mark.parametrize("version", ["1.1", "2", "3"])
def test_handshake_that_lacks_headers_passes(version):
    assert problem(http_version=version) is None


@pytest.mark.parametrize("version", ["1.0", "1"])
def test_handshake_over_http_1_0_is_a_problem(version):
    assert problem(("host", "a"), http_version=version) == "a WebSocket handshake needs HTTP/1.1"


def test_http_version_may_be_missing():
    scope = websocket_scope()
    del scope["http_version"]
    assert handshake_problem(scope) is None


@pytest.mark.parametrize(
    "host", ["a.example", "a.example:8000", "a:", "127.0.0.1:80", "[::1]", "[::1]:80", "a_b", "%41"]
)
def test_one_valid_host_passes(host):
    assert problem(("host", host), ("x-other", host)) is None


@pytest.mark.parametrize(
    "host", ["", "a b", "a/b", "user@a", "a:b", "a:80:80", "::1", "[::1", "é", "a\n", "a\x00"]
)
def test_invalid_host_is_a_problem(host):
    assert problem(("host", host)) == "the handshake needs one valid Host header"


def test_second_host_is_a_problem_even_if_equal():
    assert problem(("host", "a"), ("host", "a")) == "the handshake needs one valid Host header"


@pytest.mark.parametrize("key", ["dGhlIHNhbXBsZSBub25jZQ==", "+/+/+/+/+/+/+/+/+/+/+A=="])
def test_key_of_16_bytes_passes(key):
    assert problem(("host", "a"), ("sec-websocket-key", key)) is None


@pytest.mark.parametrize(
    "key",
    ["", "x", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZQ==\n", "A" * 24, "-_" * 11 + "=="],
)
def test_other_key_is_a_problem(key):
    found = problem(("host", "a"), ("sec-websocket-key", key))
    assert found == "Sec-WebSocket-Key must be 16 bytes in base64"


# -- headers of accept -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "raw"),
    [
        (None, []),
        ({}, []),
        ([], []),
        ({"X-Tag": "a"}, [(b"x-tag", b"a")]),
        ([("X-Tag", "a"), ("x-tag", "b")], [(b"x-tag", b"a"), (b"x-tag", b"b")]),
        ([(b"X-Tag", b"a")], [(b"x-tag", b"a")]),
        ({"set-cookie": "a=1; Path=/"}, [(b"set-cookie", b"a=1; Path=/")]),
        ({"x": "é\ttab"}, [(b"x", b"\xe9\ttab")]),
        ({"x": ""}, [(b"x", b"")]),
        (Headers({"a": "1"}), [(b"a", b"1")]),
        (Headers(raw=[(b"a", b"1"), (b"a", b"2")]), [(b"a", b"1"), (b"a", b"2")]),
        (MutableHeaders({"A": "1"}), [(b"a", b"1")]),
    ],
)
def test_accept_headers_take_asgis_form(headers, raw):
    assert accept_headers(headers) == raw


@pytest.mark.parametrize(
    "name",
    [
        "Connection",
        "upgrade",
        "Sec-WebSocket-Accept",
        "sec-websocket-extensions",
        b"Sec-WebSocket-Protocol",
    ],
)
def test_header_of_the_handshake_itself_is_refused(name):
    with pytest.raises(ValueError, match="belongs to the handshake"):
        accept_headers([(name, "x")])


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\n", "é", b"\xff", "(a)"])
def test_name_that_no_header_may_have_is_refused(name):
    with pytest.raises(ValueError, match="is not a header name"):
        accept_headers([(name, "x")])


@pytest.mark.parametrize("value", ["a\r\nb: c", "\x00", b"\n", "\x1f", "\x7f"])
def test_control_character_in_a_value_is_refused(value):
    with pytest.raises(ValueError, match="control character"):
        accept_headers({"x": value})


@pytest.mark.parametrize("headers", [{"x": "€"}, {"€": "x"}])
def test_text_beyond_latin_1_is_refused(headers):
    with pytest.raises(ValueError, match="not latin-1"):
        accept_headers(headers)


@pytest.mark.parametrize("headers", [{"x": 5}, {"x": 0}, {"x": None}, {7: "x"}, {"x": ["a"]}])
def test_header_that_is_neither_str_nor_bytes_is_a_type_error(headers):
    with pytest.raises(TypeError, match="must be str or bytes"):
        accept_headers(headers)


@given(st.lists(st.tuples(st.text() | st.binary(), st.text() | st.binary())))
def test_headers_of_any_text_pass_or_are_a_value_error(pairs):
    try:
        result = accept_headers(pairs)
    except ValueError:
        return
    assert len(result) == len(pairs)
    assert all(name and not set(b"\r\n\0") & set(name + value) for name, value in result)
