"""Guards: who may go on, with what a client is refused, and what is no guard."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from server.auth import (
    AllowAny,
    Guard,
    HasAllPermissions,
    HasAnyPermission,
    HasPermission,
    Identity,
    IsAdminUser,
    IsAuthenticated,
    IsStaff,
    Requires,
)
from server.auth.guards import Denied, check_guard_list, check_guards

UNKNOWN, FORBIDDEN = Denied(401, "Authentication required"), Denied(403, "Permission denied")
NOBODY_SPECIAL = Identity(backend="jwt", user_id="ada")
READER = Identity(backend="jwt", permissions=frozenset(("read", "list")))
OWNER = Identity(
    backend="jwt",
    claims={
        "role": "owner",
        "level": 1,
        "share": 0.5,
        "beta": True,
        "old": False,
        "tags": ("a", "b"),
        "none": (),
        "empty": "",
        "zero": 0,
    },
    permissions=frozenset(("read",)),
)


def answer(guards: Any, identity: Identity | None) -> Denied | None:
    return check_guards(check_guard_list(guards), identity)


# -- each guard ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "guard",
    [
        IsAuthenticated(),
        IsAdminUser(),
        IsStaff(),
        HasPermission("read"),
        HasAnyPermission("read"),
        HasAllPermissions("read"),
        Requires("role"),
        Requires("role", "owner"),
        Requires("role", none_of=["banned"]),
        Requires("role", message="owners only"),
        lambda identity: True,
    ],
)
def test_who_is_unknown_gets_401_from_all_but_allow_any(guard: Any) -> None:
    assert answer([guard], None) == UNKNOWN
    assert answer([AllowAny()], None) is None


def test_without_guards_everybody_may() -> None:
    assert answer([], None) is None
    assert answer(None, None) is None


def test_who_is_known_is_authenticated() -> None:
    assert answer([IsAuthenticated()], NOBODY_SPECIAL) is None


def test_staff_and_admins_are_two() -> None:
    staff, admin = Identity(backend="x", is_staff=True), Identity(backend="x", is_superuser=True)
    assert [answer([IsStaff()], who) for who in (staff, admin)] == [None, FORBIDDEN]
    assert [answer([IsAdminUser()], who) for who in (staff, admin)] == [FORBIDDEN, None]


@pytest.mark.parametrize(
    ("guard", "may"),
    [
        (HasPermission("read"), True),
        (HasPermission("write"), False),
        (HasAnyPermission("write", "read"), True),
        (HasAnyPermission("write", "delete"), False),
        (HasAllPermissions("read", "list"), True),
        (HasAllPermissions("read", "write"), False),
    ],
)
def test_permissions(guard: Guard, may: bool) -> None:
    assert answer([guard], READER) == (None if may else FORBIDDEN)
    assert answer([guard], NOBODY_SPECIAL) == FORBIDDEN


@pytest.mark.parametrize(
    ("guard", "may"),
    [
        (Requires("role", "owner"), True),
        (Requires("role", "admin", "owner"), True),
        (Requires("role", "admin"), False),
        (Requires("role", "own"), False),
        (Requires("nothing", "owner"), False),
        (Requires("level", 1), True),
        (Requires("level", 1.0), True),
        (Requires("level", "1"), False),
        (Requires("level", True), False),
        (Requires("share", 0.5), True),
        (Requires("beta", True), True),
        (Requires("beta", 1), False),
        (Requires("old", False), True),
        (Requires("zero", False), False),
        (Requires("tags", "b"), True),
        (Requires("tags", "c", "a"), True),
        (Requires("tags", "c"), False),
        (Requires("role"), True),
        (Requires("beta"), True),
        (Requires("tags"), True),
        (Requires("old"), False),
        (Requires("none"), False),
        (Requires("empty"), False),
        (Requires("zero"), False),
        (Requires("nothing"), False),
        (Requires("tags", all_of=["a", "b"]), True),
        (Requires("tags", all_of=["a", "c"]), False),
        (Requires("role", all_of=["owner"]), True),
        (Requires("role", all_of=["owner", "admin"]), False),
        (Requires("nothing", all_of=["a"]), False),
        (Requires("role", none_of=["banned"]), True),
        (Requires("role", none_of=["banned", "owner"]), False),
        (Requires("tags", none_of=["c"]), True),
        (Requires("tags", none_of=["c", "a"]), False),
        (Requires("nothing", none_of=["a"]), True),
        (Requires("permissions", "read"), True),
        (Requires("permissions", "write"), False),
        (Requires("permissions", all_of=["read"]), True),
        (Requires("permissions", none_of=["read"]), False),
        (Requires("permissions"), True),
    ],
    ids=repr,
)
def test_claims(guard: Guard, may: bool) -> None:
    assert answer([guard], OWNER) == (None if may else FORBIDDEN)


def test_permissions_are_those_of_the_identity_and_not_of_the_claim() -> None:
    claims_more = Identity(backend="jwt", claims={"permissions": ("write",)})
    assert answer([Requires("permissions", "write")], claims_more) == FORBIDDEN
    assert answer([Requires("permissions")], claims_more) == FORBIDDEN


def test_a_message_is_for_who_is_known() -> None:
    guard = Requires("role", "admin", message="admins only")
    assert answer([guard], OWNER) == Denied(403, "admins only")
    assert answer([guard], None) == UNKNOWN


# -- a list of them --------------------------------------------------------------------------------


def test_all_have_to_agree_and_the_first_no_counts() -> None:
    first, second = Requires("a", message="first"), Requires("b", message="second")
    both = Identity(backend="jwt", claims={"a": 1, "b": 1})
    assert answer([first, second], both) is None
    assert answer([IsAuthenticated(), first, second], OWNER) == Denied(403, "first")
    assert answer([second, first], OWNER) == Denied(403, "second")


def test_allow_any_ends_the_list() -> None:
    assert answer([AllowAny(), IsAuthenticated()], None) is None
    assert answer([AllowAny, IsStaff], NOBODY_SPECIAL) is None
    assert answer([IsAuthenticated(), AllowAny()], None) == UNKNOWN
    assert answer([IsStaff(), AllowAny()], NOBODY_SPECIAL) == FORBIDDEN


def test_classes_and_instances_are_the_same() -> None:
    for guard in (AllowAny, IsAuthenticated, IsStaff, IsAdminUser):
        for identity in (None, NOBODY_SPECIAL):
            assert answer([guard], identity) == answer((guard(),), identity)


# -- own guards ------------------------------------------------------------------------------------


class Named:
    """A guard of an app: the client has this name."""

    message = "not you"

    def __init__(self, name: str = "ada") -> None:
        self.name = name

    def check(self, identity: Identity) -> bool:
        return identity.user_id == self.name


def is_ada(identity: Identity) -> bool:
    return identity.user_id == "ada"


@pytest.mark.parametrize("guard", [Named, Named("ada"), is_ada, partial(is_ada), Named().check])
def test_an_own_guard_is_an_object_a_class_or_a_function(guard: Any) -> None:
    assert answer([guard], NOBODY_SPECIAL) is None
    assert answer([guard], None) == UNKNOWN
    refused = answer([guard], OWNER)
    assert refused is not None
    assert refused.status == 403


def test_an_own_guard_may_have_a_message() -> None:
    assert answer([Named("bob")], NOBODY_SPECIAL) == Denied(403, "not you")
    assert answer([is_ada], OWNER) == FORBIDDEN


def test_what_it_raises_goes_on() -> None:
    def broken(identity: Identity) -> bool:
        raise LookupError("no database")

    with pytest.raises(LookupError, match="no database"):
        answer([broken], OWNER)


@pytest.mark.parametrize("value", [None, 1, "yes", ["x"], object()])
def test_neither_true_nor_false_is_no_answer(value: Any) -> None:
    with pytest.raises(TypeError, match="has to say True or False, not"):
        answer([lambda identity: value], OWNER)


class Later:
    async def check(self, identity: Identity) -> bool:
        return False


async def later(identity: Identity) -> bool:
    return False


@pytest.mark.parametrize("guard", [Later, Later(), later])
def test_an_async_guard_would_let_everybody_in_so_it_is_refused(guard: Any) -> None:
    with pytest.raises(TypeError, match=r"is async: a guard cannot wait"):
        check_guard_list([guard])


@pytest.mark.parametrize(
    "wrong", ["IsStaff", 5, None, True, object(), int, str, Identity, [IsStaff()]]
)
def test_what_is_no_guard_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"which is no guard: it has no check\(identity\)"):
        check_guard_list([IsAuthenticated(), wrong])


@pytest.mark.parametrize("wrong", ["IsStaff", IsStaff, IsStaff(), 5, {IsStaff: 1}])
def test_what_is_no_list_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"guards= is a list of guards"):
        check_guard_list(wrong)


@pytest.mark.parametrize("guard", [HasPermission, HasAnyPermission, HasAllPermissions, Requires])
def test_a_class_that_needs_arguments(guard: Any) -> None:
    with pytest.raises(TypeError, match=rf"needs arguments: write {guard.__name__}\(\.\.\.\)"):
        check_guard_list([guard])


# -- declarations that mean nothing ----------------------------------------------------------------


@pytest.mark.parametrize("guard", [HasAnyPermission, HasAllPermissions])
def test_a_guard_of_no_permissions_is_refused(guard: Callable[..., Guard]) -> None:
    with pytest.raises(ValueError, match="needs one"):
        guard()


@pytest.mark.parametrize("wrong", [5, None, "", ["read"]])
def test_permissions_are_texts(wrong: Any) -> None:
    for guard in (HasPermission, HasAnyPermission, HasAllPermissions):
        with pytest.raises(TypeError, match="permissions are texts"):
            guard(wrong)


@pytest.mark.parametrize(
    ("args", "options", "expected"),
    [
        ((), {}, "missing"),
        ((5,), {}, "claim is a text"),
        (("",), {}, "claim is a text"),
        (("a",), {"message": ""}, "message is a text"),
        (("a",), {"message": 5}, "message is a text"),
        (("a", None), {}, "values are str, int, float or bool"),
        (("a", ["b"]), {}, "values are str, int, float or bool"),
        (("a",), {"all_of": "b"}, "all_of is a list"),
        (("a",), {"none_of": 5}, "none_of is a list"),
        (("a",), {"none_of": [None]}, "values are str, int, float or bool"),
    ],
)
def test_a_requirement_of_the_wrong_types(
    args: Any, options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(TypeError, match=expected):
        Requires(*args, **options)


@pytest.mark.parametrize(
    ("args", "options"),
    [
        (("a", "b"), {"all_of": ["c"]}),
        (("a", "b"), {"none_of": ["c"]}),
        (("a",), {"all_of": ["b"], "none_of": ["c"]}),
        (("a",), {"all_of": []}),
        (("a",), {"none_of": ()}),
    ],
)
def test_a_requirement_that_contradicts_itself_or_is_empty(
    args: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"^Requires\(\): "):
        Requires(*args, **options)


def test_guards_say_what_they_are() -> None:
    assert repr(HasAnyPermission("a", "b")) == "HasAnyPermission('a', 'b')"
    assert repr(Requires("a", "b", 1, message="m")) == "Requires('a', 'b', 1, message='m')"
    assert repr(Requires("a", none_of=["b"])) == "Requires('a', none_of=('b',))"
    assert isinstance(IsStaff(), Guard)
