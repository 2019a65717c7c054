"""Tests of the order in which a view's arguments are made: sharing, overriding, circles."""

import pytest

from server import (
    Depends,
    ProviderDoesNotExist,
    RecursiveProviderError,
    override_provider,
    provider,
    useprovider,
)
from tests.server.injection_caller import app_values, call, planner, store

__all__ = ["app_values", "call", "planner", "store"]  # fixtures


# -- order and sharing -----------------------------------------------------------------------------


async def test_order_is_autouse_then_useprovider_then_parameters(call):
    def declare(name: str, autouse: bool = False) -> None:
        provider(lambda: call.log.append(name), name=name, autouse=autouse)

    for name in ("z", "y", "x", "w", "v"):
        declare(name)
    declare("auto_2", autouse=True)
    declare("auto_1", autouse=True)

    def dependency():
        call.log.append("dependency")

    @useprovider("w", "v")
    @useprovider("x")
    async def view(ws, z, other=Depends(dependency), y=None):
        call.log.append("view")

    await call(view)
    assert call.log == ["auto_2", "auto_1", "w", "v", "x", "z", "dependency", "y", "view"]


async def test_inputs_of_a_provider_are_made_left_to_right_before_it(call):
    provider(lambda: call.log.append("a"), name="a")
    provider(lambda: call.log.append("b"), name="b")

    @provider
    def both(b, a):
        call.log.append("both")

    async def view(ws, both, a): ...

    await call(view)
    assert call.log == ["b", "a", "both"]


async def test_request_value_is_made_once_per_connection(call):
    @provider(autouse=True)
    def session():
        return object()

    @provider
    def user(session):
        return session

    @useprovider("session", "user")
    async def view(ws, session, user):
        return session, user

    first, second = await call(view), await call(view)
    assert first[0] is first[1]
    assert first[0] is not second[0]


async def test_value_none_counts_as_made(call):
    provider(lambda: call.log.append("made"), name="nothing", autouse=True)

    async def view(ws, nothing):
        return nothing

    assert await call(view) is None
    assert call.log == ["made"]


def test_unknown_name_in_useprovider_is_an_error_of_the_plan(call):
    @useprovider("missing")
    async def view(ws): ...

    with pytest.raises(ProviderDoesNotExist, match="'missing'"):
        call.plan(view)


async def test_useprovider_with_an_object_makes_the_provider_in_force(call):
    real = provider(lambda: call.log.append("real"), name="db")

    @useprovider(real)
    async def view(ws): ...

    with override_provider("db", lambda: call.log.append("fake")):
        await call(view)
    await call(view)
    assert call.log == ["fake", "real"]


async def test_new_declaration_is_in_the_next_plan(call):
    @provider
    def outer(inner="default"):
        return inner

    async def view(ws, outer):
        return outer

    assert await call(view) == "default"
    old = call.plan(view)
    provider(lambda: "provided", name="inner")
    assert call.plan(view).version > old.version
    assert await call(view) == "provided"
    with override_provider("inner", "overridden"):
        assert await call(view) == "overridden"
    assert await call(view) == "provided"


# -- circles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "needs",
    [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "a"}, {"a": "b", "b": "b"}],
    ids=["of 1", "of 2", "of 3", "further down"],
)
@pytest.mark.parametrize("lazy", [False, True])
def test_circle_of_providers_is_refused(call, needs, lazy):
    functions = {"a": lambda a: a, "b": lambda b: b, "c": lambda c: c}
    for name, needed in needs.items():
        provider(functions[needed], name=name, lazy=lazy)

    async def view(ws, a): ...

    @useprovider("a")
    async def using(ws): ...

    for function in (view, using):
        with pytest.raises(RecursiveProviderError, match="needs itself"):
            call.plan(function)


def test_diamond_is_no_circle(call):
    provider(lambda: 1, name="base")
    provider(lambda base: base, name="left")
    provider(lambda base: base, name="right")

    async def view(ws, left, right, base): ...

    assert len(call.plan(view).inputs.nodes) == 3
