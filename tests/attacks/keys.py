"""Owns the keys and tokens of the attacks, and remembers each secret: the logs must have none."""

import time
from collections.abc import Mapping
from typing import Any

from tests.server.auth.tokens import (
    OTHER_SECRET,
    SECRET,
    b64,
    handmade,
    private_key,
    public_pem,
    signed,
)

API_KEY = "attacked-key-of-billing-0123456789"
RSA = private_key("RS256")
OTHER_RSA = private_key("RS256", 2)
PUBLIC_PEM = public_pem(RSA)
HS256 = '{"alg":"HS256","typ":"JWT"}'
LATER = 9_999_999_999
CLAIMS = f'{{"sub":"ada","exp":{LATER}}}'
SHORTEST = 12

ENVIRONMENT = {
    "SWITCHBOARD_JWT_SECRET": SECRET,
    "SWITCHBOARD_API_KEYS": API_KEY,
    "ATTACKED_PUBLIC_KEY": PUBLIC_PEM.decode(),
}

SECRETS: set[str] = {SECRET, OTHER_SECRET, API_KEY}
"""All keys, tokens, cookies and query strings that this process has made or sent."""

_PIECE = 20


def secret(text: str) -> str:
    """Remember a secret, and return it. What is short says nothing, and may stand anywhere."""
    if len(text) >= SHORTEST:
        SECRETS.add(text)
    return text


def pieces(text: str) -> set[str]:
    """Return what of a secret would give it away: it, or the beginning or end of a part of it."""
    parts = [part for part in text.split(".") if len(part) >= SHORTEST]
    return {piece for part in parts or [text] for piece in (part[:_PIECE], part[-_PIECE:])}


def leaked(log: str) -> list[str]:
    """Return the secrets of which anything stands in a log."""
    return [text for text in SECRETS if any(piece in log for piece in pieces(text))]


# -- tokens ------------------------------------------------------------------------------------


def token(
    claims: Mapping[str, Any] | None = None,
    key: Any = SECRET,
    algorithm: str = "HS256",
    headers: dict[str, Any] | None = None,
) -> str:
    """Return a good token of ada's for an hour, but for what the arguments say."""
    return secret(signed(claims, key, algorithm, headers))


def token_of(user: str) -> str:
    return token({"sub": user})


def made_of(header: str, payload: str = CLAIMS, key: str | bytes = SECRET) -> str:
    """Return a token with exactly this header and payload, signed with HMAC and SHA-256."""
    return secret(handmade(header, payload, key))


def unsigned(header: str, signature: str = "", payload: str = CLAIMS) -> str:
    """Return a token with that signature, which nobody has made for it."""
    return secret(f"{b64(header.encode())}.{b64(payload.encode())}.{signature}")


def lasting(bytes_: int) -> str:
    """Return a good token of that many bytes; nearly, for base64 goes in steps."""
    padding = bytes_ * 3 // 4
    while len(made := signed({"pad": "x" * padding})) > bytes_:
        padding -= 1
    return secret(made)


def expired(by_s: float) -> dict[str, Any]:
    return {"exp": int(time.time() - by_s)}
