"""Owns the look at this machine as a whole: its free memory, and what other programs use of it.

It reads /proc; where there is none, nothing is known.
"""

import os
from pathlib import Path

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_IDLE, _IOWAIT, _GUEST = 3, 4, 8  # places in the first line of /proc/stat, see proc(5)
_PARENT, _OWN_TIMES = 1, slice(11, 15)  # in /proc/PID/stat, behind the name


class Surroundings:
    """This machine, from now on.

    Attributes:
        least_free: the least share of its memory that was free whenever it was looked at.
    """

    def __init__(self, proc: Path = _PROC) -> None:
        self.least_free = 1.0
        self._proc = proc
        self._before = self._times()

    def look(self) -> None:
        """Look at the memory."""
        self.least_free = min(self.least_free, _free_share(self._proc / "meminfo"))

    def others_cores(self) -> float:
        """Return how many cores programs have used that are neither we nor started by us."""
        before, now = self._before, self._times()
        if before is None or now is None:
            return 0.0
        passed_s = (now[0] - before[0]) / (os.cpu_count() or 1)
        others_s = (now[1] - before[1]) - (now[2] - before[2])
        return max(0.0, others_s / passed_s) if passed_s > 0 else 0.0

    def _times(self) -> tuple[float, float, float] | None:
        """Return the seconds of all cores: in all, busy, and busy for us."""
        try:
            words = (self._proc / "stat").read_text().split("\n", 1)[0].split()[1:]
        except OSError:
            return None
        ticks = [int(word) for word in words[:_GUEST]]  # guests are in the others already
        idle = ticks[_IDLE] + ticks[_IOWAIT]
        total = sum(ticks)
        return total / _TICKS_PER_S, (total - idle) / _TICKS_PER_S, self._own_s()

    def _own_s(self) -> float:
        """Return what we have used, our children that have ended, and those that run."""
        parents: dict[int, int] = {}
        used: dict[int, int] = {}
        for entry in self._proc.iterdir():
            if entry.name.isdigit() and (fields := _fields(entry)):
                parents[int(entry.name)] = int(fields[_PARENT])
                used[int(entry.name)] = sum(map(int, fields[_OWN_TIMES]))
        return sum(ticks for pid, ticks in used.items() if _is_ours(pid, parents)) / _TICKS_PER_S


def _fields(entry: Path) -> list[str]:
    try:
        return (entry / "stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []  # it has ended meanwhile


def _is_ours(pid: int, parents: dict[int, int]) -> bool:
    while pid and pid != os.getpid():
        pid = parents.get(pid, 0)
    return pid != 0


def _free_share(file: Path) -> float:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 1.0
    amounts = {name: int(rest.split()[0]) for name, _, rest in (x.partition(":") for x in lines)}
    return amounts["MemAvailable"] / amounts["MemTotal"] if "MemAvailable" in amounts else 1.0
