"""What was opened is open or closed in every scrape, while another process opens and closes."""

import time
from pathlib import Path

import pytest

from tests.server.metrics.segments import families
from tests.workers.memory_support import never_give_up, shared, writer
from workers.segment import Segment
from workers.slots import Slots


def books(segment: Segment) -> tuple[float, float]:
    """Return how many were opened in all, and how many of them are missing."""
    found = families(segment)
    opened, closed, now = (
        sum(sample.value for sample in found[name].samples)
        for name in (
            "ws_connections_opened_total",
            "ws_connections_closed_total",
            "ws_connections",
        )
    )
    return opened, opened - closed - now


def test_the_books_balance_while_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not one scrape of many, during which it went on counting, misses a connection."""
    never_give_up(monkeypatch)
    with shared(tmp_path) as segment:
        slot = Slots(segment).assign(0, 1)
        missing: dict[float, float] = {}
        deadline = time.monotonic() + 30
        with writer(segment, slot, "count"):
            while len(missing) < 100:
                assert time.monotonic() < deadline, f"{len(missing)} scrapes"
                opened, lack = books(segment)
                missing[opened] = lack
    assert set(missing.values()) == {0}
