"""Owns the line that tells how a run is going; knows nothing of how it is measured.

On a terminal it is one line that is written over; elsewhere there is a new line every few seconds.
"""

import shutil
import time
from typing import TextIO

from loadtest.results import Sample, WorkerUse
from loadtest.words import count, duration, milliseconds, percent

EVERY_S = 5.0


def line(sample: Sample, workers: list[WorkerUse], left_s: float | None, failures: int) -> str:
    """Write the state of a run.

    Args:
        workers: of the server, as it was last seen.
        left_s: None if there is no end.
        failures: since the start.
    """
    parts = [f"{count(sample.connections)} of {count(sample.wanted)} connections"]
    parts.append(f"{count(sample.sent_per_s + sample.received_per_s)} messages/s")
    measured = [one for one in (sample.rtt, sample.delivery) if one.count]
    if measured:
        parts.append(f"p99 {milliseconds(max(one.p99_ms for one in measured))}")
    parts.append(f"{count(failures)} failures" if failures != 1 else "1 failure")
    if workers:
        cores = sum(worker.cpu_cores for worker in workers)
        parts.append(f"server {percent(round(cores, 2))}")
    parts.append(f"generator {percent(round(sample.generator_cpu, 2))}")
    if left_s is not None:
        parts.append(f"{duration(max(0.0, left_s))} left")
    return ", ".join(parts)


class Progress:
    """Writes such lines as the output can show them."""

    def __init__(self, output: TextIO, every_s: float = EVERY_S) -> None:
        self._output = output
        self._is_terminal = output.isatty()
        self._every_s = every_s
        self._due = 0.0
        self._is_open = False

    def show(self, at_s: float, text: str) -> None:
        """Show the line of that second of the run, if one is due."""
        text = f"{at_s:5.0f} s  {text}"
        if self._is_terminal:
            width = shutil.get_terminal_size().columns - 1
            self._output.write(f"\r\x1b[K{text[:width]}")
            self._is_open = True
        elif time.monotonic() >= self._due:
            self._due = time.monotonic() + self._every_s
            self._output.write(f"{text}\n")
        self._output.flush()

    def say(self, text: str) -> None:
        """Write a line that stays."""
        self.end()
        self._output.write(f"{text}\n")
        self._output.flush()

    def end(self) -> None:
        """Leave the last line as it stands, so that what follows begins a new one."""
        if self._is_open:
            self._output.write("\n")
            self._output.flush()
        self._is_open = False
