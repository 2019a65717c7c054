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
from time import perf_counter, process_time

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
A round in which other processes used the machine, or the generator was near its limit, counts only
if all did.
"""
P99_AT_MOST = 1.5
OTHERS_AT_MOST = 0.15
MEMORY_AT_MOST_MIB = 8.0  # for one deaf member, and an outbox more for each further one
_OUTBOX_MIB = 1.0
_WARMUP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one run; it does not count if `failed` says why.

    Attributes:
        server_share, generator_share, others_share: of a core; others are those that have no part
            in the measurement.
    """

    deaf: int
    p50_ms: float
    p99_ms: float
    server_share: float
    generator_share: float
    others_share: float
    seen: Seen
    failed: str

    @property
    def doubt(self) -> str:
        """What is wrong with a run that counts all the same."""
        if self.generator_share > GENERATOR_AT_MOST:
            return f"the generator used {self.generator_share:.0%} of its core"
        if self.others_share > OTHERS_AT_MOST:
            return f"other processes used {self.others_share:.0%} of a core"
        return ""


# -- one run -----------------------------------------------------------------------------------


class _Clocks:
    """Who has used how much of a core since it was made."""

    def __init__(self, server_pid: int) -> None:
        self._server_pid = server_pid
        self._before = cpu.tree(server_pid), process_time(), cpu.machine(), perf_counter()

    def shares(self) -> tuple[float, float, float]:
        """Of the server, of this process, and of all others."""
        tree, own_before, machine_before, began = self._before
        seconds = perf_counter() - began
        server = cpu.spent(tree, cpu.tree(self._server_pid))
        generator = process_time() - own_before
        others = max(0.0, cpu.machine() - machine_before - server - generator)
        return server / seconds, generator / seconds, others / seconds


async def _drive(target: Running, log: Path, deaf: int, options: argparse.Namespace) -> Run:
    # With a second to spare for each: what looks at the server may take its time.
    seconds = _WARMUP_SECONDS + 1 + options.seconds + 1
    room = PacedRoom(target.base, options.members, options.rate, options.size, seconds)
    await room.open()
    room.start()
    await asyncio.sleep(_WARMUP_SECONDS)
    watch = Watch(admin_of(log), room.worker_pid)
    room.latencies.clear()
    clocks = _Clocks(target.pid)
    room.add_deaf(deaf)
    seen = await watch.during(options.seconds)
    latencies = sorted(room.latencies)
    server, generator, others = clocks.shares()
    await room.stop()
    return Run(
        deaf=deaf,
        p50_ms=percentile(latencies, 0.50) * 1e3,
        p99_ms=percentile(latencies, 0.99) * 1e3,
        server_share=server,
        generator_share=generator,
        others_share=others,
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
    add("--seconds", type=float, default=9.0, metavar="S", help="measured in a run (default 9)")
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
    complete = [both for both in rounds if not any(run.failed for run in both)]
    sound = [both for both in complete if not any(run.doubt for run in both)]
    valid = sound or complete
    setting = (
        f"{options.members:,} members, {options.rate:g} messages a second of {options.size:,} "
        f"bytes, {options.rounds} x {options.seconds:g} s; {len(sound)} rounds count"
    )
    if not sound:
        setting += f", ~ so all {len(complete)} in which nothing was lost are shown"
    if not valid:
        return f"\n{setting}"
    kinds = [("without", [both[0] for both in valid]), ("with", [both[1] for both in valid])]
    head = "others|p50 ms|p99 ms|min - max|server CPU|outboxes KiB|memory MiB|growth MiB"
    figures = report.table(head.split("|"), [_row(name, runs) for name, runs in kinds])
    verdicts = _verdicts(valid, options.deaf)
    if not sound:
        verdicts = [[*line[:-1], f"~ {line[-1]}"] for line in verdicts]
    head = "what|value|min - max|target|verdict"
    return "\n\n".join(["", setting, figures, report.table(head.split("|"), verdicts)])


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
