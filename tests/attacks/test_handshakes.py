"""Handshakes with tricks in their bytes: subprotocols, headers, paths, and what costs much to read.

What is no HTTP is answered by the host with 400 or 431, and the app never sees it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.attacks.arena import Arena, detail
from tests.attacks.facts import COOKIE
from tests.attacks.keys import token
from tests.support.raw import handshake_request

pytestmark = pytest.mark.e2e

NOBODY = "Authentication required"
CYRILLIC = "b\u0435arer"


@dataclass(frozen=True)
class Lines:
    """Header lines, and the answer.

    Attributes:
        status: of the host, if it says nothing; else of the app.
        says: the detail of a refusal by the app, or how it begins.
    """

    name: str
    lines: bytes
    status: int = 101
    says: str | None = None
    route: str = "/echo"

    def __str__(self) -> str:
        return self.name


def offers(name: str, value: str | bytes, status: int = 401, says: str | None = NOBODY) -> Lines:
    """Return a case for a subprotocol on a route that wants a token in it."""
    raw = value.encode() if isinstance(value, str) else value
    return Lines(name, b"Sec-WebSocket-Protocol: " + raw, status, says, "/secret")


TOO_LARGE = "The headers are "
TABLE = [
    # Subprotocols.
    offers("the marker with a Cyrillic letter", f"{CYRILLIC}, a.b.c"),
    offers("the marker in full width", "\uff42\uff45\uff41\uff52\uff45\uff52, a.b.c"),
    offers("the marker in capitals", "BEARER, a.b.c"),
    offers("the marker in quotes", '"bearer", a.b.c'),
    offers("the marker with a soft hyphen", "bear\u00ader, a.b.c"),
    offers("the marker with something behind it", "bearer;q=1, a.b.c"),
    offers("the marker alone", "bearer"),
    offers("the marker and nothing", "bearer,"),
    offers("the marker and blanks", "bearer,  ,"),
    offers("the marker as its own token", "bearer, bearer", 401, "Invalid token"),
    offers("the marker three times", "bearer, a, bearer, b", 401, "Token in the subprotocol twice"),
    offers("a letter that is no ASCII", "bearer, \u00e9\u00e9\u00e9\u00e9"),
    offers("a byte that is no UTF-8", b"bearer, \xff\xfe"),
    offers("NUL", "bearer, a.b\0.c", 400, None),
    offers("CR", "bearer, a.b\r.c", 400, None),
    offers("DEL", "bearer, a.b\x7f.c", 400, None),
    offers("a tab", "bearer,\ta.b.c", 401, "Invalid token"),
    offers("a line folded", "bearer,\r\n a.b.c", 400, None),
    offers("10,000 of them", ", ".join(f"p{n}" for n in range(10_000)), 431, TOO_LARGE),
    offers("3,000 of them", ", ".join(f"p{n}" for n in range(3_000))),
    offers("3,000 markers", ",".join(["bearer"] * 3_000), 401, "Token in the subprotocol twice"),
    offers("30,000 commas", "," * 30_000),
    Lines("10,000 lines of them", b"Sec-WebSocket-Protocol: a\r\n" * 10_000, 431),
    Lines("90 lines of them", b"\r\n".join([b"Sec-WebSocket-Protocol: a"] * 90)),
    # Other headers.
    Lines("a name of 70,000 bytes", b"X" * 70_000 + b": a", 431),
    Lines("a name of 60,000 bytes", b"X" * 60_000 + b": a", 431, TOO_LARGE),
    Lines("a name of 30,000 bytes", b"X" * 30_000 + b": a"),
    Lines("a value of 40,000 bytes", b"X: " + b"a" * 40_000, 431, TOO_LARGE),
    Lines("a value of a MiB", b"X: " + b"a" * (1 << 20), 431),
    Lines("a hundred lines more", b"\r\n".join(b"X-%d: a" % n for n in range(100)), 431),
    Lines("a name that is no ASCII", "X-\u00e9: a".encode(), 400),
    Lines("a name with a blank", b"X : a", 400),
    Lines("a name with NUL", b"X\0: a", 400),
    Lines("no name", b": a", 400),
    Lines("no colon", b"X", 400),
    Lines("a value with NUL", b"X: a\0b", 400),
    Lines("a value with CR", b"X: a\rb", 400),
    Lines("a value that is no UTF-8", b"X: \xff\xfe\xc0\xaf"),
    Lines("a value that turns the reading order", "X: \u202egnp".encode()),
    Lines("two hosts", b"Host: evil.example", 400, "the handshake needs one valid Host header"),
    Lines("a bad key behind a good one", b"Sec-WebSocket-Key: x", 400, "Sec-WebSocket-Key"),
    Lines("a body", b"Content-Length: 5"),
    Lines("a body in chunks", b"Transfer-Encoding: chunked"),
    Lines("two lengths", b"Content-Length: 5\r\nContent-Length: 6", 400),
    Lines("HTTP/2", b"HTTP2-Settings: AAMAAABkAAQAAP__"),
]


def request(path: str | bytes, lines: bytes = b"") -> bytes:
    """Return a handshake for a path as it stands, with lines added."""
    raw = path.encode() if isinstance(path, str) else path
    head = handshake_request("/").replace(b" / ", b" " + raw + b" ", 1)
    return head[:-2] + lines + b"\r\n" * (2 if lines else 1)


@pytest.mark.parametrize("case", TABLE, ids=str)
def test_headers(arena: Arena, case: Lines) -> None:
    by_host = case.status != 101 and case.says is None
    with arena.attack() as attack:
        client = attack.client()
        data = request(case.route, case.lines)
        response = attack.request(client, data, None if by_host else case.route)
        assert response.status == case.status
        if case.says == TOO_LARGE:
            attack.limits(case.route, "header_size")
        if case.says is not None:
            assert detail(response).startswith(case.says)
        elif case.status == 101:
            client.send_text("in")
            assert client.read_text() == "in"
        else:
            assert response.body == b""


# -- paths -------------------------------------------------------------------------------------

TEXT, REST = "/text/{text}", "/rest/{text:path}"
NO_ROUTE = "No WebSocket route for this path"
PATHS: dict[str, tuple[str | bytes, str, int, str | None]] = {
    # name: path, route, status, what the view or the refusal says
    "NUL": ("/text/a%00b", TEXT, 101, "a\0b"),
    "a line end": ("/text/a%0D%0AX:%20y", TEXT, 101, "a\r\nX: y"),
    "dots": ("/text/%2e%2e", TEXT, 101, ".."),
    "dots and a slash": ("/text/%2e%2e/echo", "unmatched", 403, NO_ROUTE),
    "dots that nobody resolves": ("/text/../echo", "unmatched", 403, NO_ROUTE),
    "an encoded slash": ("/text/a%2Fb", "unmatched", 403, NO_ROUTE),
    "dots in the rest": ("/rest/%2e%2e%2fetc/../x", REST, 101, "../etc/../x"),
    "overlong": ("/text/%c0%af", TEXT, 101, "\ufffd\ufffd"),
    "overlong dots": ("/rest/%c0%ae%c0%ae/", REST, 101, "\ufffd\ufffd\ufffd\ufffd/"),
    "half a pair": ("/text/%ed%a0%80", TEXT, 101, "\ufffd\ufffd\ufffd"),
    "encoded twice": ("/text/%252e%252e", TEXT, 101, "%2e%2e"),
    "no encoding": ("/text/%zz%", TEXT, 101, "%zz%"),
    "a backslash": ("/text/..\\echo", TEXT, 101, "..\\echo"),
    "UTF-8 as it is": ("/text/\u00e9", TEXT, 101, "\u00e9"),
    "full width": ("/\uff45cho", "unmatched", 403, NO_ROUTE),
    "a letter of Kelvin": ("/who\u212a", "unmatched", 403, NO_ROUTE),
    "bytes that are no UTF-8": (b"/text/\xff", "host", 400, None),
    "NUL as it is": (b"/text/a\0b", "host", 400, None),
    "capitals": ("/ECHO", "unmatched", 403, NO_ROUTE),
    "two slashes": ("//echo", "unmatched", 403, NO_ROUTE),
    "a slash at the end": ("/echo/", "unmatched", 403, NO_ROUTE),
    "a question mark": ("/text/a%3Ftoken=0123456789abcdef", TEXT, 101, "a?token=0123456789abcdef"),
    "a value of 9,000 bytes": (
        "/text/" + "a" * 9000,
        TEXT,
        400,
        "path parameter 'text': is too long, the limit is 8192 bytes",
    ),
    "60,000 bytes": ("/" + "a" * 60_000, "unmatched", 403, NO_ROUTE),
    "65,535 bytes": ("/" + "a" * 65_534, "host", 414, None),
    "100,000 bytes": ("/" + "a" * 100_000, "host", 414, None),
}


@pytest.mark.parametrize("name", PATHS)
def test_paths(arena: Arena, name: str) -> None:
    path, route, status, says = PATHS[name]
    with arena.attack() as attack:
        client = attack.client()
        response = attack.request(client, request(path), None if route == "host" else route)
        assert response.status == status
        if status == 101:
            assert client.read_text() == says
            client.close()
        elif says is not None:
            assert detail(response) == says


def test_what_follows_a_question_mark_is_not_logged(arena: Arena) -> None:
    """Also one that the client has encoded: it may be a query string that was encoded twice."""
    with arena.attack() as attack:
        offset = len(arena.log())
        made = token()
        for mark in ("?", "%3F", "%3f"):
            client = attack.connect(f"/rest/a{mark}token={made}", route=REST)
            client.read_text()
            client.close()
    log = arena.log()[offset:]
    assert log.count('"path":"/rest/a"') == 3
    assert made not in log


def test_a_path_over_a_limit_that_is_set(start: Callable[[str], Arena]) -> None:
    """Its own limit the host counts by itself; a lower one is the server's."""
    with start("full").attack() as attack:
        for path in ("/echo?" + "q" * 996, "/" + "a" * 1000):
            route = "/echo" if path.startswith("/echo") else "unmatched"
            _, response = attack.handshake(path, route=route)
            says = "Path and query are 1001 bytes, the limit is 1000"
            assert (response.status, detail(response)) == (414, says)
            attack.limits(route, "url_size")


