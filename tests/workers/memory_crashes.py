"""Owns a process that has publishers killed at random, and checks what they leave.

Usage: python -m tests.workers.memory_crashes PATH ROUNDS
It prints what it has seen as JSON, or fails. Publishers use more rooms than the directory holds, so
that some die while they evict.
"""

import itertools
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from workers.journal import Journal
from workers.publisher import Publisher
from workers.room_directory import RoomDirectory
from workers.room_tables import Kind
from workers.segment import Segment

ROOMS = 40


def text(room: str | None, number: int) -> str:
    """Return a message that tells where it belongs."""
    return f"{room}:{number}:" + "x" * (number % 150)


def publish(segment: Segment, seed: int) -> None:
    """Publish to rooms at random, for ever."""
    publisher, chance = Publisher(segment), random.Random(seed)
    for number in itertools.count():
        room = f"room {chance.randrange(ROOMS)}"
        publisher.publish_now(room, Kind.TEXT, text(room, number).encode())
        if not number % 5:
            publisher._lock.acquire_now()
            publisher.journal.repair()
            data = text(None, number).encode()
            publisher.journal.append_broadcast(0, Kind.TEXT, data, time.time_ns())
            publisher._lock.release()


class Reader:
    """Reads all that is committed, and checks that nothing is missing, torn or out of order."""

    def __init__(self, segment: Segment) -> None:
        self.journal = Journal(segment)
        self.directory = RoomDirectory(segment)
        self.entries = segment.layout.room_entries
        self.cursor = 0
        self.messages = 0
        self.last: dict[int, int] = {}
        self.names: dict[int, str] = {}

    def read(self) -> None:
        head = self.journal.head
        while self.cursor < head:
            header = self.journal.header(self.cursor)
            self.cursor += header.words
            if header.kind == Kind.PAD:
                continue
            self.messages += 1
            epoch = header.epoch if header.room else 0
            assert header.offset == self.last.get(epoch, 0) + 1, header
            self.last[epoch] = header.offset
            name, number, rest = str(self.journal.payload(header)).split(":")
            assert len(rest) == int(number) % 150 or rest == "next"
            assert name == self.names.setdefault(epoch, name)

    def check_directory(self) -> None:
        names = set()
        for entry in range(self.entries):
            if self.directory.has(entry, epoch := self.directory.epoch(entry)):
                name = self.directory.name(entry)
                assert name not in names
                assert self.directory.find(name) == entry
                names.add(name)
                last = self.last.get(epoch, 0)
                assert self.journal.last_offset(entry, epoch) == last
                offsets = [header.offset for header in self.journal.chain(entry, epoch)]
                assert offsets == [*range(last, last - len(offsets), -1)]
        assert self.journal.last_offset(None, 0) == self.last.get(0, 0)


def main(path: Path, rounds: int) -> None:
    """Have publishers killed; after each, check, publish, and check again."""
    segment = Segment.attach(path, writable=True)
    publisher, reader = Publisher(segment), Reader(segment)
    chance, longest_s, held = random.Random(rounds), 0.0, 0
    for number in range(rounds):
        before = reader.journal.head
        child = os.fork()
        if child == 0:
            publish(segment, number)
        while reader.journal.head == before:
            time.sleep(0.0001)
        time.sleep(chance.random() * 0.003)
        os.kill(child, signal.SIGSTOP)
        os.waitpid(child, os.WUNTRACED)
        held += publisher._lock.holder() is not None
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        reader.read()
        reader.check_directory()
        began = time.monotonic()
        room = f"room {number % ROOMS}"
        publisher.publish_now(room, Kind.TEXT, f"{room}:{number}:next".encode())
        longest_s = max(longest_s, time.monotonic() - began)
        reader.read()
        reader.check_directory()
        assert reader.journal.tail <= reader.journal.head
    print(json.dumps({"messages": reader.messages, "longest_s": longest_s, "held": held}))  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
