"""Owns what metrics, registry and logs cost: the same server with and without, side by side."""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks import load, report
from benchmarks.cpu import Cores, on_core
from benchmarks.handshakes import HANDSHAKES
from benchmarks.measure import WARMUP_SECONDS, Figures, Plan, Run, figures, measure, ratio
from benchmarks.servers import REPOSITORY, SERVERS, Server, running
from benchmarks.session import session
from benchmarks.workloads import ECHO, OURS, Target

_DESCRIPTION = """\
Measure what metrics, registry and logs cost: CPU of the same app with them and without.

With: `serve` with its default settings. Without: nothing is written to the registry and the
counters, no message is counted or timed, and connections end without a line; the statements that
do this are cut out (benchmarks/apps/unrecorded_app.py). Nobody scrapes meanwhile.
"""
_CONNECTIONS = 200
_SIZE_BYTES = 128
_VISITORS = 64
_SLACK_SECONDS = 40.0

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
AT_MOST = Target(WITHOUT.name, 1.03)
FOR_INFORMATION = Target(WITHOUT.name, None)


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
    echo = Plan(
        workload=replace(ECHO, targets=(AT_MOST,)),
        servers=(WITH, WITHOUT),
        rounds=options.rounds,
        seconds=options.seconds,
        connections=_CONNECTIONS,
        size=_SIZE_BYTES,
        cores=Cores.available(),
    )
    handshakes = replace(echo, workload=HANDSHAKES, connections=_VISITORS)
    print(report.machine(echo), file=sys.stderr, flush=True)
    return session(lambda logs: _measure(echo, handshakes, logs))


def _measure(echo: Plan, handshakes: Plan, logs: Path) -> bool:
    def progress(finished: Run) -> None:
        print(report.progress(finished, echo.rounds), file=sys.stderr, flush=True)

    runs = measure(echo, logs, progress)
    print(f"\n{report.setting(echo)}\n\n{report.tables(echo, runs)}\n", flush=True)
    visits = []
    for number in range(1, handshakes.rounds + 1):
        shift = (number - 1) % 2
        for server in handshakes.servers[shift:] + handshakes.servers[:shift]:
            visits.append(_visit(handshakes, server, number, logs))
            progress(visits[-1])
    print(f"\n{_setting(handshakes)}\n\n{_tables(handshakes, visits)}")
    return all(not finished.failed for finished in (*runs, *visits))


# -- handshakes --------------------------------------------------------------------------------


def _visit(plan: Plan, server: Server, number: int, logs: Path) -> Run:
    """Run one server once, with the generator of `handshakes`."""
    log = logs / f"handshakes-{number:02d}-{server.name}.log"
    with running(server, ECHO, plan.cores.server, log) as target:
        options = load.Options(
            workload=plan.workload.name,
            url=target.url,
            server_pid=target.pid,
            connections=plan.connections,
            size=plan.size,
            warmup=WARMUP_SECONDS,
            seconds=plan.seconds,
        )
        with on_core(plan.cores.generator):
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.handshakes", json.dumps(asdict(options))],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=WARMUP_SECONDS + plan.seconds + _SLACK_SECONDS,
                check=False,
            )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        return Run(server.name, number, None, f"the generator failed: {last}", "")
    outcome = load.Outcome(**json.loads(done.stdout))
    failed = f"{outcome.errors} errors: {outcome.first_error}" if outcome.errors else ""
    return Run(server.name, number, outcome, failed, "")


def _setting(plan: Plan) -> str:
    return (
        f"handshakes: {plan.connections} clients that connect, close and connect again, "
        f"{plan.rounds} x {plan.seconds:g} s for each server, after {WARMUP_SECONDS:g} s of warm-up"
    )


def _tables(plan: Plan, runs: list[Run]) -> str:
    head = "server|connections/s|CPU us/connection|min - max|generator CPU|server CPU|runs used"
    found = [figures(runs, server.name) for server in plan.servers]
    parts = [report.table(head.split("|"), [_row(figure) for figure in found if figure])]
    if compared := ratio(runs, FOR_INFORMATION):
        parts.append(
            f"CPU per connection, {OURS} / {WITHOUT.name}: {compared.median:.2f} "
            f"({compared.low:.2f} - {compared.high:.2f}, {compared.rounds} rounds)"
        )
    parts += [
        f"thrown away: round {one.round}, {one.server}: {one.failed}" for one in runs if one.failed
    ]
    return "\n\n".join(parts)


def _row(figure: Figures) -> list[str]:
    return [
        figure.server,
        f"{figure.messages_per_second:,.0f}",
        f"{figure.us_per_message:.1f}",
        f"{figure.us_min:.1f} - {figure.us_max:.1f}",
        f"{figure.generator_share:.0%}",
        f"{figure.server_share:.0%}",
        f"{figure.used}/{figure.runs}",
    ]
