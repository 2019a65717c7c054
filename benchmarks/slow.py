"""Owns what a member that never reads does to its room: the same traffic without it and with it."""

import argparse
import asyncio
import resource
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import process_time

import uvloop

from benchmarks import cpu, report
from benchmarks.admin import admin_of
from benchmarks.cpu import Cores
from benchmarks.load import percentile
from benchmarks.measure import GENERATOR_AT_MOST
from benchmarks.paced_room import PacedRoom
from benchmarks.servers import SERVERS, Running, running
from benchmarks.session import session
from benchmarks.slow_watch import Seen, Watch
from benchmarks.targets import OURS
from benchmarks.traffic import SMALLEST_SIZE

_DESCRIPTION = """\
Measure what a member that never reads does to the others of its room.

A publisher sends on time whatever comes back; every delivery to every other member is timed, from
the sending. Runs without a deaf member and with one take turns, each on a fresh server with one
worker and default settings. The deaf one joins when the measured time begins, and has to be closed
within it. A run in which another member lacks a message, or gets one out of order, is thrown away.
"""
P99_AT_MOST = 1.5
MEMORY_AT_MOST_MIB = 8.0  # for one deaf member, and an outbox more for each further one
_OUTBOX_MIB = 1.0
_WARMUP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one run; it does not count if `failed` says why.

    Attributes:
        server_share, generator_share: of a core.
    """

    deaf: int
    p50_ms: float
    p99_ms: float
    server_share: float
    generator_share: float
    seen: Seen
    failed: str

    @property
    def doubt(self) -> str:
        """What is wrong with a run that counts all the same."""
        if self.generator_share > GENERATOR_AT_MOST:
            return f"the generator used {self.generator_share:.0%} of its core"
        return ""


# -- one run -----------------------------------------------------------------------------------


async def _drive(target: Running, log: Path, deaf: int, options: argparse.Namespace) -> Run:
    room = PacedRoom(target.base, options.members, options.rate, options.size)
    await room.open()
    room.start()
    await asyncio.sleep(_WARMUP_SECONDS)
    watch = Watch(admin_of(log), room.worker_pid)
    room.latencies.clear()
    cpu_before, own_before = cpu.tree(target.pid), process_time()
    room.add_deaf(deaf)
    seen = await watch.during(options.seconds)
    latencies = sorted(room.latencies)
    cpu_s, own_s = cpu.spent(cpu_before, cpu.tree(target.pid)), process_time() - own_before
    await room.stop()
    return Run(
        deaf=deaf,
        p50_ms=percentile(latencies, 0.50) * 1e3,
        p99_ms=percentile(latencies, 0.99) * 1e3,
        server_share=cpu_s / options.seconds,
        generator_share=own_s / options.seconds,
        seen=seen,
        failed=f"{room.errors} errors: {room.first_error}" if room.errors else "",
    )


def _run_once(name: str, deaf: int, options: argparse.Namespace, logs: Path) -> Run:
    cores, log = Cores.available(), logs / f"{name}.log"
    with running(SERVERS[OURS], cores.server, log) as target, cpu.on_core(cores.generator):
        run = uvloop.run(_drive(target, log, deaf, options))
    print(f"{name}  {_progress(run)}", file=sys.stderr, flush=True)
    return run


def _progress(run: Run) -> str:
    if run.failed:
        return f"invalid: {run.failed}"
    text = f"p50 {run.p50_ms:7.1f} ms  p99 {run.p99_ms:7.1f} ms  server {run.server_share:.0%}"
    return f"{text}  ~ {run.doubt}" if run.doubt else text


# -- the command -------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks slow",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--members", type=int, default=1000, metavar="N", help="that read (default 1000)")
    add("--deaf", type=int, default=1, metavar="N", help="that never read (default 1)")
    add("--rate", type=float, default=20.0, metavar="R", help="messages a second (default 20)")
    add("--size", type=int, default=8192, metavar="BYTES", help="of a message (default 8192)")
    add("--seconds", type=float, default=10.0, metavar="S", help="measured in a run (default 10)")
    add("--rounds", type=int, default=5, metavar="N", help="runs of each kind (default 5)")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Measure and print; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if min(options.members, options.deaf, options.rounds) < 1:
        parser.error("--members, --deaf and --rounds must be at least 1")
    if not (options.rate > 0 and options.seconds >= 1 and options.size >= SMALLEST_SIZE):
        parser.error(
            f"--rate must be above 0, --seconds at least 1 and --size at least {SMALLEST_SIZE}"
        )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return session(partial(_measure, options))


def _measure(options: argparse.Namespace, logs: Path) -> bool:
    rounds: list[tuple[Run, Run]] = []
    for number in range(1, options.rounds + 1):
        # Each round begins with the other kind.
        found = {
            deaf: _run_once(f"round-{number}-deaf-{deaf}", deaf, options, logs)
            for deaf in ((0, options.deaf) if number % 2 else (options.deaf, 0))
        }
        rounds.append((found[0], found[options.deaf]))
    print(_report(rounds, options))
    return not any(run.failed for both in rounds for run in both)


# -- the report --------------------------------------------------------------------------------


def _report(rounds: Sequence[tuple[Run, Run]], options: argparse.Namespace) -> str:
    valid = [both for both in rounds if not any(run.failed for run in both)]
    setting = (
        f"{options.members:,} members, {options.rate:g} messages a second of {options.size:,} "
        f"bytes, {options.rounds} x {options.seconds:g} s; {len(valid)} rounds count"
    )
    if not valid:
        return f"\n{setting}"
    kinds = [("without", [both[0] for both in valid]), ("with", [both[1] for both in valid])]
    head = "others|p50 ms|p99 ms|min - max|server CPU|outboxes KiB|memory MiB|growth MiB"
    figures = report.table(head.split("|"), [_row(name, runs) for name, runs in kinds])
    head = "what|value|min - max|target|verdict"
    return "\n\n".join(
        ["", setting, figures, report.table(head.split("|"), _verdicts(valid, options.deaf))]
    )


def _row(name: str, runs: Sequence[Run]) -> list[str]:
    p99s = [run.p99_ms for run in runs]
    return [
        name,
        f"{statistics.median(run.p50_ms for run in runs):.1f}",
        f"{statistics.median(p99s):.1f}",
        f"{min(p99s):.1f} - {max(p99s):.1f}",
        f"{statistics.median(run.server_share for run in runs):.0%}",
        f"{max(run.seen.outbox_bytes for run in runs) / 1024:,.0f}",
        f"{statistics.median(run.seen.memory_kb for run in runs) / 1024:.1f}",
        f"{max(run.seen.growth_kb for run in runs) / 1024:.1f}",
    ]


def _verdicts(rounds: Sequence[tuple[Run, Run]], deaf: int) -> list[list[str]]:
    """The lines of the second table; the first is judged by its median, the others by the worst."""
    ratios = [with_it.p99_ms / without.p99_ms for without, with_it in rounds]
    seen = [with_it.seen for _, with_it in rounds]
    growths = [one.growth_kb / 1024 for one in seen]
    closed = [one.closed_after_s for one in seen if one.closed_after_s is not None]
    is_counted = all(one.actions == {"disconnect": deaf} for one in seen)
    bound = MEMORY_AT_MOST_MIB + _OUTBOX_MIB * (deaf - 1)
    actions = sorted({f"{policy} {count}" for one in seen for policy, count in one.actions.items()})
    return [
        _line("p99 with / without", ratios, f"<= {P99_AT_MOST:g}", _ratio_is_met(ratios)),
        _line("closed after s", closed, "in time", len(closed) == len(seen)),
        ["counted", ", ".join(actions) or "-", "-", f"disconnect {deaf}", _verdict(is_counted)],
        _line("growth MiB", growths, f"<= {bound:g}", max(growths) <= bound),
    ]


def _ratio_is_met(ratios: Sequence[float]) -> bool:
    return statistics.median(ratios) <= P99_AT_MOST


def _line(what: str, values: Sequence[float], target: str, is_met: bool) -> list[str]:
    if not values:
        return [what, "-", "-", target, _verdict(is_met)]
    low, high = min(values), max(values)
    median = f"{statistics.median(values):.2f}"
    return [what, median, f"{low:.2f} - {high:.2f}", target, _verdict(is_met)]


def _verdict(is_met: bool) -> str:
    return "PASS" if is_met else "MISS"
