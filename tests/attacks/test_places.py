"""Tokens in every place, in two places, and in none where they do not belong."""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import pytest

from server.auth.failure import MAX_TOKEN_BYTES
from tests.attacks.arena import Arena, Attack, detail
from tests.attacks.facts import COOKIE, LATE_S
from tests.attacks.keys import expired, lasting, made_of, secret, token, token_of
from tests.server.auth.tokens import OTHER_SECRET
from tests.support.raw import Close, Op, RawClient, frame, get

pytestmark = pytest.mark.e2e

NOBODY, INVALID = "Authentication required", "Invalid token"
NOT_ASCII, TOO_LONG = "Token is not printable ASCII", f"Token over {MAX_TOKEN_BYTES:,} bytes"
ROUTE = "/cookie"  # where all places count


@dataclass(frozen=True)
class Sent:
    """A handshake: a query string and header lines."""

    query: str = ""
    headers: tuple[str, ...] = ()

    def __add__(self, other: "Sent") -> "Sent":
        query = "&".join(part for part in (self.query, other.query) if part)
        return Sent(query, self.headers + other.headers)

    def by(self, attack: Attack, route: str = ROUTE) -> tuple[RawClient, int, str, str]:
        """Send it; returns the client, the status, what a refusal says, and the subprotocol."""
        path = f"{route}?{self.query}" if self.query else route
        # Two lines of one name: `handshake_request` would take the last.
        client = attack.client()
        lines = "".join(f"{line}\r\n" for line in self.headers)
        data = f"GET {path} HTTP/1.1\r\n{HANDSHAKE}{lines}\r\n".encode("latin-1")
        response = attack.request(client, data, route)
        said = "" if response.status == 101 else detail(response)
        protocol = response.headers.get("sec-websocket-protocol", "")
        return client, response.status, said, protocol


