"""Owns what waits to be sent on one connection: how much may, how full it is, what can be dropped.

It sends nothing. The two outboxes do, each in the way of its host, and both keep these books.
"""

import time
from collections import deque

from server.lane import Lane
from server.transport import Event, Pending, TransportLimits

PATIENCE_S = 3.0
"""How long others wait for the next message to be taken by a peer that has begun to lag."""
FIRST_PATIENCE_S = 0.25
"""The same before it has taken any since then: it may have stopped reading altogether."""
LONGEST_PATIENCE_S = 10.0
"""How long they wait for it in all."""


class Backlog(Lane):
    """A queue of messages in the order of their sending, bounded in messages and in bytes.

    A message that is for many (of a room, or broadcast) may be dropped while it waits; one that
    the view sent may not.

    Attributes:
        messages, size_bytes: what was sent so far, with what waits and without what was dropped;
            the last event is not counted. What `audience` has yet to settle is missing.
        pending_bytes: payload bytes in the queue.
        filling_since: the monotonic time since when the queue has been half full, or None. Also
            None after an overflow: whoever gave way to that peer would wait in vain.
        kind: of what the host's send returns once it has begun to send; None if it must be awaited.
        taken_at: when the host took the last message of the queue, or the queue was begun.
    """

    __slots__ = (
        "_gone",
        "_has_overflowed",
        "_limits",
        "_queue",
        "filling_since",
        "kind",
        "messages",
        "pending_bytes",
        "size_bytes",
        "taken_at",
    )

    def __init__(self, limits: TransportLimits, kind: type[Pending] | None) -> None:
        self._limits = limits
        self.kind = kind
        self._gone = False
        self._queue: deque[tuple[Event, int, bool]] | None = None  # the bool: is it for many
        self._has_overflowed = False
        self.filling_since: float | None = None
        self.taken_at = 0.0
        self.pending_bytes = 0
        self.messages = 0
        self.size_bytes = 0

    @property
    def waiting(self) -> tuple[int, int]:
        """How many messages the queue holds, and their payload bytes."""
        return len(self._queue or ()), self.pending_bytes

    def drop_oldest(self) -> bool:
        """Drop the oldest message for many; False if none waits.

        It may have been the last in the queue, so the caller has to queue another at once.
        """
        queue = self._queue
        if queue is None or self._gone:
            return False
        for index, (_, size_bytes, is_for_many) in enumerate(queue):
            if is_for_many:
                del queue[index]
                self.pending_bytes -= size_bytes
                self.messages -= 1
                self.size_bytes -= size_bytes
                return True
        return False

    def _has_room(self, size_bytes: int) -> bool:
        """Note how full the queue will be, and say if one more fits; a larger one may go alone."""
        waiting = len(self._queue or ())
        used = self._share(waiting, self.pending_bytes + size_bytes)
        if used < 0.5 or self._has_overflowed:
            self.filling_since = None
        elif self.filling_since is None:
            self.filling_since = time.monotonic()
        return used < 1 or not waiting

    def _share(self, messages: int, size_bytes: int) -> float:
        limits = self._limits
        return max(messages / limits.window_messages, (size_bytes - 1) / limits.window_bytes)

    def _note_taken(self) -> None:
        """Note that the host has taken a message from the queue."""
        self.taken_at = time.monotonic()
        if self.filling_since is not None:
            waiting = len(self._queue or ())
            if self._share(waiting, self.pending_bytes) < 0.5:
                self.filling_since = None

    def is_worth_waiting_for(self) -> bool:
        """Whether the queue has begun to fill up, but its peer reads on."""
        if self.filling_since is None:
            return False
        now = time.monotonic()
        patience_s = PATIENCE_S if self.taken_at > self.filling_since else FIRST_PATIENCE_S
        return now - self.taken_at < patience_s and now - self.filling_since < LONGEST_PATIENCE_S

    def overflow(self) -> None:
        """Note that messages are being dropped: until the queue is empty it is not `filling`."""
        self._has_overflowed = True
        self.filling_since = None

    def _push(self, event: Event, size_bytes: int, is_for_many: bool) -> None:
        if self._queue is None:
            self._queue = deque()
            self.taken_at = time.monotonic()
        self._queue.append((event, size_bytes, is_for_many))
        self.pending_bytes += size_bytes

    def _forget(self) -> None:
        """Let go of the queue: it is empty, or nothing of it will be sent."""
        self.messages -= len(self._queue or ())
        self.size_bytes -= self.pending_bytes
        self.pending_bytes = 0
        self.filling_since = None
        self._has_overflowed = False
        self._queue = None
