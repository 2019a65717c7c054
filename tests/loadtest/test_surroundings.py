"""Owns the proof that what others use of the machine is told apart from what we use."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loadtest.surroundings import Surroundings

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def _write(
    proc: Path, busy_s: float, idle_s: float, processes: dict[int, tuple[int, float]]
) -> None:
    """Write a machine: its times, and of each process its parent and its time."""
    busy, idle = int(busy_s * _TICKS_PER_S), int(idle_s * _TICKS_PER_S)
    (proc / "stat").write_text(f"cpu {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 2 3\n")
    for pid, (parent, used_s) in processes.items():
        (proc / str(pid)).mkdir(exist_ok=True)
        times = f"{int(used_s * _TICKS_PER_S)} 0 0 0"
        text = f"{pid} (a (very) odd name) S {parent} 0 0 0 0 0 0 0 0 0 {times} 0 0 0"
        (proc / str(pid) / "stat").write_text(text)


def test_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """We and all that descends from us are not among them."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    us = os.getpid()
    _write(tmp_path, 100, 100, {us: (1, 5), us + 1: (us, 5), us + 2: (us + 1, 5), 1: (0, 50)})
    machine = Surroundings(tmp_path)
    _write(tmp_path, 115, 105, {us: (1, 7), us + 1: (us, 6), us + 2: (us + 1, 7), 1: (0, 60)})

    assert machine.others_cores() == pytest.approx(1.0)  # of 15 s in 10 s, 5 s are ours


def test_this_machine():
    """A child of ours is no other, whether it runs or has ended."""
    machine = Surroundings()
    burn = "import time; s = time.process_time()\nwhile time.process_time() < s + 0.3: pass"
    started_s = time.monotonic()
    subprocess.run([sys.executable, "-c", burn], check=True)
    passed_s = time.monotonic() - started_s
    own_cores = 0.3 / passed_s

    assert 0 <= machine.others_cores() <= (os.cpu_count() or 1) - own_cores + 0.3


def test_memory(tmp_path: Path):
    """The least that ever was free counts."""
    machine = Surroundings(tmp_path)
    machine.look()
    assert machine.least_free == 1.0
    for available in (80, 3, 90):
        text = f"MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable: {available} kB\n"
        (tmp_path / "meminfo").write_text(text)
        machine.look()
    assert machine.least_free == 0.03


def test_no_proc(tmp_path: Path):
    """Nothing is known, and nothing is claimed."""
    machine = Surroundings(tmp_path / "none")
    machine.look()
    assert (machine.least_free, machine.others_cores()) == (1.0, 0.0)
