"""Any token whatsoever: one that was changed is another one, and none is an error."""

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from hypothesis import assume, example, given
from hypothesis import strategies as st

from server.auth import AuthenticationFailed, JWTAuthentication
from tests.server.auth.tokens import (
    SECRET,
    b64,
    handmade,
    identify,
    now,
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

OF_SECRET = JWTAuthentication(SECRET)
OF_RSA = JWTAuthentication(public_key=public_pem(RSA))
OF_P256 = JWTAuthentication(public_key=public_pem(P256))
OF_ED = JWTAuthentication(public_key=public_pem(ED))
OF_SET = JWTAuthentication(jwks={"keys": [public_jwk(RSA, kid="1"), public_jwk(P256, kid="2")]})


# -- a token has one spelling ----------------------------------------------------------------------

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
ED_TOKEN = signed({"exp": LATER}, key=ED, algorithm="EdDSA")
RSA_TOKEN = signed({"exp": LATER}, key=RSA, algorithm="RS256")
SPELLED = ((OF_SECRET, GOOD), (OF_ED, ED_TOKEN), (OF_RSA, RSA_TOKEN))


@pytest.mark.parametrize(("auth", "token"), SPELLED, ids=["HS256", "EdDSA", "RS256"])
def test_no_last_character_can_be_another(auth: JWTAuthentication, token: str) -> None:
    """The last character of base64 has bits that no byte needs; they have to be 0."""
    identify(auth, token)
    parts = token.split(".")
    for index, part in enumerate(parts):
        for char in set(ALPHABET) - {part[-1]}:
            changed = [*parts[:index], part[:-1] + char, *parts[index + 1 :]]
            assert refusal(auth, ".".join(changed)) == "Invalid token"


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "delete", "cut", "double"]),
        st.integers(0, 400),
        st.sampled_from([*ALPHABET, ".", "=", "+", "/", "~"]),
    ),
    min_size=1,
    max_size=4,
)


def edited(token: str, edits: list[tuple[str, int, str]]) -> str:
    for kind, where, char in edits:
        at = where % (len(token) + 1)
        token = {
            "replace": token[:at] + char + token[at + 1 :],
            "insert": token[:at] + char + token[at:],
            "delete": token[:at] + token[at + 1 :],
            "cut": token[:at],
            "double": token + token[at:],
        }[kind]
    return token


@given(which=st.sampled_from(SPELLED), edits=EDITS)
def test_a_token_that_was_changed_is_refused(
    which: tuple[JWTAuthentication, str], edits: list[tuple[str, int, str]]
) -> None:
    auth, token = which
    changed = edited(token, edits)
    assume(changed != token)
    assert refusal(auth, changed) in ("Invalid token", "Token is not printable ASCII")


def test_the_second_signature_of_ecdsa_is_the_same_client() -> None:
    """From (r, s) anyone can make (r, n - s). So a token is no name of itself; its `jti` is one."""
    token = signed({"exp": LATER}, key=P256, algorithm="ES256")
    head, payload, signature = token.split(".")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    raw = unb64(signature)
    s = int.from_bytes(raw[32:], "big")
    second = b64(raw[:32] + (order - s).to_bytes(32, "big"))
    assert second != signature
    assert identify(OF_P256, f"{head}.{payload}.{second}") == identify(OF_P256, token)
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), s)
    assert decode_dss_signature(der)[1] == s
    assert refusal(OF_P256, f"{head}.{payload}.{b64(der)}") == "Invalid token"


# -- anything at all -------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["sub", "exp", "nbf", "iat", "aud", "iss", "jti", "typ", "permissions", "is_staff", "role"]
)


@given(text=st.text() | st.text("abc.-_=", max_size=50))
@example("\ud800.\ud800.\ud800")
def test_any_text_is_refused_and_no_error(text: str) -> None:
    for auth in (OF_SECRET, OF_RSA):
        assert refusal(auth, text) in ("Invalid token", "Token is not printable ASCII")


@given(parts=st.lists(st.binary(max_size=60), min_size=3, max_size=3))
def test_any_bytes_in_three_parts_are_refused_and_no_error(parts: list[bytes]) -> None:
    assert refusal(OF_SECRET, ".".join(map(b64, parts))) == "Invalid token"


@given(head=st.dictionaries(st.sampled_from(["alg", "kid", "typ", "jku", "crit"]), JSON))
def test_any_header_is_no_error(head: dict[str, Any]) -> None:
    for auth in (OF_SECRET, OF_SET):
        try:
            identify(auth, handmade(json.dumps({"alg": "HS256"} | head), CLAIMS))
        except AuthenticationFailed:
            pass


@given(claims=st.dictionaries(NAMES, JSON), exp=st.integers(now(100), 2**40) | JSON)
def test_any_signed_claims_are_no_error(claims: dict[str, Any], exp: Any) -> None:
    """Whoever has the key may sign what they like; the identity is then what it promises to be."""
    try:
        found = identify(OF_SECRET, handmade(HS256, json.dumps({"exp": exp} | claims)))
    except AuthenticationFailed:
        return
    assert found.user_id is None or 0 < len(found.user_id.encode()) <= 64
    assert found.expires_at_s is not None
    assert all(isinstance(text, str) for text in found.permissions)
    json.dumps(found.context(), allow_nan=False).encode()


@given(claims=st.dictionaries(NAMES, JSON))
def test_pyjwt_takes_no_token_for_worse_than_we_do(claims: dict[str, Any]) -> None:
    """What is let in here, PyJWT by itself lets in as well: being strict makes no hole."""
    token = handmade(HS256, json.dumps({"exp": LATER} | claims))
    try:
        identify(OF_SECRET, token)
    except AuthenticationFailed:
        return
    subject = claims.get("sub")
    options: Any = {"verify_sub": not isinstance(subject, int)}
    assert jwt.decode(token, SECRET, ["HS256"], options, leeway=60)["exp"]
