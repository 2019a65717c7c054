"""Owns what metrics, registry and logs cost: the same server with and without, side by side."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks import report
from benchmarks.cpu import Cores
from benchmarks.measure import Plan, Run, measure
from benchmarks.servers import SERVERS
from benchmarks.session import session
from benchmarks.targets import OURS, Target
from benchmarks.workloads import ECHO, HANDSHAKES, WORKLOADS, Case, Traffic, Workload

_DESCRIPTION = """\
Measure what metrics, registry and logs cost: CPU of the same app with them and without.

With: `serve` with its default settings. Without: nothing is written to the registry and the
counters, no message is counted or timed, and connections end without a line; the statements that
do this are cut out (benchmarks/apps/unrecorded_app.py). Nobody scrapes meanwhile.
"""
_SIZE_BYTES = 128

WITH = SERVERS[OURS]
WITHOUT = replace(
    WITH,
    name="unrecorded",
    title="the same without metrics, registry and logs",
    arguments=(
        *(argument.replace("switchboard_app", "unrecorded_app") for argument in WITH.arguments),
        *("--log-level", "warning"),
    ),
)


def _workload(name: str, traffic: Traffic, target: Target) -> Workload:
    cases = tuple(Case(server.name, server.name, traffic) for server in (WITH, WITHOUT))
    return replace(WORKLOADS[name], cases=cases, targets=(target,))


_WORKLOADS = (
    _workload("echo", ECHO, Target(WITHOUT.name, 1.03)),
    _workload("handshakes", HANDSHAKES, Target(WITHOUT.name)),
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks overhead",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rounds", type=int, default=10, metavar="N", help="runs of each server (default 10)")
    add("--seconds", type=float, default=4.0, metavar="S", help="measured in a run (default 4)")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Measure and print; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not (options.rounds >= 1 and options.seconds >= 0.5):
        parser.error("--rounds must be at least 1 and --seconds at least 0.5")
    plans = [
        Plan(
            workload=workload,
            cases=workload.cases,
            servers={server.name: server for server in (WITH, WITHOUT)},
            rounds=options.rounds,
            seconds=options.seconds,
            connections=None,
            size=_SIZE_BYTES,
            cores=Cores.available(),
        )
        for workload in _WORKLOADS
    ]
    print(report.machine(plans[0]), file=sys.stderr, flush=True)
    return session(lambda logs: _measure(plans, logs))


def _measure(plans: Sequence[Plan], logs: Path) -> bool:
    is_fine = True
    for plan in plans:
        runs = measure(plan, logs, partial(_show, plan))
        print(f"\n{report.setting(plan)}\n\n{report.tables(plan, runs)}\n", flush=True)
        is_fine = is_fine and not any(finished.failed for finished in runs)
    return is_fine


def _show(plan: Plan, finished: Run) -> None:
    print(report.progress(plan, finished), file=sys.stderr, flush=True)
