"""Owns how a task waits for the host's next event, and goes on in the turn that brings it.

An asyncio future wakes its task by a `call_soon`: that is one more turn of the loop for each
message. This is what asyncio's tasks take for a future (`asyncio.isfuture`), for one task at a time
and as often as it likes. It knows no event.
"""

import asyncio
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any


class Arrival:
    """Something to await, again and again; for the tasks of one loop."""

    __slots__ = (
        "_asyncio_future_blocking",
        "_cancelled",
        "_context",
        "_is_due",
        "_loop",
        "_wakeup",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._asyncio_future_blocking = False  # a task looks at it, and sets it
        self._loop = loop
        self._wakeup: Callable[[Arrival], object] | None = None
        self._context: Context | None = None
        self._is_due = False
        self._cancelled: asyncio.CancelledError | None = None

    @property
    def is_awaited(self) -> bool:
        """Whether a task waits, and has not been woken."""
        return self._wakeup is not None and not self._is_due

    @property
    def is_due(self) -> bool:
        """Whether a task has been woken that has yet to go on."""
        return self._is_due

    def wake(self) -> None:
        """Have the task that waits go on, now. For a callback of the loop: no task may run.

        granian's callbacks are such, see tests/host/test_facts.py.
        """
        if self._wakeup is not None and not self._is_due:
            self._go_on()

    def wake_soon(self) -> None:
        """Have the task that waits go on in the loop's next turn."""
        if self.is_awaited:
            self._is_due = True
            self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        wakeup, context = self._wakeup, self._context
        assert wakeup is not None
        assert context is not None
        self._wakeup = self._context = None
        self._is_due = False
        context.run(wakeup, self)

    # -- what a task calls -----------------------------------------------------------------------

    def __await__(self) -> Generator["Arrival", None, None]:
        self._asyncio_future_blocking = True
        yield self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop of the tasks that may wait."""
        return self._loop

    def add_done_callback(self, wakeup: Callable[[Any], object], *, context: Context) -> None:
        """Keep what has the task go on."""
        self._wakeup = wakeup
        self._context = context

    def cancel(self, msg: Any = None) -> bool:
        """Have the task go on with a CancelledError; False if it has been woken already."""
        if not self.is_awaited:
            return False
        self._cancelled = asyncio.CancelledError() if msg is None else asyncio.CancelledError(msg)
        self.wake_soon()
        return True

    def result(self) -> None:
        """Say why the task goes on.

        Raises:
            asyncio.CancelledError: it was cancelled.
        """
        if self._cancelled is not None:
            cancelled, self._cancelled = self._cancelled, None
            raise cancelled
