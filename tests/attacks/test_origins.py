"""Pages of strangers: an `Origin` that is neither of the host nor allowed is a 403."""

from dataclasses import dataclass
from unicodedata import normalize

import pytest

from tests.attacks.arena import Arena, detail
from tests.attacks.facts import BUECHER, COOKIE
from tests.attacks.keys import token
from tests.support.raw import get, handshake_request

pytestmark = pytest.mark.e2e

PUNYCODE = "xn--bcher-kva.example"
P, S = "/partner", "/sandbox"
MATHEMATICAL = "https://\U0001d4c5\U0001d4b6rtner.example"  # another spelling of `pa`


@dataclass(frozen=True)
class Page:
    """An origin as it is on the wire, for a route, and whether it gets in."""

    origin: bytes
    route: str = "/origin"
    host: str = "127.0.0.1"
    gets_in: bool = False

    def __str__(self) -> str:
        return f"{self.route} {self.host} {ascii(self.origin.decode('latin-1'))[1:60]}"


def evil(*origins: str | bytes, at: str = "/origin", host: str = "127.0.0.1") -> list[Page]:
    raw = [origin.encode() if isinstance(origin, str) else origin for origin in origins]
    return [Page(origin, at, host) for origin in raw]


def good(*origins: str, at: str = "/origin", host: str = "127.0.0.1") -> list[Page]:
    return [Page(origin.encode(), at, host, gets_in=True) for origin in origins]


TABLE = [
    # The host of the handshake.
    *good("http://127.0.0.1", "https://127.0.0.1", "HTTP://127.0.0.1", "ws://127.0.0.1"),
    *good("http://127.0.0.1:80", "https://127.0.0.1:443"),
    *good("http://127.0.0.1:8000", host="127.0.0.1:8000"),
    *good("http://Example.ORG", host="eXample.org"),
    *good("http://[::1]", "http://[0:0::1]", host="[::1]"),
    *good("https://b\u00fccher.example", f"https://{PUNYCODE}", host=PUNYCODE),
    *evil("http://127.0.0.1:8000", "https://127.0.0.1:80", "http://127.0.0.1:443"),
    *evil("http://127.0.0.1:8001", "http://127.0.0.1", host="127.0.0.1:8000"),
    *evil("https://evil.example", "http://127.0.0.2", "http://localhost", "http://127.1"),
    *evil(
        "http://2130706433", "http://0x7f000001", "http://0177.0.0.1", "http://[::ffff:127.0.0.1]"
    ),
    *evil("http://127.0.0.1.evil.example", "http://evil.example.127.0.0.1", "http://x127.0.0.1"),
    *evil("http://127.0.0.1@evil.example", "http://evil.example@127.0.0.1", "http://a:b@127.0.0.1"),
    *evil("http://127.0.0.1/", "http://127.0.0.1/x", "http://127.0.0.1?x", "http://127.0.0.1#x"),
    *evil("http://127.0.0.1\\@evil.example", "http://127.0.0.1%00.evil.example", "http:127.0.0.1"),
    *evil("http:///127.0.0.1", "//127.0.0.1", "127.0.0.1", "javascript:alert(1)", "", "http://"),
    *evil("file://127.0.0.1", "chrome-extension://127.0.0.1", "data://127.0.0.1", "null", "NULL"),
    *evil("http://127.0.0.1 https://evil.example", "http://127.0.0.1, http://127.0.0.1", "*"),
    *evil("http://127.0.0.1.", "http://127.0.0.1:", "http://127.0.0.1:0", "http://127.0.0.1:80x"),
    *evil("http://127.0.0.1:65616", "http://127.0.0.1:00000000000080", "http://127.0.0.1:-80"),
    *evil("http://\uff11\uff12\uff17.0.0.1:99", "http://127\u30020\u30020\u30021:99"),
    *evil(b"http://127.0.0.1\xff", b"http://127.0.0.1\xc0\xaf", b"http://\xed\xa0\x80"),
    *evil(b"\xef\xbb\xbfhttp://127.0.0.1"),
    *evil("http://" + "a." * 250 + "example", "http://127.0.0.1" + "0" * 30_000),
    # An origin that is allowed.
    *good("https://partner.example", "HTTPS://PARTNER.EXAMPLE", "wss://partner.example", at=P),
    *good("https://partner.example:443", at=P),
    *good("https://b\u00fccher.example:8443", f"HTTPS://{PUNYCODE.upper()}:8443", at=P),
    *good("https://B\u00dcCHER.example:8443", at=P),
    *good(normalize("NFD", BUECHER), f"https://{PUNYCODE}:8443", at=P),
    *evil("http://partner.example", "https://partner.example:80", at=P),
    *evil("https://partner.example:8443", "null", "https://evil.example", at=P),
    *evil("https://partner.example.", "https://partner.example.evil.example", at=P),
    *evil("https://evilpartner.example", "https://evil.partner.example", at=P),
    *evil("https://partner.example@evil.example", "https://partner.example/", at=P),
    *evil("https://partner-example", "https://partnerXexample", at=P),
    *evil("https://partner.example%2e", "https://*.example", at=P),
    *evil("https://p\u0430rtner.example", "https://partner\u2024example\u3002x", at=P),
    *evil("https://bucher.example:8443", "https://b\u00fccher.example", at=P),
    *evil(f"https://{PUNYCODE}", "https://xn--bucher-kva.example:8443", at=P),
    *evil("https://b%C3%BCcher.example:8443", b"https://b\xfccher.example:8443", at=P),
    # `null` that is allowed is exactly that.
    *good("null", at=S),
    *evil("Null", "NULL", "null ,", "http://null", "nulL", "null\t.", at=S),
]


