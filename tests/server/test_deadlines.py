"""Deadlines: noticed, moved, forgotten, and one timer that rests when nobody is watched."""

import asyncio

import pytest

from server.deadlines import TICK_S, Deadlines, deadlines


class Thing:
    """Something with a deadline so many seconds from its last sign of life."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.since_s = asyncio.get_running_loop().time()
        self.expired = asyncio.Event()
        self.looks = 0

    def due_s(self) -> float:
        self.looks += 1
        return self.since_s + self.limit_s

    def expire(self) -> None:
        self.expired.set()


async def expiry_s(thing: Thing) -> float:
    """Wait until it has expired, and return how late that was."""
    async with asyncio.timeout(10):
        await thing.expired.wait()
    return asyncio.get_running_loop().time() - thing.since_s - thing.limit_s


async def test_a_deadline_is_noticed_within_a_tick():
    watch, things = Deadlines(), [Thing(limit_s / 10) for limit_s in range(6)]
    for thing in things:
        watch.watch(thing)
    for thing in things:
        assert 0 <= await expiry_s(thing) < TICK_S + 5  # of a busy machine


async def test_one_that_goes_on_is_not_ended():
    watch, thing, other = Deadlines(), Thing(TICK_S), Thing(4 * TICK_S)
    watch.watch(thing)
    watch.watch(other)
    thing.since_s += 1000
    await expiry_s(other)

    assert not thing.expired.is_set()
    assert thing.looks <= 4
    thing.since_s -= 1000
    watch.watch(thing)
    assert await expiry_s(thing) >= 0


async def test_one_that_is_forgotten_is_not_ended():
    watch, thing, other = Deadlines(), Thing(0), Thing(2 * TICK_S)
    watch.watch(thing)
    watch.watch(other)
    watch.forget(thing)
    watch.forget(thing)
    await expiry_s(other)

    assert not thing.expired.is_set()


async def test_a_deadline_that_comes_earlier():
    watch, thing = Deadlines(), Thing(1000)
    watch.watch(thing)
    thing.limit_s = 0
    watch.watch(thing)

    await expiry_s(thing)


async def test_one_timer_and_none_when_nobody_is_watched(monkeypatch: pytest.MonkeyPatch):
    """Whoever is watched meanwhile."""
    loop = asyncio.get_running_loop()
    timers = []
    call_at = loop.call_at

    def noting_call_at(when, callback, *args):
        if getattr(callback, "__name__", "") == "_run":
            timers.append(when)
        return call_at(when, callback, *args)

    monkeypatch.setattr(loop, "call_at", noting_call_at)
    watch, things = Deadlines(), [Thing(TICK_S) for _ in range(1000)]
    for thing in things:
        watch.watch(thing)
    assert len(timers) == 1
    await asyncio.gather(*(expiry_s(thing) for thing in things))

    assert len(timers) <= 3
    assert not watch._is_running
    again = Thing(0)
    watch.watch(again)
    await expiry_s(again)


async def test_a_loop_has_one():
    assert deadlines() is deadlines()
