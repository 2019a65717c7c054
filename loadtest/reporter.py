"""Owns the taking of a process's counts once a second, at the full second. Knows no master."""

import time
from collections.abc import Callable
from typing import Any

import gevent
from locust.env import Environment

from loadtest import machine, tables
from loadtest.tally import Report, Slice
from loadtest.users.base import FLEET


class Reporter:
    """Takes the slices of this process."""

    def __init__(self, environment: Environment, on_slice: Callable[[], None]) -> None:
        self._environment = environment
        self._on_slice = on_slice
        self._slices: list[Slice] = []
        self._number = 0
        self._meter = machine.CpuMeter()
        self._ticking: Any = None

    def start(self) -> None:
        """Begin a run."""
        self.stop()
        self._slices, self._number = [], 0
        self._meter = machine.CpuMeter()
        self._ticking = gevent.spawn(self._tick)

    def stop(self) -> None:
        """Take no more slices."""
        if self._ticking is not None:
            self._ticking.kill()
            self._ticking = None

    def report(self, *, is_final: bool = False) -> Report:
        """Return what was taken since the last report."""
        if is_final:
            self.stop()
            self._take(int(time.time()))
        made = Report(self._number, self._slices, is_final)
        self._number += 1
        self._slices = []
        return made

    def _tick(self) -> None:
        while True:
            second = int(time.time())
            gevent.sleep(max(0.0, second + 1 - time.time()))
            self._take(second)
            self._on_slice()

    def _take(self, second: int) -> None:
        length_s, cpu = self._meter.look()
        taken = FLEET.tally.take(second, length_s, cpu)
        tables.flush(taken, self._environment.stats, FLEET.scenario.routes[0])
        self._slices.append(taken)
