"""The handler that revokes tokens: of which it is asked, and what becomes of its answer."""

from typing import Any

import pytest

from server.auth import JWTAuthentication
from server.exceptions import SettingsError
from tests.server.auth.tokens import (
    OTHER_SECRET,
    SECRET,
    identify,
    now,
    refusal,
    signed,
)


def test_a_handler_may_revoke() -> None:
    revoked, seen = {"stolen"}, []

    async def later(claims: dict[str, Any]) -> bool:
        return claims["jti"] in revoked

    def at_once(claims: dict[str, Any]) -> bool:
        seen.append(claims)
        return claims["jti"] in revoked

    for handler in (later, at_once):
        auth = JWTAuthentication(SECRET, revoked_token_handler=handler)
        assert identify(auth, signed({"jti": "mine"})).user_id == "ada"
        assert refusal(auth, signed({"jti": "stolen"})) == "Token revoked"
    assert seen[0].keys() == {"sub", "exp", "jti"}


def test_it_is_asked_of_good_tokens_only() -> None:
    def never(claims: dict[str, Any]) -> bool:
        raise AssertionError(claims)

    auth = JWTAuthentication(SECRET, revoked_token_handler=never)
    assert refusal(auth, signed({"exp": now(-100)})) == "Token expired"
    assert refusal(auth, signed({"typ": "refresh"})) == "Wrong token type"
    assert refusal(auth, signed({"sub": "x" * 65})) == "Invalid token"
    assert refusal(auth, signed(key=OTHER_SECRET)) == "Invalid token"


def test_its_own_exception_goes_on() -> None:
    def broken(claims: dict[str, Any]) -> bool:
        raise LookupError("no database")

    async def broken_later(claims: dict[str, Any]) -> bool:
        raise LookupError("no database")

    for handler in (broken, broken_later):
        with pytest.raises(LookupError, match="no database"):
            identify(JWTAuthentication(SECRET, revoked_token_handler=handler), signed())


def test_a_handler_of_django_bolt_is_refused_and_not_misunderstood() -> None:
    """It takes the `jti`; called with claims it would find nothing revoked."""

    async def by_jti(jti: Any) -> bool:
        return bool(jti == "stolen")

    with pytest.raises(SettingsError, match=r"take `claims` in place of `jti`"):
        JWTAuthentication(SECRET, revoked_token_handler=by_jti)
    not_callable: Any = "stolen"
    with pytest.raises(SettingsError, match="is a function of the claims"):
        JWTAuthentication(SECRET, revoked_token_handler=not_callable)


def test_a_handler_may_be_what_python_knows_no_signature_of() -> None:
    auth = JWTAuthentication(SECRET, revoked_token_handler=bool)
    assert refusal(auth, signed()) == "Token revoked"
