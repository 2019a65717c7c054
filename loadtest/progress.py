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
    """Write the state of a run in full.

    Args:
        workers: of the server, as it was last seen.
        left_s: None if there is no end.
        failures: since the start.
    """
    parts = [f"{count(sample.connections)} of {count(sample.wanted)} connections"]
    parts.append(f"{_messages(sample)} messages/s")
    parts += _p99(sample)
    parts.append(f"{count(failures)} failures" if failures != 1 else "1 failure")
    if workers:
        parts.append(f"server {_server(workers)}")
    parts.append(f"generator {percent(round(sample.generator_cpu, 2))}")
    if left_s is not None:
        parts.append(f"{duration(max(0.0, left_s))} left")
    return f"{sample.at_s:5.0f} s  {', '.join(parts)}"


def short_line(
    sample: Sample, workers: list[WorkerUse], left_s: float | None, failures: int
) -> str:
    """Write the same so that it fits on a terminal; of processors the server's comes first."""
    when = f"{sample.at_s:.0f} s" if left_s is None else f"{duration(max(0.0, left_s))} left"
    parts = [f"{count(sample.connections)}/{count(sample.wanted)} open", f"{_messages(sample)}/s"]
    parts += [*_p99(sample), f"{count(failures)} failed"]
    used = [*([_server(workers)] if workers else []), percent(round(sample.generator_cpu, 2))]
    return f"{when}: {', '.join(parts)}, CPU {' + '.join(used)}"


def _messages(sample: Sample) -> str:
    return count(sample.sent_per_s + sample.received_per_s)


def _p99(sample: Sample) -> list[str]:
    measured = [one for one in (sample.rtt, sample.delivery) if one.count]
    return [f"p99 {milliseconds(max(one.p99_ms for one in measured))}"] if measured else []


def _server(workers: list[WorkerUse]) -> str:
    return percent(round(sum(worker.cpu_cores for worker in workers), 2))


class Progress:
    """Writes such lines as the output can show them."""

    def __init__(self, output: TextIO, every_s: float = EVERY_S) -> None:
        self._output = output
        self._is_terminal = output.isatty()
        self._every_s = every_s
        self._due = 0.0
        self._is_open = False

    def show(
        self, sample: Sample, workers: list[WorkerUse], left_s: float | None, failures: int
    ) -> None:
        """Show the state of a run, if it is time."""
        if self._is_terminal:
            width = shutil.get_terminal_size().columns - 1
            text = line(sample, workers, left_s, failures)
            if len(text) > width:
                text = short_line(sample, workers, left_s, failures)
            self._output.write(f"\r\x1b[K{text[:width]}")
            self._is_open = True
        elif time.monotonic() >= self._due:
            self._due = time.monotonic() + self._every_s
            self._output.write(f"{line(sample, workers, left_s, failures)}\n")
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
