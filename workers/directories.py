"""Owns the directories of servers: their names, and which of them have a living supervisor.

Knows of a segment only its first words, which say who made it.
"""

import os
import re
import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

from workers.layout import HEADER, MAGIC, places

FILE_NAME = "segment"
DEFAULT_BASE = Path("/dev/shm") if os.path.isdir("/dev/shm") else Path(tempfile.gettempdir())

_START = struct.Struct(f"{places(HEADER)['pid_namespace'] + 1}Q")


def directory_for(base: Path, pid: int | None = None) -> Path:
    """Return the directory of the server whose supervisor is `pid`, or this process."""
    return base / f"switchboard-{os.geteuid()}-{os.getpid() if pid is None else pid}"


def socket_path(directory: Path, slot: int) -> Path:
    """Return where the doorbell of a slot is."""
    return directory / f"slot-{slot}.sock"


def find_running(base: Path = DEFAULT_BASE) -> list[Path]:
    """Return the segments of this user whose supervisor is alive."""
    return [path / FILE_NAME for path in _directories(base) if _is_served(path)]


def remove_stale(base: Path = DEFAULT_BASE) -> list[Path]:
    """Remove the directories of this user whose supervisor is dead, and return them.

    One whose supervisor may be alive is left alone, even if it is damaged.
    """
    stale = [path for path in _directories(base) if _is_served(path) is False]
    for path in stale:
        shutil.rmtree(path, ignore_errors=True)  # another start may be removing it too
    return stale


def _directories(base: Path) -> Iterator[Path]:
    """Yield the directories that this user's servers made; a link is none."""
    name = re.compile(rf"switchboard-{os.geteuid()}-\d+")
    try:
        entries = list(os.scandir(base))
    except OSError:
        return
    for entry in sorted(entries, key=lambda entry: entry.name):
        try:
            is_ours = (
                name.fullmatch(entry.name) is not None
                and entry.is_dir(follow_symlinks=False)
                and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
            )
        except OSError:  # gone meanwhile
            continue
        if is_ours:
            yield Path(entry)


def _is_served(directory: Path) -> bool | None:
    """Whether the supervisor is alive; None if that cannot be told from here."""
    try:
        with (directory / FILE_NAME).open("rb") as file:
            magic, _, pid, started, namespace = _START.unpack(file.read(_START.size))
    except (OSError, struct.error):
        magic = 0
    if magic != MAGIC:  # being made, or what a failed start left
        pid = int(directory.name.rpartition("-")[2])
        return False if start_time(pid) is None else None
    if namespace != pid_namespace():
        # Of another container with the same /dev/shm: its pid means nothing here.
        return None
    return bool(start_time(pid) == started)


def start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None if it does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()  # proc(5): the name may hold anything
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def pid_namespace() -> int:
    """Return what tells this process's pids from those of other containers; 0 if unknown."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return 0
