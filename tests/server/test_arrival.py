"""What a task that waits for an `Arrival` sees: it is a future to asyncio, but wakes at once."""

import asyncio
from contextlib import suppress
from contextvars import ContextVar

import pytest

from server.arrival import Arrival


@pytest.fixture
async def arrival() -> Arrival:
    return Arrival(asyncio.get_running_loop())


async def settled(turns: int = 3) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


async def woken(arrival: Arrival) -> str:
    await arrival
    return "woken"


def state_of(arrival: Arrival) -> tuple[str, str]:
    return "awaited" * arrival.is_awaited, "due" * arrival.is_due


async def test_a_task_goes_on_in_the_turn_that_wakes_it(arrival: Arrival) -> None:
    seen: list[str] = []

    async def wait() -> None:
        for number in range(3):
            await arrival
            seen.append(str(number))

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    for _ in range(3):
        loop.call_soon(arrival.wake)
        loop.call_soon(seen.append, "next")
        await settled()
    await task
    assert seen == ["0", "next", "1", "next", "2", "next"]


async def test_who_closes_wakes_in_another_turn(arrival: Arrival) -> None:
    task = asyncio.create_task(woken(arrival))
    await asyncio.sleep(0)
    assert state_of(arrival) == ("awaited", "")
    arrival.wake_soon()
    arrival.wake_soon()
    assert state_of(arrival) == ("", "due")
    arrival.wake()  # it is due anyway
    assert not task.done()
    assert await task == "woken"
    assert state_of(arrival) == ("", "")


async def test_a_wake_that_nobody_waits_for_is_forgotten(arrival: Arrival) -> None:
    arrival.wake()
    arrival.wake_soon()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await arrival


async def test_a_cancelled_task_ends_and_the_next_can_wait(arrival: Arrival) -> None:
    first = asyncio.create_task(woken(arrival))
    await asyncio.sleep(0)
    first.cancel("enough")
    first.cancel("again")
    arrival.wake()  # comes too late
    with pytest.raises(asyncio.CancelledError) as caught:
        await first
    assert caught.value.args == ("enough",)
    second = asyncio.create_task(woken(arrival))
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(arrival.wake)
    assert await second == "woken"


async def test_a_task_that_was_woken_is_cancelled_at_its_next_wait(arrival: Arrival) -> None:
    steps: list[str] = []

    async def wait() -> None:
        await arrival
        steps.append("woken")
        await asyncio.sleep(0)
        steps.append("went on")

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    arrival.wake_soon()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert steps == []  # as with asyncio's own future

    future = asyncio.get_running_loop().create_future()
    own = asyncio.create_task(wait_for_it(future, steps))
    await asyncio.sleep(0)
    future.set_result(None)
    own.cancel()
    with suppress(asyncio.CancelledError):
        await own
    assert own.cancelled()
    assert steps == []


async def wait_for_it(future: "asyncio.Future[None]", steps: list[str]) -> None:
    await future
    steps.append("woken")


async def test_a_timeout_is_one_and_what_comes_later_arrives(arrival: Arrival) -> None:
    async def wait() -> list[str]:
        seen = []
        for timeout_s in (0.01, None):
            try:
                async with asyncio.timeout(timeout_s):
                    await arrival
                seen.append("woken")
            except TimeoutError:
                seen.append("timeout")
        return seen

    task = asyncio.create_task(wait())
    await asyncio.sleep(0.05)
    asyncio.get_running_loop().call_soon(arrival.wake)
    assert await task == ["timeout", "woken"]


async def test_a_task_keeps_its_context(arrival: Arrival) -> None:
    name = ContextVar("name", default="nobody")

    async def wait() -> str:
        name.set("task")
        await arrival
        return name.get()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    name.set("waker")
    asyncio.get_running_loop().call_soon(arrival.wake)
    assert await task == "task"
    assert name.get() == "waker"


async def test_what_a_task_raises_is_its_own(arrival: Arrival) -> None:
    async def wait() -> None:
        await arrival
        raise ValueError("mine")

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    asyncio.get_running_loop().call_soon(arrival.wake)
    with pytest.raises(ValueError, match="mine"):
        await task
