"""Owns the proof of whose pages may open a WebSocket, case by case and with arbitrary headers."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.origin import MAX_ORIGIN_BYTES, Origins, parse_origin

ALLOWED = Origins(
    [
        "https://example.com",
        "https://example.com:8443",
        "http://example.com:8080",
        "https://bücher.example",
        "https://straße.example",
        "https://[2001:DB8::0:1]",
        "capacitor://localhost",
        re.compile(r"https://[a-z0-9-]+\.preview\.example\.org"),
    ]
)


def problem(origins: Origins, *origin: str | bytes, host: str | bytes | None = "chat.test"):
    headers = [] if host is None else [(b"host", host.encode() if isinstance(host, str) else host)]
    values = (one.encode() if isinstance(one, str) else one for one in origin)
    return origins.problem([*headers, *((b"origin", value) for value in values)])


# -- the list ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        "https://example.com",
        "HTTPS://EXAMPLE.COM",
        "https://example.com:443",
        "https://example.com:0443",
        "wss://example.com",
        "https://example.com:8443",
        "http://example.com:8080",
        "ws://example.com:8080",
        "https://bücher.example",
        "https://BÜCHER.example",
        "https://xn--bcher-kva.example",
        "https://xn--strae-oqa.example",
        "https://[2001:db8::1]",
        "https://[2001:0db8:0:0::1]:443",
        "capacitor://localhost",
        "https://pr-7.preview.example.org",
        "https://PR-7.preview.example.org:443",
    ],
)
def test_an_origin_of_the_list_passes_however_it_is_written(origin):
    assert problem(ALLOWED, origin) is None


@pytest.mark.parametrize(
    "origin",
    [
        "",
        " ",
        "null",
        "NULL",
        "*",
        "example.com",
        "//example.com",
        "https:example.com",
        "https:/example.com",
        "https://",
        "https://:443",
        "://example.com",
        "https://example.com/",
        "https://example.com/chat",
        "https://example.com?",
        "https://example.com?x",
        "https://example.com#",
        "https://example.com\\",
        "https://example.com\\.evil.test",
        "https://example.com ",
        " https://example.com",
        "https://example.com https://evil.test",
        "https://example.com,https://evil.test",
        "https://example.com\x00",
        "https://example.com\x00.evil.test",
        "https://example.com\n",
        "https://exam\tple.com",
        "http://example.com",
        "https://example.com:80",
        "https://example.com:",
        "https://example.com:0",
        "https://example.com:65536",
        "https://example.com:99999999999999999999",
        "https://example.com:-443",
        "https://example.com:+443",
        "https://example.com:443:443",
        "https://example.com:https",
        "https://example.com.",
        "https://.example.com",
        "https://example..com",
        "https://evilexample.com",
        "https://example.com.evil.test",
        "https://sub.example.com",
        "https://example.co",
        "https://example.com@evil.test",
        "https://evil.test@example.com",
        "https://user:pass@example.com",
        "https://example%2ecom",
        "https://strasse.example",
        "https://i❤.example",
        "https://exam\u200dple.com",
        "https://[::1",
        "https://::1",
        "https://[2001:db8::1%25eth0]",
        "https://[example.com]",
        "https://[]",
        "https://[1.2.3.4]",
        "capacitor://localhost:443",
        "ionic://localhost",
        "https://a.b.preview.example.org",
        "https://x.preview.example.org.evil.test",
        "https://x.preview.example.org:8443",
        "https://xpreview.example.org",
        b"https://\xff.example",
        b"\xff\xfe",
        b"https://example.com\x80",
        "https://" + "a" * MAX_ORIGIN_BYTES,
    ],
)
def test_any_other_origin_is_refused(origin):
    found = problem(ALLOWED, origin)
    assert found is not None
    assert found.startswith("Origin not allowed: ")


def test_without_an_origin_it_is_no_browser():
    assert problem(Origins()) is None
    assert problem(Origins(), host=None) is None


@pytest.mark.parametrize("origins", [Origins(), ALLOWED, Origins(["*"])])
@pytest.mark.parametrize("second", ["https://example.com", "https://evil.test", ""])
def test_two_origins_are_refused_even_if_equal_or_if_all_are_allowed(origins, second):
    assert problem(origins, "https://example.com", second) == "more than one Origin header"


@pytest.mark.parametrize("origin", ["https://evil.test", "null", "garbage", "", b"\xff"])
def test_a_star_allows_all(origin):
    assert problem(Origins(["*"]), origin) is None


def test_null_is_allowed_only_by_name():
    assert problem(Origins(["null"]), "null") is None
    assert problem(Origins(["null"]), "NULL") is not None
    assert problem(Origins([re.compile(".*")]), "null") is not None
    assert problem(Origins(["https://example.com"]), "null") is not None


def test_patterns_see_the_normalised_origin_and_match_all_of_it():
    origins = Origins([re.compile(r"https://xn--bcher-kva\.example:8443")])
    assert problem(origins, "WSS://Bücher.Example:8443") is None
    assert problem(origins, "https://bücher.example:84430") is not None
    assert problem(Origins([re.compile("https://example")]), "https://example.com") is not None


# -- the host itself ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://chat.test", "chat.test"),
        ("http://chat.test", "chat.test"),
        ("ws://chat.test", "chat.test"),
        ("wss://chat.test", "chat.test"),
        ("https://chat.test", "CHAT.test"),
        ("https://CHAT.TEST", "chat.test"),
        ("https://chat.test", "chat.test:443"),
        ("https://chat.test:443", "chat.test"),
        ("http://chat.test", "chat.test:80"),
        ("http://chat.test", "chat.test:"),
        ("http://chat.test:8000", "chat.test:8000"),
        ("http://localhost:8000", "localhost:8000"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://[::1]:8000", "[0:0:0:0:0:0:0:1]:8000"),
        ("http://[FE80::A]", "[fe80::a]:80"),
        ("https://xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("https://bücher.example", "xn--bcher-kva.example"),
        ("https://xn--bcher-kva.example", "bücher.example"),
        ("http://my_host", "my_host"),
        ("http://chat.test.", "chat.test."),
    ],
)
def test_a_page_of_the_same_host_and_port_passes(origin, host):
    assert problem(Origins(), origin, host=host) is None


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.test", "chat.test"),
        ("https://chat.test.evil.test", "chat.test"),
        ("https://evilchat.test", "chat.test"),
        ("https://chat.test@evil.test", "chat.test"),
        ("https://evil.test@chat.test", "chat.test"),
        ("https://chat.test/", "chat.test"),
        ("https://chat.test.", "chat.test"),
        ("https://chat.test", "chat.test."),
        ("https://chat.test", "chat.test:80"),
        ("http://chat.test", "chat.test:443"),
        ("http://chat.test:8000", "chat.test"),
        ("http://chat.test:8000", "chat.test:8001"),
        ("http://localhost", "127.0.0.1"),
        ("http://[::1]", "[::2]"),
        ("https://strasse.example", "xn--strae-oqa.example"),
        ("capacitor://localhost", "localhost"),
        ("chrome-extension://chat", "chat"),
        ("null", "null"),
        ("null", "chat.test"),
        ("https://null", "chat.test"),
        ("", "chat.test"),
        ("", ""),
        ("https://", ""),
        ("https://chat.test", ""),
        ("https://chat.test", None),
        ("https://chat.test", b"chat.test\xff"),
        ("https://chat.test", "user@chat.test"),
        ("https://chat.test", "a" * (MAX_ORIGIN_BYTES + 1)),
    ],
)
def test_a_page_of_another_host_or_port_is_refused(origin, host):
    assert problem(Origins(), origin, host=host) is not None


def test_two_hosts_are_nobodys():
    headers = [(b"host", b"chat.test"), (b"origin", b"http://chat.test"), (b"host", b"chat.test")]
    assert Origins().problem(headers) is not None
    assert Origins().problem([*headers, (b"host", b"chat.test")]) is not None


# -- what is said ------------------------------------------------------------------------------


def test_the_origin_is_shown_harmless_and_short():
    found = problem(Origins(), b"https://evil\r\n.test\xff<b>")
    assert found == "Origin not allowed: 'https://evil\\r\\n.test\\xff<b>'"
    assert len(problem(Origins(), b"\xff" * 10_000) or "") < 400


@given(st.lists(st.tuples(st.sampled_from([b"origin", b"host", b"x"]), st.binary(max_size=60))))
def test_arbitrary_headers_pass_only_without_an_origin_or_if_equal(headers):
    found = ALLOWED.problem(headers)
    origins = [value for name, value in headers if name == b"origin"]
    if not origins:
        assert found is None
    elif len(origins) > 1 or parse_origin(origins[0]) is None:
        assert found is not None
        assert found.isprintable()


@given(st.text(max_size=20), st.sampled_from(["", ":443", ":8443", ":80", "/", "@a", "."]))
def test_arbitrary_hosts_of_another_page_are_refused(host, tail):
    raw = f"https://{host}{tail}".encode(errors="replace")
    origin = parse_origin(raw)
    if origin is not None:
        assert parse_origin(str(origin).encode()) == origin
        assert str(origin).isascii()
    same = origin is not None and origin.authority == "chat.test"
    assert (Origins().problem([(b"host", b"chat.test"), (b"origin", raw)]) is None) is same


@given(st.binary(max_size=600))
def test_arbitrary_bytes_are_an_origin_or_not(raw):
    origin = parse_origin(raw)
    assert origin is None or parse_origin(str(origin).encode()) == origin


# -- registration ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("", "has no scheme"),
        ("example.com", "has no scheme"),
        ("example.com:443", "has no scheme"),
        ("NULL", "has no scheme"),
        ("https://example.com/", "has a path, or a slash at its end"),
        ("https://example.com/chat", "has a path"),
        ("https://*.example.com", r"re\.compile"),
        ("*.example.com", "stands alone"),
        ("https://*", "stands alone"),
        ("https://", "is no origin"),
        ("https://example.com:70000", "is no origin"),
        ("https://user@example.com", "is no origin"),
        ("https://example.com?x", "is no origin"),
        ("https://exa mple.com", "is no origin"),
        ("https://i❤.example", "punycode"),
        ("https://\ud800.example", "is no origin"),
    ],
)
def test_an_entry_that_could_never_match_is_refused(entry, message):
    with pytest.raises(ValueError, match=message):
        Origins([entry])


@pytest.mark.parametrize("entry", [None, 5, b"https://example.com", re.compile(b"x")])
def test_an_entry_of_another_type_is_refused(entry):
    with pytest.raises(ValueError, match="neither text nor a pattern"):
        Origins([entry])


def test_a_lone_string_is_refused():
    with pytest.raises(ValueError, match=r"must be a list, such as \['https://example.com'\]"):
        Origins("https://example.com")


@given(st.text())
def test_an_arbitrary_entry_is_taken_or_a_value_error(text):
    try:
        Origins([text])
    except ValueError:
        pass
