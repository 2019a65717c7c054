"""Owns the Switchboard application of `scrape`: 50 routes, and a watch on its worker's loop.

Each worker writes to the directory BENCH_WATCH, when it ends, how late a timer of 1 ms was each
time: pairs of 64-bit numbers, when it was due by the monotonic clock, and how late it was, in ns.
"""

import asyncio
import ctypes
import os
import time
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from server import App, WebSocket

ROUTES = 50
TICK_NS = 1_000_000
WATCH_DIRECTORY = "BENCH_WATCH"


class _Times(ctypes.Structure):
    """`struct itimerspec`: interval and first expiry, each in seconds and nanoseconds."""

    _fields_ = (("interval", ctypes.c_long * 2), ("first", ctypes.c_long * 2))


class Watch:
    """Notes how late the loop comes to a timer. uvloop's own timers are too coarse: a timerfd.

    Attributes:
        notes: due and late, by turns.
    """

    def __init__(self) -> None:
        self.notes = array("q")
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        self._due = 0

    def start(self) -> None:
        """Begin, in the running loop."""
        self._due = time.monotonic_ns() + TICK_NS
        first = (ctypes.c_long * 2)(*divmod(self._due, 1_000_000_000))
        times = _Times((ctypes.c_long * 2)(0, TICK_NS), first)
        absolute = 1  # TFD_TIMER_ABSTIME
        if self._libc.timerfd_settime(self._fd, absolute, ctypes.byref(times), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        asyncio.get_running_loop().add_reader(self._fd, self._note, time.monotonic_ns)

    def _note(self, now_ns: Callable[[], int]) -> None:
        now = now_ns()
        missed = int.from_bytes(os.read(self._fd, 8), "little")
        self.notes.append(self._due)
        self.notes.append(now - self._due)
        self._due += missed * TICK_NS

    def write(self, path: Path) -> None:
        """Leave the notes in a file."""
        path.write_bytes(self.notes.tobytes())


@asynccontextmanager
async def watched(_: App) -> AsyncIterator[None]:
    """Watch the loop from the start to the end of the worker, and leave what was seen."""
    watch = Watch()
    watch.start()
    yield
    watch.write(Path(os.environ[WATCH_DIRECTORY], f"{os.getpid()}.ns"))


app = App(lifespan=watched)


async def echo(ws: WebSocket) -> None:
    """Send every text back."""
    async for text in ws.iter_text():
        await ws.send_text(text)


def paths() -> list[str]:
    """Return the paths of all routes; one is that of the probe for readiness."""
    return ["/echo", *(f"/section-{number:02d}/updates" for number in range(1, ROUTES))]


for _path in paths():
    app.websocket_route(_path)(echo)
