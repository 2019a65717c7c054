"""Owns the command line: `python -m loadtest run|capacity|report|scenarios`, and its exit codes.

What it prints is for a person: the verdict on stdout, progress and errors on stderr.
"""

import difflib
import os
import re
import signal
import sys
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
from cyclopts import App as CommandLine
from cyclopts import CycloptsError, Parameter

from loadtest import machine, slo
from loadtest import report as reports
from loadtest.addresses import Target, TargetError
from loadtest.generator import GeneratorError, NothingRunError, Plan
from loadtest.options import SHAPES
from loadtest.report.tables import headline
from loadtest.results import Limit
from loadtest.scenarios import SCENARIOS, Scenario
from loadtest.searching import SUMMARY, Search
from loadtest.showcase import ShowcaseError
from loadtest.slo import SloError, judge, load_limits
from loadtest.trial import Result, Served, hold, look_at, served
from loadtest.watch import WatchError
from loadtest.words import count, duration

DEFAULT_SCENARIO = "idle"
KEPT, BROKEN, CANNOT, INTERRUPTED = 0, 1, 2, 130
LONGEST_RAMP_S = 20.0
STEP_S = 15.0
LOG = "server.log"
_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}

HELP = """Load tests: they hold thousands of connections, and end with a verdict and a number.

Without --host the showcase app is served for the time of the test. What a run has to keep to is in
loadtest/slo.toml. Reports go to loadtest/reports/. Try: python -m loadtest run room --users 500

Exit codes: 0 all limits were kept, 1 one was broken, 2 it cannot be run, 130 it was interrupted.
"""

Name = Annotated[str, Parameter(help="What the users do: `scenarios` lists them.")]
More = Annotated[
    str,
    Parameter(allow_leading_hyphen=True, help="After `--`: more for the generator, see docs."),
]
Text = Annotated[str, Parameter(show_default=False)]
_ERRORS = (GeneratorError, ShowcaseError, SloError, TargetError, WatchError, reports.ReportError)


class UsageError(Exception):
    """It was called in a way that cannot be; the text says why."""


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """What `run` and `capacity` take.

    Attributes:
        host: Where the server is, ws://host:port or wss://; else the showcase is served.
        users: Connections to hold; `capacity` begins with so many [the scenario's].
        duration: How long to hold them: 90, 90s, 5m, 1h [the scenario's, 15 s in `capacity`].
        processes: Processes of the generator; -1 is one per core.
        remote_workers: Wait for so many locust workers, on any hosts, and make no load here.
        shape: How the users come: none, ramp, steps, spike or soak.
        spawn_rate: Users that come each second [the scenario's, or all within 20 s].
        admin: The server's admin port: 9464, or http://10.0.0.5:9464.
        slo: File with the limits.
        reports: Folder for the reports, each in one of its own.
        tls_authorities: File with the authorities to trust [the system's].
        tls_insecure: Trust any certificate.
    """

    host: Text = ""
    users: Annotated[int | None, Parameter(show_default=False)] = None
    duration: Text = ""
    processes: int = 1
    remote_workers: Annotated[int, Parameter(show_default=False)] = 0
    shape: str = "none"
    spawn_rate: Annotated[float | None, Parameter(show_default=False)] = None
    admin: Text = ""
    slo: Path = slo.DEFAULT_FILE
    reports: Path = reports.REPORTS
    tls_authorities: Text = ""
    tls_insecure: Annotated[bool, Parameter(negative="", show_default=False)] = False


commands = CommandLine(name="python -m loadtest", help=HELP, version_flags=[])


