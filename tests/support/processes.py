"""Owns what tests see of running processes: children, titles, memory, connections; Linux only."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T | None], timeout_s: float = 10.0, *, message: str = "in time"
) -> T:
    """Poll until `condition` returns something true, and return that."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"it did not happen: {message}"
        time.sleep(0.01)
    return result


def children(pid: int) -> list[int]:
    """Return the processes that `pid` has started and that live, oldest first."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return sorted(child for child in map(int, text.split()) if is_alive(child))


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended but was not waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def title(pid: int) -> str:
    """Return what `ps` shows."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()


def own_bytes(pid: int) -> int:
    """Return the resident memory that is the process's own: not the segment, not files."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no memory")


def is_held(server_port: int, client_port: int) -> bool:
    """Whether the server still has the descriptor of its end of a connection on 127.0.0.1."""
    ends = [f"0100007F:{server_port:04X}", f"0100007F:{client_port:04X}"]
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        columns = line.split()
        if columns[1:3] == ends:
            return columns[9] != "0"  # the inode; none when only the kernel still has it
    return False
