"""Owns the command line: options, checks before anything starts, progress, and exit codes."""

import argparse
import resource
import shlex
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from benchmarks import overhead, report, scrape, slow
from benchmarks.cpu import Cores
from benchmarks.measure import Plan, Run, measure
from benchmarks.servers import SERVERS
from benchmarks.session import session
from benchmarks.traffic import SMALLEST_SIZE
from benchmarks.workloads import WORKLOADS, Workload

_DESCRIPTION = """\
Measure servers side by side: server CPU per message, as a ratio to peers in the same round.

The load generator runs on one core and the server on another. In every round each case of a
workload, a server with some traffic, is started, measured and ended once; the order rotates; a
verdict is about the median over the rounds. Workloads follow one another.

  python -m benchmarks                             echo and fanout: about six minutes
  python -m benchmarks --list                      what else there is
  python -m benchmarks --workloads fanout-10k      one of them
  python -m benchmarks --rounds 1 --seconds 2      a first impression

Of this server alone, each with a --help of its own:
  python -m benchmarks overhead   what metrics, registry and logs cost
  python -m benchmarks scrape     what a scrape of /metrics costs
  python -m benchmarks slow       what a member that never reads does to the others
"""
_EPILOG = """\
A run with an error is thrown away. A run in which the generator was near its limit, or the
server was not, is marked ~ with the reason, and takes no part in a verdict.

exit codes:
  0    measured (a missed target is printed, it is not an error)
  2    wrong arguments, or a server that did not start
  130  interrupted
"""
Parser = argparse.ArgumentParser
Options = argparse.Namespace
_SPARE_FILES = 300
_OTHERS = {"overhead": overhead.run, "scrape": scrape.run, "slow": slow.run}


def _parser() -> Parser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rounds", type=int, default=5, metavar="N", help="runs of each server (default 5)")
    add("--seconds", type=float, default=4.0, metavar="S", help="measured in a run (default 4)")
    add(
        "--connections",
        type=int,
        metavar="N",
        help="at once (default: each workload's own, see --list)",
    )
    add("--size", type=int, default=128, metavar="BYTES", help="of a text message (default 128)")
    add(
        "--workloads",
        default=",".join(name for name, one in WORKLOADS.items() if one.is_default),
        metavar="A,B",
        help="which (default %(default)s, see --list)",
    )
    add(
        "--servers",
        default=",".join(SERVERS),
        metavar="A,B",
        help="only the cases of these (default all, see --list)",
    )
    add("--json", type=Path, metavar="FILE", help="write every run and figure to FILE, too")
    add(
        "--write",
        type=Path,
        metavar="PAGE",
        help="put the tables into PAGE as well, between the comments `bench:start WORKLOAD` and "
        "`bench:end WORKLOAD`",
    )
    add("--list", action="store_true", help="list workloads and servers, and measure nothing")
    return parser


def _list() -> str:
    width = max(map(len, (*WORKLOADS, *SERVERS)))
    lines = ["workloads (* those that run by default) and their cases:"]
    for name, workload in WORKLOADS.items():
        lines.append(f"{'*' if workload.is_default else ' ':>2} {name:<{width}}  {workload.title}")
        for case in workload.cases:
            on = "" if case.name == case.server else f"{case.server}, "
            connections = f"{case.traffic.connections:,} connections"
            lines.append(f"   {'':<{width}}    {case.name}: {on}{connections}")
    lines += ["servers:"]
    for name, server in SERVERS.items():
        missing = server.missing()
        note = f"  [not installed: {', '.join(missing)}]" if missing else ""
        lines.append(f"   {name:<{width}}  {server.title}{note}")
    return "\n".join(lines)


