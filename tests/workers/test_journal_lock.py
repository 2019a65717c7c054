"""The lock between processes: it excludes, dies with its holder, and is not waited for in vain."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.workers.memory_support import process
from workers import journal_lock
from workers.journal_lock import JournalLock, JournalStalled

HOLDER = """\
import sys
from pathlib import Path
from workers.journal_lock import JournalLock
lock = JournalLock(Path(sys.argv[1]))
lock.acquire_now()
print("held", flush=True)
sys.stdin.readline()
lock.release()
print("released", flush=True)
sys.stdin.readline()
"""
COUNTER = """\
import sys
from pathlib import Path
from workers.journal_lock import JournalLock
lock, file = JournalLock(Path(sys.argv[1])), Path(sys.argv[1]) / "number"
for _ in range(300):
    lock.acquire_now()
    number = int(file.read_text())
    file.write_text(f"{number + 1}")
    lock.release()
"""


@contextmanager
def holder(directory: Path) -> Iterator[subprocess.Popen[str]]:
    with process("-c", HOLDER, str(directory)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        yield child


def say(child: subprocess.Popen[str]) -> str:
    """Have the holder take its next step."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("\n")
    child.stdin.flush()
    return child.stdout.readline()


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[JournalLock]:
    one = JournalLock(tmp_path)
    yield one
    one.close()
    one.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_two_processes_exclude_each_other(lock: JournalLock, tmp_path: Path) -> None:
    with holder(tmp_path) as child:
        assert not lock.try_acquire()
        assert lock.holder() == child.pid
        assert say(child) == "released\n"
        assert lock.holder() is None
        assert lock.try_acquire()
        lock.release()


def test_what_is_done_under_it_is_not_mixed(lock: JournalLock, tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    with (
        process("-c", COUNTER, str(tmp_path)) as one,
        process("-c", COUNTER, str(tmp_path)) as other,
    ):
        for child in (one, other):
            output, _ = child.communicate(timeout=40)
            assert (child.returncode, output) == (0, "")
    assert (tmp_path / "number").read_text() == "600"


def test_it_dies_with_its_holder(lock: JournalLock, tmp_path: Path) -> None:
    with holder(tmp_path) as child:
        assert not lock.try_acquire()
        child.kill()
        child.wait()
        assert lock.try_acquire()
        lock.release()


def test_closing_another_file_of_the_segment_does_not_drop_it(
    lock: JournalLock, tmp_path: Path
) -> None:
    """Closing its own file would, whoever opened that: so nobody else does."""
    (tmp_path / "segment").touch()
    assert lock.try_acquire()
    os.close(os.open(tmp_path / "segment", os.O_RDWR))
    with process("-c", HOLDER, str(tmp_path)) as child:
        other = JournalLock(tmp_path / ".")
        until(lambda: is_waiting(child))
        lock.release()
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        other.close()


def is_waiting(child: subprocess.Popen[str]) -> bool:
    """Whether a process has the lock's file open, and so has begun to try."""
    try:
        files = {os.readlink(file) for file in Path(f"/proc/{child.pid}/fd").iterdir()}
    except OSError:  # one was closed meanwhile
        return False
    return any(file.endswith(journal_lock.LOCK_NAME) for file in files)


async def test_a_stopped_holder_does_not_stop_the_loop(
    lock: JournalLock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_lock, "TIMEOUT_S", 0.5)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    with holder(tmp_path) as child:
        os.kill(child.pid, signal.SIGSTOP)
        counting = asyncio.create_task(count())
        began = time.monotonic()
        with pytest.raises(JournalStalled) as caught:
            await lock.acquire()
        assert time.monotonic() - began >= 0.5
        counting.cancel()
        assert turns > 50
        assert str(caught.value) == (
            f"the journal has been locked by process {child.pid} for 0.5 s: is it stopped"
            " (SIGSTOP, a debugger)? Let it go on, or end it"
        )
        with pytest.raises(JournalStalled, match=f"by process {child.pid} for"):
            lock.acquire_now()
        os.kill(child.pid, signal.SIGCONT)
        assert say(child) == "released\n"
        await lock.acquire()
        lock.release()


async def test_it_is_had_as_soon_as_it_is_free(lock: JournalLock, tmp_path: Path) -> None:
    with holder(tmp_path) as child:
        waiting = asyncio.create_task(lock.acquire())
        for _ in range(100):
            await asyncio.sleep(0)
        assert not waiting.done()
        assert await asyncio.to_thread(say, child) == "released\n"
        async with asyncio.timeout(10):
            await waiting
        lock.release()


async def test_a_task_that_is_cancelled_while_it_waits_does_not_have_it(
    lock: JournalLock, tmp_path: Path
) -> None:
    with holder(tmp_path) as child:
        waiting = asyncio.create_task(lock.acquire())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert say(child) == "released\n"
        assert lock.holder() is None
    with holder(tmp_path):  # so another process has it at once
        assert not lock.try_acquire()


def test_private_memory_has_nobody_to_lock_out() -> None:
    lock = JournalLock(None)
    assert lock.try_acquire()
    assert lock.try_acquire()
    lock.release()
    lock.close()
