"""Owns how locust's processes work together in a run: who tells whom to begin, to report, to end.

Each process with users takes a `Slice` of its tally a second. A worker sends them to the master
with locust's own reports; the master adds up. At the end the master lets all workers fall silent,
then all close, and waits for the last report of each: only then are the figures written. A worker
that is stopped by itself does the same alone; one that dies is noticed by its silence.
"""

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import gevent
from locust.env import Environment
from locust.event import Events
from locust.runners import (
    CPU_MONITOR_INTERVAL,
    STATE_MISSING,
)

from loadtest import options
from loadtest.addresses import Target
from loadtest.book import Book
from loadtest.reporter import Reporter
from loadtest.scenarios import SCENARIOS, Scenario
from loadtest.sums import read_report, write_report
from loadtest.tally import CONNECT
from loadtest.users import USERS
from loadtest.users.base import FLEET

QUIET, HUSHED, CLOSE, FINAL = "loadtest_quiet", "loadtest_hushed", "loadtest_close", "loadtest_end"
_LOCAL = "local"
_KEY = "loadtest"
_POLL_S = 0.02
_MASTER_S = 3.0  # in which a master that was interrupted too has told its workers
_SPARE_S = 30.0
_CLOSE_S = 15.0
_ROLES: "list[_Worker | _Master | _Local]" = []  # one when it is known, as is the environment


def listen(events: Events) -> None:
    """Attach to locust as soon as it is there, before any process has a runner.

    NOTE: a worker may be told to spawn users before its `init` event, and before it has a runner:
    the master waits for its connection alone.
    """
    events.test_start.add_listener(_on_test_start)


def attach(environment: Environment) -> None:
    """Attach to the runner of this process."""
    _role(environment).attach(environment.runner)


def _on_test_start(environment: Environment, **_: Any) -> None:
    _role(environment).start()


def _role(environment: Environment) -> "_Worker | _Master | _Local":
    """Return what this process is."""
    if not _ROLES:
        parsed = environment.parsed_options
        assert parsed is not None
        if parsed.worker:
            _ROLES.append(_Worker(environment))
        else:
            _ROLES.append(_Master(environment) if parsed.master else _Local(environment))
    return _ROLES[0]


def choose_users(environment: Environment, scenario: Scenario) -> None:
    """Let locust know only the users of this scenario."""
    environment.user_classes = [USERS[name] for name in scenario.users]


def begin_fleet(environment: Environment) -> None:
    """Start a run in a process that has users."""
    given = options.read(environment.parsed_options)
    target = Target(
        environment.host or "",
        is_verified=not given.tls_insecure,
        authorities=given.tls_authorities,
    )
    scenario = SCENARIOS[given.scenario]
    choose_users(environment, scenario)  # a master may have said which
    FLEET.begin(given, scenario, target)


class _Worker:
    """A process that a master directs."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._runner: Any = None
        self._reporter = Reporter(environment, lambda: None)
        self._is_running = False
        events = environment.events
        events.test_stop.add_listener(self._on_stopped)
        events.report_to_master.add_listener(self._on_report)
        events.cpu_warning.add_listener(_on_cpu_warning)
        events.user_error.add_listener(_on_user_error)

    def attach(self, runner: Any) -> None:
        """Hear what the master says."""
        self._runner = runner
        # After locust's own listener, so that it is called before that says good-bye.
        self._environment.events.quitting.add_listener(self._on_quitting)
        runner.register_message(QUIET, self._on_quiet, concurrent=True)
        runner.register_message(CLOSE, self._on_close, concurrent=True)
        _on_interrupt(self._on_interrupt)

    def start(self) -> None:
        """Begin a run."""
        begin_fleet(self._environment)
        self._is_running = True
        self._reporter.start()

    def _on_report(self, data: dict[str, Any], **_: Any) -> None:
        if self._is_running:
            data[_KEY] = write_report(self._reporter.report())

    def _on_quiet(self, **_: Any) -> None:
        self._runner.send_message(HUSHED, {"finals": FLEET.quiet()})

    def _on_close(self, msg: Any, **_: Any) -> None:
        if self._is_running:
            FLEET.close(msg.data["finals"])
            self._runner.stop()
        else:
            self._runner.send_message(FINAL, {})

    def _on_stopped(self, **_: Any) -> None:
        """Send the last report: all users have gone."""
        if self._is_running:
            self._is_running = False
            report = self._reporter.report(is_final=True)
            self._runner.send_message(FINAL, {_KEY: write_report(report)})

    def _on_interrupt(self) -> None:
        """Leave it to the master, which the terminal has interrupted too, or else end alone."""
        deadline_s = time.monotonic() + _MASTER_S
        while not FLEET.is_ending and time.monotonic() < deadline_s:
            gevent.sleep(_POLL_S)
        if not FLEET.is_ending or not self._is_running:
            _interrupt_main()

    def _on_quitting(self, **_: Any) -> None:
        """End alone, unless the master has seen to it; then nothing is left to do."""
        if self._is_running:
            FLEET.close(FLEET.quiet())
            self._runner.stop()
            gevent.sleep(0.1)  # the messages leave in a thread of their own


class _Local:
    """A process that does all by itself."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._book = Book(environment)  # first: it writes when the last report is there
        self._reporter = Reporter(environment, self._on_slice)
        events = environment.events
        events.test_stopping.add_listener(self._on_stopping)
        events.cpu_warning.add_listener(_on_cpu_warning)
        events.user_error.add_listener(_on_user_error)

    def attach(self, _runner: Any) -> None:
        """Listen to the terminal."""
        _on_interrupt(_interrupt_main)

    def start(self) -> None:
        """Begin a run."""
        begin_fleet(self._environment)
        self._book.start()
        self._reporter.start()

    def _on_slice(self) -> None:
        self._book.sums.add(_LOCAL, self._reporter.report())
        self._book.advance({_LOCAL})

    def _on_stopping(self, **_: Any) -> None:
        self._book.stopping()
        FLEET.close(FLEET.quiet())
        self._book.sums.add(_LOCAL, self._reporter.report(is_final=True))


