"""Owns the proof that the line of a run tells what matters, on a terminal and elsewhere."""

import io

import pytest

from loadtest.progress import Progress, line, short_line
from loadtest.results import Latency
from tests.loadtest import runs


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True


def test_line():
    """Connections, messages, the worse p99, failures, both processors, and the time left."""
    sample = runs.sample(5, rtt=runs.latency(3), delivery=runs.latency(9.12))

    assert line(sample, sample.server, 47.6, 1) == (
        "    5 s  250 of 250 connections, 2,000 messages/s, p99 9.12 ms, 1 failure, server 55 %, "
        "generator 31 %, 48 s left"
    )
    assert short_line(sample, sample.server, 47.6, 1) == (
        "48 s left: 250/250 open, 2,000/s, p99 9.12 ms, 1 failed, CPU 55 % + 31 %"
    )


def test_what_is_not_known_is_left_out():
    """No admin port, no latency, no end."""
    sample = runs.sample(5, rtt=Latency(), delivery=Latency())

    assert line(sample, [], None, 0) == (
        "    5 s  250 of 250 connections, 2,000 messages/s, 0 failures, generator 31 %"
    )
    assert short_line(sample, [], None, 0) == "5 s: 250/250 open, 2,000/s, 0 failed, CPU 31 %"


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_on_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int):
    """Each line is written over the one before, and fits."""
    monkeypatch.setenv("COLUMNS", str(columns))
    output = Terminal()
    progress = Progress(output)
    for at_s in (1, 2):
        sample = runs.sample(at_s)
        progress.show(sample, sample.server, 60 - at_s, 0)
    progress.end()
    progress.end()

    first, second = output.getvalue().removesuffix("\n").split("\r\x1b[K")[1:]
    assert len(first) < columns
    assert ("failures" in first) == (columns == 200)
    assert "58 s left" in second


def test_elsewhere():
    """There are not more lines than somebody wants to read in a log."""
    output = io.StringIO()
    progress = Progress(output)
    for at_s in range(3):
        progress.show(runs.sample(at_s), [], None, 0)
    progress.say("said")
    progress.end()
    assert output.getvalue().splitlines() == [line(runs.sample(0), [], None, 0), "said"]