@pytest.mark.parametrize("page", TABLE, ids=str)
def test_an_origin(arena: Arena, page: Page) -> None:
    with arena.attack() as attack:
        request = handshake_request(page.route, [f"Host: {page.host}"])
        request = request[:-2] + b"Origin: " + page.origin + b"\r\n\r\n"
        client = attack.client()
        response = attack.request(client, request, page.route)
        if page.gets_in:
            assert response.status == 101
            assert client.read_text() == "in"
        else:
            assert (response.status, detail(response)) == (403, "Origin not allowed")


def test_the_spelling_of_a_letter_that_browsers_undo_is_no_other_host(arena: Arena) -> None:
    """Browsers send punycode; who sends such letters all the same has the host that they mean."""
    with arena.attack() as attack:
        attack.connect("/partner", [f"Origin: {MATHEMATICAL}".encode().decode("latin-1")])


@pytest.mark.parametrize("route", ["/origin", "/partner", "/sandbox"])
def test_two_origins(arena: Arena, route: str) -> None:
    """Also if each of them would be let in."""
    with arena.attack() as attack:
        for origins in ("http://127.0.0.1", "https://evil.example"), ("http://127.0.0.1",) * 2:
            lines = "".join(f"Origin: {origin}\r\n" for origin in origins)
            request = handshake_request(route)[:-2] + f"{lines}\r\n".encode()
            response = attack.request(attack.client(), request, route)
            assert (response.status, detail(response)) == (403, "Origin not allowed")


def test_the_page_of_a_stranger_with_the_cookie_of_a_user(arena: Arena) -> None:
    """Cross-site WebSocket hijacking: the browser adds the cookie, and that helps nobody."""
    with arena.attack() as attack:
        line = f"Cookie: {COOKIE}={token()}"
        _, response = attack.handshake("/cookie", [line, "Origin: https://evil.example"])
        assert (response.status, detail(response)) == (403, "Origin not allowed")
        attack.connect("/cookie", [line, "Origin: http://127.0.0.1"])


def test_the_absolute_form_names_no_other_host(arena: Arena) -> None:
    """The origin has to be that of `Host`, whatever the request line names."""
    with arena.attack() as attack:
        request = handshake_request("http://evil.example/origin", ["Origin: http://evil.example"])
        response = attack.request(attack.client(), request, "/origin")
        assert (response.status, detail(response)) == (403, "Origin not allowed")


def test_a_forwarded_host_is_no_host(arena: Arena) -> None:
    with arena.attack() as attack:
        for header in ("X-Forwarded-Host", "X-Original-Host", "Forwarded"):
            value = "host=evil.example" if header == "Forwarded" else "evil.example"
            headers = ["Origin: http://evil.example", f"{header}: {value}"]
            _, response = attack.handshake("/origin", headers)
            assert (response.status, detail(response)) == (403, "Origin not allowed")


def test_http_has_no_origin_to_be_from(arena: Arena) -> None:
    """The check is for handshakes; what a page may read by HTTP is for CORS to say."""
    with arena.attack():
        assert get(arena.port, "/http").status == 401