# -- what costs much to read -------------------------------------------------------------------

COSTLY = {
    "escapes in a cookie": ("", f'Cookie: {COOKIE}="' + '\\"' * 16_000 + '"'),
    "octal escapes in a cookie": ("", f'Cookie: {COOKIE}="' + "\\012" * 8_000 + '"'),
    "escapes in another cookie": ("", 'Cookie: other="' + '\\"' * 16_000 + '"'),
    "many cookies": ("", f"Cookie: {COOKIE}=x;" + "a=b;" * 8_000),
    "many empty cookies": ("", "Cookie: " + ";" * 32_000),
    "many subprotocols": ("", "Sec-WebSocket-Protocol: " + "a," * 16_000),
    "a header of a token": ("", f"Authorization: Bearer {'e30' * 2_700}.a.b"),
    "many addresses": ("", "X-Forwarded-For: " + "1.1.1.1," * 4_000),
    "many empty parameters": ("?" + "&" * 65_000, "X: y"),
    "many parameters": ("?" + "a=&" * 21_000, "X: y"),
    "an encoded name": ("?" + "%61" * 21_000, "X: y"),
    "an encoded token": ("?token=" + "%61" * 21_000, "X: y"),
}
AT_ONCE = 20
ALL_ANSWERED_S = 3.0


@pytest.mark.parametrize("name", COSTLY)
@pytest.mark.parametrize(("route", "status"), [("/cookie", 401), ("/baked", 101)])
def test_a_handshake_is_read_in_no_time(arena: Arena, route: str, status: int, name: str) -> None:
    """By authentication, and by a view: 20 at once hold up nobody, and are answered soon."""
    query, line = COSTLY[name]
    if name == "escapes in a cookie" and route == "/baked":
        status = 400  # over the 8 KiB that a parameter may have
    data = handshake_request(f"{route}{query}", [line])
    with arena.attack() as attack:
        clients = [attack.client() for _ in range(AT_ONCE)]
        started_s = time.monotonic()
        for client in clients:
            client.send(data)
        for client in clients:
            response = client.read_response()
            attack.note(route, response.status)
            assert response.status == status
        assert time.monotonic() - started_s < ALL_ANSWERED_S
