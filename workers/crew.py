"""Owns the worker processes of a running server: start, respawn, reap, hand-over, end.

It knows what a worker process is, not what it serves; who wants a reload or a stop is the
supervisor's affair.
"""

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from workers.backoff import Backoff
from workers.directories import socket_path
from workers.listener import ListenerOptions, listen
from workers.process import Failed, Task, WorkerProcess
from workers.reaper import reap
from workers.segment import Segment, SegmentError
from workers.slots import Slots

# A listening socket without a worker for longer is closed: peers then reach another worker.
KEEP_LISTENING_S = 1.0

log = logging.getLogger("switchboard.supervisor")


@dataclass(frozen=True, kw_only=True)
class CrewConfig:
    """Bounds of the crew.

    Attributes:
        ready_timeout_s: how long a new worker may take to become ready.
        crash_code: the close code of connections whose worker died.
    """

    host: str
    port: int
    workers: int
    listener: ListenerOptions
    ready_timeout_s: float
    crash_code: int = 1006


@dataclass
class _Berth:
    """The place of one worker index; it outlives the processes that fill it."""

    index: int
    listener: socket.socket | None = None
    current: WorkerProcess | None = None
    backoff: Backoff = field(default_factory=Backoff)
    last_failure: str = ""
    tried: bool = False


