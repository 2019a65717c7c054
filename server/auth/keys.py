"""Owns the keys that tokens are verified with: each one's size, kind and algorithms; no token.

Every key carries the algorithms it may be used with, so that a token never chooses: what is public
of one kind of key (RFC 8725 section 2.1) is never tried as the secret of another.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import InvalidKeyError, PyJWK, PyJWTError
from jwt.algorithms import HMACAlgorithm

from server.exceptions import SettingsError
from server.secret import how_to_make, read_secret, read_secret_file

SECRET_VARIABLE = "SWITCHBOARD_JWT_SECRET"  # noqa: S105 - the name of a variable
MIN_RSA_BITS = 2048

Material = bytes | rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
KeyText = str | bytes

_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}  # RFC 7518 section 3.2: as the hash
_OF_SECRET = tuple(_SECRET_BYTES)
_OF_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_OF_CURVE = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_ED25519 = "EdDSA"
KNOWN_ALGORITHMS = (*_OF_SECRET, *_OF_RSA, *_OF_CURVE.values(), _ED25519)

_NO_KEY = (
    "JWTAuthentication has no key to verify tokens with: give secret=, public_key= or jwks=, or set"
    f" {SECRET_VARIABLE} or {SECRET_VARIABLE}_FILE; {how_to_make()}"
)
_PRIVATE = "is a private key: give the public one, `openssl pkey -in private.pem -pubout`"
_PRIVATE_MEMBERS = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth"))


@dataclass(frozen=True)
class Key:
    """One key, and what it may be used for.

    Attributes:
        name: for messages.
        material: as PyJWT takes it.
        algorithms: of JWS, which a token may be signed with; the first is the default.
        kid: the name that a token calls it by; None: any.
    """

    name: str
    material: Material = field(repr=False)
    algorithms: tuple[str, ...]
    kid: str | None = None

    @property
    def is_secret(self) -> bool:
        """Whether whoever verifies with it can sign with it too."""
        return isinstance(self.material, bytes)


def read_keys(
    *,
    secret: KeyText | Sequence[KeyText] | None = None,
    public_key: KeyText | Sequence[KeyText] | None = None,
    jwks: str | Path | Mapping[str, Any] | None = None,
    algorithms: Sequence[str] | None = None,
) -> tuple[Key, ...]:
    """Return the keys with their algorithms pinned; see `JWTAuthentication`.

    Raises:
        SettingsError: there is no key, there are two kinds of them, one is no good, or the
            algorithms do not fit; nothing of a key is in it.
    """
    if sum(kind is not None for kind in (secret, public_key, jwks)) > 1:
        raise SettingsError("secret=, public_key= and jwks= are two kinds of keys: give one kind")
    if public_key is not None:
        keys = [_of_pem(pem, name) for name, pem in _listed("public_key", public_key)]
        pinned = _pin(keys, algorithms)
    elif jwks is not None:
        pinned = _pin(_of_jwks(jwks), algorithms, drop_unfit=True)
    else:
        keys = [_of_secret(text, name) for name, text in _listed("secret", _given(secret))]
        pinned = _pin(keys, algorithms)
    for key in pinned:
        _check_size(key)
    return pinned


def _given(secret: KeyText | Sequence[KeyText] | None) -> KeyText | Sequence[KeyText]:
    if secret is None:
        secret = read_secret(SECRET_VARIABLE, what="the secret of JWTAuthentication")
        if secret is None:
            raise SettingsError(_NO_KEY)
    return secret


def _listed(name: str, given: KeyText | Sequence[KeyText]) -> Iterable[tuple[str, bytes]]:
    """Yield each one with a name for messages."""
    if isinstance(given, str | bytes):
        given = [given]
    if not isinstance(given, list | tuple) or not given:
        raise SettingsError(f"{name}= is a str, bytes, or a list of them that is not empty")
    for number, text in enumerate(given, 1):
        called = name if len(given) == 1 else f"{name} {number}"
        if not isinstance(text, str | bytes):
            raise SettingsError(f"{called}: a key is a str or bytes, not {type(text).__name__}")
        try:
            yield called, text.encode() if isinstance(text, str) else text
        except UnicodeEncodeError:
            raise SettingsError(f"{called}: it is no UTF-8 text") from None


def _pin(
    keys: Sequence[Key], algorithms: Sequence[str] | None, *, drop_unfit: bool = False
) -> tuple[Key, ...]:
    """Narrow each key to the given algorithms, or to its default.

    Args:
        keys: each with all algorithms it could be used with.
        algorithms: given by the app.
        drop_unfit: leave out a key that none of them fits.
    """
    if algorithms is None:
        return tuple(replace(key, algorithms=key.algorithms[:1]) for key in keys)
    _check_algorithms(algorithms)
    for name in algorithms:
        if not any(name in key.algorithms for key in keys):
            raise SettingsError(
                f"algorithm {name} does not fit {keys[0].name}, which is for"
                f" {', '.join(keys[0].algorithms)}"
            )
    pinned = []
    for key in keys:
        allowed = tuple(name for name in key.algorithms if name in algorithms)
        if allowed:
            pinned.append(replace(key, algorithms=allowed))
        elif not drop_unfit:
            raise SettingsError(f"none of the algorithms fits {key.name}")
    return tuple(pinned)


def _check_algorithms(algorithms: Sequence[str]) -> None:
    if not isinstance(algorithms, list | tuple | set | frozenset) or not algorithms:
        raise SettingsError('algorithms= is a list that is not empty, such as ["HS256"]')
    for number, name in enumerate(algorithms, 1):
        if isinstance(name, str) and name.strip().lower() in ("none", ""):
            raise SettingsError(f"algorithm {name!r} would let in tokens that nobody has signed")
        if name not in KNOWN_ALGORITHMS:
            # Not shown: a secret in the place of the algorithms would be.
            raise SettingsError(
                f"algorithm {number} of {len(algorithms)} is not known: use one of"
                f" {', '.join(KNOWN_ALGORITHMS)}"
            )


def _check_size(key: Key) -> None:
    material = key.material
    if isinstance(material, bytes):
        limit = max(_SECRET_BYTES[name] for name in key.algorithms)
        if len(material) < limit:
            raise SettingsError(
                f"{key.name} is {len(material)} bytes long, {'/'.join(key.algorithms)} needs at"
                f" least {limit}: {how_to_make(limit)}"
            )
    elif isinstance(material, rsa.RSAPublicKey) and material.key_size < MIN_RSA_BITS:
        raise SettingsError(
            f"{key.name} has {material.key_size} bits, an RSA key needs at least {MIN_RSA_BITS}:"
            " make one with `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072"
            " -out private.pem`"
        )


def _of_secret(secret: bytes, name: str) -> Key:
    try:
        if secret and b"-----BEGIN" not in secret:
            HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
            return Key(name, secret, _OF_SECRET)
    except InvalidKeyError:
        pass
    if not secret:
        raise SettingsError(f"{name} is empty: {how_to_make(32)}")
    raise SettingsError(
        f"{name} is a key that others may know, or a certificate, and no secret: give it as"
        " public_key= or jwks="
    )


def _of_pem(pem: bytes, name: str) -> Key:
    if b"PRIVATE KEY-----" in pem:
        raise SettingsError(f"{name} {_PRIVATE}")
    if pem.count(b"-----BEGIN ") != 1:
        raise SettingsError(
            f"{name} is no public key in PEM format (`-----BEGIN PUBLIC KEY-----`); of several,"
            " give a list"
        )
    try:
        return Key(name, *_with_algorithms(load_pem_public_key(pem), name))
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError(f"{name} is no public key in PEM format, or damaged") from None


def _with_algorithms(public_key: object, name: str) -> tuple[Material, tuple[str, ...]]:
    if isinstance(public_key, rsa.RSAPublicKey):
        return public_key, _OF_RSA
    if isinstance(public_key, ec.EllipticCurvePublicKey) and public_key.curve.name in _OF_CURVE:
        return public_key, (_OF_CURVE[public_key.curve.name],)
    if isinstance(public_key, ed25519.Ed25519PublicKey):
        return public_key, (_ED25519,)
    raise SettingsError(f"{name}: use RSA, an elliptic curve P-256, P-384 or P-521, or Ed25519")


def _of_jwks(jwks: str | Path | Mapping[str, Any]) -> list[Key]:
    """Return the keys that can verify; those for other uses are left out (RFC 7517 section 5)."""
    source, found = _load_jwks(jwks)
    members = found.get("keys")
    if not isinstance(members, list | tuple):
        raise SettingsError(f'{source}: it has no list "keys"')
    named = [(f"{source}: key {number}", member) for number, member in enumerate(members, 1)]
    keys = [key for name, member in named if (key := _of_jwk(member, name)) is not None]
    if not keys:
        raise SettingsError(f"{source}: it has no key that can verify a token")
    if len({key.is_secret for key in keys}) > 1:
        raise SettingsError(f"{source}: it has secret keys (oct) beside public ones; part them")
    return keys


def _load_jwks(jwks: str | Path | Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    source = "jwks"
    if isinstance(jwks, Mapping):
        return source, jwks
    if not isinstance(jwks, str | Path):
        raise SettingsError("jwks= is the path of a file, or what it would have in it as a dict")
    text = str(jwks)
    if not text.lstrip().startswith("{"):  # so it is no JSON, which a message must not show
        source = f"jwks {text}"
        text = read_secret_file(Path(text), source)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise SettingsError(f"{source}: it is no JSON") from None
    if not isinstance(found, dict):
        raise SettingsError(f"{source}: it is no JSON object")
    return source, found


def _of_jwk(member: object, name: str) -> Key | None:
    if not isinstance(member, Mapping):
        raise SettingsError(f"{name} is no JSON object")
    if not _PRIVATE_MEMBERS.isdisjoint(member):
        raise SettingsError(f"{name} is a private key: take out all but its public members")
    if not _is_for_signatures(member):
        return None
    kid = member.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise SettingsError(f'{name}: its "kid" is no text')
    return _of_jwk_material(member, name, kid)


def _is_for_signatures(member: Mapping[str, Any]) -> bool:
    operations = member.get("key_ops")
    can_verify = operations is None or (isinstance(operations, list) and "verify" in operations)
    algorithm = member.get("alg")
    return (
        can_verify
        and member.get("use", "sig") == "sig"
        and member.get("kty") in ("oct", "RSA", "EC", "OKP")
        and (algorithm is None or algorithm in KNOWN_ALGORITHMS)
        and member.get("crv") in (None, "P-256", "P-384", "P-521", "Ed25519")
    )


def _of_jwk_material(member: Mapping[str, Any], name: str, kid: str | None) -> Key:
    try:
        # Without "alg": which algorithms there are depends on the material alone.
        material = PyJWK({**member, "alg": None}).key
    except (PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        raise SettingsError(f"{name} is damaged, or lacks a member") from None
    if isinstance(material, bytes):
        key = replace(_of_secret(material, name), kid=kid)
    else:
        key = Key(name, *_with_algorithms(material, name), kid)
    algorithm = member.get("alg")
    if algorithm is None:
        return key
    if algorithm not in key.algorithms:
        raise SettingsError(f'{name}: its "alg" {algorithm} does not fit its "kty" or "crv"')
    return replace(key, algorithms=(algorithm,))
