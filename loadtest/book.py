"""Owns what is kept of a run by a master, or by a process alone, and the file that it ends in."""

import logging
import time
from pathlib import Path
from typing import Any

import gevent
import msgspec
from locust.env import Environment

from loadtest import machine, options
from loadtest.addresses import Target
from loadtest.results import BROKEN_OFF, Run, Sample
from loadtest.sums import Sums

_GONE_S = 5
_log = logging.getLogger(__name__)


class Book:
    """What a master, or a process alone, keeps of a run."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self.is_running = False
        self.is_broken_off = False
        self.notes: list[str] = []
        self._gone_s = 0
        self._started_at = 0.0
        self._stopped_at = 0.0
        self.sums = Sums(0.0)
        events = environment.events
        events.test_stop.add_listener(self._on_stopped)
        events.quitting.add_listener(self._on_quitting)

    def start(self) -> None:
        """Begin a run."""
        self._started_at = time.time()
        self._stopped_at = 0.0
        self.is_running, self.is_broken_off = True, False
        self.notes, self._gone_s = [], 0
        self.sums = Sums(self._started_at, self._on_sample)
        given = self._options()
        for path in filter(None, (given.run_file, given.samples_file)):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).unlink(missing_ok=True)

    def _options(self) -> options.Options:
        return options.read(self._environment.parsed_options)

    def advance(self, alive: set[str]) -> None:
        """Make samples of the seconds that all have reported."""
        assert self._environment.runner is not None
        now = time.time()
        self.sums.want(int(now - 0.5), self._environment.runner.target_user_count)
        self.sums.advance(now, alive)

    def stopping(self) -> None:
        """Note when the load ended."""
        self._stopped_at = time.time()

    def break_off(self, note: str) -> None:
        """Note why the run is not whole."""
        self.is_broken_off = True
        self._environment.process_exit_code = 1
        self.notes.append(note)
        _log.error(note)

    def _on_sample(self, sample: Sample) -> None:
        path = self._options().samples_file
        if path:
            with Path(path).open("ab") as file:
                file.write(msgspec.json.encode(sample) + b"\n")
        is_there = sample.connections > 0 or sample.received_per_s > 0
        # Users wait longer and longer before they try again: not in each second is there one.
        self._gone_s = 0 if is_there else self._gone_s + (sample.failures > 0 or self._gone_s > 0)
        if self._gone_s == _GONE_S and not self._stopped_at:
            self.break_off("The server is gone: for 5 seconds nobody could connect")
            gevent.spawn(self._give_up)

    def _give_up(self) -> None:
        runner, parsed = self._environment.runner, self._environment.parsed_options
        assert runner is not None
        runner.quit() if parsed is not None and parsed.headless else runner.stop()

    def _on_quitting(self, **_: Any) -> None:
        if self.is_running and not self._stopped_at:
            self.break_off(BROKEN_OFF)

    def _on_stopped(self, **_: Any) -> None:
        """Write the figures."""
        if not self.is_running:
            return
        self.is_running = False
        self.sums.finish()
        if self.sums.lost_reports:
            self.break_off(f"Reports of the generator were lost: {self.sums.lost_reports}")
        path = self._options().run_file
        if path:
            whole = Path(path)
            part = whole.with_name(f"{whole.name}.part")
            part.write_bytes(msgspec.json.format(msgspec.json.encode(self._run()), indent=1))
            part.replace(whole)

    def _run(self) -> Run:
        given, parsed = self._options(), self._environment.parsed_options
        asked = options.as_text(given)
        asked |= {
            name: str(value)
            for name in ("num_users", "spawn_rate", "run_time", "processes")
            if (value := getattr(parsed, name, None)) is not None
        }
        return Run(
            started_at=self._started_at,
            duration_s=round((self._stopped_at or time.time()) - self._started_at, 3),
            scenario=given.scenario,
            target=Target(self._environment.host or "").url,
            options=asked,
            is_complete=not self.is_broken_off,
            samples=self.sums.samples,
            totals=self.sums.totals(),
            server_deltas={},
            generator_limit=self.sums.generator_limit(),
            machine=machine.describe(),
            notes=tuple(self.notes),
        )
