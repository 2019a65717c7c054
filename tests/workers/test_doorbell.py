"""Doorbells over real sockets: what is heard, and what happens when nobody can hear."""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_UNIX, SOCK_DGRAM, socket

import pytest
import uvloop
from hypothesis import example, given
from hypothesis import strategies as st

from workers import doorbell
from workers.doorbell import (
    MAX_BYTES,
    Disconnect,
    Doorbell,
    Message,
    Wake,
    chunks,
    deliver,
    deliver_now,
    ring,
)

KICK = Disconnect(ids=["1-1", "1-2"], code=1008, reason="out")
QUEUE_BOUND = 100_000  # more than net.unix.max_dgram_qlen is anywhere


class Ear:
    """A worker's doorbell and what it has heard."""

    def __init__(self, directory: Path, slot: int) -> None:
        self.bell = Doorbell(directory, slot)
        self.heard: list[Message] = []
        self._news = asyncio.Event()

    def listen(self) -> None:
        self.bell.listen(asyncio.get_running_loop(), self._hear)

    def _hear(self, message: Message) -> None:
        self.heard.append(message)
        self._news.set()

    async def wait_for(self, count: int) -> list[Message]:
        async with asyncio.timeout(10):
            while len(self.heard) < count:
                self._news.clear()
                await self._news.wait()
        return self.heard


@contextmanager
def ear(directory: Path, slot: int = 3) -> Iterator[Ear]:
    one = Ear(directory, slot)
    try:
        yield one
    finally:
        one.bell.close()


def fill(directory: Path, slot: int = 3) -> int:
    """Ring until the queue is full, and return how often that was."""
    for count in range(QUEUE_BOUND):
        if not ring(directory, slot, Wake()):
            return count
    raise AssertionError("the queue has no end")


async def test_a_worker_hears_what_others_send(tmp_path: Path) -> None:
    with ear(tmp_path) as worker:
        worker.listen()
        assert ring(tmp_path, 3, Wake())
        assert await deliver(tmp_path, 3, KICK, timeout_s=1)
        assert await asyncio.to_thread(deliver_now, tmp_path, 3, Wake(), 1)
        assert await worker.wait_for(3) == [Wake(), KICK, Wake()]


async def test_slots_do_not_hear_each_other(tmp_path: Path) -> None:
    with ear(tmp_path, 1) as one, ear(tmp_path, 2) as two:
        one.listen()
        two.listen()
        assert ring(tmp_path, 2, KICK)
        assert ring(tmp_path, 1, Wake())
        assert await two.wait_for(1) == [KICK]
        assert await one.wait_for(1) == [Wake()]


async def test_what_came_before_a_worker_listens_is_kept(tmp_path: Path) -> None:
    with ear(tmp_path) as worker:
        assert ring(tmp_path, 3, KICK)
        worker.listen()
        assert await worker.wait_for(1) == [KICK]


async def test_nobody_listens(tmp_path: Path) -> None:
    """Nothing waits for a worker that is not there, nor for one that was killed."""
    with socket(AF_UNIX, SOCK_DGRAM) as killed:
        killed.bind(str(tmp_path / "slot-4.sock"))
    before = time.monotonic()
    for slot in (3, 4):
        assert not ring(tmp_path, slot, Wake())
        assert not await deliver(tmp_path, slot, Wake(), timeout_s=60)
        assert not deliver_now(tmp_path, slot, Wake(), timeout_s=60)
    assert time.monotonic() - before < 10


async def test_a_worker_takes_the_place_of_one_that_was_killed(tmp_path: Path) -> None:
    with socket(AF_UNIX, SOCK_DGRAM) as killed:
        killed.bind(str(tmp_path / "slot-3.sock"))
    with ear(tmp_path) as worker:
        worker.listen()
        assert ring(tmp_path, 3, Wake())
        assert await worker.wait_for(1) == [Wake()]


async def test_closing_removes_the_socket(tmp_path: Path) -> None:
    with ear(tmp_path) as worker:
        worker.listen()
        assert os.listdir(tmp_path) == ["slot-3.sock"]
        worker.bell.close()
        worker.bell.close()
        assert os.listdir(tmp_path) == []
        assert not ring(tmp_path, 3, Wake())


def test_a_bell_that_was_never_listened_to_can_be_closed(tmp_path: Path) -> None:
    Doorbell(tmp_path, 3).close()
    assert list(tmp_path.iterdir()) == []


def test_a_socket_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Doorbell(tmp_path / "nowhere", 3)


# A full queue


async def test_a_full_queue_is_no_wait_for_who_rings(tmp_path: Path) -> None:
    with ear(tmp_path) as worker:
        count = fill(tmp_path)
        assert count > 0
        assert not ring(tmp_path, 3, KICK)
        worker.listen()
        assert await worker.wait_for(count) == [Wake()] * count
        assert ring(tmp_path, 3, KICK)
        assert (await worker.wait_for(count + 1))[-1] == KICK


async def test_delivering_waits_for_room(tmp_path: Path) -> None:
    with ear(tmp_path) as worker:
        count = fill(tmp_path)
        kick = asyncio.create_task(deliver(tmp_path, 3, KICK, timeout_s=30))
        await asyncio.sleep(0.05)
        assert not kick.done()
        worker.listen()
        assert await kick
        assert (await worker.wait_for(count + 1))[-1] == KICK


