"""Owns the lock under which the journal and the room directory are written; knows neither.

A record lock (fcntl(2)): the kernel takes it from a process that dies. Its file is its own, because
closing any descriptor of a file drops the process's locks on it. It locks out other processes, not
other threads or tasks of this one, so nothing may be awaited while it is held.
"""

import asyncio
import fcntl
import os
import struct
import time
from pathlib import Path

LOCK_NAME = "journal.lock"
TIMEOUT_S = 5.0
_HASTY_TRIES = 20  # a holder is done within some ten microseconds, unless it was put aside
_PAUSE_S = 0.0005
_TAKE = fcntl.LOCK_EX | fcntl.LOCK_NB
_FLOCK = struct.Struct("@hhqqi")  # struct flock of 64-bit Linux


class JournalStalled(Exception):
    """Another process has held the lock for so long that it must have been stopped."""

    def __init__(self, holder: int | None) -> None:
        who = "a process that has just ended" if holder is None else f"process {holder}"
        super().__init__(
            f"the journal has been locked by {who} for {TIMEOUT_S:g} s: is it stopped"
            " (SIGSTOP, a debugger)? Let it go on, or end it"
        )


class JournalLock:
    """The lock of one segment; without a directory (private memory) there is nobody to lock out.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, directory: Path | None) -> None:
        self._file = -1
        if directory is not None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(directory / LOCK_NAME, flags, 0o600)

    def try_acquire(self) -> bool:
        """Take the lock if it is free."""
        if self._file >= 0:
            try:
                fcntl.lockf(self._file, _TAKE)
            except (BlockingIOError, PermissionError):
                return False
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._file >= 0:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    async def acquire(self) -> None:
        """Take the lock; while it is taken the loop goes on.

        Raises:
            JournalStalled: it was not free for 5 s.
        """
        deadline = time.monotonic() + TIMEOUT_S
        tries = 0
        while not self.try_acquire():
            if time.monotonic() >= deadline:
                raise JournalStalled(self.holder())
            await asyncio.sleep(0 if tries < _HASTY_TRIES else _PAUSE_S)
            tries += 1

    def acquire_now(self) -> None:
        """Do what `acquire` does in a process without a loop, which is held up meanwhile."""
        deadline = time.monotonic() + TIMEOUT_S
        while not self.try_acquire():
            if time.monotonic() >= deadline:
                raise JournalStalled(self.holder())
            time.sleep(_PAUSE_S)

    def holder(self) -> int | None:
        """Return the process that has the lock; None if no other has."""
        wanted = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(self._file, fcntl.F_GETLK, wanted))
        return None if kind == fcntl.F_UNLCK else pid

    def close(self) -> None:
        """Let go of the file; may be called again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
