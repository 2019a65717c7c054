"""JWTAuthentication: what a good token makes of a client, and what else a token must say."""

import math
from collections.abc import Mapping
from typing import Any

import pytest

from server.auth import AuthenticationFailed, JWTAuthentication
from server.auth.identity import check_backends
from server.auth.keys import SECRET_VARIABLE
from server.exceptions import SettingsError
from tests.server.auth.tokens import (
    OTHER_SECRET,
    SECRET,
    handmade,
    identify,
    now,
    private_key,
    public_jwk,
    public_pem,
    refusal,
    secret_jwk,
    signed,
)

AUTH = JWTAuthentication(SECRET)
ALGORITHMS = ("RS256", "RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA")


# -- who it is -------------------------------------------------------------------------------------


def test_a_good_token_says_who_the_client_is() -> None:
    expires, issued = now(100), now(-100)
    claims: dict[str, Any] = {
        "sub": "ada",
        "exp": expires,
        "iat": issued,
        "is_staff": True,
        "is_superuser": False,
        "role": "owner",
        "level": 3,
        "share": 0.5,
        "groups": ["a", "b", {"not": "plain"}, None, ["nor this"]],
        "permissions": ["read", "write"],
        "address": {"city": "London"},
    }
    found = identify(AUTH, signed(claims | {"nothing": None}))
    assert (found.backend, found.user_id) == ("jwt", "ada")
    assert (found.is_staff, found.is_superuser) == (True, False)
    assert found.permissions == {"read", "write"}
    assert found.expires_at_s == expires + 60
    del claims["address"]
    assert found.claims == claims | {"groups": ("a", "b"), "permissions": ("read", "write")}


def test_the_context_has_single_values_only() -> None:
    expires = now(100)
    token = signed({"exp": expires, "role": "owner", "permissions": ["b", "a"], "groups": ["x"]})
    assert identify(AUTH, token).context() == {
        "user_id": "ada",
        "is_staff": False,
        "is_superuser": False,
        "auth_backend": "jwt",
        "auth_claims": {"sub": "ada", "exp": expires, "role": "owner"},
        "permissions": ["a", "b"],
    }


def test_null_is_no_claim() -> None:
    found = identify(AUTH, handmade('{"alg":"HS256"}', '{"exp":9999999999,"role":null}'))
    assert found.claims == {"exp": 9999999999}


@pytest.mark.parametrize("value", [1, "true", "True", [True], 1.0])
def test_staff_is_who_the_claim_says_true(value: Any) -> None:
    found = identify(AUTH, signed({"is_staff": value, "is_superuser": value}))
    assert (found.is_staff, found.is_superuser) == (False, False)


@pytest.mark.parametrize("value", ["read", ["read", 1], {"read": True}, 5, [["read"]]])
def test_permissions_that_are_no_list_of_texts_are_none(value: Any) -> None:
    assert identify(AUTH, signed({"permissions": value})).permissions == frozenset()


@pytest.mark.parametrize(
    ("subject", "user_id"),
    [("ada", "ada"), (42, "42"), (-1, "-1"), ("é" * 32, "é" * 32), ("a b", "a b"), (None, None)],
)
def test_the_subject_is_the_user_id(subject: Any, user_id: str | None) -> None:
    if isinstance(subject, int):  # PyJWT would make no such token
        payload = f'{{"sub":{subject},"exp":{now(60)}}}'
        found = identify(AUTH, handmade('{"alg":"HS256"}', payload))
    else:
        found = identify(AUTH, signed({"sub": subject}))
    assert found.user_id == user_id
    assert found.claims.get("sub") == user_id


@pytest.mark.parametrize(
    "subject",
    [
        '""',
        f'"{"x" * 65}"',
        f'"{"é" * 33}"',
        "1" * 65,
        r'"a\nb"',
        r'"a\u0000"',
        r'"\u007f"',
        r'"\u0085"',
        r'"\u2028"',
        r'"\ud800"',
        "true",
        "1.5",
        "null",
        '["ada"]',
        '{"id":"ada"}',
    ],
)
def test_a_subject_that_is_no_user_id_is_refused(subject: str) -> None:
    token = handmade('{"alg":"HS256"}', f'{{"sub":{subject},"exp":{now(60)}}}')
    assert refusal(AUTH, token) == "Invalid token"


# -- times -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "offset_s", "detail"),
    [
        ("exp", -50, None),
        ("exp", -70, "Token expired"),
        ("nbf", 50, None),
        ("nbf", 3000, "Token not valid yet"),
        ("iat", 50, None),
        ("iat", 3000, "Token not valid yet"),
    ],
)
def test_times_may_be_60_seconds_off(claim: str, offset_s: int, detail: str | None) -> None:
    token = signed({claim: now(offset_s)})
    if detail is None:
        identify(AUTH, token)
    else:
        assert refusal(AUTH, token) == detail


