"""Tests of lazy arguments: made when they are awaited, once, or not at all."""

import asyncio

import pytest

from server import ParameterError, provider, useprovider
from tests.server.injection_caller import app_values, call, planner, store

__all__ = ["app_values", "call", "planner", "store"]  # fixtures


async def test_lazy_value_is_made_when_it_is_awaited(call):
    @provider(lazy=True)
    async def user():
        call.log.append("made")
        yield "ann"
        call.log.append("torn down")

    async def view(ws, user):
        call.log.append("view")
        return await user, await user

    assert await call(view) == ("ann", "ann")
    assert call.log == ["view", "made", "torn down"]


async def test_lazy_value_that_nobody_awaits_is_not_made(call):
    @provider(lazy=True)
    def user():
        call.log.append("made")
        yield

    async def view(ws, user): ...

    await call(view)
    assert call.log == []


async def test_lazy_value_may_be_awaited_by_a_provider(call):
    provider(lambda: "ann", name="user", lazy=True)

    @provider
    async def greeting(user):
        return "hello " + await user

    async def view(ws, greeting, user):
        return greeting, await user

    assert await call(view) == ("hello ann", "ann")


async def test_lazy_provider_is_made_at_once_for_useprovider(call):
    provider(lambda: call.log.append("made"), name="audit", lazy=True)

    @useprovider("audit")
    async def view(ws):
        call.log.append("view")

    await call(view)
    assert call.log == ["made", "view"]


async def test_lazy_request_value_is_checked_when_it_is_awaited(call):
    @provider(lazy=True)
    def user(token: int):
        return token

    async def view(ws, user):
        call.log.append("view")
        await user

    with pytest.raises(ParameterError):
        await call(view, "token=x")
    assert call.log == ["view"]


async def test_lazy_value_is_made_once_for_two_tasks(call):
    """Two lazy values share a third; everything is made once, whoever comes first."""
    started, gate = asyncio.Event(), asyncio.Event()

    @provider
    async def session():
        call.log.append("session")
        started.set()
        await gate.wait()
        return object()

    @provider(lazy=True)
    async def user(session):
        call.log.append("user")
        return session

    @provider(lazy=True)
    async def room(session):
        call.log.append("room")
        return session

    async def view(ws, user, room):
        async def await_(lazy):
            return await lazy

        tasks = [asyncio.create_task(await_(lazy)) for lazy in (user, user, room)]
        await started.wait()
        gate.set()
        return await asyncio.gather(*tasks)

    values = await call(view)
    assert len({id(value) for value in values}) == 1
    assert sorted(call.log) == ["room", "session", "user"]


async def test_lazy_value_that_failed_is_tried_again(call):
    @provider(lazy=True)
    def user():
        call.log.append("tried")
        if len(call.log) == 1:
            raise KeyError
        return "ann"

    async def view(ws, user):
        with pytest.raises(KeyError):
            await user
        return await user

    assert await call(view) == "ann"
