"""Owns whether a JWT is good: signature, times, audience, issuer; knows not what claims mean.

What PyJWT takes lightly is refused here before it gets to see it: JSON with a name twice, `NaN` or
half a surrogate pair, times that are text or true, padded base64, and every critical extension. So
one token has one spelling, but for ECDSA: there anyone can make a second valid signature from the
first. Keep no list of tokens, then, but of their `jti`.
"""

import base64
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from jwt import (
    DecodeError,
    ExpiredSignatureError,
    ImmatureSignatureError,
    InvalidAudienceError,
    InvalidIssuerError,
    InvalidSignatureError,
    MissingRequiredClaimError,
    PyJWT,
    PyJWTError,
)

from server.auth import failure
from server.auth.failure import AuthenticationFailed
from server.auth.keys import Key
from server.auth.places import check_token

MAX_TIME_S = 253_402_300_799
"""The last second that a datetime has. A later one is in milliseconds by mistake, most likely."""

_COMPACT = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)
_TIMES = ("exp", "nbf", "iat")
_DETAILS: dict[type[PyJWTError], str] = {
    ExpiredSignatureError: failure.EXPIRED,
    ImmatureSignatureError: failure.TOO_EARLY,
    InvalidAudienceError: failure.WRONG_AUDIENCE,
    InvalidIssuerError: failure.WRONG_ISSUER,
}
_MISSING = {
    "exp": failure.NO_EXPIRY,
    "jti": failure.NO_ID,
    "aud": failure.WRONG_AUDIENCE,
    "iss": failure.WRONG_ISSUER,
}


class Verifier:
    """The keys of one backend, and what a token must say."""

    def __init__(
        self,
        keys: Sequence[Key],
        *,
        audience: Sequence[str] | None = None,
        issuer: Sequence[str] | None = None,
        require_jti: bool = False,
        token_type: str | None = None,
        leeway_s: float = 60.0,
    ) -> None:
        """See `JWTAuthentication` for what they mean."""
        self._keys = tuple(keys)
        self._audience = audience
        self._issuer = issuer
        self._token_type = token_type
        self._leeway_s = leeway_s
        required = ["exp", "jti"] if require_jti else ["exp"]
        self._jwt = _StrictJWT({"require": required, "enforce_minimum_key_length": True})

    def verify(self, token: str) -> dict[str, Any]:
        """Return the claims of a token that is good.

        `exp` and, if there, `iat` and `nbf` are finite numbers then, and `sub` is a str.

        Raises:
            AuthenticationFailed: it is not; `detail` is one of those in `server.auth.failure`.
        """
        check_token(token)
        try:
            claims = self._verified(token)
        except PyJWTError as error:
            raise AuthenticationFailed(_detail(error)) from None
        self._check_type(claims)
        return claims

    def _verified(self, token: str) -> dict[str, Any]:
        algorithm, kid = _read_header(token)
        for key in self._keys:
            if algorithm in key.algorithms and (kid is None or key.kid in (None, kid)):
                try:
                    return self._decode(token, key)
                except InvalidSignatureError:
                    continue  # with an old key of a rotation, perhaps
        raise InvalidSignatureError

    def _decode(self, token: str, key: Key) -> dict[str, Any]:
        return self._jwt.decode(
            token,
            key.material,
            algorithms=key.algorithms,
            audience=self._audience,
            issuer=self._issuer,
            leeway=self._leeway_s,
        )

    def _check_type(self, claims: dict[str, Any]) -> None:
        kinds = [claims[name] for name in ("typ", "token_type") if name in claims]
        if self._token_type is None:
            is_wrong = any(isinstance(kind, str) and kind.lower() == "refresh" for kind in kinds)
        else:
            is_wrong = kinds[:1] != [self._token_type]
        if is_wrong:
            raise AuthenticationFailed(failure.WRONG_TYPE)


class _StrictJWT(PyJWT):
    """PyJWT, but for the payload, which has to be strict JSON with claims of the right types."""

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:
        claims = _json_object(decoded["payload"])
        for name in _TIMES:
            if name in claims and not _is_time(claims[name]):
                raise DecodeError(name)
        subject = claims.get("sub")
        if isinstance(subject, int) and not isinstance(subject, bool):
            claims["sub"] = str(subject)
        return claims


def _is_time(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and -MAX_TIME_S <= value <= MAX_TIME_S  # type: ignore[operator]


def _read_header(token: str) -> tuple[str, str | None]:
    """Return the algorithm and the `kid`. What else is in there, such as `jku`, does not count."""
    if not _COMPACT.fullmatch(token):
        raise DecodeError
    encoded = token.partition(".")[0]
    try:
        header = _json_object(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)))
    except ValueError:
        raise DecodeError from None
    algorithm, kid = header.get("alg"), header.get("kid")
    is_extended = "crit" in header or "b64" in header  # RFC 7515 section 4.1.11: we know of none
    if is_extended or not isinstance(algorithm, str) or not isinstance(kid, str | None):
        raise DecodeError
    return algorithm, kid


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        value = _JSON.decode(data.decode())
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode()  # fails for half a surrogate pair
    except (ValueError, RecursionError):
        raise DecodeError from None
    if not isinstance(value, dict):
        raise DecodeError
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("no number of JSON")
    return number


_JSON = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)


def _detail(error: PyJWTError) -> str:
    if isinstance(error, MissingRequiredClaimError):
        return _MISSING.get(error.claim, failure.INVALID)
    return _DETAILS.get(type(error), failure.INVALID)
