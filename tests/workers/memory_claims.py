"""Owns a process that claims places under a limit as fast as it can, or dies while it does.

Usage: python -m tests.workers.memory_claims PATH SLOT ROLE ...
`claim WITNESS LIMIT KIND` goes on until it is told by the witness to stop, and prints as JSON what
it has seen. `die STORES` adds and removes, and kills itself before the store with that number.
"""

import json
import mmap
import os
import random
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.workers.memory_faults import Fuse, fused
from workers.layout import WORD_BYTES, TallyKind
from workers.segment import Segment
from workers.slots import ConnectionCounts
from workers.tallies import OwnTallies

KEY, OTHER_KEY = "192.0.2.1", "192.0.2.2"
STOP = WORD_BYTES  # where the witness says it; before that each slot has a byte, in one word


class Claims(NamedTuple):
    """How a place is claimed, how many are taken, and how it is given back."""

    claim: Callable[[], None]
    look: Callable[[], int]
    release: Callable[[], None]


def tally_claims(segment: Segment, slot: int) -> Claims:
    """Claim by the tallies, beside those of another key."""
    tallies, kind = OwnTallies(segment, slot), TallyKind.IP

    def claim() -> None:
        tallies.add(TallyKind.USER, KEY)
        tallies.add(kind, OTHER_KEY)
        tallies.add(kind, KEY)

    def release() -> None:
        tallies.remove(TallyKind.USER, KEY)
        tallies.remove(kind, KEY)
        tallies.remove(kind, OTHER_KEY)

    return Claims(claim, lambda: tallies.count(kind, KEY), release)


def connection_claims(segment: Segment, slot: int) -> Claims:
    """Claim by the number of all connections."""
    counts, mine = ConnectionCounts(segment), 0

    def change(by: int) -> None:
        nonlocal mine
        mine += by
        counts.say(slot, mine)

    return Claims(lambda: change(1), counts.total, lambda: change(-1))


KINDS = {"tally": tally_claims, "connections": connection_claims}


def claim(segment: Segment, slot: int, witness: Path, limit: int, kind: str) -> dict[str, int]:
    """Claim and give back at random.

    How many this process has been admitted the witness knows right after it was, and until right
    before it gives one back: so at every moment the bytes of its first word add up to fewer than
    are admitted, or as many.
    """
    claims = KINDS[kind](segment, slot)
    with witness.open("r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    word = memoryview(memory)[:WORD_BYTES].cast("Q")  # so that all bytes are of one moment
    chance, held = random.Random(slot), 0
    seen = {"admitted": 0, "refused": 0, "most": 0}
    print("ready", flush=True)  # noqa: T201
    while not memory[STOP]:
        if held and chance.random() < 0.6:
            held -= 1
            memory[slot] = held
            claims.release()
            continue
        claims.claim()
        if claims.look() > limit:
            claims.release()
            seen["refused"] += 1
            continue
        held += 1
        memory[slot] = held
        seen["admitted"] += 1
        for _ in range(chance.randrange(5)):
            seen["most"] = max(seen["most"], sum(word[0].to_bytes(WORD_BYTES)))
    return seen


class Deadly(Fuse):
    """A fuse that ends the whole process, with no chance to put anything right."""

    def burn(self, word: int) -> None:
        if len(self.stores) == self.allowed:
            os.kill(os.getpid(), signal.SIGKILL)
        super().burn(word)


def die(segment: Segment, slot: int, stores: int) -> None:
    """Add two, remove one, and be killed before a store on the way."""
    with fused(segment, Deadly(stores)):
        tallies = OwnTallies(segment, slot)
        tallies.add(TallyKind.IP, KEY)
        ConnectionCounts(segment).say(slot, 1)
        tallies.add(TallyKind.USER, KEY)
        tallies.remove(TallyKind.IP, KEY)


if __name__ == "__main__":
    _, path, number, role, *rest = sys.argv
    attached = Segment.attach(Path(path), writable=True)
    if role == "die":
        die(attached, int(number), int(rest[0]))
    else:
        told = claim(attached, int(number), Path(rest[0]), int(rest[1]), rest[2])
        print(json.dumps(told))  # noqa: T201
