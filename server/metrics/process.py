"""Owns what the kernel tells of a process: memory, CPU and files; knows no worker and no metric."""

import os
import resource
from dataclasses import dataclass
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """What a process uses.

    Attributes:
        cpu_s: user and system time since it started.
        max_files: its soft limit.
    """

    resident_bytes: int
    cpu_s: float
    open_files: int
    max_files: int


def process_use(pid: int) -> ProcessUse | None:
    """Return what a process uses, or None if it has ended or this system has no /proc."""
    folder = Path("/proc") / str(pid)
    try:
        # proc(5): the name is in brackets and may hold any character; the fields after it may not.
        fields = (folder / "stat").read_text("latin-1").rpartition(")")[2].split()
        if fields[0] == "Z":  # its parent has not waited for it yet
            return None
        return ProcessUse(
            resident_bytes=int(fields[21]) * _PAGE_BYTES,
            cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS_PER_S,
            open_files=_count_files(folder / "fd"),
            max_files=resource.prlimit(pid, resource.RLIMIT_NOFILE)[0],
        )
    except OSError:
        return None


def _count_files(folder: Path) -> int:
    # Since Linux 6.2 the size is the number, which saves a listing of thousands.
    return folder.stat().st_size or len(os.listdir(folder))