HANDSHAKE = (
    "Host: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


def cookie(value: str) -> Sent:
    return Sent(headers=(f"Cookie: {COOKIE}={value}",))


def authorization(value: str) -> Sent:
    return Sent(headers=(f"Authorization: {value}",))


def bearer(value: str) -> Sent:
    return authorization(f"Bearer {value}")


def subprotocol(value: str) -> Sent:
    return Sent(headers=(f"Sec-WebSocket-Protocol: bearer, {value}",))


def query(value: str) -> Sent:
    return Sent(f"token={value}")


IN_ORDER: dict[str, Callable[[str], Sent]] = {
    "cookie": cookie,
    "header": bearer,
    "subprotocol": subprotocol,
    "query": query,
}
"""The places in the order in which they count."""


# -- one place ---------------------------------------------------------------------------------


@pytest.mark.parametrize("place", IN_ORDER)
def test_a_token_in_each_place(arena: Arena, place: str) -> None:
    """The good one gets in; the others do not, for the same reasons anywhere."""
    put = IN_ORDER[place]
    with arena.attack() as attack:
        client, status, _, protocol = put(token_of("bob")).by(attack)
        assert status == 101
        offered = ["bearer"] if place == "subprotocol" else []
        assert json.loads(client.read_text()) == ["bob", offered]
        assert protocol == "".join(offered)
        for bad, says in (
            (token(key=OTHER_SECRET), INVALID),
            (made_of('{"alg":"none"}'), INVALID),
            (token(expired(120)), "Token expired"),
            (lasting(20_000), TOO_LONG),
        ):
            _, status, said, protocol = put(bad).by(attack)
            assert (status, said, protocol) == (401, says, "")


WRITTEN = {
    "a bare token": (lambda: authorization(token()), None),
    "in small letters": (lambda: authorization(f"bearer {token()}"), None),
    "in capitals": (lambda: authorization(f"BEARER {token()}"), None),
    "after two spaces": (lambda: authorization(f"Bearer  {token()}"), None),
    "after a tab": (lambda: authorization(f"Bearer\t{token()}"), NOT_ASCII),
    "of Basic": (lambda: authorization(f"Basic {token()}"), NOBODY),
    "of Digest": (lambda: authorization(f'Digest username="{token()}"'), NOBODY),
    "a bearer of nothing": (lambda: authorization("Bearer"), NOBODY),
    "a bearer of spaces": (lambda: authorization("Bearer   "), NOBODY),
    "a bearer of two": (lambda: authorization(f"Bearer {token()} {token()}"), NOT_ASCII),
    "with a comma": (lambda: authorization(f"Bearer {token()}, Basic YTpi"), NOT_ASCII),
    "in quotes": (lambda: authorization(f'Bearer "{token()}"'), INVALID),
    "latin-1": (lambda: authorization(f"Bearer {token()}\xe9"), NOT_ASCII),
    "a cookie in quotes": (lambda: cookie(f'"{token()}"'), None),
    "a cookie with escapes": (lambda: cookie('"' + r"\"" * 12_000 + '"'), TOO_LONG),
    "a cookie in capitals": (lambda: Sent(headers=(f"Cookie: TOKEN={token()}",)), NOBODY),
    "a cookie's neighbour": (lambda: Sent(headers=(f"Cookie: xtoken={token()}",)), NOBODY),
    "a parameter in capitals": (lambda: Sent(f"TOKEN={token()}"), NOBODY),
    "a name that is encoded": (lambda: Sent(f"t%6Fken={token()}"), None),
    "a token that is encoded": (lambda: query(f"{token()}%00"), NOT_ASCII),
    "a token over two lines": (lambda: query(f"{token()}%0d%0aX:%20y"), NOT_ASCII),
    "a token in a list": (lambda: Sent(f"token[]={token()}"), NOBODY),
    "no marker": (lambda: Sent(headers=(f"Sec-WebSocket-Protocol: {token()}",)), NOBODY),
    "the marker last": (
        lambda: Sent(headers=(f"Sec-WebSocket-Protocol: {token()}, bearer",)),
        NOBODY,
    ),
    "another one between": (lambda: subprotocol(f"chat.v1, {token()}"), INVALID),
    "the marker in capitals": (
        lambda: Sent(headers=(f"Sec-WebSocket-Protocol: Bearer, {token()}",)),
        NOBODY,
    ),
}


@pytest.mark.parametrize("way", WRITTEN)
def test_how_a_token_is_written(arena: Arena, way: str) -> None:
    make, says = WRITTEN[way]
    with arena.attack() as attack:
        client, status, said, _ = make().by(attack)
        if says is None:
            assert status == 101
            assert json.loads(client.read_text())[0] == "ada"
        else:
            assert (status, said) == (401, says)


def test_the_answer_has_a_subprotocol_of_the_app_or_the_marker(arena: Arena) -> None:
    """Never the token, wherever it stands; nor does the view see it."""
    with arena.attack() as attack:
        for offer, chosen, seen in (
            ("bearer, {}", "bearer", ["bearer"]),
            ("bearer, {}, chat.v1", "chat.v1", ["bearer", "chat.v1"]),
            ("chat.v1, bearer, {}", "chat.v1", ["chat.v1", "bearer"]),
            ("chat.v2, bearer, {}", "bearer", ["chat.v2", "bearer"]),
        ):
            line = f"Sec-WebSocket-Protocol: {offer.format(token())}"
            client, status, _, protocol = Sent(headers=(line,)).by(attack, "/chat")
            assert (status, protocol) == (101, chosen)
            assert json.loads(client.read_text()) == ["ada", seen]


def test_http_takes_neither_query_nor_subprotocol(arena: Arena) -> None:
    with arena.attack():
        made = token()
        assert get(arena.port, f"/http?token={made}").status == 401
        for line, status in (
            (f"Sec-WebSocket-Protocol: bearer, {made}", 401),
            (f"Authorization: Bearer {token(key=OTHER_SECRET)}", 401),
            (f"Authorization: Bearer {made}", 200),
            (f"Cookie: {COOKIE}={made}", 200),
        ):
            with RawClient(arena.port) as client:
                request = f"GET /http HTTP/1.1\r\nHost: 127.0.0.1\r\n{line}\r\n\r\n"
                assert client.request(request.encode()).status == status


# -- two places --------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [*combinations(IN_ORDER, 2)])
def test_of_two_places_the_first_counts(arena: Arena, first: str, second: str) -> None:
    """Whatever the order on the wire; if its token is bad, a good one elsewhere does not help."""
    with arena.attack() as attack:
        ada, bob = IN_ORDER[first](token_of("ada")), IN_ORDER[second](token_of("bob"))
        for sent in (ada + bob, bob + ada):
            client, status, _, _ = sent.by(attack)
            assert status == 101
            assert json.loads(client.read_text())[0] == "ada"
        bad = IN_ORDER[first](token(key=OTHER_SECRET))
        _, status, said, _ = (bad + bob).by(attack)
        assert (status, said) == (401, INVALID)


def test_all_places_at_once(arena: Arena) -> None:
    with arena.attack() as attack:
        users = ("ada", "bob", "eve", "joe")
        sent = [put(token_of(user)) for put, user in zip(IN_ORDER.values(), users, strict=True)]
        client, status, _, _ = (sent[3] + sent[2] + sent[1] + sent[0]).by(attack)
        assert status == 101
        assert json.loads(client.read_text())[0] == "ada"


@pytest.mark.parametrize("place", IN_ORDER)
def test_the_same_place_twice(arena: Arena, place: str) -> None:
    """Of two users, or one and the same token: nobody can tell which was planted."""
    put = IN_ORDER[place]
    with arena.attack() as attack:
        for first, second in ((token_of("ada"), token_of("eve")), ("bad", token()), (token(),) * 2):
            _, status, said, _ = (put(first) + put(second)).by(attack)
            assert (status, said) == (401, f"Token in the {place} twice")


def test_two_cookies_in_one_line(arena: Arena) -> None:
    with arena.attack() as attack:
        line = f"Cookie: {COOKIE}={token_of('ada')}; other=1; {COOKIE}={token_of('eve')}"
        _, status, said, _ = Sent(headers=(line,)).by(attack)
        assert (status, said) == (401, "Token in the cookie twice")


# -- the first message -------------------------------------------------------------------------

NO_TOKEN = Close(4502, "The first message brings no token")
FIRST: dict[str, tuple[Callable[[], bytes], Close | None]] = {
    "bare": (lambda: text(token()), None),
    "JSON": (lambda: text(json.dumps({"type": "auth", "token": token()})), None),
    "binary": (lambda: frame(Op.BINARY, token().encode()), None),
    "binary JSON": (lambda: frame(Op.BINARY, json.dumps({"token": token()}).encode()), None),
    "the second of two": (lambda: text(json.dumps({"a": {"token": 1}, "token": token()})), None),
    "garbage": (lambda: text("garbage"), Close(4502, INVALID)),
    "wrong key": (lambda: text(token(key=OTHER_SECRET)), Close(4502, INVALID)),
    "none": (lambda: text(made_of('{"alg":"none"}')), Close(4502, INVALID)),
    "expired": (lambda: text(token(expired(120))), Close(4502, "Token expired")),
    "empty": (lambda: text(""), Close(4502, NOT_ASCII)),
    "with a line end": (lambda: text(token() + "\n"), Close(4502, NOT_ASCII)),
    "with Bearer": (lambda: text(f"Bearer {token()}"), Close(4502, NOT_ASCII)),
    "bytes that are no text": (lambda: frame(Op.BINARY, b"\xff\xfe"), Close(4502, NOT_ASCII)),
    "JSON of bytes that are no text": (lambda: frame(Op.BINARY, b'{"token":"\xff"}'), NO_TOKEN),
    "no token in JSON": (lambda: text("{}"), NO_TOKEN),
    "a number in JSON": (lambda: text('{"token":1}'), NO_TOKEN),
    "half JSON": (lambda: text(f'{{"token":"{token()}"'), NO_TOKEN),
    "deep JSON": (lambda: text('{"a":' * 100_000), NO_TOKEN),
    "a list": (lambda: text(json.dumps([token()])), Close(4502, INVALID)),
    "long": (lambda: text(lasting(20_000)), Close(4502, TOO_LONG)),
    "a MiB": (lambda: text("a" * (1 << 20)), Close(4502, TOO_LONG)),
    "over a MiB": (
        lambda: text("a" * ((1 << 20) + 1)),
        Close(1009, "message of 1048577 bytes, limit 1048576"),
    ),
}


def text(payload: str) -> bytes:
    return frame(Op.TEXT, secret(payload).encode())


@pytest.mark.parametrize("name", FIRST)
def test_the_first_message(arena: Arena, name: str) -> None:
    make, close = FIRST[name]
    with arena.attack() as attack:
        client = attack.connect("/late")
        client.send(make())
        if close is None:
            assert json.loads(client.read_text())[0] == "ada"
        else:
            assert client.next_close() == close
        if close is not None and close.code == 1009:
            attack.limits("/late", "message_size")


def test_the_first_message_of_one_who_may_not(arena: Arena) -> None:
    with arena.attack() as attack:
        client = attack.connect("/late-staff")
        client.send_text(token())
        assert client.next_close() == Close(4503, "Permission denied")


def test_a_bad_token_elsewhere_gets_no_second_chance(arena: Arena) -> None:
    with arena.attack() as attack:
        for put in (bearer, subprotocol, query):
            _, status, said, _ = put(token(key=OTHER_SECRET)).by(attack, "/late")
            assert (status, said) == (401, INVALID)


def test_a_first_message_that_does_not_come(arena: Arena) -> None:
    """Nor is one that is late, or never whole, or that is a ping: all are closed with 4002."""
    part = frame(Op.TEXT, secret(token()).encode(), fin=False)
    sends: Sequence[bytes] = (b"", part, part[:10], frame(Op.PING), frame(Op.PONG))
    closes: list[Close | None] = []

    def wait(client: RawClient) -> None:
        closes.append(client.next_close(LATE_S + 2))

    with arena.attack() as attack:
        clients = [attack.connect("/late") for _ in sends]
        for client, data in zip(clients, sends, strict=True):
            client.send(data)
        threads = [threading.Thread(target=wait, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pongs_and_none = [close for close in closes if close != Close(4002, "Nothing Said In Time")]
        assert (len(closes), pongs_and_none) == (len(sends), [])
