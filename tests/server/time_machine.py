"""Owns how tests let hours pass: clocks, and the event loop with them, go forward when told to."""

import asyncio
import time

import pytest

STEP_S = 0.25
TURNS = 6
"""Of the loop, in which what is due is done: a timer, the task it starts, what that wakes."""


class TimeMachine:
    """All clocks of this process; they also go on by themselves.

    Nobody may be waiting with a timeout of his own while time is made to pass.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._passed_s = 0.0
        self._set_s = 0.0
        monotonic, wall_ns = time.monotonic, time.time_ns
        monkeypatch.setattr(time, "monotonic", lambda: monotonic() + self._passed_s)
        monkeypatch.setattr(time, "time_ns", lambda: wall_ns() + self._wall_ns())
        monkeypatch.setattr(time, "time", lambda: (wall_ns() + self._wall_ns()) / 1e9)

    def _wall_ns(self) -> int:
        return int((self._passed_s + self._set_s) * 1e9)

    async def let_pass(self, seconds: float, *, step_s: float = STEP_S) -> None:
        """Let so much time pass, in steps, after each of which all that is due is done."""
        left_s = seconds
        while left_s > 0:
            self._passed_s += min(step_s, left_s)
            left_s -= step_s
            for _ in range(TURNS):
                await asyncio.sleep(0)

    def set_clock(self, forward_s: float) -> None:
        """Set the system clock, by which no time passes: an administrator or NTP does that."""
        self._set_s += forward_s