@commands.command
def run(
    scenario: Name = DEFAULT_SCENARIO,
    /,
    *more: More,
    options: Options = Options(),
    ui: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="Show locust's web page instead of starting at once.",
        ),
    ] = False,
) -> int:
    """Run a scenario, judge it and write a report."""
    chosen = _scenario(scenario)
    plan = msgspec.structs.replace(_plan(chosen, options, chosen.duration_s, more), has_ui=ui)
    limits = load_limits(options.slo, scenario)
    target = _target(options)
    _check_machine(options, target, plan.users)
    with (
        reports.folder_of_now(options.reports) as folder,
        served(target, options.admin, log=folder / LOG, connections=plan.users) as server,
    ):
        plan = _aimed(plan, server, chosen)
        try:
            result = hold(plan, server, limits, folder)
        except NothingRunError:
            if not ui:
                raise
            print("nothing was run")
            return KEPT
    _tell(result)
    if result.was_interrupted and not ui:
        return INTERRUPTED
    return KEPT if result.verdict.is_kept else BROKEN


@commands.command
def capacity(
    scenario: Name = DEFAULT_SCENARIO,
    /,
    *more: More,
    options: Options = Options(),
    most: Annotated[int, Parameter(help="Never try more users than this.")] = 30_000,
) -> int:
    """Try more and more users until a limit breaks, twice, and say what this machine carries."""
    chosen = _scenario(scenario)
    plan = _plan(chosen, options, STEP_S, more)
    limits = load_limits(options.slo, scenario)
    target = _target(options)
    _check_machine(options, target, plan.users)
    rate = _rate_of(chosen, options)
    most, ceiling = _ceiling(options, target, plan.users, most)
    with (
        reports.folder_of_now(options.reports) as folder,
        served(target, options.admin, log=folder / LOG, connections=most) as server,
    ):
        plan = _aimed(plan, server, chosen)
        found = Search(plan, server, limits, folder, rate=rate).run(most, ceiling)
    print(found.text)
    print(f"report: {_shown(folder / SUMMARY)}")
    return KEPT if found.is_carried else BROKEN


@commands.command
def report(
    file: Annotated[Path, Parameter(help="A run.json, or the folder that it is in.")],
    /,
    *,
    slo: Annotated[Path, Parameter(help="File with the limits.")] = slo.DEFAULT_FILE,
) -> int:
    """Judge a run again, and write its report again."""
    old = reports.read(file)
    verdict = judge(old, load_limits(slo, old.scenario))
    folder = file if file.is_dir() else file.parent
    reports.write(old, verdict, folder)
    _tell(Result(folder, old, verdict, was_interrupted=False, least_free=1.0))
    return KEPT if verdict.is_kept else BROKEN


@commands.command
def scenarios() -> int:
    """List the scenarios."""
    width = max(map(len, SCENARIOS))
    for scenario in SCENARIOS.values():
        print(f"{scenario.name:<{width}}  {scenario.help}")
        print(f"{'':<{width}}  {_details(scenario)}")
    print(f"\nshapes: {', '.join(SHAPES)}")
    return KEPT


