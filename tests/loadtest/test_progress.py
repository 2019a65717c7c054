"""Owns the proof that the line of a run tells what matters, on a terminal and elsewhere."""

import io

from loadtest.progress import Progress, line
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
        "250 of 250 connections, 2,000 messages/s, p99 9.12 ms, 1 failure, server 55 %, "
        "generator 31 %, 48 s left"
    )


def test_what_is_not_known_is_left_out():
    """No admin port, no latency, no end."""
    sample = runs.sample(5, rtt=Latency(), delivery=Latency())
    assert line(sample, [], None, 0) == (
        "250 of 250 connections, 2,000 messages/s, 0 failures, generator 31 %"
    )


def test_on_a_terminal():
    """Each line is written over the one before, and fits."""
    output = Terminal()
    progress = Progress(output)
    progress.show(1, "one" * 100)
    progress.show(2, "two")
    progress.end()
    progress.end()

    first, second = output.getvalue().removesuffix("\n").split("\r\x1b[K")[1:]
    assert len(first) < 80
    assert second == "    2 s  two"


def test_elsewhere():
    """There are not more lines than somebody wants to read in a log."""
    output = io.StringIO()
    progress = Progress(output)
    for at_s in range(3):
        progress.show(at_s, "going")
    progress.end()
    assert output.getvalue() == "    0 s  going\n"
