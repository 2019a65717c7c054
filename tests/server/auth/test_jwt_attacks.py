"""Tokens that somebody made to get in: each is refused, and its answer tells nothing of it."""

import json
from typing import Any

import pytest

from server.auth import AuthenticationFailed, JWTAuthentication
from server.auth.failure import MAX_TOKEN_BYTES
from tests.server.auth.tokens import (
    OTHER_SECRET,
    SECRET,
    b64,
    handmade,
    identify,
    private_key,
    public_jwk,
    public_pem,
    refusal,
    signed,
    unb64,
)

RSA, P256, ED = private_key("RS256"), private_key("ES256"), private_key("EdDSA")
LATER = 9_999_999_999
CLAIMS = f'{{"sub":"ada","exp":{LATER}}}'
HS256 = '{"alg":"HS256","typ":"JWT"}'
GOOD = handmade(HS256, CLAIMS)
KID_SET = {"keys": [public_jwk(RSA, kid="1"), public_jwk(P256, kid="2")]}

OF_SECRET = JWTAuthentication(SECRET)
OF_RSA = JWTAuthentication(public_key=public_pem(RSA))
OF_P256 = JWTAuthentication(public_key=public_pem(P256))
OF_ED = JWTAuthentication(public_key=public_pem(ED))
OF_SET = JWTAuthentication(jwks=KID_SET)
OF_BOTH = JWTAuthentication(public_key=[public_pem(RSA), public_pem(P256)])
PUBLIC = (OF_RSA, OF_P256, OF_ED, OF_SET, OF_BOTH)
ALL = (OF_SECRET, *PUBLIC)


def header(**members: Any) -> str:
    return json.dumps({"alg": "HS256", "typ": "JWT"} | members)


def unsigned(head: str, signature: str = "") -> str:
    return f"{b64(head.encode())}.{b64(CLAIMS.encode())}.{signature}"


def test_the_good_token_is_good() -> None:
    """Or else none of the tests below would mean anything."""
    assert identify(OF_SECRET, GOOD).user_id == "ada"
    assert identify(OF_SECRET, handmade(header(kid="x"), CLAIMS)).user_id == "ada"


# -- the algorithm ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "none ", " none", "none\x00", ""])
def test_a_token_without_a_signature(name: str) -> None:
    head = json.dumps({"alg": name, "typ": "JWT"})
    for auth in ALL:
        for token in (
            unsigned(head),
            unsigned(head, GOOD.rpartition(".")[2]),
            handmade(head, CLAIMS),
        ):
            assert refusal(auth, token) == "Invalid token"


@pytest.mark.parametrize(
    "algorithm",
    [None, 5, True, ["HS256"], {"HS256": 1}, "hs256", "HS256 ", "HS384", "RS256", "HS1", "🔑"],
)
def test_an_algorithm_that_is_not_allowed(algorithm: Any) -> None:
    assert refusal(OF_SECRET, handmade(header(alg=algorithm), CLAIMS)) == "Invalid token"
    assert refusal(OF_SECRET, handmade('{"typ":"JWT"}', CLAIMS)) == "Invalid token"


def test_a_public_key_as_a_secret() -> None:
    """The keys are public; so none of what is written of them may open anything as a secret."""
    for auth, key in ((OF_RSA, RSA), (OF_P256, P256), (OF_ED, ED), (OF_SET, RSA), (OF_BOTH, P256)):
        pem, jwk = public_pem(key), public_jwk(key)
        secrets = [pem, pem.strip(), pem.replace(b"\n", b"\r\n"), json.dumps(jwk), jwk["kty"], b""]
        secrets += [unb64(jwk[name]) for name in ("n", "x") if name in jwk]
        for secret in secrets:
            for kid in ({}, {"kid": "1"}, {"kid": "2"}):
                assert refusal(auth, handmade(header(**kid), CLAIMS, secret)) == "Invalid token"


def test_an_algorithm_that_another_key_allows() -> None:
    """Each key has its own: RS256 is allowed for the first one, but not for the second."""
    pss = signed(key=RSA, algorithm="PS256", headers={"kid": "1"})
    swapped = [
        signed(key=RSA, algorithm="RS256", headers={"kid": "2"}),
        signed(key=P256, algorithm="ES256", headers={"kid": "1"}),
    ]
    for token in (pss, *swapped):
        assert refusal(OF_SET, token) == "Invalid token"


