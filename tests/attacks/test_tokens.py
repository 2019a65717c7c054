"""Tokens and keys that somebody made to get in: each is refused, in the words of the docs."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from server.auth.failure import MAX_TOKEN_BYTES
from tests.attacks.arena import Arena, detail
from tests.attacks.facts import AUDIENCE, ISSUER
from tests.attacks.keys import (
    API_KEY,
    CLAIMS,
    HS256,
    LATER,
    OTHER_RSA,
    PUBLIC_PEM,
    RSA,
    expired,
    lasting,
    made_of,
    secret,
    token,
    unsigned,
)
from tests.server.auth.tokens import OTHER_SECRET, SECRET, b64, now, public_jwk

pytestmark = pytest.mark.e2e

INVALID, EXPIRED, EARLY = "Invalid token", "Token expired", "Token not valid yet"
TOO_LONG = f"Token over {MAX_TOKEN_BYTES:,} bytes"
NOT_ASCII = "Token is not printable ASCII"
DENIED = "Permission denied"
JWK = public_jwk(OTHER_RSA)


@dataclass(frozen=True)
class Case:
    """What is sent as `Authorization: Bearer`, on which route, and what is answered."""

    name: str
    make: Callable[[], str]
    says: str
    route: str = "/secret"
    status: int = 401


def other_payload() -> str:
    head, _, signature = token().split(".")
    return secret(f"{head}.{b64(CLAIMS.encode())}.{signature}")


def other_signature() -> str:
    head, payload, _ = token().split(".")
    return secret(f"{head}.{payload}.{b64(bytes(32))}")


def without_signature() -> str:
    return secret(token().rpartition(".")[0] + ".")


def of_claims(**claims: Any) -> str:
    return token({"aud": AUDIENCE, "iss": ISSUER, "jti": "1", **claims})


def permitted(permissions: Any) -> str:
    return token({"permissions": permissions})


def naming(**members: Any) -> str:
    """Return a header that says more."""
    return json.dumps({"alg": "HS256", "typ": "JWT", **members})


FORGED = [
    Case("other payload", other_payload, INVALID),
    Case("other signature", other_signature, INVALID),
    Case("no signature", without_signature, INVALID),
    Case("wrong key", lambda: token(key=OTHER_SECRET), INVALID),
    Case("empty key", lambda: made_of(HS256, key=""), INVALID),
    Case("half the key", lambda: made_of(HS256, key=SECRET[:32]), INVALID),
    Case(
        "the path of a key as kid", lambda: made_of(naming(kid="../../dev/null"), key=""), INVALID
    ),
    Case("a key of its own, jwk", lambda: token(None, OTHER_RSA, "RS256", {"jwk": JWK}), INVALID),
    Case(
        "a key of its own, jku",
        lambda: token(None, OTHER_RSA, "RS256", {"jku": "http://127.0.0.1:1/keys"}),
        INVALID,
    ),
    Case("a critical extension", lambda: made_of(naming(crit=["exp"], exp=1)), INVALID),
    Case("no JSON in the header", lambda: made_of("{"), INVALID),
    Case("a deep header", lambda: made_of('{"alg":' + "[" * 4000), INVALID),
    Case("a number of 4,000 digits", lambda: made_of('{"alg":' + "9" * 4000 + "}"), INVALID),
    Case("two users", lambda: made_of(HS256, CLAIMS[:-1] + ',"sub":"eve"}'), INVALID),
    Case("a user of two lines", lambda: token({"sub": "ada\nroot"}), INVALID),
    Case("a user of 65 bytes", lambda: token({"sub": "a" * 65}), INVALID),
    Case("a user that is a list", lambda: token({"sub": ["ada"]}), INVALID),
    Case("five parts", lambda: secret(f"{token()}.{b64(b'more')}.{b64(b'and more')}"), INVALID),
    Case("two parts", lambda: secret(token().rpartition(".")[0]), INVALID),
    Case("dots", lambda: "..", INVALID),
    Case("no token at all", lambda: "x", INVALID),
]

TIMES = [
    Case("expired", lambda: token(expired(120)), EXPIRED),
    Case("expired for 30 years", lambda: token({"exp": 0}), EXPIRED),
    Case("before its time", lambda: token({"nbf": now(120)}), EARLY),
    Case("issued in the future", lambda: token({"iat": now(120)}), EARLY),
    Case("without exp", lambda: token({"exp": None}), "Token without exp"),
    Case("exp as text", lambda: made_of(HS256, f'{{"sub":"ada","exp":"{LATER}"}}'), INVALID),
    Case("exp is true", lambda: made_of(HS256, '{"sub":"ada","exp":true}'), INVALID),
    Case("exp without end", lambda: made_of(HS256, '{"sub":"ada","exp":1e400}'), INVALID),
    Case("exp is no number", lambda: made_of(HS256, '{"sub":"ada","exp":NaN}'), INVALID),
]

NONE = [
    Case(f"{name!r}, {kind}", lambda name=name, sign=sign: sign(naming(alg=name)), INVALID, route)  # type: ignore[misc]
    for route in ("/secret", "/rsa", "/two")
    for name in ("none", "None", "NONE", "nOnE", "none ", "")
    for kind, sign in (("unsigned", unsigned), ("signed", made_of))
]

CONFUSED = [
    Case(f"the public key as a secret, {name}, {route}", make, INVALID, route)
    for route in ("/rsa", "/two")
    for name, make in (
        ("as the server has it", lambda: made_of(HS256, key=PUBLIC_PEM)),
        ("stripped", lambda: made_of(HS256, key=PUBLIC_PEM.strip())),
        ("of Windows", lambda: made_of(HS256, key=PUBLIC_PEM.replace(b"\n", b"\r\n"))),
        ("HS512", lambda: made_of(naming(alg="HS512"), key=PUBLIC_PEM)),
        ("as RS256", lambda: made_of(naming(alg="RS256"), key=PUBLIC_PEM)),
        ("of another pair", lambda: token(key=OTHER_RSA, algorithm="RS256")),
        ("for PS256", lambda: token(key=RSA, algorithm="PS256")),
    )
] + [
    Case("RS256 for a secret", lambda: token(key=RSA, algorithm="RS256"), INVALID),
    Case("HS512 for HS256", lambda: token(algorithm="HS512"), INVALID),
    Case("a secret where a key pair is due", token, INVALID, "/rsa"),
]

CLAIMED = [
    Case("wrong audience", lambda: of_claims(aud="other"), "Wrong audience", "/claims"),
    Case("no audience", lambda: of_claims(aud=None), "Wrong audience", "/claims"),
    Case("nearly the audience", lambda: of_claims(aud=AUDIENCE + "s"), "Wrong audience", "/claims"),
    Case("an audience for nobody", lambda: token({"aud": AUDIENCE}), "Wrong audience"),
    Case("wrong issuer", lambda: of_claims(iss=ISSUER + "/"), "Wrong issuer", "/claims"),
    Case("no issuer", lambda: of_claims(iss=None), "Wrong issuer", "/claims"),
    Case("no id", lambda: of_claims(jti=None), "Token without jti", "/claims"),
    Case("revoked", lambda: of_claims(jti="revoked"), "Token revoked", "/claims"),
    Case("a refresh token", lambda: token({"typ": "refresh"}), "Wrong token type"),
]

SIZES = [
    Case("a byte too long", lambda: secret("a" * (MAX_TOKEN_BYTES + 1)), TOO_LONG),
    Case("good but for 30 KB", lambda: lasting(30_000), TOO_LONG),
    Case("a header of dots", lambda: secret("." * 30_000), TOO_LONG),
]

DENIALS = [
    Case("not staff", token, DENIED, "/staff", 403),
    Case("staff as text", lambda: token({"is_staff": "true"}), DENIED, "/staff", 403),
    Case("staff as 1", lambda: token({"is_staff": 1}), DENIED, "/staff", 403),
    Case("no permission", token, DENIED, "/permitted", 403),
    Case(
        "permissions as text", lambda: token({"permissions": "publish"}), DENIED, "/permitted", 403
    ),
    Case(
        "permission in capitals",
        lambda: token({"permissions": ["PUBLISH"]}),
        DENIED,
        "/permitted",
        403,
    ),
    Case("bad where nobody is asked", lambda: token(key=OTHER_SECRET), INVALID, "/unguarded"),
]

TABLE = [*FORGED, *TIMES, *NONE, *CONFUSED, *CLAIMED, *SIZES, *DENIALS]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: f"{case.name} {case.route}")
def test_a_token_that_is_no_good(arena: Arena, case: Case) -> None:
    with arena.attack() as attack:
        _, response = attack.handshake(case.route, [f"Authorization: Bearer {case.make()}"])
        assert (response.status, detail(response)) == (case.status, case.says)
        challenge = {401: 'Bearer error="invalid_token"', 403: None}[case.status]
        assert response.headers.get("www-authenticate") == challenge


@pytest.mark.parametrize(
    ("route", "make"),
    [
        ("/secret", token),
        ("/secret", lambda: token(expired(30))),  # clocks may differ by a minute
        ("/secret", lambda: lasting(MAX_TOKEN_BYTES)),
        ("/claims", of_claims),
        ("/rsa", lambda: token(key=RSA, algorithm="RS256")),
        ("/two", token),
        ("/two", lambda: token(key=RSA, algorithm="RS256")),
        ("/staff", lambda: token({"is_staff": True})),
        ("/permitted", lambda: permitted(["publish"])),
        ("/unguarded", token),
        ("/public", token),
    ],
)
def test_what_is_good_gets_in(arena: Arena, route: str, make: Callable[[], str]) -> None:
    """Or else the refusals would prove nothing."""
    with arena.attack() as attack:
        client = attack.connect(route, [f"Authorization: Bearer {make()}"])
        assert json.loads(client.read_text())[0] == "ada"


def test_nobody_is_nobody(arena: Arena) -> None:
    """Without a token on a route without guards, or with any where everybody may come in."""
    with arena.attack() as attack:
        bad = f"Authorization: Bearer {token(key=OTHER_SECRET)}"
        for route, headers in (("/unguarded", []), ("/public", []), ("/public", [bad])):
            client = attack.connect(route, headers)
            assert json.loads(client.read_text())[0] is None


KEYS = [
    ("another key", "another-key-of-billing-0123456789", "Invalid API key"),
    ("its beginning", API_KEY[:-1], "Invalid API key"),
    ("more than it", API_KEY + "0", "Invalid API key"),
    ("in capitals", API_KEY.upper(), "Invalid API key"),
    ("two keys", f"{API_KEY},{API_KEY}", "Invalid API key"),
    ("with a NUL encoded", f"{API_KEY}%00", "Invalid API key"),
    ("long", "k" * (MAX_TOKEN_BYTES + 1), TOO_LONG),
    ("spaced", f"{API_KEY} {API_KEY}", "Authentication required"),
    ("a bearer of two", f"Bearer {API_KEY} {API_KEY}", NOT_ASCII),
    ("latin-1", f"{API_KEY}\xff", NOT_ASCII),
    ("of another scheme", f"Basic {API_KEY}", "Authentication required"),
]


@pytest.mark.parametrize(("name", "value", "says"), KEYS, ids=[name for name, *_ in KEYS])
def test_an_api_key_that_is_no_good(arena: Arena, name: str, value: str, says: str) -> None:
    with arena.attack() as attack:
        _, response = attack.handshake("/key", [f"X-API-Key: {value}"])
        assert (response.status, detail(response)) == (401, says)


def test_an_api_key_counts_in_its_header_alone(arena: Arena) -> None:
    with arena.attack() as attack:
        client = attack.connect("/key", [f"X-API-Key: {API_KEY}"])
        assert json.loads(client.read_text())[0].startswith("apikey:")
        elsewhere: list[tuple[str, list[str]]] = [
            ("/key", [f"Authorization: Bearer {API_KEY}"]),
            ("/key", [f"Sec-WebSocket-Protocol: bearer, {API_KEY}"]),
            ("/key", [f"Cookie: x-api-key={API_KEY}"]),
            (f"/key?x-api-key={API_KEY}&token={API_KEY}", []),
        ]
        for path, headers in elsewhere:
            _, response = attack.handshake(path, headers)
            assert (response.status, detail(response)) == (401, "Authentication required")


def test_a_key_is_no_token_and_a_token_no_key(arena: Arena) -> None:
    with arena.attack() as attack:
        _, response = attack.handshake("/secret", [f"Authorization: Bearer {API_KEY}"])
        assert (response.status, detail(response)) == (401, INVALID)
        _, response = attack.handshake("/key", [f"X-API-Key: {token()}"])
        assert (response.status, detail(response)) == (401, "Invalid API key")