def _details(scenario: Scenario) -> str:
    routes = ", ".join(scenario.routes)
    return f"{count(scenario.default_users)} users for {duration(scenario.duration_s)} on {routes}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    # What is started here would outlive the terminal, and everybody who asks us to end.
    before = {one: signal.signal(one, _interrupt) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        result = commands(
            sys.argv[1:] if arguments is None else arguments,
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        return _fail(f"{' '.join(str(error).split())} (see --help)")
    except (UsageError, *_ERRORS) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    return int(result or 0)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _fail(text: str) -> int:
    print(f"loadtest: error: {text}", file=sys.stderr, flush=True)
    return CANNOT


# -- what was asked for -----------------------------------------------------------------------


def _scenario(name: str) -> Scenario:
    if name in SCENARIOS:
        return SCENARIOS[name]
    near = difflib.get_close_matches(name, SCENARIOS, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(SCENARIOS)}"
    raise UsageError(f"there is no scenario {name!r}; {hint}")


def _plan(scenario: Scenario, options: Options, length_s: float, more: Sequence[str]) -> Plan:
    users = scenario.default_users if options.users is None else options.users
    if users < 1:
        raise UsageError(f"--users {users}: there has to be one at least")
    if options.processes < 1 and options.processes != -1:
        raise UsageError(f"--processes {options.processes}: give 1 or more, or -1 for one per core")
    if options.shape not in SHAPES:
        raise UsageError(f"there is no shape {options.shape!r}; there are {', '.join(SHAPES)}")
    if options.spawn_rate is not None and options.spawn_rate <= 0:
        raise UsageError(f"--spawn-rate {options.spawn_rate:g}: nobody would ever come")
    if options.remote_workers and options.processes != 1:
        raise UsageError("--remote-workers and --processes exclude each other")
    return Plan(
        scenario=scenario.name,
        url="",
        users=users,
        spawn_rate=_rate_of(scenario, options)(users),
        hold_s=_seconds(options.duration) if options.duration else length_s,
        processes=options.processes,
        shape=options.shape,
        more=(*_for_generator(options), *more),
    )


def _for_generator(options: Options) -> list[str]:
    flags = ["--tls-insecure"] if options.tls_insecure else []
    if options.tls_authorities:
        flags += ["--tls-authorities", str(Path(options.tls_authorities).absolute())]
    if options.remote_workers:
        flags += ["--master", "--expect-workers", str(options.remote_workers)]
    return flags


def _rate_of(scenario: Scenario, options: Options) -> Callable[[int], float]:
    given = options.spawn_rate
    return lambda users: given or max(scenario.spawn_rate, users / LONGEST_RAMP_S)


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|m|min|h)?", text.strip())
    seconds = float(match[1]) * _UNITS[match[2] or ""] if match is not None else 0.0
    if seconds <= 0:
        raise UsageError(f"--duration {text}: give it as in 90, 90s, 5m or 1h")
    return seconds


def _target(options: Options) -> Target | None:
    if not options.host:
        return None
    return Target(
        options.host,
        is_verified=not options.tls_insecure,
        authorities=options.tls_authorities,
    )


def _aimed(plan: Plan, server: Served, scenario: Scenario) -> Plan:
    """Look at the server, say what is going to be done, and complete the plan."""
    look_at(server, scenario)
    plan = msgspec.structs.replace(plan, url=server.target.url, secret=server.secret)
    print(
        f"{plan.scenario} at {plan.url}: {count(plan.users)} users for {duration(plan.hold_s)}",
        file=sys.stderr,
        flush=True,
    )
    return plan


def _check_machine(options: Options, target: Target | None, users: int) -> None:
    if (problem := _problem(options, target, users)) is not None:
        raise UsageError(problem)


def _problem(options: Options, target: Target | None, users: int) -> str | None:
    processes = os.cpu_count() or 1 if options.processes == -1 else options.processes
    is_loopback = target is None or target.is_loopback
    return machine.problem(users, options.remote_workers or processes, is_loopback=is_loopback)


def _ceiling(options: Options, target: Target | None, least: int, most: int) -> tuple[int, Limit]:
    """Return how many users the generator can have on this machine, and why there are no more."""
    problem = _problem(options, target, most)
    if problem is None:
        return most, "none"
    users = range(least, most)
    first = bisect_left(users, True, key=lambda one: _problem(options, target, one) is not None)
    return users[first] - 1, "ports" if "ports" in problem else "file limit"


def _tell(result: Result) -> None:
    """Print the verdict."""
    run, verdict = result.run, result.verdict
    print(", ".join(f"{name} {value}" for name, value in headline(run)))
    for note in verdict.notes:
        print(f"note: {note}")
    for sentence in verdict.broken:
        print(f"BROKEN: {sentence}")
    if verdict.is_kept:
        print("all limits were kept")
    print(f"report: {_shown(result.folder / 'report.html')}")


def _shown(file: Path) -> Path:
    """Return the path as short as it can be written here."""
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
