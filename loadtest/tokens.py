"""Owns the tokens of the scenario auth: good ones, and bad ones of each kind. Knows no server."""

import base64
import hashlib
import hmac
import json
import random
import time

_LIFETIME_S = 3600


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_UNSIGNED = _part(b'{"alg":"none"}')


def make(secret: str, user: str, audience: str = "", expires_in_s: float = _LIFETIME_S) -> str:
    """Make a JSON Web Token (RFC 7519) with HS256."""
    now = int(time.time())
    claims: dict[str, object] = {"sub": user, "iat": now, "exp": now + int(expires_in_s)}
    if audience:
        claims["aud"] = audience
    head = _part(b'{"alg":"HS256","typ":"JWT"}')
    body = _part(json.dumps(claims, separators=(",", ":")).encode())
    signed = f"{head}.{body}"
    return f"{signed}.{_part(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"


def make_bad(secret: str, user: str, audience: str = "") -> str:
    """Make one that no server may take: of another key, expired, for others, changed, or none."""
    good = make(secret, user, audience)
    head, body, signature = good.split(".")
    return random.choice(
        (
            make(f"{secret}?", user, audience),
            make(secret, user, audience, -_LIFETIME_S),
            make(secret, user, "somebody else"),
            f"{head}.{body}.{signature[::-1]}",
            f"{_UNSIGNED}.{body}.",
            "a.b.c",
        )
    )
