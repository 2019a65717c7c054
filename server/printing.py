"""Owns how commands speak to a person: lines, tables, spans of time, progress; knows no server."""

import sys
import time
from collections.abc import Callable, Sequence


class Progress:
    """Prints a line when it has changed, at most once a second."""

    def __init__(self, line: Callable[[], str]) -> None:
        self._line = line
        self._last = ""
        self._next = 0.0

    def report(self) -> None:
        """Print the line if it is due."""
        if time.monotonic() >= self._next and (line := self._line()) != self._last:
            self._last = line
            self._next = time.monotonic() + 1
            say(line)


def printable(text: str) -> str:
    """Replace what could steer a terminal: paths and users are what clients make them."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def span(seconds: float) -> str:
    """Return a time span as a person would say it."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02}m"


def count(number: int, noun: str) -> str:
    """Return how many of something there are."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under the names of their columns, each column as wide as it has to be."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    lines = (
        "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in (columns, *rows)
    )
    say("\n".join(lines))


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)  # noqa: T201 - this module talks to a terminal, as server.cli does


def fail(problem: str) -> int:
    """Print what has not been done, and return the exit code."""
    print(f"switchboard: error: {problem}", file=sys.stderr, flush=True)  # noqa: T201
    return 1
