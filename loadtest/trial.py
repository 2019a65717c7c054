"""Owns one trial from the target to the report: what is tested, one run of it, and what it leaves.

It puts the parts together; what each of them does, it does not know.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import msgspec

from loadtest import probe, report
from loadtest.addresses import Target
from loadtest.generator import Plan, command
from loadtest.progress import Progress
from loadtest.results import Run
from loadtest.scenarios import Scenario
from loadtest.session import Ended, Session
from loadtest.showcase import SECRET_VARIABLE, showcase
from loadtest.slo import Limits, Verdict, judge
from loadtest.watch import Watch, WatchError, admin_url

Command = Callable[[Plan, Path], list[str]]
_PARAMETER = re.compile(r"\{\w+\}")


class Served(msgspec.Struct, frozen=True):
    """A server that is to be tested.

    Attributes:
        metrics: where its metrics are; empty if there are none.
        secret: what its tokens are signed with; empty if that is not known.
        ended: says how it ended; None as long as it is there.
        is_own: whether it was started for the test.
        notes: what is to be said about it in a report.
    """

    target: Target
    metrics: str
    secret: str
    ended: Ended
    is_own: bool = False
    notes: tuple[str, ...] = ()


class Result(msgspec.Struct, frozen=True):
    """What came of a trial."""

    folder: Path
    run: Run
    verdict: Verdict
    was_interrupted: bool
    least_free: float


@contextmanager
def served(target: Target | None, admin: str, *, log: Path, connections: int) -> Iterator[Served]:
    """Yield that server; one of our own if there is none.

    Args:
        admin: its admin port; empty if it is not to be watched.
        log: what a server of our own prints goes there.
        connections: how many that one has to let in.

    Raises:
        ShowcaseError, WatchError: there is none.
    """
    if target is not None:
        yield Served(
            target=target,
            metrics=admin_url(admin) if admin else "",
            secret=os.environ.get(SECRET_VARIABLE, ""),
            ended=_gone(target),
            notes=() if admin else ("no admin port was given, so the server was not watched",),
        )
        return
    with showcase(log, connections=connections) as own:
        yield Served(
            target=Target(own.url),
            metrics=own.metrics,
            secret=own.secret,
            ended=own.ended,
            is_own=True,
        )


def _gone(target: Target) -> Ended:
    text = f"nobody listens at {target.url} any more"
    return lambda: text if probe.is_gone(target) else None


def look_at(server: Served, scenario: Scenario) -> None:
    """Try a connection to each route of the scenario.

    Raises:
        TargetError: one of them cannot be had.
    """
    # 400: the route is there, and wants to be asked for something more.
    fine = scenario.refusals | {"400"}
    for route in scenario.routes:
        probe.try_connection(server.target, _PARAMETER.sub("probe", route), fine=fine)


def hold(
    plan: Plan,
    server: Served,
    limits: Limits,
    folder: Path,
    *,
    output: TextIO = sys.stderr,
    generate: Command = command,
) -> Result:
    """Run once, judge it and write the report.

    Raises:
        GeneratorError: the generator left nothing behind.
    """
    notes = list(server.notes)
    seen = None
    if server.metrics:
        try:
            seen = Watch(server.metrics)
        except WatchError as error:
            notes.append(f"the server was not watched: {error}")
    for note in notes:
        print(note, file=output, flush=True)
    session = Session(plan, Progress(output), seen, server.ended, has_own_server=server.is_own)
    outcome = session.conduct(generate(plan, folder), folder)
    run = msgspec.structs.replace(outcome.run, notes=(*notes, *outcome.run.notes))
    verdict = judge(run, limits)
    report.write(run, verdict, folder)
    return Result(folder, run, verdict, outcome.was_interrupted, outcome.least_free)
