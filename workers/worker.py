"""Owns the life of one worker process: start, heartbeat, drain, end.

It knows granian only through `workers.granian`, and the app only through `WorkerApp`. Started by
`workers.process` as `python -m workers.worker`, with its assignment on stdin.
"""

import asyncio
import ctypes
import gc
import logging
import math
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import msgspec
import setproctitle
import uvloop

from workers.doorbell import Doorbell, Message
from workers.granian import ASGIApp, Host, leave
from workers.layout import SlotState
from workers.lifespan import StartupFailed
from workers.process import Assignment, Failed, Ready
from workers.segment import Segment
from workers.slots import OwnSlot

EXIT_FAILED = 3
ORPHAN_DRAIN_S = 3.0
AT_ONCE_S = 0.75
# A service manager may signal each process itself; then the supervisor's word is the second one.
SAME_SIGNAL_S = 0.3
# For handshakes on connections that were taken just before the hand-over.
HANDSHAKE_S = 0.5
_BEAT_S = 0.25
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
# Not SIGTERM: it comes once for each thread that the supervisor had, which would be a stop and then
# a stop at once; and when the first one comes, `getppid` may still name the supervisor.
_ORPHANED = signal.SIGUSR1
_PR_SET_MEMORY_MERGE = 67

log = logging.getLogger("switchboard.worker")


@dataclass(frozen=True)
class Place:
    """Where in the server this worker is."""

    segment: Segment
    slot: int
    generation: int
    index: int


class WorkerApp(Protocol):
    """What a worker serves.

    Attributes:
        asgi: the ASGI app.
    """

    asgi: ASGIApp

    async def drain(self, *, drain_s: float, is_replaced: bool) -> None:
        """Close all connections, evenly over `drain_s`; returns when they are gone, or then.

        Args:
            is_replaced: another process serves on; else new connections are to be refused.
        """

    def handle_message(self, message: Message) -> None:
        """Take what another process sent to this worker's doorbell."""