def _names(option: str, text: str, known: Collection[str], parser: Parser) -> list[str]:
    """The names in a list separated by commas."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        parser.error(f"--{option} names none; there are {', '.join(known)}")
    for name in names:
        if name not in known:
            parser.error(f"--{option}: no {name!r}; there are {', '.join(known)}")
    return names


def _plan(workload: Workload, servers: list[str], options: Options, parser: Parser) -> Plan:
    cases = tuple(case for case in workload.cases if case.server in servers)
    if not cases:
        its = dict.fromkeys(case.server for case in workload.cases)
        parser.error(f"--servers: {workload.name} only has {', '.join(its)}")
    for case in cases:
        if missing := SERVERS[case.server].missing():
            parser.error(f"{case.server} needs {', '.join(missing)}, which is not installed")
    if options.write:
        try:
            report.check_page(options.write, workload.name)
        except report.NoPlace as error:
            parser.error(f"--write: {error}")
    return Plan(
        workload=workload,
        cases=cases,
        servers=SERVERS,
        rounds=options.rounds,
        seconds=options.seconds,
        connections=options.connections,
        size=options.size,
        cores=Cores.available(),
    )


def _plans(options: Options, parser: Parser) -> list[Plan]:
    """Everything that is to be measured, or an error before anything is."""
    least = {"rounds": 1, "seconds": 0.5, "connections": 1, "size": SMALLEST_SIZE}
    for name, value in least.items():
        given = getattr(options, name)
        if given is not None and not given >= value:  # so that "nan" fails too
            parser.error(f"--{name} must be at least {value}")
    if options.json and not options.json.parent.is_dir():
        parser.error(f"--json: no directory {options.json.parent}")
    servers = _names("servers", options.servers, SERVERS, parser)
    workloads = _names("workloads", options.workloads, WORKLOADS, parser)
    return [_plan(WORKLOADS[name], servers, options, parser) for name in workloads]


def _raise_file_limit(plan: Plan, parser: Parser) -> None:
    """Server and generator inherit the limit; each needs a descriptor for every connection."""
    needed = max(map(plan.connections_of, plan.cases)) + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            parser.error(
                f"{plan.workload.name} needs {needed} open files a process, and the hard limit is "
                f"{hard}: raise it as root (ulimit -Hn {needed}), or give fewer --connections"
            )
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _command(plan: Plan, options: Options, parser: Parser) -> str:
    """The command that repeats the measurement: where its results went is no part of it."""
    words = ["python", "-m", "benchmarks", "--workloads", plan.workload.name]
    for name in ("rounds", "seconds", "connections", "size", "servers"):
        value = getattr(options, name)
        if value != parser.get_default(name):
            words += [f"--{name}", format(value, "g") if name == "seconds" else str(value)]
    return shlex.join(words)


def _measure(plan: Plan, command: str, options: Options, logs: Path) -> tuple[bool, dict[str, Any]]:
    """Measure one workload; returns whether no run failed, and all that came of it."""

    def progress(finished: Run) -> None:
        print(report.progress(plan, finished), file=sys.stderr, flush=True)

    print(report.setting(plan), file=sys.stderr, flush=True)
    runs = measure(plan, logs, progress)
    print(
        f"\n{plan.workload.name}: {plan.workload.title}\n\n{report.tables(plan, runs)}\n",
        flush=True,
    )
    if options.write:
        report.write_page(options.write, plan, runs, command)
    return not any(run.failed for run in runs), report.document(plan, runs, command)


def run(arguments: list[str]) -> int:
    """Parse, measure, print; returns the exit code."""
    if arguments and arguments[0] in _OTHERS:
        return _OTHERS[arguments[0]](arguments[1:])
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list:
        print(_list())
        return 0
    plans = _plans(options, parser)
    for plan in plans:
        _raise_file_limit(plan, parser)
    if not plans[0].cores.pinned:
        print("bench: WARNING: fewer than 2 cores, nothing is pinned", file=sys.stderr)
    print(report.machine(plans[0]), file=sys.stderr, flush=True)

    def body(logs: Path) -> bool:
        is_fine, documents = True, []
        for plan in plans:
            was_fine, document = _measure(plan, _command(plan, options, parser), options, logs)
            is_fine = is_fine and was_fine
            documents.append(document)
            if options.json:
                report.write_json(options.json, documents)
        return is_fine

    return session(body)
