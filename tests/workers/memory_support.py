"""Owns segments for tests: shared ones in a directory of their own, and processes that use them."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support.cli import environment
from tests.support.servers import ROOT
from workers import layout
from workers.counters import Block, totals
from workers.directories import directory_for
from workers.layout import HEADER, WORD_BYTES, Sizes, places
from workers.segment import Segment

T = TypeVar("T")

SMALL = Sizes(workers=2, slots=4, rows_per_slot=64, routes=8)
ROUTES = ("/chat", "/feed")
CODES = (1000, 1006)
STATUSES = (403, 503)


@contextmanager
def shared(base: Path, sizes: Sizes = SMALL) -> Iterator[Segment]:
    """Have a segment in a directory below `base`, which is removed at the end."""
    segment = Segment.create(
        directory_for(base),
        sizes,
        routes=ROUTES,
        codes=CODES,
        statuses=STATUSES,
        app="chat:app",
        host="127.0.0.1",
        port=8000,
    )
    try:
        yield segment
    finally:
        segment.close()
        segment.remove()


def private(sizes: Sizes = SMALL) -> Segment:
    """Return a segment of this process with the same labels."""
    return Segment.private(sizes, routes=ROUTES, codes=CODES, statuses=STATUSES)


def never_give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have readers wait for a writer that this busy machine has put aside in mid-write."""
    monkeypatch.setattr(layout, "_PATIENT_TRIES", 50_000)


def put_word(path: Path, name: str, number: int) -> None:
    """Change a word of the header from outside."""
    with path.open("r+b") as file:
        file.seek(places(HEADER)[name] * WORD_BYTES)
        file.write(number.to_bytes(WORD_BYTES, sys.byteorder))


@contextmanager
def process(*arguments: str, before: Sequence[str] = ()) -> Iterator[subprocess.Popen[str]]:
    """Have a Python process run, with its output piped; it is killed at the end."""
    with subprocess.Popen(
        [*before, sys.executable, *arguments],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


@contextmanager
def writer(segment: Segment, slot: int, role: str) -> Iterator[subprocess.Popen[str]]:
    """Have a process write to a slot, see `memory_writer`."""
    arguments = (str(segment.path), str(slot), role)
    with process("-m", "tests.workers.memory_writer", *arguments) as child:
        yield child


def collect(read: Callable[[], Iterable[T]], key: Callable[[T], int]) -> list[T]:
    """Read again and again, until a writer has been seen at many of its numbers."""
    seen: list[T] = []
    numbers: set[int] = set()
    deadline = time.monotonic() + 30
    while len(numbers) < 100 or len(seen) < 1000:
        assert time.monotonic() < deadline, f"{len(numbers)} numbers in {len(seen)} reads"
        for one in read():
            seen.append(one)
            numbers.add(key(one))
    return seen


def assert_adds_up(blocks: dict[int, Block]) -> None:
    """The equation that holds at every instant, for each route."""
    for route, block in blocks.items():
        assert block.opened == block.open + sum(block.closed), f"route {route}: {block}"


def assert_all_add_up(segment: Segment) -> None:
    assert_adds_up(totals(segment))
