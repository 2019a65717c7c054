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

from server.lingering import Sockets, end_in_order
from server.states import WebSocketState

if TYPE_CHECKING:
    from server.connection import Connection
    from server.runtime import AppRuntime

log = logging.getLogger("switchboard.drain")

TICK_S = 0.025
CLOSES_PER_S = 50  # so that few connections do not take the whole time
LINGER_S = 2.0  # for peers to end their side, too
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
    """Closes connections with one code, each in a task: a peer that does not read delays none.

    Args:
        sockets: those that are in it are ended in order.
    """

    def __init__(self, code: int, reason: str = "", sockets: Sockets | None = None) -> None:
        self._code = code
        self._reason = reason
        self._sockets = sockets or Sockets()
        self._tasks: dict[Connection, asyncio.Task[None]] = {}
        self.started = 0

    @property
    def is_busy(self) -> bool:
        """Whether closes are under way; each has a bound."""
        return bool(self._tasks)

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
        socket = self._sockets.duplicate(ws.peer)
        try:
            await ws.kick(self._code, self._reason)
            if socket is not None:
                await end_in_order(socket, LINGER_S)
        except Exception:
            log.exception("closing failed")
        finally:
            if socket is not None:
                socket.close()

    def _forget(self, ws: "Connection", _: object) -> None:
        del self._tasks[ws]

    def cancel(self) -> None:
        """Give up what is under way."""
        for task in self._tasks.values():
            task.cancel()

    async def finish(self) -> None:
        """Wait until nothing is under way."""
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
    sockets = Sockets()
    first = _accepted(runtime)  # before the look, which is to find all of them
    await sockets.look()
    closer = Closer(code, sockets=sockets)
    window_s = max(min(spread_s, len(first) / CLOSES_PER_S, cancel_at - started), TICK_S)
    done = 0
    while (runtime.running or closer.is_busy) and loop.time() < cancel_at:
        share = (loop.time() - started) / window_s
        if share < 1:
            due = ceil(len(first) * share)
            closer.close(first[done:due])
            done = due
        elif late := _accepted(runtime):
            await sockets.look()
            closer.close(late)
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
        await asyncio.wait(tasks, timeout=timeout_s / 2)
    # What is left waits for peers that do not read.
    for ws in runtime.running:
        ws.give_up()
    closer.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=timeout_s / 2)
    for ws in runtime.running:
        # The process is about to end, and its view with it.
        runtime.ledger.leave(ws)
    return len(runtime.running)
