"""Tests of values of scope "app": shared by connections, torn down at the end, made anew."""

import asyncio

import pytest

from server import Depends, ProviderDeclarationError, override_provider, provider
from tests.server.injection_caller import app_values, call, planner, store

__all__ = ["app_values", "call", "planner", "store"]  # fixtures


async def test_app_value_is_made_once_and_shared(call):
    @provider(scope="app")
    def clients():
        call.log.append("made")
        return set()

    async def view(ws, clients):
        return clients

    async def other(ws, clients):
        return clients

    assert await call(view) is await call(other)
    assert await call(view, path={"item": "1"}) is await call(view)
    assert call.log == ["made"]


async def test_app_value_is_made_once_under_concurrency(call):
    started, gate = asyncio.Event(), asyncio.Event()

    @provider(scope="app")
    async def engine():
        call.log.append("engine")
        started.set()
        await gate.wait()
        return object()

    @provider(scope="app")
    async def pool(engine):
        call.log.append("pool")
        return engine

    async def view(ws, engine):
        return engine

    async def other(ws, pool):
        return pool

    tasks = [asyncio.create_task(call(function)) for function in (view, other) * 5]
    await started.wait()
    gate.set()
    assert len({id(value) for value in await asyncio.gather(*tasks)}) == 1
    assert call.log == ["engine", "pool"]


async def test_app_value_that_failed_is_tried_again(call):
    @provider(scope="app")
    def engine():
        call.log.append("tried")
        if len(call.log) == 1:
            raise KeyError
        return "engine"

    async def view(ws, engine):
        return engine

    with pytest.raises(KeyError):
        await call(view)
    assert await call(view) == "engine"


async def test_app_values_are_torn_down_at_the_end_in_reverse_order(call):
    @provider(scope="app")
    async def engine():
        yield "engine"
        call.log.append("engine ends")

    @provider(scope="app")
    def pool(engine):
        yield engine
        call.log.append("pool ends")

    @provider
    def session(pool):
        yield pool
        call.log.append("session ends")

    async def view(ws, session):
        return session

    assert await call(view) == "engine"
    assert call.log == ["session ends"]
    await call.app_values.close()
    assert call.log == ["session ends", "pool ends", "engine ends"]


async def test_error_in_the_teardown_of_one_app_value_does_not_stop_the_others(call):
    @provider(scope="app")
    def engine():
        yield
        call.log.append("engine ends")

    @provider(scope="app")
    def pool(engine):
        yield
        raise KeyError

    async def view(ws, pool): ...

    await call(view)
    with pytest.raises(KeyError):
        await call.app_values.close()
    assert call.log == ["engine ends"]


async def test_app_values_are_made_anew_after_their_end(call):
    @provider(scope="app")
    def state():
        return object()

    async def view(ws, state):
        return state

    first = await call(view)
    await call.app_values.close()
    assert await call(view) is not first


def test_app_values_may_be_used_in_one_event_loop_after_another(call):
    """Two tasks wait for one value in each loop, which binds asyncio's locks to the loop."""

    async def use() -> None:
        started, gate = asyncio.Event(), asyncio.Event()

        @provider(scope="app")
        async def engine():
            started.set()
            await gate.wait()

        async def view(ws, engine): ...

        tasks = [asyncio.create_task(call(view)) for _ in range(3)]
        await started.wait()
        gate.set()
        await asyncio.gather(*tasks)
        await call.app_values.close()

    asyncio.run(use())
    asyncio.run(use())


@pytest.mark.parametrize(
    "function",
    [
        lambda session: session,
        lambda ws: ws,
        lambda request: request,
        lambda token: token,
        lambda token="": token,
        lambda value=Depends(lambda: 1): value,
        lambda lazily: lazily,
    ],
    ids=["provider", "ws", "request", "query", "optional query", "Depends", "lazy provider"],
)
def test_app_provider_cannot_need_a_value_of_one_connection(call, function):
    provider(lambda: 1, name="session")
    provider(lambda: 1, name="lazily", lazy=True)
    provider(function, name="engine", scope="app")

    async def view(ws, engine): ...

    for _ in range(2):
        with pytest.raises(ProviderDeclarationError, match="'engine' of scope 'app' cannot need"):
            call.plan(view)


def test_app_provider_further_down_is_checked_too(call):
    provider(lambda token: token, name="engine", scope="app")
    provider(lambda engine: engine, name="session")

    async def view(ws, session): ...

    with pytest.raises(ProviderDeclarationError, match="'engine' of scope 'app'"):
        call.plan(view)


async def test_app_provider_may_need_app_providers(call):
    provider(lambda: 1, name="a", scope="app")
    provider(lambda a: a + 1, name="b", scope="app")

    async def view(ws, b):
        return b

    assert await call(view) == 2


async def test_override_of_an_app_provider_has_a_value_of_its_own(call):
    provider(lambda: "real", name="db", scope="app")

    async def view(ws, db):
        return db

    assert await call(view) == "real"
    with override_provider("db", "fake"):
        assert await call(view) == "fake"
    assert await call(view) == "real"
