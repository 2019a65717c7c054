"""The keys of JWTs: which are good enough, which algorithms each gets, and that none is shown."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.auth.keys import KNOWN_ALGORITHMS, SECRET_VARIABLE, read_keys
from server.exceptions import SettingsError
from tests.server.auth.tokens import (
    OTHER_SECRET,
    SECRET,
    b64,
    private_key,
    private_pem,
    public_jwk,
    public_pem,
    secret_jwk,
)

RSA, P256, ED = private_key("RS256"), private_key("ES256"), private_key("EdDSA")
KEYS = {name: private_key(name) for name in ("RS256", "ES256", "ES384", "ES512", "EdDSA")}


@pytest.fixture(autouse=True)
def _no_secret_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)
    monkeypatch.delenv(f"{SECRET_VARIABLE}_FILE", raising=False)


def algorithms(**options: Any) -> list[tuple[str, ...]]:
    return [key.algorithms for key in read_keys(**options)]


def problem(**options: Any) -> str:
    """Return why the keys are refused; nothing of a key may be in that, nor in what led to it."""
    with pytest.raises(SettingsError) as caught:
        read_keys(**options)
    assert caught.value.__cause__ is None
    text = str(caught.value)
    for given in _texts(options):
        assert given not in text
    return text


def _texts(given: Any) -> list[str]:
    """Return all long texts in what was given, paths aside."""
    if isinstance(given, Mapping):
        return [text for value in given.values() for text in _texts(value)]
    if isinstance(given, list | tuple):
        return [text for value in given for text in _texts(value)]
    text = given.decode("latin-1") if isinstance(given, bytes) else given
    return [text] if isinstance(text, str) and len(text) > 12 and "/" not in text[:1] else []


def jwks(*members: Any) -> dict[str, Any]:
    return {"keys": list(members)}


# -- one kind of key -------------------------------------------------------------------------------


def test_without_a_key_the_way_out_is_said() -> None:
    text = problem()
    for part in ("secret=", "public_key=", "jwks=", SECRET_VARIABLE, f"{SECRET_VARIABLE}_FILE"):
        assert part in text
    assert "secrets.token_urlsafe()" in text


def test_the_secret_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    assert [key.material for key in read_keys()] == [SECRET.encode()]
    assert [key.material for key in read_keys(secret=OTHER_SECRET)] == [OTHER_SECRET.encode()]
    monkeypatch.delenv(SECRET_VARIABLE)
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n")
    monkeypatch.setenv(f"{SECRET_VARIABLE}_FILE", str(path))
    assert [key.material for key in read_keys()] == [SECRET.encode()]


def test_a_secret_of_the_environment_has_to_be_long_enough_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SECRET_VARIABLE, "s3kr3t")
    assert "s3kr3t" not in problem()
    monkeypatch.setenv(SECRET_VARIABLE, "s" * 40 + "\udcff")
    assert problem() == "secret: it is no UTF-8 text"


@pytest.mark.parametrize(
    "options",
    [
        {"secret": SECRET, "public_key": public_pem(RSA)},
        {"secret": SECRET, "jwks": jwks(public_jwk(RSA))},
        {"public_key": public_pem(RSA), "jwks": jwks(public_jwk(RSA))},
    ],
)
def test_two_kinds_are_one_too_many(options: dict[str, Any]) -> None:
    assert "give one kind" in problem(**options)


@pytest.mark.parametrize("kind", ["secret", "public_key"])
@pytest.mark.parametrize("given", [[], 5, {"key": SECRET}, [5], [None]])
def test_what_is_no_key_or_list_of_keys(kind: str, given: Any) -> None:
    assert kind in problem(**{kind: given})


def test_no_key_is_shown() -> None:
    (key,) = read_keys(secret=SECRET)
    assert SECRET not in repr(key)
    assert SECRET not in str(key)
    assert repr(key) == "Key(name='secret', algorithms=('HS256',), kid=None)"


# -- algorithms ------------------------------------------------------------------------------------


def test_the_algorithm_of_a_secret_is_hs256() -> None:
    assert algorithms(secret=SECRET) == [("HS256",)]
    assert algorithms(secret=SECRET.encode()) == [("HS256",)]
    assert algorithms(secret=[SECRET, OTHER_SECRET]) == [("HS256",), ("HS256",)]


@pytest.mark.parametrize("name", KEYS)
def test_the_algorithm_of_a_public_key_is_its_kinds(name: str) -> None:
    pem = public_pem(KEYS[name])
    assert algorithms(public_key=pem) == [(name,)]
    assert algorithms(public_key=pem.decode()) == [(name,)]
    assert algorithms(jwks=jwks(public_jwk(KEYS[name]))) == [(name,)]


def test_keys_of_several_kinds_have_each_their_own() -> None:
    pems = [public_pem(RSA), public_pem(P256)]
    assert algorithms(public_key=pems) == [("RS256",), ("ES256",)]
    chosen = ["PS512", "ES256"]
    assert algorithms(public_key=pems, algorithms=chosen) == [("PS512",), ("ES256",)]


def test_given_ones_are_all_allowed() -> None:
    assert algorithms(secret=SECRET, algorithms=["HS512", "HS256"]) == [("HS256", "HS512")]
    assert algorithms(public_key=public_pem(RSA), algorithms=["PS256"]) == [("PS256",)]


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", " none ", ""])
def test_none_is_refused_in_any_spelling(name: str) -> None:
    for given in ([name], ["HS256", name]):
        assert "nobody has signed" in problem(secret=SECRET, algorithms=given)


@pytest.mark.parametrize("name", ["hs256", "HS257", "ES521", "ES256K", "RSA", 5, ["HS256"]])
def test_an_unknown_one_is_refused(name: Any) -> None:
    text = problem(secret=SECRET, algorithms=["HS256", name])
    assert "algorithm 2 of 2 is not known: use one of HS256, " in text


def test_a_secret_in_the_place_of_the_algorithms_is_not_shown() -> None:
    assert "not known" in problem(secret=OTHER_SECRET, algorithms=[SECRET])
    assert "is a list" in problem(secret=OTHER_SECRET, algorithms=SECRET)


@pytest.mark.parametrize("given", [[], "HS256", {"HS256": 1}])
def test_they_are_a_list(given: Any) -> None:
    assert "algorithms= is a list" in problem(secret=SECRET, algorithms=given)


@pytest.mark.parametrize("name", KEYS)
def test_one_of_another_kind_is_refused(name: str) -> None:
    """Algorithm confusion by configuration: a public key is never a secret, nor a secret public."""
    fitting = {"RS256": ("RS", "PS")}.get(name, (name,))
    for other in KNOWN_ALGORITHMS:
        if not other.startswith(fitting):
            options: dict[str, Any] = {"public_key": public_pem(KEYS[name])}
            assert f"algorithm {other} does not fit" in problem(algorithms=[other], **options)
            assert f"algorithm {other} does not fit" in problem(algorithms=[name, other], **options)
    assert f"algorithm {name} does not fit" in problem(secret=SECRET, algorithms=[name])


def test_each_key_needs_one() -> None:
    keys = [public_pem(RSA), public_pem(P256)]
    assert problem(public_key=keys, algorithms=["RS256"]) == (
        "none of the algorithms fits public_key 2"
    )


# -- secrets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "limit"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_secret_is_as_long_as_the_hash(name: str, limit: int) -> None:
    assert algorithms(secret="x" * limit, algorithms=[name]) == [(name,)]
    text = problem(secret=SECRET[: limit - 1], algorithms=[name])
    assert text.startswith(f"secret is {limit - 1} bytes long, {name} needs at least {limit}:")
    assert f"secrets.token_urlsafe({limit})" in text


def test_the_longest_hash_counts_and_each_secret() -> None:
    assert "needs at least 64" in problem(secret="x" * 63, algorithms=["HS256", "HS512"])
    assert "secret 2 is 31 bytes" in problem(secret=["x" * 32, "y" * 31])
    assert "secret is 30 bytes" in problem(secret="ü" * 15)
    assert "secret is empty" in problem(secret="")


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_no_public_or_private_key_is_a_secret(key: Any) -> None:
    forms = [public_pem(key), private_pem(key), json.dumps(public_jwk(key)).encode()]
    forms.append(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    forms.append(key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH))
    for form in forms:
        assert "and no secret" in problem(secret=form), form
        assert "and no secret" in problem(jwks=jwks({"kty": "oct", "k": b64(form)})), form


def test_a_certificate_is_no_secret() -> None:
    for label in ("CERTIFICATE", "TRUSTED CERTIFICATE", "PGP PUBLIC KEY BLOCK"):
        text = f"-----BEGIN {label}-----\nMIIBCgKCAQEA\n-----END {label}-----\n"
        assert "and no secret" in problem(secret=text)


# -- public keys -----------------------------------------------------------------------------------


def test_rsa_has_2048_bits() -> None:
    weak = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    for options in ({"public_key": public_pem(weak)}, {"jwks": jwks(public_jwk(weak))}):
        text = problem(**options)
        assert "has 1024 bits, an RSA key needs at least 2048: make one with `openssl" in text


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_a_private_key_is_refused(key: Any) -> None:
    text = problem(public_key=private_pem(key))
    assert text.startswith("public_key is a private key: give the public one, `openssl pkey")


def test_other_kinds_are_refused() -> None:
    others: list[Any] = [
        ec.generate_private_key(ec.SECP256K1()),
        ed448.Ed448PrivateKey.generate(),
        dsa.generate_private_key(2048),
    ]
    for key in others:
        assert "use RSA, an elliptic curve P-256" in problem(public_key=public_pem(key))


def test_what_is_no_pem_is_refused() -> None:
    texts: list[Any] = [
        "",
        "a path/to/a.pem",
        SECRET,
        "-----BEGIN PUBLIC KEY-----\nbm90IGEga2V5\n-----END PUBLIC KEY-----",
        "-----BEGIN CERTIFICATE-----\nbm90IGEga2V5\n-----END CERTIFICATE-----",
        public_pem(RSA)[:200],
        public_pem(RSA) + public_pem(P256),
    ]
    for text in texts:
        assert "public_key is no public key in PEM format" in problem(public_key=text)


# -- JWK sets --------------------------------------------------------------------------------------


def test_a_set_is_a_dict_a_file_or_its_text(tmp_path: Path) -> None:
    found = jwks(public_jwk(RSA, kid="r1"), public_jwk(ED, kid="e1", alg="EdDSA"))
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(found))
    for given in (found, path, str(path), f" {json.dumps(found)}"):
        keys = read_keys(jwks=given)
        assert [(key.kid, key.algorithms) for key in keys] == [
            ("r1", ("RS256",)),
            ("e1", ("EdDSA",)),
        ]


def test_a_key_says_its_algorithm() -> None:
    assert algorithms(jwks=jwks(public_jwk(RSA, alg="PS384"))) == [("PS384",)]
    assert algorithms(jwks=jwks(secret_jwk(SECRET, alg="HS512"))) == [("HS512",)]
    assert algorithms(jwks=jwks(secret_jwk(SECRET))) == [("HS256",)]
    mistakes = [
        public_jwk(RSA, alg="HS256"),
        public_jwk(P256, alg="ES384"),
        secret_jwk(SECRET, alg="RS256"),
    ]
    for mistake in mistakes:
        assert 'jwks: key 1: its "alg"' in problem(jwks=jwks(mistake))


def test_given_algorithms_choose_among_the_keys() -> None:
    found = jwks(public_jwk(RSA, kid="r", alg="RS256"), public_jwk(P256, kid="e"))
    assert [key.kid for key in read_keys(jwks=found, algorithms=["ES256"])] == ["e"]
    assert "algorithm PS256 does not fit jwks: key 1" in problem(jwks=found, algorithms=["PS256"])
    assert "algorithm HS256 does not fit" in problem(jwks=found, algorithms=["RS256", "HS256"])


def test_keys_for_other_uses_are_left_out() -> None:
    others = [
        public_jwk(RSA, use="enc"),
        public_jwk(RSA, key_ops=["encrypt"]),
        public_jwk(RSA, alg="RSA-OAEP-256"),
        {"kty": "OKP", "crv": "X25519", "x": "AA"},
        {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"},
        {"kty": ["RSA"]},
        {},
    ]
    assert [key.kid for key in read_keys(jwks=jwks(*others, public_jwk(P256, kid="e")))] == ["e"]
    assert "has no key that can verify" in problem(jwks=jwks(*others))


def test_secret_and_public_keys_do_not_mix() -> None:
    found = jwks(public_jwk(RSA), secret_jwk(SECRET))
    assert "has secret keys (oct) beside public ones" in problem(jwks=found)
    assert "has secret keys" in problem(jwks=found, algorithms=["RS256"])


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth"])
def test_a_private_member_is_refused_and_not_shown(member: str) -> None:
    found = jwks(public_jwk(P256), public_jwk(RSA) | {member: "the-private-number"})
    assert problem(jwks=found).startswith("jwks: key 2 is a private key")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, 'it has no list "keys"'),
        ({"keys": {}}, 'it has no list "keys"'),
        ({"keys": []}, "has no key that can verify"),
        (jwks("text"), "key 1 is no JSON object"),
        (jwks(public_jwk(RSA, kid=5)), 'key 1: its "kid" is no text'),
        (jwks(public_jwk(RSA, n=None)), "key 1 is damaged"),
        (jwks(public_jwk(RSA, n=5)), "key 1 is damaged"),
        (jwks(public_jwk(RSA, n="!")), "key 1 is damaged"),
        (jwks(public_jwk(P256, x="AAAA")), "key 1 is damaged"),
        (jwks(public_jwk(P256, crv="P-384")), "key 1 is damaged"),
        (jwks(public_jwk(P256, x=public_jwk(P256)["y"])), "key 1 is damaged"),
        (jwks(public_jwk(ED, x="AA")), "key 1 is damaged"),
        (jwks({"kty": "oct"}), "key 1 is damaged"),
        (jwks({"kty": "oct", "k": ""}), "key 1 is damaged"),
        (jwks(secret_jwk("short")), "key 1 is 5 bytes long, HS256 needs at least 32"),
    ],
)
def test_a_set_with_a_mistake_is_refused(tmp_path: Path, found: Any, expected: str) -> None:
    assert expected in problem(jwks=found)
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(found))
    text = problem(jwks=path)
    assert text.startswith(f"jwks {path}: ")
    assert expected in text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "it is no JSON"),
        (b"{", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "it is no JSON object"),
        (b"\xff", "the file is no UTF-8 text"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_is_no_set(tmp_path: Path, content: bytes | None, expected: str) -> None:
    path = tmp_path / "jwks.json"
    if content is not None:
        path.write_bytes(content)
    assert problem(jwks=path) == f"jwks {path}: {expected}"
    assert "jwks= is the path" in problem(jwks=5)


def test_json_text_is_never_taken_for_a_path() -> None:
    text = '{"keys": [{"kty": "oct", "k": "the-secret-itself"'
    assert problem(jwks=text) == "jwks: it is no JSON"


def test_keys_may_share_a_name() -> None:
    keys = read_keys(jwks=jwks(public_jwk(RSA, kid="a"), public_jwk(P256, kid="a")))
    assert [(key.kid, key.is_secret) for key in keys] == [("a", False), ("a", False)]
