"""Owns the numbered messages of one publisher, against which its readers check what they get."""

from benchmarks import wire

_NUMBER = slice(1, 11)


class Feed:
    """Makes the messages, and remembers the latest.

    `recent[number % remembers]` is message `number`, as long as it is one of these, and
    `recent_frames` has the same as a server's frames.

    Args:
        mark: one character, the first of each message.
    """

    __slots__ = ("_mark", "_size", "recent", "recent_frames", "remembers", "sent")

    def __init__(self, mark: str, size: int, remembers: int = 64) -> None:
        self.remembers = remembers
        self.recent = [b""] * remembers
        self.recent_frames = [b""] * remembers
        self.sent = 0
        self._mark = mark
        self._size = size

    def next(self) -> bytes:
        """Make the next message."""
        text = f"{self._mark}{self.sent:010d}".encode().ljust(self._size, b".")
        self.recent[self.sent % self.remembers] = text
        self.recent_frames[self.sent % self.remembers] = wire.server_frame(wire.TEXT, text)
        self.sent += 1
        return text

    def count_after(self, count: int, payload: bytes) -> int:
        """How many messages a reader has that had `count` and gets `payload`; 0 if it may not.

        It joins some time after it has connected, so its first message may be any; then each has to
        be the next one.
        """
        if payload == self.recent[count % self.remembers]:
            return count + 1
        if count == 0 and payload in self.recent:
            return int(payload[_NUMBER]) + 1
        return 0