class Crew:
    """All workers of the server.

    Attributes:
        changed: set whenever a worker has become ready or has ended.
    """

    def __init__(self, segment: Segment, task: Task, config: CrewConfig) -> None:
        self._segment = segment
        self._slots = Slots(segment)
        self._task = task
        self._config = config
        self._berths = [_Berth(index) for index in range(config.workers)]
        self._generation = 0
        self._running: set[WorkerProcess] = set()
        self._keepers: set[asyncio.Task[None]] = set()
        self._is_ending = False
        self.changed = asyncio.Event()

    @property
    def ready(self) -> int:
        """How many indexes have a worker that takes connections."""
        return sum(1 for berth in self._berths if _is_ready(berth.current))

    @property
    def all_tried(self) -> bool:
        """Whether each index has had a worker that was ready, or that ended."""
        return all(berth.tried for berth in self._berths)

    def start(self) -> None:
        """Start a worker for each index."""
        for berth in self._berths:
            self._keep(self._tend(berth, self._man(berth)))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        keeper = asyncio.get_running_loop().create_task(work)
        self._keepers.add(keeper)
        keeper.add_done_callback(self._keepers.discard)
        keeper.add_done_callback(_log_fault)

    async def _tend(self, berth: _Berth, worker: WorkerProcess) -> None:
        """Put another worker in the place of one that ends unasked, for as long as it takes."""
        while True:
            await asyncio.wait([worker.ended])
            if berth.current is not worker or self._is_ending:
                return
            berth.current = None
            await self._after_crash(berth, worker, worker.ended.result())
            successor = await self._man_again(berth)
            if successor is None:
                return
            worker = successor

    async def _man_again(self, berth: _Berth) -> WorkerProcess | None:
        """Start another worker, as soon as the machine lets us; None if a reload came first."""
        while self._is_vacant(berth):
            try:
                return self._man(berth)
            except (OSError, SegmentError) as error:
                wait_s = berth.backoff.ended(0)
                log.error(
                    "worker %d cannot be started: %s; next try in %.1f s",
                    *(berth.index, error, wait_s),
                )
            await asyncio.sleep(wait_s)
        return None

    def _is_vacant(self, berth: _Berth) -> bool:
        return berth.current is None and not self._is_ending

    def _man(self, berth: _Berth) -> WorkerProcess:
        worker = berth.current = self._spawn(berth)
        self._keep(self._watch_start(berth, worker))
        return worker

    def _spawn(self, berth: _Berth) -> WorkerProcess:
        if berth.listener is None:
            config = self._config
            berth.listener = listen(config.host, config.port, config.listener)
        self._generation += 1
        slot = self._slots.assign(berth.index, self._generation)
        try:
            worker = WorkerProcess(
                self._task, berth.index, slot, self._generation, berth.listener.fileno()
            )
        except OSError:
            self._slots.release(slot)
            raise
        self._slots.set_pid(slot, worker.pid)
        self._running.add(worker)
        worker.ended.add_done_callback(lambda _: self._clean_up(worker))
        return worker

    def _clean_up(self, worker: WorkerProcess) -> None:
        """Reap at once, before anything else runs: the process has been waited for."""
        self._running.discard(worker)
        self._slots.mark_dead(worker.slot)
        crash_code = self._segment.code_index(self._config.crash_code)
        reaped = reap(
            self._segment, worker.slot, crash_code_index=crash_code, now_ns=time.time_ns()
        )
        self._slots.release(worker.slot)
        if self._segment.path is not None:  # the doorbell of a killed worker
            socket_path(self._segment.path.parent, worker.slot).unlink(missing_ok=True)
        if reaped.connections:
            log.warning(
                "worker %d left %d connections; counted as closed with 1006",
                *(worker.index, reaped.connections),
            )
        self.changed.set()

    async def _watch_start(self, berth: _Berth, worker: WorkerProcess) -> None:
        if await self._become_ready(worker):
            log.info("worker %d is ready (pid %d)", worker.index, worker.pid)
        elif worker.is_alive and not self._is_ending:
            log.error("worker %d was not ready in time; ending it", worker.index)
            worker.kill()
        berth.tried = True
        self.changed.set()

    async def _become_ready(self, worker: WorkerProcess) -> bool:
        either: list[asyncio.Future[Any]] = [worker.ready, worker.ended]
        await asyncio.wait(
            either, timeout=self._config.ready_timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        return _is_ready(worker)

    async def _after_crash(self, berth: _Berth, worker: WorkerProcess, code: int) -> None:
        now = asyncio.get_running_loop().time()
        lived_s = now - worker.ready_at if worker.ready_at is not None else 0.0
        wait_s = berth.backoff.ended(lived_s)
        if berth.backoff.failures == 1:
            berth.last_failure = ""
        self._segment.count_restart(berth.index)
        self._say_why(berth, worker, code, wait_s)
        if wait_s >= KEEP_LISTENING_S and berth.listener is not None:
            berth.listener.close()
            berth.listener = None
        await asyncio.sleep(wait_s)

    def _say_why(self, berth: _Berth, worker: WorkerProcess, code: int, wait_s: float) -> None:
        """Say it in full the first time, and then only that it is the same again."""
        failure = worker.failure or Failed(reason=_exit_text(code))
        next_try = f"next try in {wait_s:.1f} s" if wait_s else "starting another"
        if failure.reason == berth.last_failure:
            log.error("worker %d: the same again; %s", berth.index, next_try)
            return
        berth.last_failure = failure.reason
        log.error(
            "worker %d ended: %s; %s",
            *(berth.index, failure.reason, next_try),
            extra={"exception": failure.trace.rstrip()} if failure.trace else None,
        )

    # -- reload --------------------------------------------------------------------------------

    async def roll(self) -> str | None:
        """Replace each worker by a new one; returns why that was given up, or None.

        The new one is ready before the old one drains. One that does not become ready ends the
        roll: workers not replaced yet serve on.
        """
        for berth in self._berths:
            if self._is_ending:
                return "the server is stopping"
            new = self._spawn(berth)
            if not await self._become_ready(new):
                if new.is_alive:
                    new.kill()
                    reason = f"not ready after {self._config.ready_timeout_s:g} s"
                else:
                    failure = new.failure
                    reason = failure.reason if failure else _exit_text(new.ended.result())
                return f"new worker {berth.index}: {reason}"
            # Not the one of before the wait: if that died, there may be another in its place.
            old, berth.current = berth.current, new
            self._keep(self._tend(berth, new))
            self.changed.set()
            log.info("worker %d is ready (pid %d), replacing the old one", new.index, new.pid)
            if old is not None and old.is_alive:
                old.hand_over()
                await self._see_off(old)
        return None

    async def _see_off(self, worker: WorkerProcess) -> None:
        if await worker.wait(self._task.drain_s + self._task.stop_timeout_s + 1):
            if (code := worker.ended.result()) != 0:
                log.warning("worker %d ended early: %s", worker.index, _exit_text(code))
            return
        log.warning("worker %d (pid %d) did not end; killing it", worker.index, worker.pid)
        worker.kill()
        await worker.ended

    # -- end -----------------------------------------------------------------------------------

    async def drain(self) -> None:
        """End every worker; each closes its connections first."""
        self._is_ending = True
        for worker in tuple(self._running):
            worker.drain()
        await asyncio.gather(*(self._see_off(worker) for worker in tuple(self._running)))
        self._close()

    async def stop(self) -> None:
        """End every worker at once; they get a second to tell their peers."""
        self._is_ending = True
        for worker in tuple(self._running):
            worker.drain()
        workers = tuple(self._running)
        await asyncio.gather(*(worker.wait(2.0) for worker in workers))
        for worker in workers:
            worker.kill()
        await asyncio.gather(*(worker.ended for worker in workers))
        self._close()

    def _close(self) -> None:
        for keeper in tuple(self._keepers):
            keeper.cancel()
        for berth in self._berths:
            if berth.listener is not None:
                berth.listener.close()


def _is_ready(worker: WorkerProcess | None) -> bool:
    return (
        worker is not None
        and worker.is_alive
        and worker.ready.done()
        and not worker.ready.cancelled()
    )


def _exit_text(code: int) -> str:
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _log_fault(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("a keeper of workers failed", exc_info=task.exception())