def test_a_token_needs_an_end_and_times_may_be_fractions() -> None:
    assert refusal(AUTH, signed({"exp": None})) == "Token without exp"
    identify(AUTH, signed({"exp": now(100) + 0.5, "iat": 0.0, "nbf": -1}))


def test_the_leeway_is_an_option() -> None:
    strict, lax = JWTAuthentication(SECRET, leeway_s=0), JWTAuthentication(SECRET, leeway_s=600)
    assert refusal(strict, signed({"exp": now(-5)})) == "Token expired"
    expired = now(-500)
    assert identify(lax, signed({"exp": expired})).expires_at_s == expired + 600


@pytest.mark.parametrize("seconds", [-1, math.inf, math.nan])
def test_a_leeway_that_cannot_be(seconds: float) -> None:
    with pytest.raises(SettingsError, match="leeway_s="):
        JWTAuthentication(SECRET, leeway_s=seconds)


# -- audience, issuer, jti, type -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "audience", "detail"),
    [
        ("us", "us", None),
        ("us", ["them", "us"], None),
        (["us", "we"], "we", None),
        ("us", "them", "Wrong audience"),
        ("us", ["them"], "Wrong audience"),
        ("us", None, "Wrong audience"),
        ("us", [], "Wrong audience"),
        ("us", 5, "Wrong audience"),
        ("us", ["us", 5], "Wrong audience"),
        ("us", {"us": 1}, "Wrong audience"),
        (None, "us", "Wrong audience"),
        (None, None, None),
    ],
)
def test_audience(wanted: Any, audience: Any, detail: str | None) -> None:
    auth, token = JWTAuthentication(SECRET, audience=wanted), signed({"aud": audience})
    if detail is None:
        identify(auth, token)
    else:
        assert refusal(auth, token) == detail


@pytest.mark.parametrize(
    ("wanted", "issuer", "detail"),
    [
        ("us", '"us"', None),
        (["we", "us"], '"us"', None),
        ("us", '"them"', "Wrong issuer"),
        (["us"], '"u"', "Wrong issuer"),
        ("us", '"u"', "Wrong issuer"),
        ("us", "null", "Wrong issuer"),
        ("us", '["us"]', "Wrong issuer"),
        ("us", None, "Wrong issuer"),
        (None, '"them"', None),
        (None, None, None),
    ],
)
def test_issuer(wanted: Any, issuer: str | None, detail: str | None) -> None:
    claim = "" if issuer is None else f',"iss":{issuer}'
    token = handmade('{"alg":"HS256"}', f'{{"exp":{now(60)}{claim}}}')
    auth = JWTAuthentication(SECRET, issuer=wanted)
    if detail is None:
        identify(auth, token)
    else:
        assert refusal(auth, token) == detail


@pytest.mark.parametrize("name", ["audience", "issuer"])
@pytest.mark.parametrize("given", ["", [], [""], 5, ["us", 5], {"us": 1}])
def test_an_audience_or_issuer_that_cannot_be(name: str, given: Any) -> None:
    options: dict[str, Any] = {name: given}
    with pytest.raises(SettingsError, match=f"{name}= is a text or a list of texts"):
        JWTAuthentication(SECRET, **options)


def test_a_jti_may_be_required() -> None:
    auth = JWTAuthentication(SECRET, require_jti=True)
    assert refusal(auth, signed()) == "Token without jti"
    assert identify(auth, signed({"jti": "1"})).claims["jti"] == "1"
    assert (
        refusal(auth, handmade('{"alg":"HS256"}', '{"exp":9999999999,"jti":5}')) == "Invalid token"
    )


@pytest.mark.parametrize(
    ("wanted", "claims", "is_good"),
    [
        (None, {}, True),
        (None, {"typ": "access"}, True),
        (None, {"typ": "Bearer"}, True),
        (None, {"typ": "refresh"}, False),
        (None, {"typ": "Refresh"}, False),
        (None, {"token_type": "refresh"}, False),
        (None, {"typ": "access", "token_type": "refresh"}, False),
        (None, {"typ": 5}, True),
        ("refresh", {"typ": "refresh"}, True),
        ("refresh", {"token_type": "refresh"}, True),
        ("access", {"typ": "access"}, True),
        ("access", {"typ": "Access"}, False),
        ("access", {"typ": "refresh"}, False),
        ("access", {"typ": ["access"]}, False),
        ("access", {"typ": "other", "token_type": "access"}, False),
        ("access", {}, False),
    ],
)
def test_a_refresh_token_is_good_only_where_it_is_asked_for(
    wanted: str | None, claims: Mapping[str, Any], is_good: bool
) -> None:
    auth = JWTAuthentication(SECRET, token_type=wanted)
    if is_good:
        identify(auth, signed(claims))
    else:
        assert refusal(auth, signed(claims)) == "Wrong token type"


