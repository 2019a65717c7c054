"""Owns CPU time and cores: what a process tree has used, and where a process may run.

Linux only: the figures come from /proc. Nothing outside the given tree is counted.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


class TreeChanged(Exception):
    """A process of the tree ended between two readings, so their difference means nothing."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process for as long as it lives: the start time tells a reused pid apart."""

    pid: int
    started: int


@dataclass(frozen=True, slots=True)
class _Stat:
    process: Process
    parent: int
    session: int
    seconds: float


def _read_stat(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in field 2 may hold spaces and brackets: the fields are counted from its end.
    fields = text[text.rindex(")") + 2 :].split()
    ticks = int(fields[11]) + int(fields[12])
    process = Process(pid, int(fields[19]))
    return _Stat(process, int(fields[1]), int(fields[3]), ticks / _TICKS_PER_SECOND)


def tree(root: int) -> dict[Process, float]:
    """CPU seconds (user and system) so far of `root` and of all that it has started.

    That is its descendants, and what is left of the session it leads if their parent has ended.
    """
    stats = [_read_stat(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdigit()]
    children = defaultdict(list)
    for stat in stats:
        if stat:
            children[stat.parent].append(stat)
    found: dict[Process, float] = {}
    waiting = [stat for stat in stats if stat and root in (stat.process.pid, stat.session)]
    while waiting:
        stat = waiting.pop()
        if stat.process not in found:
            found[stat.process] = stat.seconds
            waiting.extend(children[stat.process.pid])
    return found


def spent(before: dict[Process, float], after: dict[Process, float]) -> float:
    """CPU seconds between two readings of one tree; a process born in between counts in full."""
    gone = before.keys() - after.keys()
    if gone or not before:
        pids = ", ".join(str(process.pid) for process in gone) or "all"
        raise TreeChanged(f"server process ended while measured (pid {pids})")
    return sum(seconds - before.get(process, 0.0) for process, seconds in after.items())


def machine() -> float:
    """CPU seconds so far of all processes of the machine, and what its host took from it."""
    user, nice, system, _, _, _, _, stolen = (_PROC / "stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, stolen))) / _TICKS_PER_SECOND


def is_alive(process: Process) -> bool:
    """Whether exactly this process still exists (a reused pid is another process)."""
    stat = _read_stat(process.pid)
    return stat is not None and stat.process == process


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of the load generator and the core of the server; None leaves both unpinned."""

    generator: int | None
    server: int | None

    @classmethod
    def available(cls) -> "Cores":
        """The first two cores this process may use, if there are two."""
        cores = sorted(os.sched_getaffinity(0))
        return cls(cores[0], cores[1]) if len(cores) > 1 else cls(None, None)

    @property
    def pinned(self) -> bool:
        """Whether server and generator have a core each."""
        return self.server is not None


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Run the body on one core: a process started inside inherits it and keeps it."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
