"""Owns what a message of a load test says: who sent it, which of his it is, and when.

It knows no route and no connection. Servers may put text around it, as a room does with its name.
"""

import os
from pathlib import Path
from typing import NamedTuple

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PADDING = b"x" * (1 << 20)


def _clock() -> bytes:
    """Name this machine's monotonic clock: times of another one mean nothing here."""
    try:
        return _BOOT.read_bytes()[:6]
    except OSError:
        return os.urandom(3).hex().encode()


CLOCK = _clock()


class Mark(NamedTuple):
    """What is read from a message.

    Attributes:
        publisher: who; begins with the name of his clock.
        number: of his messages, from 0.
        sent_ns: `time.monotonic_ns` when it was sent.
    """

    publisher: bytes
    number: int
    sent_ns: int


def new_publisher() -> bytes:
    """Make a name that no other publisher has, in any process on any machine."""
    return CLOCK + b"-" + os.urandom(6).hex().encode()


def is_on_our_clock(publisher: bytes) -> bool:
    """Whether times of this publisher can be compared with ours."""
    return publisher.startswith(CLOCK)


def make(publisher: bytes, number: int, sent_ns: int, size: int) -> bytes:
    """Make a message of that many bytes, or as few as it needs; printable, and without quotes."""
    mark = b"@%b:%d:%d;" % (publisher, number, sent_ns)
    return mark + _PADDING[: max(0, size - len(mark))]


def read(message: bytes) -> Mark | None:
    """Find the mark in a message; None if there is none."""
    begin = message.find(b"@")
    end = message.find(b";", begin)
    if begin < 0 or end < 0:
        return None
    parts = message[begin + 1 : end].split(b":")
    if len(parts) != 3:
        return None
    try:
        return Mark(parts[0], int(parts[1]), int(parts[2]))
    except ValueError:
        return None
