"""Owns the command line: options, checks before anything starts, progress, and exit codes."""

import argparse
import resource
import shlex
import sys
from pathlib import Path

from benchmarks import overhead, report, scrape
from benchmarks.cpu import Cores
from benchmarks.measure import Plan, Run, measure
from benchmarks.servers import SERVERS, Server
from benchmarks.session import session
from benchmarks.workloads import ECHO, SMALLEST_SIZE, WORKLOADS

_DESCRIPTION = """\
Measure servers side by side: server CPU per message, as a ratio to peers in the same round.

The load generator runs on one core and the server on another. In every round each server is
started, measured and ended once; the order rotates; a ratio is the median over the rounds.

Of this server alone, each with a --help of its own:
  python -m benchmarks overhead   what metrics, registry and logs cost
  python -m benchmarks scrape     what a scrape of /metrics costs
"""
_EPILOG = """\
A run with an error is thrown away. A run in which the generator was near its limit, or the
server was not, is marked ~ with the reason, and takes no part in a verdict.

exit codes:
  0    measured (a missed target is printed, it is not an error)
  2    wrong arguments, or a server that did not start
  130  interrupted
"""
_SPARE_FILES = 100
_OTHERS = {"overhead": overhead.run, "scrape": scrape.run}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rounds", type=int, default=5, metavar="N", help="runs of each server (default 5)")
    add("--seconds", type=float, default=4.0, metavar="S", help="measured in a run (default 4)")
    add("--connections", type=int, default=200, metavar="N", help="at once (default 200)")
    add("--size", type=int, default=128, metavar="BYTES", help="of a text message (default 128)")
    add(
        "--servers",
        default=",".join(SERVERS),
        metavar="A,B",
        help="which (default all, see --list)",
    )
    add("--json", type=Path, metavar="FILE", help="write every run and figure to FILE as well")
    add(
        "--write",
        type=Path,
        metavar="PAGE",
        help="put the tables into PAGE as well, between its bench:start and bench:end comments",
    )
    add("--list", action="store_true", help="list workloads and servers, and measure nothing")
    return parser


def _list() -> str:
    width = max(map(len, (*WORKLOADS, *SERVERS)))
    lines = ["workloads:"]
    lines += [f"  {name:<{width}}  {one.title}" for name, one in WORKLOADS.items()]
    lines += ["servers:"]
    for name, server in SERVERS.items():
        missing = server.missing()
        note = f"  [not installed: {', '.join(missing)}]" if missing else ""
        lines.append(f"  {name:<{width}}  {server.title}{note}")
    return "\n".join(lines)


def _chosen(names: str, parser: argparse.ArgumentParser) -> tuple[Server, ...]:
    wanted = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    if not wanted:
        parser.error("--servers names no server")
    for name in wanted:
        if name not in SERVERS:
            parser.error(f"no server {name!r}; there are {', '.join(SERVERS)}")
        if missing := SERVERS[name].missing():
            parser.error(f"{name} needs {', '.join(missing)}, which is not installed")
    return tuple(SERVERS[name] for name in wanted)


def _plan(options: argparse.Namespace, parser: argparse.ArgumentParser) -> Plan:
    least = {"rounds": 1, "seconds": 0.5, "connections": 1, "size": SMALLEST_SIZE}
    for name, value in least.items():
        if not getattr(options, name) >= value:  # so that "nan" fails too
            parser.error(f"--{name} must be at least {value}")
    if options.json and not options.json.parent.is_dir():
        parser.error(f"--json: no directory {options.json.parent}")
    if options.write:
        try:
            report.check_page(options.write)
        except report.NoPlace as error:
            parser.error(f"--write: {error}")
    return Plan(
        workload=ECHO,
        servers=_chosen(options.servers, parser),
        rounds=options.rounds,
        seconds=options.seconds,
        connections=options.connections,
        size=options.size,
        cores=Cores.available(),
    )


def _raise_file_limit(connections: int, parser: argparse.ArgumentParser) -> None:
    """Server and generator inherit the limit; each needs a descriptor for every connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            parser.error(f"--connections {connections} needs {needed} open files, limit is {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _command(options: argparse.Namespace, parser: argparse.ArgumentParser) -> str:
    """The command that repeats the measurement: where its results went is no part of it."""
    words = ["python", "-m", "benchmarks"]
    for name in ("rounds", "seconds", "connections", "size", "servers"):
        value = getattr(options, name)
        if value != parser.get_default(name):
            words += [f"--{name}", format(value, "g") if name == "seconds" else str(value)]
    return shlex.join(words)


def run(arguments: list[str]) -> int:
    """Parse, measure, print; returns the exit code."""
    if arguments and arguments[0] in _OTHERS:
        return _OTHERS[arguments[0]](arguments[1:])
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list:
        print(_list())
        return 0
    plan, command = _plan(options, parser), _command(options, parser)
    _raise_file_limit(plan.connections, parser)
    if not plan.cores.pinned:
        print("bench: WARNING: fewer than 2 cores, nothing is pinned", file=sys.stderr)
    print(f"{report.setting(plan)}\n{report.machine(plan)}", file=sys.stderr, flush=True)

    def progress(finished: Run) -> None:
        print(report.progress(finished, plan.rounds), file=sys.stderr, flush=True)

    def body(logs: Path) -> bool:
        runs = measure(plan, logs, progress)
        print(f"\n{report.tables(plan, runs)}")
        if options.json:
            report.write_json(options.json, plan, runs, command)
        if options.write:
            report.write_page(options.write, plan, runs, command)
        return all(not finished.failed for finished in runs)

    return session(body)
