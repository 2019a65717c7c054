"""Owns what locust loads: our options, the scenario's users, the shape. See docs/capacity.md.

    locust -f loadtest/locustfile.py --host ws://127.0.0.1:8000 --scenario room --headless

With workers on several hosts all need the same files of `loadtest/` and the same versions. The
options of the master, `--host` too, count for all of them.
"""

import gc
import logging
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from locust import LoadTestShape, events, runners
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtest import machine, options, shapes, tables, wiring
from loadtest.addresses import Target, TargetError
from loadtest.scenarios import SCENARIOS, Scenario
from loadtest.users import USERS

_log = logging.getLogger(__name__)

globals().update(USERS)  # where locust looks for them
machine.raise_file_limit()
machine.end_with_parent()
tables.show_three_digits()
runners.WORKER_REPORT_INTERVAL = 1.0
# A full collection looks at all users, 50 ms for 10,000, in which no answer is timed. Little here
# makes cycles.
gc.set_threshold(100_000, 50, 1_000)


class PlannedShape(LoadTestShape):
    """What `loadtest.shapes` plans."""

    abstract = True  # so that locust takes it only if we say so

    def __init__(self, parsed: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._parsed = parsed
        self._stages = self._plan()

    def reset_time(self) -> None:
        """Begin, with the options as they are now: a page may have changed them."""
        super().reset_time()  # type: ignore[no-untyped-call]
        self._stages = self._plan()

    def tick(self) -> tuple[int, float] | None:
        """As locust has it."""
        elapsed_s: float = self.get_run_time()  # type: ignore[no-untyped-call]
        return shapes.at(self._stages, elapsed_s)

    def _plan(self) -> list[shapes.Stage]:
        given = options.read(self._parsed)
        return shapes.plan(
            given.shape,
            users=self._parsed.num_users,
            spawn_rate=self._parsed.spawn_rate,
            duration_s=self._parsed.run_time,
            step_users=given.step_users,
            step_seconds=given.step_seconds,
        )


def add_options(parser: LocustArgumentParser) -> None:
    """Add ours to locust's."""
    options.add_arguments(parser, list(SCENARIOS))
    if "LOCUST_PROCESSES" in os.environ or any(a.startswith("--processes") for a in sys.argv):
        # Or two runs on a machine would get in each other's way, and strangers could take part.
        port = machine.free_port()
        parser.set_defaults(master_bind_host="127.0.0.1", master_bind_port=port, master_port=port)


def prepare(environment: Environment, **_: Any) -> None:
    """Choose users and shape, and attach to this process of locust."""
    parsed = environment.parsed_options
    assert parsed is not None
    scenario = SCENARIOS[parsed.scenario]
    wiring.choose_users(environment, scenario)
    environment.stop_timeout = 0.0  # users end by themselves, see `loadtest.fleet`
    if not isinstance(environment.runner, WorkerRunner):
        try:
            _prepare_run(environment, scenario)
        except (TargetError, shapes.ShapeError) as error:
            _log.error(error)
            raise SystemExit(2) from None
    wiring.attach(environment)


def _prepare_run(environment: Environment, scenario: Scenario) -> None:
    parsed = environment.parsed_options
    assert parsed is not None
    parsed.num_users = parsed.num_users or scenario.default_users
    parsed.spawn_rate = parsed.spawn_rate or scenario.spawn_rate
    parsed.run_time = parsed.run_time or int(scenario.duration_s)
    given = options.read(parsed)
    is_loopback = True
    if parsed.headless or environment.host:
        target = Target(environment.host or "", authorities=given.tls_authorities)
        is_loopback = target.is_loopback
    processes = parsed.processes or max(1, parsed.expect_workers)
    problem = machine.problem(parsed.num_users, processes, is_loopback=is_loopback)
    if problem:
        raise TargetError(problem)
    if scenario.name == "auth" and not given.jwt_secret:
        raise TargetError("auth needs the key of the tokens: set LOADTEST_JWT_SECRET")
    if given.shape != "none":
        environment.shape_class = PlannedShape(parsed)
        environment.shape_class.runner = environment.runner


events.init_command_line_parser.add_listener(add_options)
events.init.add_listener(prepare)
wiring.listen(events)
