"""Owns every touch of granian: one app served on one listening socket, in the loop that runs.

It knows nothing of processes, of the segment or of who asked. granian's own server class is not
used: it owns signals, respawning and the end in ways that drop connections (design, section 3), so
what it does inside a worker is done here. Pinned to granian 2.8 (pyproject.toml).
"""

import asyncio
import atexit
import logging
import os
import select
import socket
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from granian import _futures, _granian, asgi
from granian.http import HTTP1Settings

from workers.lifespan import Lifespan

ASGIApp = Callable[..., Any]
# Half a handshake is given up after that.
HEADER_TIMEOUT_MS = 5_000
_FLUSH_S = 0.1  # for granian to write what the last calls have left with it

# Private, without types, or with types of another version.
_ASGIWorker: Any = _granian.ASGIWorker
_SocketHolder: Any = _granian.SocketHolder
_call_with_state: Any = asgi._callback_wrapper
_make_scheduler: Any = _futures._new_cbscheduler


class Host:
    """Serves `app` on a listening socket, until the process ends.

    granian's own end is not used: what it still has to tell Python then, a send that a slow peer
    held up, say, makes it abort the process before the app's shutdown has run. See `leave`.

    Args:
        listener: bound; granian listens on it. It is this host's from now on.
        backlog: handshakes that the kernel may queue.
        number: in granian's own log lines.
    """

    def __init__(
        self, app: ASGIApp, listener: socket.socket, *, backlog: int, number: int = 0
    ) -> None:
        self._backlog = backlog
        self._number = number
        self._is_unix = listener.family == socket.AF_UNIX
        self._listener = listener.detach()
        self._lifespan = Lifespan(app)
        self._call = _call_with_state(app, {}, self._lifespan.state)
        self._calls = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._keep: tuple[Any, ...] = ()

    async def start(self) -> None:
        """Run the app's startup and serve; returns when connections are taken.

        Raises:
            StartupFailed: the app refused to start.
        """
        await self._lifespan.startup()
        loop = asyncio.get_running_loop()
        scheduler = _make_scheduler(loop, self._serve, impl_asyncio=True)
        worker = self._worker()
        signal = _granian.WorkerSignal()
        # One thread carries out all sends of a worker in the order they were made. It is the
        # multi-threaded runtime all the same: `str` costs a fifth more CPU for each message.
        worker.serve_mtr(scheduler, loop, signal)
        self._keep = (worker, scheduler, signal)

    async def _serve(self, watcher: Any) -> None:
        """Make one call of the app; as granian's `_future_watcher_wrapper`, and counted."""
        self._calls += 1
        self._idle.clear()
        try:
            await self._call(watcher.scope, watcher.proto)
        except BaseException as error:
            watcher.err(error)
        else:
            watcher.done()
        finally:
            self._calls -= 1
            if self._calls == 0:
                self._idle.set()

    def _worker(self) -> Any:
        return _ASGIWorker(
            worker_id=self._number,
            sock=(None, _SocketHolder(self._listener, self._is_unix, self._backlog)),
            ipc=None,
            threads=1,
            backpressure=self._backlog,  # it does not cap WebSockets
            http_mode="1",  # HTTP/2 would need RFC 8441 for WebSockets, which granian does not have
            http1_opts=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS),
            websockets_enabled=True,
        )

    def stop_accepting(self) -> None:
        """Leave new connections to the other processes that hold the listening socket.

        granian has no such call. Its epoll instance is made to forget the socket, which stays
        open: what is queued on it is for the process that takes over.
        """
        for fd in _epolls_that_watch(self._listener):
            with select.epoll.fromfd(os.dup(fd)) as epoll, suppress(OSError):
                epoll.unregister(self._listener)

    def stop_listening(self) -> None:
        """Have the kernel give this socket no more connections, though other processes hold it too.

        Peers reach the sockets of the other workers; here nobody would answer them.
        """
        self.stop_accepting()
        with socket.socket(fileno=os.dup(self._listener)) as listener, suppress(OSError):
            listener.shutdown(socket.SHUT_RD)  # until a process listens on it again

    async def stop(self, timeout_s: float) -> bool:
        """Take no more connections, let calls of the app end, then run its shutdown.

        Calls get half of the time, so that some is left for the shutdown.

        Returns:
            False: either took too long; the rest is given up.
        """
        self.stop_accepting()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        ended = await _within(timeout_s / 2, self._idle.wait())
        await asyncio.sleep(_FLUSH_S)
        return await _within(deadline - loop.time(), self._lifespan.shutdown()) and ended


async def _within(timeout_s: float, work: Coroutine[Any, Any, object]) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await work
    except TimeoutError:
        return False
    return True


def _epolls_that_watch(fd: int) -> list[int]:
    """Return this process's epoll instances that `fd` is registered with (proc(5), fdinfo)."""
    found = []
    for entry in Path("/proc/self/fdinfo").iterdir():
        try:
            lines = entry.read_text().splitlines()
        except OSError:  # closed meanwhile
            continue
        watched = (line.split() for line in lines if line.startswith("tfd:"))
        if any(int(words[1]) == fd for words in watched):
            found.append(int(entry.name))
    return found


def leave(code: int) -> NoReturn:
    """End the process with its exit handlers, but without taking the interpreter down.

    granian's threads are still there, and can crash on an interpreter that is half gone.
    """
    atexit._run_exitfuncs()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
