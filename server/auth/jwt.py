"""Owns authentication by JWT as an app declares it, and who a token's claims say a client is.

PyJWT comes with the extra `auth`; this module can be imported without it.
"""

import inspect
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from server.auth import failure
from server.auth.failure import AuthenticationFailed
from server.auth.identity import Identity, user_id_problem
from server.auth.places import Places
from server.exceptions import SettingsError

RevokedTokenHandler = Callable[[dict[str, Any]], bool | Awaitable[bool]]

_KeyText = str | bytes
_NOT_INSTALLED = (
    "JWTAuthentication needs PyJWT 2.15 and cryptography: pip install 'switchboard-server[auth]'"
)


class JWTAuthentication:
    """Authenticates by a JSON Web Token: `auth=[JWTAuthentication()]`.

    A token needs `exp`, and its signature must fit one of the keys with an algorithm that is
    allowed for that very key. One with an `aud` needs `audience`, as RFC 7519 has it. A refresh
    token (`typ`, or else `token_type`, is "refresh") is good only where `token_type` asks for it.

    Attributes:
        places: where a client may put its token.
        leeway_s: seconds by which clocks may differ.
    """

    def __init__(
        self,
        secret: _KeyText | Sequence[_KeyText] | None = None,
        algorithms: Sequence[str] | None = None,
        header: str | None = "authorization",
        audience: str | Sequence[str] | None = None,
        issuer: str | Sequence[str] | None = None,
        revoked_token_handler: RevokedTokenHandler | None = None,
        require_jti: bool = False,
        *,
        public_key: _KeyText | Sequence[_KeyText] | None = None,
        jwks: str | Path | Mapping[str, Any] | None = None,
        leeway_s: float = 60.0,
        cookie: str | None = None,
        query_param: str | None = "token",
        subprotocol: str | None = "bearer",
        first_message_s: float | None = None,
        token_type: str | None = None,
    ) -> None:
        """Read the keys; all of them now, none later.

        Args:
            secret: of HMAC, at least as long as the hash (32 bytes for HS256); of a list, any one
                is good. Without any key it is SWITCHBOARD_JWT_SECRET, or in the file named by
                SWITCHBOARD_JWT_SECRET_FILE.
            algorithms: allowed ones, of the kind of the keys. Default: HS256, RS256, the one of
                the elliptic curve, EdDSA for Ed25519, or what the JWKS says.
            header: that brings the token, with or without "Bearer"; None: none does.
            audience: one of these has to be in `aud`; None: a token must not have any.
            issuer: `iss` has to be one of these.
            revoked_token_handler: is called with all claims of a good token, and returns whether
                it is revoked all the same; may be async. What it raises is not caught.
            require_jti: a token needs a `jti`.
            public_key: RSA of at least 2048 bits, P-256, P-384, P-521 or Ed25519, as PEM.
            jwks: the path of a JWK set, or its content. A token's `kid` chooses the key; without
                one, each key is tried that allows the algorithm.
            leeway_s: seconds by which clocks may differ: `exp`, `nbf` and `iat` may be that much
                off.
            cookie, query_param, subprotocol, first_message_s: other places for the token, see
                `Places`.
            token_type: what `typ` has to be; if a token has none, its `token_type`.

        Raises:
            SettingsError: one of these cannot be, or PyJWT is not installed.
        """
        try:
            from server.auth.keys import read_keys
            from server.auth.verifier import Verifier
        except ImportError as error:  # there is another package of the name `jwt`, too
            raise SettingsError(_NOT_INSTALLED) from error
        if not (math.isfinite(leeway_s) and leeway_s >= 0):
            raise SettingsError(f"leeway_s={leeway_s!r}: give seconds, 0 or more")
        _check_handler(revoked_token_handler)
        keys = read_keys(secret=secret, public_key=public_key, jwks=jwks, algorithms=algorithms)
        self.places = Places(
            cookie=cookie,
            header=None if header is None else header.lower(),
            subprotocol=subprotocol,
            query_param=query_param,
            first_message_s=first_message_s,
        )
        self.leeway_s = leeway_s
        self._algorithms = sorted({name for key in keys for name in key.algorithms})
        self._revoked_token_handler = revoked_token_handler
        self._verifier = Verifier(
            keys,
            audience=_texts("audience", audience),
            issuer=_texts("issuer", issuer),
            require_jti=require_jti,
            token_type=token_type,
            leeway_s=leeway_s,
        )

    def __repr__(self) -> str:
        return f"JWTAuthentication(algorithms={self._algorithms})"

    async def identify(self, token: str) -> Identity:
        """Return whose token it is.

        Raises:
            AuthenticationFailed: it is no good; `detail` is one of those in `server.auth.failure`.
        """
        claims = self._verifier.verify(token)
        identity = _identity(claims, self.leeway_s)
        if await self._is_revoked(claims):
            raise AuthenticationFailed(failure.REVOKED)
        return identity

    async def _is_revoked(self, claims: dict[str, Any]) -> bool:
        if self._revoked_token_handler is None:
            return False
        answer = self._revoked_token_handler(claims)
        return bool(await answer if inspect.isawaitable(answer) else answer)


def _check_handler(handler: object) -> None:
    if handler is None:
        return
    if not callable(handler):
        raise SettingsError("revoked_token_handler= is a function of the claims")
    try:
        parameters = list(inspect.signature(handler).parameters)
    except (TypeError, ValueError):  # of some built-ins nobody knows it
        return
    if parameters[:1] == ["jti"]:  # Django-Bolt's: it would find no claims revoked
        raise SettingsError(
            "revoked_token_handler= is called with all claims: take `claims` in place of `jti`,"
            ' and look at claims["jti"]'
        )


def _texts(name: str, given: object) -> list[str] | None:
    if given is None:
        return None
    items = [given] if isinstance(given, str) else given
    if isinstance(items, list | tuple | set | frozenset):
        found = [text for text in items if isinstance(text, str) and text]
        if found and len(found) == len(items):
            return found
    raise SettingsError(f"{name}= is a text or a list of texts, and none of them is empty")


def _identity(claims: dict[str, Any], leeway_s: float) -> Identity:
    user_id = claims.get("sub")
    if user_id is not None and user_id_problem(user_id):
        raise AuthenticationFailed(failure.INVALID)
    return Identity(
        backend="jwt",
        user_id=user_id,
        claims=_plain(claims),
        permissions=_permissions(claims.get("permissions")),
        is_staff=claims.get("is_staff") is True,
        is_superuser=claims.get("is_superuser") is True,
        expires_at_s=int(claims["exp"]) + leeway_s,
    )


def _plain(claims: dict[str, Any]) -> dict[str, Any]:
    """Return the claims that are single values, and what there is of those in the lists."""
    found: dict[str, Any] = {}
    for name, value in claims.items():
        if isinstance(value, list):
            found[name] = tuple(item for item in value if _is_scalar(item))
        elif _is_scalar(value):
            found[name] = value
    return found


def _is_scalar(value: object) -> bool:
    return isinstance(value, str | int | float)  # which bool is, too


def _permissions(claim: object) -> frozenset[str]:
    if isinstance(claim, list) and all(isinstance(item, str) for item in claim):
        return frozenset(claim)
    return frozenset()