async def test_delivering_without_a_loop_waits_for_room(tmp_path: Path) -> None:
    with ear(tmp_path) as worker:
        count = fill(tmp_path)
        result: list[bool] = []
        thread = threading.Thread(
            target=lambda: result.append(deliver_now(tmp_path, 3, KICK, timeout_s=30))
        )
        thread.start()
        await asyncio.sleep(0.05)
        assert result == []
        worker.listen()
        assert (await worker.wait_for(count + 1))[-1] == KICK
        thread.join()
        assert result == [True]


async def test_delivering_gives_up_at_its_bound(tmp_path: Path) -> None:
    """And leaves the loop to others meanwhile."""
    with ear(tmp_path):
        fill(tmp_path)
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0.005)
                turns += 1

        other = asyncio.create_task(count())
        before = time.monotonic()
        assert not await deliver(tmp_path, 3, KICK, timeout_s=0.2)
        assert 0.2 <= time.monotonic() - before < 5
        assert turns > 3
        other.cancel()
        before = time.monotonic()
        assert not deliver_now(tmp_path, 3, KICK, timeout_s=0.2)
        assert 0.2 <= time.monotonic() - before < 5
        assert not await deliver(tmp_path, 3, KICK, timeout_s=0)


async def test_a_flood_leaves_turns_to_the_loop(tmp_path: Path) -> None:
    """A worker hears one message before its connections have their turn."""
    with ear(tmp_path) as worker:
        count = fill(tmp_path)
        assert count > 6
        worker.listen()
        for _ in range(20):
            heard = len(worker.heard)
            await asyncio.sleep(0)
            assert len(worker.heard) - heard <= 1
        assert await worker.wait_for(count) == [Wake()] * count


# Malformed datagrams


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"not msgpack at all",
        b"\x81\xa4type\xa5other",
        b"\x81\xa4type\xaadisconnect",
        b"\x80",
        b"\x00" * (MAX_BYTES + 100),
    ],
    ids=["empty", "reserved byte", "text", "another type", "fields lack", "no type", "too large"],
)
async def test_a_malformed_datagram_is_logged_and_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    with ear(tmp_path) as worker, socket(AF_UNIX, SOCK_DGRAM) as stranger:
        worker.listen()
        stranger.sendto(data, str(tmp_path / "slot-3.sock"))
        assert ring(tmp_path, 3, KICK)
        assert await worker.wait_for(1) == [KICK]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert caplog.messages[0].startswith(f"dropped a datagram of {min(len(data), MAX_BYTES + 1)}")


async def test_a_handler_that_fails_does_not_make_the_worker_deaf(tmp_path: Path) -> None:
    problems: asyncio.Queue[object] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: problems.put_nowait(context["exception"]))

    def handle(message: Message) -> None:
        raise KeyError(message)

    bell = Doorbell(tmp_path, 3)
    try:
        bell.listen(loop, handle)
        for _ in range(3):
            assert ring(tmp_path, 3, Wake())
        async with asyncio.timeout(10):
            found = [await problems.get() for _ in range(3)]
    finally:
        bell.close()
    assert [repr(problem) for problem in found] == ["KeyError(Wake())"] * 3


def test_it_works_on_the_loop_of_the_host(tmp_path: Path) -> None:
    """Which is uvloop."""

    async def hear() -> list[Message]:
        with ear(tmp_path) as worker:
            worker.listen()
            assert ring(tmp_path, 3, Wake())
            assert await deliver(tmp_path, 3, KICK, timeout_s=10)
            return await worker.wait_for(2)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(hear()) == [Wake(), KICK]


# Sizes


@given(st.lists(st.text(min_size=1, max_size=41), max_size=50), st.integers(1, 5))
@example(["x" * 300] * 20, 5)
def test_chunks_lose_nothing_and_fit(ids: list[str], times: int) -> None:
    ids = ids * times * 10
    lists = list(chunks(ids))
    assert [id for chunk in lists for id in chunk] == ids
    for chunk in lists:
        assert chunk
        doorbell._encoded(Disconnect(chunk, 1008, "x" * 123))


@pytest.mark.parametrize("count", [0, 1, 10_000])
async def test_thousands_of_ids_are_few_messages(tmp_path: Path, count: int) -> None:
    ids = [f"{2**63}-{number}" for number in range(count)]
    with ear(tmp_path) as worker:
        worker.listen()
        sent = 0
        for chunk in chunks(ids):
            assert await deliver(tmp_path, 3, Disconnect(chunk, 1008, "x" * 123), timeout_s=10)
            sent += 1
        heard = await worker.wait_for(sent)
    assert sent <= count / 1000 + 1
    assert [id for message in heard for id in ids_of(message)] == ids


def ids_of(message: Message) -> list[str]:
    assert isinstance(message, Disconnect)
    return message.ids


async def test_a_message_that_is_too_large_is_an_error(tmp_path: Path) -> None:
    large = Disconnect(["x" * MAX_BYTES], 1008, "")
    problem = "is too large for a doorbell: use chunks"
    with pytest.raises(ValueError, match=problem):
        ring(tmp_path, 3, large)
    with pytest.raises(ValueError, match=problem):
        await deliver(tmp_path, 3, large, timeout_s=1)
    with pytest.raises(ValueError, match=problem):
        deliver_now(tmp_path, 3, large, timeout_s=1)