class Worker:
    """This process.

    Args:
        load: returns what to serve; called once, with the loop set but not running.
    """

    def __init__(self, assignment: Assignment, load: Callable[[Place], WorkerApp]) -> None:
        self._assignment = assignment
        self._task = assignment.task
        self._loop = asyncio.get_event_loop()
        self._stopping: asyncio.Task[None] | None = None
        self._told_at: float | None = None  # by SIGTERM, which may come after SIGUSR2
        self._at_most_s = math.inf
        self._hurry = asyncio.Event()
        self._done = asyncio.Event()
        path = Path(assignment.task.segment)
        self._segment = Segment.attach(path, writable=True)
        self._slot = OwnSlot(self._segment, assignment.slot)
        self._doorbell = Doorbell(path.parent, assignment.slot)
        place = Place(self._segment, assignment.slot, assignment.generation, assignment.index)
        self._app = load(place)
        self._host = Host(
            self._app.asgi,
            socket.socket(fileno=assignment.listener),
            backlog=assignment.task.backlog,
            number=assignment.index,
        )

    async def run(self) -> None:
        """Serve until told to drain, then end.

        Raises:
            StartupFailed: the app refused to start.
        """
        self._loop.add_signal_handler(signal.SIGTERM, self._on_stop)
        self._loop.add_signal_handler(signal.SIGINT, self._on_stop)
        self._loop.add_signal_handler(_ORPHANED, self._begin_stop, False, ORPHAN_DRAIN_S)
        self._loop.add_signal_handler(signal.SIGUSR2, self._begin_stop, True)
        self._beat(self._loop.time())
        done = self._loop.create_task(self._done.wait())
        start = self._loop.create_task(self._host.start())
        await asyncio.wait([start, done], return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            start.result()
            self._doorbell.listen(self._loop, self._app.handle_message)
            if self._stopping is None:
                self._slot.set_state(SlotState.READY)
                report(self._assignment.report, Ready())
            await done
        self._doorbell.close()

    def _on_stop(self) -> None:
        now = self._loop.time()
        if self._told_at is None:
            self._told_at = now
            self._begin_stop(False)
        elif now - self._told_at > SAME_SIGNAL_S:
            self._begin_stop(False, AT_ONCE_S)

    def _begin_stop(self, is_replaced: bool, at_most_s: float = math.inf) -> None:
        """Drain and end; once that is under way, only a shorter time for it counts."""
        if at_most_s < self._at_most_s:
            self._at_most_s = at_most_s
            self._hurry.set()
        if self._stopping is None:
            self._slot.set_state(SlotState.DRAINING)
            self._stopping = self._loop.create_task(self._stop(is_replaced))

    async def _stop(self, is_replaced: bool) -> None:
        if is_replaced:
            self._host.stop_accepting()
            await asyncio.sleep(HANDSHAKE_S)
        await self._drain(is_replaced)
        if not is_replaced:
            self._host.stop_listening()
        if not await self._host.stop(min(self._task.stop_timeout_s, self._at_most_s)):
            log.warning("views were still running at the end; they are dropped")
        self._done.set()

    async def _drain(self, is_replaced: bool) -> None:
        """Have the app drain; anew, if the time for it becomes shorter meanwhile."""
        while True:
            self._hurry.clear()
            drain_s = min(self._task.drain_s, self._at_most_s)
            drain = self._loop.create_task(
                self._app.drain(drain_s=drain_s, is_replaced=is_replaced)
            )
            hurry = self._loop.create_task(self._hurry.wait())
            await asyncio.wait([drain, hurry], return_when=asyncio.FIRST_COMPLETED)
            hurry.cancel()
            if drain.done():
                break
            drain.cancel()
        if (error := drain.exception()) is not None:
            log.error("draining failed", exc_info=error)

    def _beat(self, due: float) -> None:
        """Say that the loop turns, and how late it was."""
        now = self._loop.time()
        self._slot.beat(time.monotonic_ns(), int(max(now - due, 0) * 1e9))
        self._loop.call_at(now + _BEAT_S, self._beat, now + _BEAT_S)


def report(fd: int, message: Ready | Failed) -> None:
    """Tell the supervisor; it may be gone."""
    try:
        os.write(fd, msgspec.json.encode(message) + b"\n")
    except OSError:
        return


def prepare(assignment: Assignment) -> None:
    """Make this fresh interpreter the supervisor's worker."""
    # First: it does nothing once a variable has been replaced.
    setproctitle.setproctitle(f"{assignment.task.title} worker {assignment.index}")
    sys.path[:] = assignment.sys_path
    os.environ.pop("PYTHONPATH")
    if assignment.python_path is not None:
        os.environ["PYTHONPATH"] = assignment.python_path
    os.set_inheritable(assignment.listener, False)
    os.set_inheritable(assignment.report, False)
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        prctl(_PR_SET_PDEATHSIG, _ORPHANED, 0, 0, 0)
        if os.getppid() != assignment.task.supervisor:  # it died before that call
            raise SystemExit(EXIT_FAILED)
        if assignment.task.merge_pages and prctl(_PR_SET_MEMORY_MERGE, 1, 0, 0, 0) != 0:
            log.warning("--merge-pages: this kernel cannot do it (Linux 6.4 with KSM can)")
    take_long_turns()


def take_long_turns() -> None:
    """Have threads that this process wakes wait for a core, instead of taking that of the waker.

    Before any other thread is started, so that all of them inherit it. A policy that the process
    was given on purpose stays. See docs/adr/0009-workers-are-batch-processes.md.
    """
    if sys.platform == "linux" and os.sched_getscheduler(0) == os.SCHED_OTHER:
        with suppress(OSError):  # a sandbox may forbid it, and all works without
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def tune_garbage_collection() -> None:
    """Keep the collector from the modules just loaded, and let it run less often.

    A connection's objects are freed by their reference counts; what the collector looks at again
    and again is the app itself. Measured on echo: 7 % less CPU a message.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def main() -> None:
    """Do what the assignment on stdin says; ends the process."""
    assignment = msgspec.json.decode(sys.stdin.buffer.read(), type=Assignment)
    code = 0
    try:
        prepare(assignment)
        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        worker = Worker(assignment, lambda place: _load(assignment, place))
        tune_garbage_collection()
        loop.run_until_complete(worker.run())
    except (Exception, SystemExit) as error:
        report(assignment.report, _failure(error))
        code = EXIT_FAILED
    leave(code)


def _load(assignment: Assignment, place: Place) -> WorkerApp:
    module, _, function = assignment.task.load.partition(":")
    load: Callable[[dict[str, Any], Place], WorkerApp] = getattr(import_module(module), function)
    return load(assignment.task.options, place)


def _failure(error: BaseException) -> Failed:
    if isinstance(error, StartupFailed):
        lines = str(error).strip().splitlines()
        return Failed(reason=f"startup failed: {lines[-1]}", trace=str(error) if lines[1:] else "")
    reason = str(error) if isinstance(error, SystemExit) else f"{type(error).__name__}: {error}"
    trace = "" if isinstance(error, SystemExit) else "".join(traceback.format_exception(error))
    return Failed(reason=" ".join(reason.split())[:1000], trace=trace[-16_000:])


if __name__ == "__main__":
    main()
