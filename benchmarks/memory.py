"""Owns memory: what a process tree holds, each shared page counted once among its sharers."""

from pathlib import Path

from benchmarks import cpu


def tree_kb(root: int) -> int:
    """Proportional set size in KB of `root` and of all that it has started."""
    return sum(_pss_kb(process.pid) for process in cpu.tree(root))


def _pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
