"""Answers given again: while the first is under way, when they are forgotten, and how many fit."""

import asyncio
import time

import pytest
from starlette.exceptions import HTTPException
from starlette.responses import Response

from server.admin import repeats as module
from server.admin.repeats import Repeats


class Work:
    """What is carried out, as often as it is.

    Attributes:
        gate: it ends when this is set.
    """

    def __init__(self, error: Exception | None = None, size: int = 1) -> None:
        self.times = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._error = error
        self._size = size

    async def __call__(self) -> Response:
        self.times += 1
        await self.gate.wait()
        if self._error is not None:
            raise self._error
        return Response(str(self.times).ljust(self._size))


async def test_the_first_answer_is_given_again() -> None:
    repeats, work = Repeats(), Work()
    first = await repeats.once("a", b"1", work)
    again = await repeats.once("a", b"1", work)
    assert (first.body, again.body, work.times) == (b"1", b"1", 1)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["content-type"] == "application/json"
    assert (await repeats.once("b", b"1", work)).body == b"2"


async def test_it_is_waited_for() -> None:
    repeats, work = Repeats(), Work()
    work.gate.clear()
    asking = [asyncio.create_task(repeats.once("a", b"1", work)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(HTTPException, match="another request"):
        await repeats.once("a", b"2", work)
    work.gate.set()
    assert {(await task).body for task in asking} == {b"1"}
    assert work.times == 1


async def test_a_client_that_goes_away_ends_nothing() -> None:
    repeats, work = Repeats(), Work()
    work.gate.clear()
    gone = asyncio.create_task(repeats.once("a", b"1", work))
    waiting = asyncio.create_task(repeats.once("a", b"1", work))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    work.gate.set()
    assert (await waiting).body == b"1"
    assert (await repeats.once("a", b"1", work)).body == b"1"
    assert work.times == 1


async def test_an_error_is_of_those_that_wait_and_then_forgotten() -> None:
    repeats, work = Repeats(), Work(HTTPException(503, "stalled"))
    work.gate.clear()
    asking = [asyncio.create_task(repeats.once("a", b"1", work)) for _ in range(2)]
    await asyncio.sleep(0)
    work.gate.set()
    for task in asking:
        with pytest.raises(HTTPException, match="stalled"):
            await task
    assert len(repeats) == 0
    assert (await repeats.once("a", b"2", Work())).body == b"1"


async def test_after_a_time_it_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    repeats, work = Repeats(), Work()
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    await repeats.once("a", b"1", work)
    now += module.KEEP_S - 1
    await repeats.once("a", b"1", work)
    await repeats.once("b", b"1", work)
    assert work.times == 2
    now += 1
    await repeats.once("a", b"1", work)
    assert work.times == 3
    assert len(repeats) == 2


async def test_the_oldest_of_too_many_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ENTRIES", 3)
    repeats, work = Repeats(), Work()
    for key in "abcd":
        await repeats.once(key, b"1", work)
    assert len(repeats) == 3
    assert (await repeats.once("d", b"1", work)).body == b"4"
    assert (await repeats.once("a", b"1", work)).body == b"5"


async def test_the_oldest_of_too_much_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 100)
    repeats, work = Repeats(), Work(size=60)
    for key in "abcd":
        await repeats.once(key, b"1", work)
        await asyncio.sleep(0)
    assert len(repeats) == 2
    assert repeats._bytes == 120


async def test_the_first_that_was_pushed_out_while_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its client has its answer; the books are right after it."""
    monkeypatch.setattr(module, "MAX_ENTRIES", 1)
    repeats, slow = Repeats(), Work(size=60)
    slow.gate.clear()
    first = asyncio.create_task(repeats.once("a", b"1", slow))
    await asyncio.sleep(0)
    await repeats.once("b", b"1", Work(size=10))
    slow.gate.set()
    assert len((await first).body) == 60
    await asyncio.sleep(0)
    assert (len(repeats), repeats._bytes) == (1, 10)