# -- signatures and keys ---------------------------------------------------------------------------


def test_a_forged_signature_and_another_key() -> None:
    head, payload, signature = GOOD.split(".")
    forged = [
        f"{head}.{payload}.",
        f"{head}.{payload}.{b64(b'x' * 32)}",
        f"{head}.{payload}.{b64(bytes(32))}",
        f"{head}.{b64(CLAIMS.replace('ada', 'bob').encode())}.{signature}",
        f"{b64(header(kid='1').encode())}.{payload}.{signature}",
        handmade(HS256, CLAIMS, OTHER_SECRET),
        handmade(HS256, CLAIMS, ""),
        handmade(HS256, CLAIMS, SECRET[:-1]),
    ]
    for token in forged:
        assert refusal(OF_SECRET, token) == "Invalid token"


@pytest.mark.parametrize(
    "signature", [b"", bytes(64), b"\xff" * 64, bytes(63), bytes(256), bytes(600)]
)
def test_a_signature_of_nothing(signature: bytes) -> None:
    """All zeros once passed for a signature by ECDSA (CVE-2022-21449)."""
    for auth in PUBLIC:
        for algorithm in ("RS256", "PS256", "ES256", "EdDSA"):
            token = unsigned(header(alg=algorithm), b64(signature))
            assert refusal(auth, token) == "Invalid token"


def test_a_key_that_the_token_brings_or_names_does_not_count() -> None:
    thief = private_key("RS256", 2)
    brought: list[dict[str, Any]] = [
        {"jwk": public_jwk(thief)},
        {"jwk": public_jwk(thief), "kid": "1"},
        {"jku": "https://thief.example/jwks.json"},
        {"x5u": "https://thief.example/cert.pem"},
        {"x5c": ["MIIB"]},
        {"jku": "file:///dev/zero", "x5u": 5, "jwk": "x", "x5c": {}},
    ]
    for members in brought:
        forged = signed(key=thief, algorithm="RS256", headers=members)
        for auth in PUBLIC:
            assert refusal(auth, forged) == "Invalid token"
        honest = signed(key=RSA, algorithm="RS256", headers=members)
        assert identify(OF_RSA, honest).user_id == "ada"


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/dev/null",
        "' OR 1=1 --",
        "1' UNION SELECT 'key",
        "| whoami",
        "http://thief.example/key",
        "1\x00",
        "3",
        "",
        "🔑",
        "x" * 100,
    ],
)
def test_a_kid_is_only_compared(kid: str) -> None:
    for secret in ("", "key", SECRET):
        assert refusal(OF_SET, handmade(header(kid=kid), CLAIMS, secret)) == "Invalid token"
    assert (
        refusal(OF_SET, signed(key=RSA, algorithm="RS256", headers={"kid": kid})) == "Invalid token"
    )


@pytest.mark.parametrize("kid", [5, 1.5, True, ["1"], {"1": "1"}, [], {}])
def test_a_kid_that_is_no_text(kid: Any) -> None:
    for auth in ALL:
        assert refusal(auth, handmade(header(kid=kid), CLAIMS)) == "Invalid token"


@pytest.mark.parametrize(
    "members",
    [
        {"crit": ["exp"]},
        {"crit": ["exp"], "exp": LATER},
        {"crit": ["b64"], "b64": True},
        {"crit": ["b64"], "b64": False},
        {"crit": []},
        {"crit": None},
        {"crit": "exp"},
        {"b64": False},
        {"b64": 0},
        {"b64": True},
    ],
)
def test_no_extension_is_known(members: dict[str, Any]) -> None:
    assert refusal(OF_SECRET, handmade(header(**members), CLAIMS)) == "Invalid token"


def test_a_payload_that_is_not_encoded() -> None:
    head = b64(header(crit=["b64"], b64=False).encode())
    assert refusal(OF_SECRET, f"{head}..{GOOD.rpartition('.')[2]}") == "Invalid token"


# -- the form --------------------------------------------------------------------------------------

