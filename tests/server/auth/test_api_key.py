"""APIKeyAuthentication: whose a key is, what is no key, and that none is shown."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.auth import APIKeyAuthentication, AuthenticationFailed
from server.auth.api_key import KEYS_VARIABLE
from server.auth.identity import check_backends
from server.auth.places import find_token
from server.exceptions import SettingsError
from tests.server.auth.tokens import identify, refusal
from tests.support.scopes import websocket_scope

ADA, BOB = "ada-0123456789-abcdef", "bob-0123456789-abcdef"
AUTH = APIKeyAuthentication({ADA, BOB})
NAMED = APIKeyAuthentication({"ada": ADA, "bob": BOB})


@pytest.fixture(autouse=True)
def _no_keys_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEYS_VARIABLE, raising=False)
    monkeypatch.delenv(f"{KEYS_VARIABLE}_FILE", raising=False)


def problem(*args: Any, **options: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        APIKeyAuthentication(*args, **options)
    for key in (ADA, BOB):
        assert key not in str(caught.value)
    return str(caught.value)


# -- whose it is -----------------------------------------------------------------------------------


def test_a_key_without_a_name_is_known_by_its_digest() -> None:
    found = identify(AUTH, ADA)
    digest = hashlib.sha256(ADA.encode()).hexdigest()
    assert (found.backend, found.user_id) == ("api_key", f"apikey:{digest[:12]}")
    assert (found.claims, found.permissions, found.expires_at_s) == ({}, frozenset(), None)
    assert identify(AUTH, BOB).user_id != found.user_id


def test_a_key_with_a_name_is_known_by_it() -> None:
    assert identify(NAMED, ADA).user_id == "apikey:ada"
    assert identify(NAMED, BOB).user_id == "apikey:bob"


@pytest.mark.parametrize("kind", [set, frozenset, list, tuple])
def test_any_collection_of_keys(kind: Any) -> None:
    auth = APIKeyAuthentication(kind([ADA, ADA, BOB]))
    assert repr(auth) == "APIKeyAuthentication(2 keys)"
    assert identify(auth, BOB) == identify(AUTH, BOB)


@pytest.mark.parametrize("token", [ADA[:-1], f"{ADA}x", ADA.upper(), "ada", "x" * 100])
def test_another_key_is_refused(token: str) -> None:
    assert refusal(AUTH, token) == "Invalid API key"
    assert refusal(NAMED, token) == "Invalid API key"


def test_no_keys_let_nobody_in() -> None:
    empty: list[Any] = [set(), [], (), {}]
    for nobody in empty:
        assert refusal(APIKeyAuthentication(nobody), ADA) == "Invalid API key"


def test_what_can_be_no_key_is_refused_as_any_token() -> None:
    assert refusal(AUTH, "x" * 8193) == "Token over 8,192 bytes"
    for token in ("", f"{ADA} ", f"{ADA}\n", "ü", "\ud800"):
        assert refusal(AUTH, token) == "Token is not printable ASCII"


@given(token=st.text())
def test_any_text_is_refused_and_no_error(token: str) -> None:
    assert refusal(AUTH, token) in ("Invalid API key", "Token is not printable ASCII")


# -- permissions -----------------------------------------------------------------------------------


def test_permissions_are_given_by_key_or_name() -> None:
    by_key = APIKeyAuthentication({ADA, BOB}, key_permissions={ADA: {"read", "write"}})
    assert identify(by_key, ADA).permissions == {"read", "write"}
    assert identify(by_key, BOB).permissions == frozenset()
    by_both = APIKeyAuthentication(
        {"ada": ADA, "bob": BOB}, key_permissions={"ada": ["read"], ADA: ("write",), BOB: []}
    )
    assert identify(by_both, ADA).permissions == {"read", "write"}


@pytest.mark.parametrize("permissions", ["read", b"read", [5]])
def test_permissions_are_lists_of_texts(permissions: Any) -> None:
    assert "a set or list of texts" in problem({ADA}, key_permissions={ADA: permissions})


def test_permissions_of_no_key_are_a_mistake() -> None:
    expected = "key_permissions= has what is no key, and no name of one"
    assert problem({ADA}, key_permissions={BOB: {"read"}}) == expected
    assert problem({"ada": ADA}, key_permissions={"eve": {"read"}}) == expected


# -- the keys --------------------------------------------------------------------------------------


def test_the_environment_has_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(KEYS_VARIABLE, f" {ADA},{BOB} ,")
    assert identify(APIKeyAuthentication(), BOB) == identify(AUTH, BOB)
    monkeypatch.delenv(KEYS_VARIABLE)
    path = tmp_path / "keys"
    path.write_text(f"{ADA}\n\n{BOB}\r\n")
    monkeypatch.setenv(f"{KEYS_VARIABLE}_FILE", str(path))
    auth = APIKeyAuthentication(key_permissions={ADA: ["read"]})
    assert identify(auth, ADA).permissions == {"read"}
    assert identify(auth, BOB) == identify(AUTH, BOB)


def test_without_keys_the_way_out_is_said() -> None:
    text = problem()
    for part in ("api_keys=", KEYS_VARIABLE, f"{KEYS_VARIABLE}_FILE", "secrets.token_urlsafe()"):
        assert part in text


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["short-1234567890"[:15]], "API key 1 has 15 characters, it needs at least 16: make one"),
        ([ADA, ""], "API key 2 has 0 characters"),
        ({"ada": "short"}, "API key 'ada' has 5 characters"),
        (["x" * 8193], "API key 1 has 8193 characters"),
        ([f"{ADA} {BOB}"], "API key 1 has more than ASCII characters without spaces"),
        ([f"{ADA}ü"], "API key 1 has more than ASCII"),
        ([5], "API key 1 is no text but int"),
        ([ADA.encode()], "API key 1 is no text but bytes"),
        ({"ada": [ADA]}, "API key 'ada' is no text but list"),
        ({"a": ADA, "b": ADA}, "the same key under two names"),
        ({"": ADA}, "has no name"),
        ({"x" * 58: ADA}, "is 65 bytes of UTF-8, the limit is 64"),
        ({"a\nb": ADA}, "has control characters"),
        (ADA, "api_keys= is a set or list of keys"),
        (5, "api_keys= is a set or list of keys"),
    ],
)
def test_keys_that_are_no_good_are_refused_and_not_shown(keys: Any, expected: str) -> None:
    assert expected in problem(keys)


# -- places ----------------------------------------------------------------------------------------


def test_the_places_are_those_of_the_arguments() -> None:
    scope = websocket_scope(headers={"x-api-key": f"ApiKey {ADA}"}, query=f"token={BOB}")
    found = find_token(AUTH.places, scope, is_websocket=True)
    assert found is not None
    assert (found.place, found.token) == ("header", ADA)
    places = APIKeyAuthentication(
        {ADA}, "X-Key", cookie="key", query_param="key", subprotocol="apikey"
    ).places
    assert (places.cookie, places.header, places.subprotocol) == ("key", "x-key", "apikey")
    assert (places.query_param, places.schemes) == ("key", ("bearer", "apikey"))


def test_it_is_a_backend_and_keeps_no_key() -> None:
    assert check_backends([AUTH, NAMED]) == (AUTH, NAMED)
    for auth in (AUTH, NAMED):
        assert ADA not in f"{auth!r} {auth!s} {vars(auth)}"
        assert ADA.encode() not in repr(vars(auth)).encode()


async def test_it_can_be_awaited_where_there_is_a_loop() -> None:
    assert (await NAMED.identify(ADA)).user_id == "apikey:ada"
    with pytest.raises(AuthenticationFailed):
        await NAMED.identify("x")
