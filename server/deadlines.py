"""Owns the deadlines of connections: one timer for all of a loop; knows nothing of what is due."""

import asyncio
import math
from typing import Protocol
from weakref import WeakKeyDictionary

TICK_S = 0.25
"""How late a deadline may be noticed."""


class Watched(Protocol):
    """Something that ends unless it goes on: its deadline may move, later, at no cost."""

    def due_s(self) -> float:
        """When it is to end, as things stand; in the loop's time."""

    def expire(self) -> None:
        """End it: the deadline has passed."""


class Deadlines:
    """Those who are watched, by the tick at which they are looked at next.

    A look that finds a deadline moved costs one entry in another tick. The timer runs only while
    somebody is watched.
    """

    def __init__(self) -> None:
        self._ticks: dict[int, dict[Watched, None]] = {}
        self._tick_of: dict[Watched, int] = {}
        self._is_running = False
        self._next = 0

    def watch(self, watched: Watched) -> None:
        """Begin to watch; again if its deadline is earlier now."""
        self.forget(watched)
        tick = math.ceil(watched.due_s() / TICK_S)
        if not self._is_running:
            loop = asyncio.get_running_loop()
            self._is_running = True
            self._next = math.floor(loop.time() / TICK_S) + 1
            loop.call_at(self._next * TICK_S, self._run)
        tick = max(tick, self._next)
        self._tick_of[watched] = tick
        self._ticks.setdefault(tick, {})[watched] = None

    def forget(self, watched: Watched) -> None:
        """Watch no longer."""
        tick = self._tick_of.pop(watched, None)
        if tick is not None and (there := self._ticks.get(tick)) is not None:
            there.pop(watched, None)
            if not there:
                del self._ticks[tick]

    def _run(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        last = math.floor(now_s / TICK_S)
        due = [tick for tick in self._ticks if tick <= last]
        looked_at = [watched for tick in sorted(due) for watched in self._ticks[tick]]
        self._next = last + 1
        for watched in looked_at:
            self.forget(watched)
            if watched.due_s() <= now_s:
                watched.expire()
            else:
                self.watch(watched)
        if self._ticks:
            loop.call_at(self._next * TICK_S, self._run)
        else:
            self._is_running = False


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Deadlines] = WeakKeyDictionary()


def deadlines() -> Deadlines:
    """Return those of the running loop: a worker has one loop, and so one timer."""
    loop = asyncio.get_running_loop()
    found = _of_loops.get(loop)
    if found is None:
        found = _of_loops[loop] = Deadlines()
    return found
