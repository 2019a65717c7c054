"""Owns keys and tokens for the tests of authentication, also such as no library would make."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from server.auth import AuthenticationFailed, Backend, Identity

SECRET = "the-secret-of-these-tests-0123456789-abcdefghijklmnopqrstuvwxyz-"
OTHER_SECRET = "another-secret-for-these-tests-9876543210-zyxwvutsrqponmlkjihgfedc"
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


@cache
def private_key(algorithm: str, number: int = 1) -> Any:
    """Return a key to sign with; always the same one for the same arguments."""
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm])
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def private_pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def public_jwk(key: Any, **members: Any) -> dict[str, Any]:
    """Return the public half as a member of a JWKS; `members` are added, or left out if None."""
    makers: dict[Any, Any] = {
        rsa.RSAPublicKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePublicKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PublicKey: jwt.algorithms.OKPAlgorithm,
    }
    public = key.public_key()
    algorithm = next(makers[kind] for kind in makers if isinstance(public, kind))
    found = json.loads(algorithm.to_jwk(public)) | members
    return {name: value for name, value in found.items() if value is not None}


def secret_jwk(secret: str, **members: Any) -> dict[str, Any]:
    return {"kty": "oct", "k": b64(secret.encode()), **members}


def now(offset_s: float = 0) -> int:
    return int(time.time() + offset_s)


def signed(
    claims: Mapping[str, Any] | None = None,
    key: Any = SECRET,
    algorithm: str = "HS256",
    headers: dict[str, Any] | None = None,
) -> str:
    """Return a good token for an hour, but for what `claims` say; None takes a claim out."""
    payload = {"sub": "ada", "exp": now(3600)} | dict(claims or {})
    kept = {name: value for name, value in payload.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm, headers=headers)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def handmade(header: str | bytes, payload: str | bytes, secret: str | bytes = SECRET) -> str:
    """Return a token of exactly this header and payload, signed with HMAC and SHA-256."""
    parts = [b64(part.encode() if isinstance(part, str) else part) for part in (header, payload)]
    key = secret.encode() if isinstance(secret, str) else secret
    signature = hmac.new(key, ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join((*parts, b64(signature)))


def identify(backend: Backend, token: str) -> Identity:
    return asyncio.run(backend.identify(token))


def refusal(backend: Backend, token: str) -> str:
    """Return the detail with which `token` is refused, which has nothing of it."""
    with pytest.raises(AuthenticationFailed) as caught:
        identify(backend, token)
    assert str(caught.value) == caught.value.detail
    assert caught.value.__cause__ is None
    return caught.value.detail
