"""Owns one worker process as the supervisor sees it: its start, its words, its end.

A worker is a fresh interpreter, never a fork: the supervisor has threads of its own (granian's, for
the admin port), and a reload should run whatever code is installed by then.
"""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

import msgspec

_REPORT_LIMIT = 64 * 1024


class Task(msgspec.Struct, kw_only=True, frozen=True):
    """What every worker of a server is told alike.

    Attributes:
        load: "module:function" that returns the app to serve, called with `options` and the
            worker's `Place`.
    """

    title: str
    load: str
    options: dict[str, Any]
    backlog: int
    drain_s: float
    stop_timeout_s: float
    merge_pages: bool
    segment: str
    supervisor: int


class Assignment(msgspec.Struct, kw_only=True, frozen=True):
    """What one worker is told: the task, and who it is.

    Attributes:
        listener, report: inherited file descriptors.
        sys_path, python_path: of the supervisor.
    """

    task: Task
    index: int
    slot: int
    generation: int
    listener: int
    report: int
    sys_path: list[str]
    python_path: str | None


class Ready(msgspec.Struct, tag="ready"):
    """Connections are taken."""


class Failed(msgspec.Struct, tag="failed"):
    """The worker ends because it could not start."""

    reason: str
    trace: str = ""


Report = Ready | Failed
_decode = msgspec.json.Decoder(Report).decode


class WorkerProcess:
    """A running worker.

    Attributes:
        ready: done when the worker takes connections.
        ended: done with the exit code when the process is gone (negative: the signal).
        failure: why it could not start, if it has said so.
        ready_at: the loop's time at which it became ready.
    """

    def __init__(self, task: Task, index: int, slot: int, generation: int, listener: int) -> None:
        loop = asyncio.get_running_loop()
        self.index = index
        self.slot = slot
        self.generation = generation
        self.ready: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()
        self.failure: Failed | None = None
        self.ready_at: float | None = None
        self._heard = b""
        self._report, theirs = os.pipe()
        os.set_blocking(self._report, False)
        assignment = Assignment(
            task=task,
            index=index,
            slot=slot,
            generation=generation,
            listener=listener,
            report=theirs,
            sys_path=[path or os.getcwd() for path in sys.path],
            python_path=os.environ.get("PYTHONPATH"),
        )
        try:
            self._process = _start(assignment, (listener, theirs))
        except OSError:
            os.close(self._report)
            raise
        finally:
            os.close(theirs)
        self._pidfd = os.pidfd_open(self._process.pid)
        loop.add_reader(self._report, self._hear)
        loop.add_reader(self._pidfd, self._note_end)

    @property
    def pid(self) -> int:
        """Of the process; not used again by the system before `ended`."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the process has not been waited for."""
        return not self.ended.done()

    def drain(self) -> None:
        """Ask it to close its connections and end; a second time, to end at once."""
        self._signal(signal.SIGTERM)

    def hand_over(self) -> None:
        """Ask it to leave new connections to its successor, close its own, and end."""
        self._signal(signal.SIGUSR2)

    def kill(self) -> None:
        """End it now."""
        self._signal(signal.SIGKILL)

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the end; False if it did not come in time."""
        await asyncio.wait([self.ended], timeout=timeout_s)
        return self.ended.done()

    def _signal(self, number: int) -> None:
        if self.is_alive:
            self._process.send_signal(number)

    def _hear(self) -> None:
        try:
            data = os.read(self._report, _REPORT_LIMIT)
        except BlockingIOError:
            return
        if not data:
            self._stop_hearing()
            return
        *lines, self._heard = (self._heard + data)[-_REPORT_LIMIT:].split(b"\n")
        for line in lines:
            with suppress(msgspec.MsgspecError):
                self._take(_decode(line))

    def _take(self, report: Report) -> None:
        if isinstance(report, Failed):
            self.failure = report
        elif not self.ready.done():
            self.ready_at = asyncio.get_running_loop().time()
            self.ready.set_result(None)

    def _stop_hearing(self) -> None:
        if self._report >= 0:
            asyncio.get_running_loop().remove_reader(self._report)
            os.close(self._report)
            self._report = -1

    def _note_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        if self._report >= 0:
            self._hear()
            self._stop_hearing()
        code = self._process.wait()
        self.ready.cancel()
        self.ended.set_result(code)


def _start(assignment: Assignment, inherited: tuple[int, ...]) -> subprocess.Popen[bytes]:
    # The child must find this package before it has its sys.path.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(assignment.sys_path)}
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    process = subprocess.Popen(
        [sys.executable, *flags, "-m", "workers.worker"],
        stdin=subprocess.PIPE,
        env=environment,
        pass_fds=inherited,
        # The terminal signals its whole foreground group; a worker that got Ctrl-C too would drop
        # its connections before the supervisor can see to them.
        process_group=0,
    )
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as pipe:  # it died at once: `ended` will say so
        pipe.write(msgspec.json.encode(assignment))
    return process