HEAD, PAYLOAD, SIGNATURE = GOOD.split(".")


@pytest.mark.parametrize(
    "token",
    [
        ".",
        "..",
        "...",
        "a.b.c",
        HEAD,
        f"{HEAD}.{PAYLOAD}",
        f"{HEAD}.{PAYLOAD}.{SIGNATURE}.",
        f".{GOOD}",
        f"{GOOD}.{SIGNATURE}",
        f"{HEAD}..{SIGNATURE}",
        f".{PAYLOAD}.{SIGNATURE}",
        f"{HEAD}.{PAYLOAD}.{SIGNATURE[:-1]}",
        GOOD[1:],
        GOOD[:-10],
        f"{GOOD}=",
        f"{GOOD}A",
        f"{HEAD}=.{PAYLOAD}.{SIGNATURE}",
        f"{HEAD}.{PAYLOAD}==.{SIGNATURE}",
        f"{HEAD}.{PAYLOAD}.!!!!",
        f"{HEAD}.{PAYLOAD}.{SIGNATURE[:-1]}+",
        f"{HEAD}.{PAYLOAD}.{SIGNATURE[:-1]}/",
        f"{HEAD},{PAYLOAD},{SIGNATURE}",
        f"Bearer.{GOOD}",
        f'{{"payload":"{PAYLOAD}","signature":"{SIGNATURE}"}}',
        f"{HEAD}.{PAYLOAD}.{SIGNATURE}.a.b",  # five parts are an encrypted one
    ],
)
def test_what_is_no_token_in_compact_form(token: str) -> None:
    for auth in ALL:
        assert refusal(auth, token) == "Invalid token"


@pytest.mark.parametrize(
    "token", ["", f"{GOOD}\n", f" {GOOD}", f"{GOOD}\x00", f"{GOOD}ü", "\ud800"]
)
def test_what_is_no_token_at_all(token: str) -> None:
    assert refusal(OF_SECRET, token) == "Token is not printable ASCII"


def test_a_token_that_is_too_long() -> None:
    longest = handmade(HS256, f'{{"exp":{LATER},"pad":"{"x" * 6040}"}}')
    assert MAX_TOKEN_BYTES - 30 < len(longest) <= MAX_TOKEN_BYTES
    identify(OF_SECRET, longest)
    longer = handmade(HS256, f'{{"exp":{LATER},"pad":"{"x" * 6100}"}}')
    for token in (longer, "x" * 10_000_000):
        assert refusal(OF_SECRET, token) == "Token over 8,192 bytes"


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"null",
        b"5",
        b'"HS256"',
        b"[]",
        b'["alg","HS256"]',
        b"{}",
        b'{"alg":"HS256"',
        b'{"alg":"HS256"}}',
        b"{'alg':'HS256'}",
        b'{"alg":"none","alg":"HS256"}',
        b'{"alg":"HS256","alg":"none"}',
        b'{"alg":"HS256","x":NaN}',
        b'{"alg":"HS256","x":1e999}',
        b'{"alg":"HS256","x":"\xff"}',
        rb'{"alg":"HS256","x":"\ud800"}',
        b'\xef\xbb\xbf{"alg":"HS256"}',
        '{"alg":"HS256"}'.encode("utf-16"),
        b"[" * 5000,
        b'{"alg":' * 700,
        b'{"alg":"HS256","x":' + b"9" * 5000 + b"}",
    ],
)
def test_a_header_that_is_no_strict_json_object(head: bytes) -> None:
    assert refusal(OF_SECRET, handmade(head, CLAIMS)) == "Invalid token"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"5",
        b'"text"',
        b"[]",
        b"not json",
        b"{",
        f'[{{"exp":{LATER}}}]'.encode(),
        f'{{"exp":1,"exp":{LATER}}}'.encode(),
        f'{{"exp":{LATER},"sub":"ada","sub":"bob"}}'.encode(),
        f'{{"exp":{LATER},"a":{{"b":1,"b":2}}}}'.encode(),
        f'{{"exp":{LATER},"a":NaN}}'.encode(),
        f'{{"exp":{LATER},"a":-Infinity}}'.encode(),
        f'{{"exp":{LATER},"a":1e999}}'.encode(),
        f'{{"exp":{LATER},"a":"'.encode() + b'\xff"}',
        f'{{"exp":{LATER},"a":"\\udc00"}}'.encode(),
        f'{{"exp":{LATER},"\\udc00":1}}'.encode(),
        f'{{"exp":{LATER}}}'.encode("utf-16"),
        b"[" * 5000,
        b'{"a":' * 1100,
        b'{"exp":' + b"9" * 5000 + b"}",
    ],
)
def test_a_payload_that_is_no_strict_json_object(payload: bytes) -> None:
    assert refusal(OF_SECRET, handmade(HS256, payload)) == "Invalid token"


