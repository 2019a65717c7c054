"""What an identity promises, what makes a backend, and the package without PyJWT."""

import subprocess
import sys
from typing import Any

import pytest

import server.auth
from server.auth import AuthenticationFailed, Identity, JWTAuthentication
from server.auth.identity import MAX_USER_ID_BYTES, check_backends
from server.auth.places import Places
from server.recorded import USER_BYTES


class Own:
    """A backend of an app."""

    places = Places(header="x-own")

    async def identify(self, token: str) -> Identity:
        return Identity(backend="own", user_id=token)


# -- identity --------------------------------------------------------------------------------------


def test_the_limit_of_a_user_id_is_the_registrys() -> None:
    assert MAX_USER_ID_BYTES == USER_BYTES


@pytest.mark.parametrize("user_id", ["a", "x" * 64, "é" * 32, "a b", "a@b.example", "Ада 💡", None])
def test_what_is_a_user_id(user_id: str | None) -> None:
    assert Identity(backend="own", user_id=user_id).user_id == user_id


@pytest.mark.parametrize(
    ("user_id", "expected"),
    [
        ("", "is empty"),
        ("x" * 65, "is 65 bytes of UTF-8, the limit is 64"),
        ("é" * 33, "is 66 bytes of UTF-8, the limit is 64"),
        ("a\nb", "has control characters"),
        ("a\x00", "has control characters"),
        ("\x9b", "has control characters"),
        ("\u2029", "has control characters"),
        ("\ud800", "has half of a surrogate pair"),
    ],
)
def test_what_is_no_user_id(user_id: str, expected: str) -> None:
    with pytest.raises(ValueError, match=f"^user_id {expected}$"):
        Identity(backend="own", user_id=user_id)


def test_the_context_has_the_keys_of_django_bolt() -> None:
    identity = Identity(backend="own", claims={"a": 1, "b": ("x",), "c": ["y"]})
    assert identity.context() == {
        "user_id": None,
        "is_staff": False,
        "is_superuser": False,
        "auth_backend": "own",
        "auth_claims": {"a": 1},
    }


# -- backends --------------------------------------------------------------------------------------


def test_backends_are_a_list_or_none() -> None:
    first, second = Own(), Own()
    assert check_backends(None) == check_backends([]) == ()
    assert check_backends([first, second]) == check_backends((first, second)) == (first, second)
    wrong: Any
    for wrong in (first, Own, "jwt", 5, {first}):
        with pytest.raises(TypeError, match=r"is a list of backends, not of type \w+: write auth="):
            check_backends(wrong)


class Placeless(Own):
    places = None  # type: ignore[assignment]


class Deaf:
    places = Places()


class Sync(Deaf):
    def identify(self, token: str) -> Identity:
        return Identity(backend="own", user_id=token)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (JWTAuthentication, r"the class JWTAuthentication: write JWTAuthentication\(\.\.\.\)"),
        ("s3kr3t", "of type str, which is no backend"),
        (5, "of type int, which is no backend"),
        (None, "of type NoneType, which is no backend"),
        (Placeless(), "of type Placeless, which is no backend: `places` is no Places"),
        (Deaf(), "of type Deaf, which is no backend: `identify` is no `async def`"),
        (Sync(), "of type Sync, which is no backend: `identify` is no `async def`"),
    ],
)
def test_what_is_no_backend_is_refused_at_once(wrong: Any, expected: str) -> None:
    with pytest.raises(TypeError, match=expected) as caught:
        check_backends([Own(), wrong])
    assert "s3kr3t" not in str(caught.value)


def test_a_failure_says_its_detail() -> None:
    failed = AuthenticationFailed("Token expired")
    assert (failed.detail, str(failed)) == ("Token expired", "Token expired")


# -- the package -----------------------------------------------------------------------------------

WITHOUT = """
import sys
sys.modules[{module!r}] = None
from server.auth import JWTAuthentication, APIKeyAuthentication
from server.exceptions import SettingsError
APIKeyAuthentication({{"x" * 16}})
try:
    JWTAuthentication("x" * 32)
except SettingsError as error:
    assert "pip install 'switchboard-server[auth]'" in str(error), error
    sys.exit(7)
"""


@pytest.mark.parametrize("module", ["jwt", "cryptography"])
def test_it_can_be_imported_without_the_extra(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT.format(module=module)],
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 7, done.stderr


def test_the_public_names_are_there() -> None:
    for name in server.auth.__all__:
        assert getattr(server.auth, name) is not None
    assert sorted(server.auth.__all__) == server.auth.__all__
