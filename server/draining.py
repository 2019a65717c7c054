"""Owns the closing of many connections: evenly over some time (a drain), or those with some ids.

It sees connections by their state and the task of their view; when and why is its callers' matter.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import TYPE_CHECKING

from server.states import WebSocketState

if TYPE_CHECKING:
    from server.connection import Connection
    from server.runtime import AppRuntime

log = logging.getLogger("switchboard.drain")

TICK_S = 0.025
CLOSES_PER_S = 50  # so that few connections do not take the whole time
LAST_WAIT_S = 1.0  # for views that were cancelled, at most
BATCH = 50


@dataclass(frozen=True)
class Drained:
    """What a drain did.

    Attributes:
        closed: connections it has closed.
        left: views that still run, although cancelled.
    """

    closed: int
    left: int


class Closer:
    """Closes connections with one code, each in a task: a peer that does not read delays none."""

    def __init__(self, code: int, reason: str = "") -> None:
        self._code = code
        self._reason = reason
        self._tasks: dict[Connection, asyncio.Task[None]] = {}
        self.started = 0

    def close(self, connections: Sequence["Connection"]) -> None:
        """Begin to close those that are open, and not being closed by this already."""
        for ws in connections:
            if ws in self._tasks or ws.has_ended:
                continue
            task = asyncio.create_task(self._close(ws))
            self._tasks[ws] = task
            task.add_done_callback(partial(self._forget, ws))
            self.started += 1

    async def _close(self, ws: "Connection") -> None:
        while ws.state is WebSocketState.CONNECTING:  # noqa: ASYNC110 - an accept, which is short
            await asyncio.sleep(TICK_S)
        try:
            await ws.kick(self._code, self._reason)
        except Exception:
            log.exception("closing failed")

    def _forget(self, ws: "Connection", _: object) -> None:
        del self._tasks[ws]

    async def finish(self) -> None:
        """Wait until all closes have gone out or were given up; each has a bound."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))


async def close_some(connections: Sequence["Connection"], code: int, reason: str) -> None:
    """Close connections in batches, between which the loop does what else it has to."""
    closer = Closer(code, reason)
    for start in range(0, len(connections), BATCH):
        closer.close(connections[start : start + BATCH])
        await asyncio.sleep(0)
    await closer.finish()


async def drain(
    runtime: "AppRuntime", *, code: int, spread_s: float, deadline_s: float, refuse: bool
) -> Drained:
    """Close all connections of this worker, and wait for their views to end.

    Views see a disconnect with `code`. One that goes on regardless is cancelled shortly before
    the deadline, and left behind if that does not end it. No connection is taken afterwards.

    Args:
        spread_s: the closes are evenly spread over so long, or less if they are few.
        deadline_s: it returns after that at the latest.
        refuse: new handshakes are refused from the beginning. Otherwise they are served, and
            closed when all others have been.
    """
    loop = asyncio.get_running_loop()
    started = loop.time()
    cancel_at = started + deadline_s - min(LAST_WAIT_S, deadline_s / 10)
    if refuse:
        runtime.is_refusing = True
    closer = Closer(code)
    first = _accepted(runtime)
    window_s = max(min(spread_s, len(first) / CLOSES_PER_S, cancel_at - started), TICK_S)
    done = 0
    while runtime.running and loop.time() < cancel_at:
        share = (loop.time() - started) / window_s
        if share < 1:
            due = ceil(len(first) * share)
            closer.close(first[done:due])
            done = due
        else:
            closer.close(_accepted(runtime))
        await asyncio.sleep(TICK_S)
    runtime.is_refusing = True
    left = await _cancel_rest(runtime, closer, started + deadline_s - loop.time())
    return Drained(closer.started, left)


def _accepted(runtime: "AppRuntime") -> list["Connection"]:
    return [ws for ws in runtime.running if ws.state is WebSocketState.CONNECTED]


async def _cancel_rest(runtime: "AppRuntime", closer: Closer, timeout_s: float) -> int:
    """Cancel the views that still run; returns how many that does not end."""
    closer.close(_accepted(runtime))
    tasks = [task for task in runtime.running.values() if task is not None]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=timeout_s)
    for ws in runtime.running:
        # The process is about to end, and its view with it.
        runtime.ledger.leave(ws)
    return len(runtime.running)