# -- keys ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_kind_of_public_key(algorithm: str) -> None:
    key = private_key(algorithm)
    token = signed(key=key, algorithm=algorithm)
    forged = signed(key=private_key(algorithm, 2), algorithm=algorithm)
    alone = JWTAuthentication(public_key=public_pem(key), algorithms=[algorithm])
    in_set = JWTAuthentication(jwks={"keys": [public_jwk(key, alg=algorithm)]})
    for auth in (alone, in_set):
        assert identify(auth, token).user_id == "ada"
        assert refusal(auth, forged) == "Invalid token"


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_each_hash_of_a_secret(algorithm: str) -> None:
    auth = JWTAuthentication(SECRET, [algorithm])
    assert identify(auth, signed(algorithm=algorithm)).user_id == "ada"
    for other in {"HS256", "HS384", "HS512"} - {algorithm}:
        assert refusal(auth, signed(algorithm=other)) == "Invalid token"


def test_the_environment_has_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    assert identify(JWTAuthentication(), signed()).user_id == "ada"


def test_keys_can_be_rotated() -> None:
    auth = JWTAuthentication([SECRET, OTHER_SECRET])
    assert identify(auth, signed(key=SECRET)).user_id == "ada"
    assert identify(auth, signed(key=OTHER_SECRET, headers={"kid": "any"})).user_id == "ada"
    assert refusal(auth, signed({"exp": now(-100)}, key=OTHER_SECRET)) == "Token expired"
    pems = [public_pem(private_key("ES256", number)) for number in (1, 2)]
    auth = JWTAuthentication(public_key=pems)
    token = signed(key=private_key("ES256", 2), algorithm="ES256")
    assert identify(auth, token).user_id == "ada"


def test_an_old_key_may_be_of_another_kind() -> None:
    keys = {"RS256": private_key("RS256"), "ES256": private_key("ES256")}
    auth = JWTAuthentication(public_key=[public_pem(key) for key in keys.values()])
    for algorithm, key in keys.items():
        assert identify(auth, signed(key=key, algorithm=algorithm)).user_id == "ada"


def test_a_kid_chooses_the_key() -> None:
    first, second = private_key("RS256", 1), private_key("RS256", 2)
    auth = JWTAuthentication(
        jwks={"keys": [public_jwk(first, kid="1"), public_jwk(second, kid="2")]}
    )

    def token(key: Any, kid: str | None) -> str:
        return signed(key=key, algorithm="RS256", headers=None if kid is None else {"kid": kid})

    for key, kid in ((first, "1"), (second, "2"), (first, None), (second, None)):
        assert identify(auth, token(key, kid)).user_id == "ada"
    for key, kid in ((first, "2"), (second, "1"), (first, "3"), (first, "")):
        assert refusal(auth, token(key, kid)) == "Invalid token"


def test_a_secret_may_be_in_a_set() -> None:
    auth = JWTAuthentication(jwks={"keys": [secret_jwk(SECRET, kid="1")]})
    assert identify(auth, signed(headers={"kid": "1"})).user_id == "ada"
    assert refusal(auth, signed(headers={"kid": "2"})) == "Invalid token"


# -- declaration -----------------------------------------------------------------------------------


def test_the_places_are_those_of_the_arguments() -> None:
    places = AUTH.places
    assert (places.cookie, places.header, places.schemes) == (None, "authorization", ("bearer",))
    assert (places.subprotocol, places.query_param, places.first_message_s) == (
        "bearer",
        "token",
        None,
    )
    places = JWTAuthentication(
        SECRET,
        header="X-Token",
        cookie="session",
        query_param=None,
        subprotocol=None,
        first_message_s=5,
    ).places
    assert (places.cookie, places.header, places.first_message_s) == ("session", "x-token", 5)
    assert (places.subprotocol, places.query_param) == (None, None)
    with pytest.raises(SettingsError, match="first_message_s"):
        JWTAuthentication(SECRET, first_message_s=-1)


def test_it_is_a_backend_and_shows_no_key() -> None:
    assert check_backends([AUTH]) == (AUTH,)
    both = JWTAuthentication([SECRET, OTHER_SECRET], ["HS512", "HS256"])
    assert repr(both) == str(both) == "JWTAuthentication(algorithms=['HS256', 'HS512'])"


async def test_it_can_be_awaited_where_there_is_a_loop() -> None:
    assert (await AUTH.identify(signed())).user_id == "ada"
    with pytest.raises(AuthenticationFailed):
        await AUTH.identify("x")
