"""Limits on all workers: claimed first and looked at then, by real processes all at once."""

import json
import random
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.workers.memory_claims import KEY, STOP
from tests.workers.memory_support import SMALL, process, shared
from workers.layout import TALLY_KINDS, WORD_BYTES, TallyKind
from workers.reaper import reap
from workers.segment import Segment
from workers.slots import ConnectionCounts
from workers.tallies import Tallies

LIMIT = 3


class Crowd:
    """Processes that claim places, one in each slot."""

    def __init__(self, stack: ExitStack, segment: Segment, witness: Path, kind: str) -> None:
        self.witness = witness
        witness.write_bytes(bytes(2 * WORD_BYTES))
        self.children = [
            stack.enter_context(
                process(
                    *("-m", "tests.workers.memory_claims", str(segment.path), str(slot)),
                    *("claim", str(witness), str(LIMIT), kind),
                )
            )
            for slot in range(SMALL.slots)
        ]
        for child in self.children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"

    def stop(self) -> list[dict[str, int]]:
        """Have them end by themselves; returns what they have seen."""
        with self.witness.open("r+b") as file:
            file.seek(STOP)
            file.write(b"\1")
        return [json.loads(child.communicate(timeout=30)[0]) for child in self.children]

    def kill(self) -> None:
        for child in self.children:
            child.kill()
            child.wait()


@pytest.mark.parametrize("kind", ["tally", "connections"])
def test_no_more_are_admitted_than_the_limit(tmp_path: Path, kind: str) -> None:
    """Four processes claim one after the other and all at once, as fast as they can."""
    with shared(tmp_path) as segment, ExitStack() as stack:
        crowd = Crowd(stack, segment, tmp_path / "witness", kind)
        time.sleep(1.5)
        seen = crowd.stop()
    assert max(one["most"] for one in seen) == LIMIT
    assert all(one["admitted"] > 20 for one in seen), seen
    assert sum(one["refused"] for one in seen) > 100


@pytest.mark.parametrize("kind", ["tally", "connections"])
def test_claims_of_the_killed_are_free_again(tmp_path: Path, kind: str) -> None:
    """Wherever a kill met them. The reaper has each of them at zero, and no other."""
    with shared(tmp_path) as segment, ExitStack() as stack:
        crowd = Crowd(stack, segment, tmp_path / "witness", kind)
        time.sleep(random.random() / 5)
        crowd.kill()
        tallies, counts = Tallies(segment), ConnectionCounts(segment)
        for slot in range(SMALL.slots):
            reap(segment, slot, crash_code_index=1, now_ns=time.time_ns())
            start, stop = segment.layout.tally(slot, 0), segment.layout.tally(slot + 1, 0)
            assert not any(segment.words[start:stop])
        assert [tallies.count(kind, KEY) for kind in TallyKind] == [0] * TALLY_KINDS
        assert counts.total() == 0