@pytest.mark.parametrize(
    "value",
    [
        "true",
        "false",
        "null",
        f'"{LATER}"',
        f"[{LATER}]",
        f'{{"exp":{LATER}}}',
        "1e300",
        "1e15",
        "9" * 400,
        "9" * 4000,
        "-" + "9" * 400,
        f"{LATER}000",  # in milliseconds
    ],
)
@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
def test_a_time_that_is_none(claim: str, value: str) -> None:
    rest = "" if claim == "exp" else f',"exp":{LATER}'
    assert refusal(OF_SECRET, handmade(HS256, f'{{"{claim}":{value}{rest}}}')) == "Invalid token"


@pytest.mark.parametrize(
    ("claims", "detail"),
    [
        ({"exp": 1}, "Token expired"),
        ({"exp": -1}, "Token expired"),
        ({"exp": 0.5}, "Token expired"),
        ({"nbf": LATER}, "Token not valid yet"),
        ({"iat": LATER}, "Token not valid yet"),
        ({"aud": "them"}, "Wrong audience"),
        ({"aud": {"them": 1}}, "Wrong audience"),
        ({"sub": "x" * 65}, "Invalid token"),
    ],
)
def test_a_true_signature_is_not_enough(claims: dict[str, Any], detail: str) -> None:
    assert refusal(OF_SECRET, handmade(HS256, json.dumps({"exp": LATER} | claims))) == detail


def test_what_is_wrong_is_said_of_true_tokens_only() -> None:
    """Else anybody could ask what a token has to say."""
    for claims in ({"exp": 1}, {"nbf": LATER}, {"aud": "them"}, {"typ": "refresh"}, {"exp": None}):
        assert refusal(OF_SECRET, signed(claims, key=OTHER_SECRET)) == "Invalid token"


def test_deep_and_wide_claims_do_no_harm() -> None:
    deep = f'{{"exp":{LATER},"a":{"[" * 400}{"]" * 400}}}'
    assert identify(OF_SECRET, handmade(HS256, deep)).claims == {"exp": LATER, "a": ()}
    wide = {f"c{number}": number for number in range(300)}
    found = identify(OF_SECRET, handmade(HS256, json.dumps({"exp": LATER} | wide)))
    assert found.claims == {"exp": LATER} | wide


def test_unicode_stays_what_it_is() -> None:
    claims = {"exp": LATER, "sub": "Ада 💡", "näme": "\u202eevil", "pair": "\U0001f4a1"}
    for text in (json.dumps(claims), json.dumps(claims, ensure_ascii=False)):
        assert identify(OF_SECRET, handmade(HS256, text)).claims == claims


# -- nothing of it is told -------------------------------------------------------------------------


def test_neither_token_nor_key_is_in_the_answer_or_what_led_to_it() -> None:
    tokens = [
        signed({"exp": 1}),
        signed({"aud": "them-and-theirs"}),
        signed(key=OTHER_SECRET),
        handmade(header(kid="a-certain-kid"), '{"exp":"a-certain-time"}'),
        handmade(header(crit=["a-certain-extension"]), CLAIMS),
        "a-certain.text",
        "x" * 9000,
    ]
    for token in tokens:
        with pytest.raises(AuthenticationFailed) as caught:
            identify(OF_SECRET, token)
        text = f"{caught.value!r} {caught.value.__dict__} {caught.value.__cause__}"
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        for secret in (token, SECRET, OTHER_SECRET, "certain", "theirs", *token.split(".")):
            assert secret not in text