class _Master:
    """A process that directs others."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._runner: Any = None
        self._book = Book(environment)
        self._hushed: dict[str, dict[bytes, int]] = {}
        self._advancing: Any = None
        events = environment.events
        events.test_stopping.add_listener(self._on_stopping)
        events.worker_report.add_listener(self._on_report)

    def attach(self, runner: Any) -> None:
        """Hear what the workers say."""
        self._runner = runner
        runner.register_message(HUSHED, self._on_hushed)
        runner.register_message(FINAL, self._on_final)
        _on_interrupt(_interrupt_main)

    def start(self) -> None:
        """Begin a run."""
        self._hushed = {}
        self._book.start()
        if self._advancing is not None:
            self._advancing.kill()
        self._advancing = gevent.spawn(self._advance)

    def _advance(self) -> None:
        while self._book.is_running:
            self._book.advance(self._alive())
            gevent.sleep(0.2)

    def _alive(self) -> set[str]:
        """Return the workers that are there."""
        return {id for id, node in self._runner.clients.items() if node.state != STATE_MISSING}

    def _on_report(self, client_id: str, data: dict[str, Any], **_: Any) -> None:
        if self._book.is_running and _KEY in data:
            self._book.sums.add(client_id, read_report(data[_KEY]))

    def _on_hushed(self, msg: Any, **_: Any) -> None:
        self._hushed[msg.node_id] = msg.data["finals"]

    def _on_final(self, msg: Any, **_: Any) -> None:
        if _KEY not in msg.data:  # it had no part in the run
            self._book.sums.finals.add(msg.node_id)
        elif self._book.is_running:
            self._book.sums.add(msg.node_id, read_report(msg.data[_KEY]))

    def _on_stopping(self, **_: Any) -> None:
        """Have all workers end together, and wait for their last reports."""
        self._book.stopping()
        given = options.read(self._environment.parsed_options)
        self._runner.send_message(QUIET, {})
        self._await(lambda: set(self._hushed), given.settle_timeout + _SPARE_S)
        finals = {name: end for ends in self._hushed.values() for name, end in ends.items()}
        self._runner.send_message(CLOSE, {"finals": finals})
        self._await(lambda: self._book.sums.finals, given.settle_timeout + _CLOSE_S + _SPARE_S)
        silent = self._book.sums.sources - self._book.sums.finals
        if silent:
            self._book.sums.fail("a process of the generator died", len(silent))
            self._book.break_off(f"Without a last report ended: {len(silent)} of the processes")

    def _await(self, answered: Callable[[], set[str]], timeout_s: float) -> None:
        """Wait until each worker that is there has answered."""
        deadline_s = time.monotonic() + timeout_s
        while self._alive() - answered() and time.monotonic() < deadline_s:
            gevent.sleep(_POLL_S)


def _on_user_error(exception: Exception, **_: Any) -> None:
    """Count what should not happen: it is locust that prints where."""
    route = FLEET.scenario.routes[0]
    FLEET.tally.fail(CONNECT, route, f"the generator failed: {type(exception).__name__}")


def _on_cpu_warning(**_: Any) -> None:
    """Hear locust's warning that this process used over 90 % of its core for 10 s."""
    if FLEET.is_steady(CPU_MONITOR_INTERVAL):
        FLEET.tally.reach("generator CPU")


def _on_interrupt(handle: Callable[[], None]) -> None:
    """Call this at Ctrl-C, in a greenlet of its own; at the second one, end at once.

    Python's own way raises KeyboardInterrupt in whatever greenlet runs, which may be a user, or be
    about to count a message.
    """
    seen = [0]

    def on_signal() -> None:
        seen[0] += 1
        if seen[0] > 1:
            os._exit(130)
        handle()

    gevent.signal_handler(signal.SIGINT, on_signal)


def _interrupt_main() -> None:
    gevent.get_hub().handle_system_error(KeyboardInterrupt, KeyboardInterrupt())
