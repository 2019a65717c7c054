"""Tests of the teardown of a view's arguments: order, errors, generators that yield too often."""

import pytest

from server import ProviderDeclarationError, provider
from server.injection import RequestValues
from tests.server.injection_caller import Caller, app_values, call, planner, store
from tests.support.scopes import connection

__all__ = ["app_values", "call", "planner", "store"]  # fixtures


def declare_generators(call: Caller) -> None:
    @provider
    def sync():
        call.log.append("sync begins")
        yield "s"
        call.log.append("sync ends")

    @provider(name="async_")
    async def asynchronous(sync):
        call.log.append("async begins")
        yield sync + "a"
        call.log.append("async ends")


async def test_generators_are_resumed_after_the_view_in_reverse_order(call):
    declare_generators(call)

    async def view(ws, async_):
        call.log.append("view")
        return async_

    assert await call(view) == "sa"
    assert call.log == ["sync begins", "async begins", "view", "async ends", "sync ends"]


async def test_exception_of_the_view_is_not_thrown_into_generators(call):
    declare_generators(call)

    async def view(ws, async_):
        raise KeyError

    with pytest.raises(KeyError):
        await call(view)
    assert call.log[2:] == ["async ends", "sync ends"]


async def test_providers_made_so_far_are_torn_down_when_one_fails(call):
    declare_generators(call)

    @provider
    def failing():
        raise KeyError

    async def view(ws, async_, failing):
        call.log.append("view")

    with pytest.raises(KeyError):
        await call(view)
    assert call.log[2:] == ["async ends", "sync ends"]


async def test_error_in_a_teardown_does_not_stop_the_others(call):
    declare_generators(call)

    @provider
    def bad_sync(sync):
        yield
        raise KeyError("sync")

    @provider
    async def bad_async(bad_sync):
        yield
        raise KeyError("async")

    async def view(ws, async_, bad_async): ...

    with pytest.raises(KeyError, match="sync"):
        await call(view)
    assert call.log[2:] == ["async ends", "sync ends"]


async def test_teardown_runs_once(call, planner, app_values):
    declare_generators(call)

    async def view(ws, async_): ...

    values = RequestValues(connection(), connection(), {})
    await values.arguments(planner.plan(view, ()), app_values)
    await values.close()
    await values.close()
    assert call.log.count("sync ends") == call.log.count("async ends") == 1


async def test_generator_that_yields_twice_is_an_error_and_is_closed(call):
    @provider
    def sync():
        try:
            yield 1
            yield 2
        finally:
            call.log.append("sync closed")

    @provider(name="async_")
    async def asynchronous():
        try:
            yield 1
            yield 2
        finally:
            call.log.append("async closed")

    async def one(ws, sync): ...

    async def other(ws, async_): ...

    with pytest.raises(ProviderDeclarationError, match="'sync' must yield exactly once"):
        await call(one)
    with pytest.raises(ProviderDeclarationError, match="'async_' must yield exactly once"):
        await call(other)
    assert call.log == ["sync closed", "async closed"]


async def test_generator_that_does_not_yield_is_an_error(call):
    @provider
    def sync():
        if call.log:
            yield

    @provider(name="async_")
    async def asynchronous():
        if call.log:
            yield

    async def one(ws, sync): ...

    async def other(ws, async_): ...

    with pytest.raises(ProviderDeclarationError, match="'sync' must yield exactly once"):
        await call(one)
    with pytest.raises(ProviderDeclarationError, match="'async_' must yield exactly once"):
        await call(other)


@pytest.mark.parametrize("error", [StopIteration, StopAsyncIteration])
async def test_iteration_error_of_a_plain_provider_is_its_own(call, error):
    """A provider that runs `next()` on an empty iterator is not told to yield."""

    @provider
    async def empty():
        raise error

    async def view(ws, empty): ...

    with pytest.raises((RuntimeError, StopAsyncIteration)):
        await call(view)
