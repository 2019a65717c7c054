"""Owns what a client may do by who it is: the guards, and the check of a list of them.

Guards know an identity only: no token, no connection.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from server.auth.identity import Identity

UNAUTHENTICATED = "Authentication required"
FORBIDDEN = "Permission denied"

_Value = str | int | float


@dataclass(frozen=True)
class Denied:
    """The answer to a client that may not.

    Attributes:
        status: of HTTP; 401: who are you, 403: not you.
        detail: for the client.
    """

    status: int
    detail: str


@runtime_checkable
class Guard(Protocol):
    """Says whether a client that is known may go on.

    A guard may have a `message`: the detail of the 403, in place of "Permission denied".
    """

    def check(self, identity: Identity) -> bool:
        """Return whether it may; exactly True or False, and without waiting."""
        raise NotImplementedError


GuardLike = Guard | type[Guard] | Callable[[Identity], bool]
"""What `guards=` takes: a guard, the class of one that needs no arguments, or a function."""


class AllowAny:
    """Lets everybody in, known or not; the guards after it do not count."""

    def check(self, identity: Identity) -> bool:
        """Return True."""
        return True


class IsAuthenticated:
    """Lets in whoever has a good token."""

    def check(self, identity: Identity) -> bool:
        """Return True."""
        return True


class IsAdminUser:
    """Lets in whose token has `is_superuser: true`."""

    def check(self, identity: Identity) -> bool:
        """Return whether it has."""
        return identity.is_superuser


class IsStaff:
    """Lets in whose token has `is_staff: true`."""

    def check(self, identity: Identity) -> bool:
        """Return whether it has."""
        return identity.is_staff


class _HasPermissions:
    def __init__(self, *permissions: str) -> None:
        self.permissions = _checked(permissions)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.permissions))})"


class HasAllPermissions(_HasPermissions):
    """Lets in who has all of these permissions.

    Raises:
        TypeError: a permission is no text.
        ValueError: there is none.
    """

    def check(self, identity: Identity) -> bool:
        """Return whether it has."""
        return identity.permissions.issuperset(self.permissions)


class HasAnyPermission(_HasPermissions):
    """Lets in who has one of these permissions, or more.

    Raises:
        TypeError: a permission is no text.
        ValueError: there is none.
    """

    def check(self, identity: Identity) -> bool:
        """Return whether it has."""
        return not identity.permissions.isdisjoint(self.permissions)


class HasPermission(HasAllPermissions):
    """Lets in who has this permission."""

    def __init__(self, permission: str) -> None:
        super().__init__(permission)


def _checked(permissions: tuple[str, ...]) -> tuple[str, ...]:
    if not permissions:
        raise ValueError("a guard of permissions needs one: with none it would mean nothing")
    if not all(isinstance(text, str) for text in permissions) or "" in permissions:
        raise TypeError(f"permissions are texts, not {permissions!r}")
    return permissions


class Requires:
    """Lets in whose token has a certain claim.

    A claim that is a list matches a value that is in it. "permissions" stands for all permissions
    there are, also those of an API key. True and 1 are two values. To have one claim and lack
    another, use two guards.

    Args:
        claim: its name.
        values: it is one of these; with none at all: it is there, and is not false, 0 or empty.
        all_of: it is a list with all of these.
        none_of: it is none of these; also if it is not there.
        message: the detail of the 403, in place of "Permission denied".

    Raises:
        TypeError: a value is no str, int, float or bool, `all_of` or `none_of` is no list of them,
            or the claim or message is no text.
        ValueError: there are two of values, `all_of` and `none_of`, or one is an empty list.
    """

    def __init__(
        self,
        claim: str,
        *values: _Value,
        all_of: Sequence[_Value] | None = None,
        none_of: Sequence[_Value] | None = None,
        message: str | None = None,
    ) -> None:
        _check_text("claim", claim)
        if message is not None:
            _check_text("message", message)
        if sum((bool(values), all_of is not None, none_of is not None)) > 1:
            raise ValueError("Requires(): give values, all_of= or none_of=; else use two guards")
        self.claim = claim
        self.values = _values(values)
        self.all_of = None if all_of is None else _values(all_of, "all_of")
        self.none_of = None if none_of is None else _values(none_of, "none_of")
        self.message = message

    def __repr__(self) -> str:
        named = {"all_of": self.all_of, "none_of": self.none_of, "message": self.message}
        given = [repr(self.claim), *map(repr, self.values)]
        given += [f"{name}={value!r}" for name, value in named.items() if value is not None]
        return f"Requires({', '.join(given)})"

    def check(self, identity: Identity) -> bool:
        """Return whether the claim is as it has to be."""
        claim = _claim(identity, self.claim)
        if self.all_of is not None:
            return all(_matches(claim, value) for value in self.all_of)
        if self.none_of is not None:
            return not any(_matches(claim, value) for value in self.none_of)
        if self.values:
            return any(_matches(claim, value) for value in self.values)
        return bool(claim)


def _check_text(name: str, text: object) -> None:
    if not isinstance(text, str) or not text:
        raise TypeError(f"Requires(): {name} is a text, not {text!r}")


def _values(given: object, name: str = "a value") -> tuple[_Value, ...]:
    if not isinstance(given, list | tuple | set | frozenset):
        raise TypeError(f"Requires(): {name} is a list, not {given!r}")
    if not given and name != "a value":
        raise ValueError(f"Requires(): {name} is empty, so it would mean nothing")
    if not all(isinstance(value, str | int | float) for value in given):
        raise TypeError(f"Requires(): values are str, int, float or bool, not {given!r}")
    return tuple(given)


def _claim(identity: Identity, name: str) -> Any:
    return identity.permissions if name == "permissions" else identity.claims.get(name)


def _matches(claim: object, value: _Value) -> bool:
    if isinstance(claim, list | tuple | set | frozenset):
        return any(_is_same(item, value) for item in claim)
    return _is_same(claim, value)


def _is_same(one: object, other: object) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def check_guards(guards: Sequence[Guard], identity: Identity | None) -> Denied | None:
    """Return why a client may not go on, or None if it may.

    Args:
        guards: as `check_guard_list` returns them; the first that says no counts.
        identity: of the client; None: not known.

    Raises:
        TypeError: a guard has said neither True nor False.
    """
    for guard in guards:
        if isinstance(guard, AllowAny):
            return None
        if identity is None:
            return Denied(401, UNAUTHENTICATED)
        answer: object = guard.check(identity)
        if not isinstance(answer, bool):  # such as a coroutine, which would count as true
            raise TypeError(f"{guard!r} has to say True or False, not {type(answer).__name__}")
        if not answer:
            return Denied(403, getattr(guard, "message", None) or FORBIDDEN)
    return None


@dataclass(frozen=True)
class _Function:
    """A plain function as a guard."""

    check: Callable[[Identity], bool]


def check_guard_list(guards: object) -> tuple[Guard, ...]:
    """Return what `guards=` was given as guards; None is an empty list.

    Each is a guard, the class of one that needs no arguments, or a function that takes the
    identity and returns whether it may go on.

    Raises:
        TypeError: one is nothing of that, or is async; says how to write it.
    """
    if guards is None:
        return ()
    if not isinstance(guards, list | tuple):
        raise TypeError(f"guards= is a list of guards, not {guards!r}: write guards=[...]")
    return tuple(map(_as_guard, guards))


def _as_guard(given: object) -> Guard:
    guard = _instance(given) if isinstance(given, type) else given
    if not isinstance(guard, Guard):
        if not callable(guard):
            raise TypeError(f"guards= has {guard!r}, which is no guard: it has no check(identity)")
        guard = _Function(guard)
    if inspect.iscoroutinefunction(guard.check):
        raise TypeError(f"guards= has {given!r}, which is async: a guard cannot wait")
    return guard


def _instance(kind: type) -> object:
    if not isinstance(kind, Guard):  # it has no check(identity) of its own
        raise TypeError(f"guards= has {kind!r}, which is no guard: it has no check(identity)")
    try:
        return kind()
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"guards= has the class {kind.__name__}, which needs arguments: write"
            f" {kind.__name__}(...)"
        ) from error
