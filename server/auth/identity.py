"""Owns what authentication finds out about a client, and how it says no; knows no connection."""

import inspect
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from server.auth.failure import AuthenticationFailed
from server.auth.places import Places

__all__ = ["AuthenticationFailed", "Backend", "Identity", "check_backends", "user_id_problem"]

MAX_USER_ID_BYTES = 64  # what the registry has room for: server.recorded.USER_BYTES
_CONTROLS = ("Cc", "Zl", "Zp")  # control characters, and what else breaks a line of a log


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who a client is, as one backend has found.

    Attributes:
        backend: "jwt" or "api_key", or the name of an app's own backend.
        user_id: at most 64 bytes of UTF-8 without control characters; None if the token does not
            say.
        claims: what else the token says: str, int, float and bool, and tuples of them.
        permissions: for the guards.
        is_staff, is_superuser: for the guards.
        expires_at_s: Unix time at which the token is good no longer; None: never.

    Raises:
        ValueError: the user_id is not as it says above; see `user_id_problem`.
    """

    backend: str
    user_id: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict)
    permissions: frozenset[str] = frozenset()
    is_staff: bool = False
    is_superuser: bool = False
    expires_at_s: float | None = None

    def __post_init__(self) -> None:
        problem = None if self.user_id is None else user_id_problem(self.user_id)
        if problem:
            raise ValueError(f"user_id {problem}")

    def context(self) -> dict[str, Any]:
        """Return it as the keys of `websocket.context`, which are Django-Bolt's.

        There `auth_claims` has single values only; the lists are for the guards.
        """
        found: dict[str, Any] = {
            "user_id": self.user_id,
            "is_staff": self.is_staff,
            "is_superuser": self.is_superuser,
            "auth_backend": self.backend,
            "auth_claims": {
                name: value
                for name, value in self.claims.items()
                if not isinstance(value, list | tuple)
            },
        }
        if self.permissions:
            found["permissions"] = sorted(self.permissions)
        return found


def user_id_problem(user_id: str) -> str | None:
    """Return what makes it no user id, in words without it; None if it is one."""
    if not user_id:
        return "is empty"
    try:
        size = len(user_id.encode())
    except UnicodeEncodeError:
        return "has half of a surrogate pair"
    if size > MAX_USER_ID_BYTES:
        return f"is {size} bytes of UTF-8, the limit is {MAX_USER_ID_BYTES}"
    if any(unicodedata.category(char) in _CONTROLS for char in user_id):
        return "has control characters"
    return None


class Backend(Protocol):
    """A way to authenticate: where its tokens are, and what one is worth.

    Attributes:
        places: where a client may put its token.
    """

    places: Places

    async def identify(self, token: str) -> Identity:
        """Return whose token it is.

        Raises:
            AuthenticationFailed: it is no good.
        """


def check_backends(auth: object) -> tuple[Backend, ...]:
    """Return what `auth=` was given, if it is a list of backends; None is an empty one.

    Raises:
        TypeError: it is not; says what is wrong, and how to write it.
    """
    if auth is None:
        return ()
    if not isinstance(auth, list | tuple):
        raise TypeError(
            f"auth= is a list of backends, not of type {type(auth).__name__}: write auth=[...]"
        )
    for backend in auth:
        _check_backend(backend)
    return tuple(auth)


def _check_backend(backend: object) -> None:
    if isinstance(backend, type):
        raise TypeError(f"auth= has the class {backend.__name__}: write {backend.__name__}(...)")
    # The type only: the value may be a key.
    called = f"auth= has an item of type {type(backend).__name__}, which is no backend:"
    if not isinstance(getattr(backend, "places", None), Places):
        raise TypeError(f"{called} `places` is no Places")
    if not inspect.iscoroutinefunction(getattr(backend, "identify", None)):
        raise TypeError(f"{called} `identify` is no `async def`")
