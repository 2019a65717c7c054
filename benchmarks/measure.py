"""Owns the method: rounds in which every server runs once, and what makes a run count."""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import cpu, load
from benchmarks.servers import REPOSITORY, Server, running
from benchmarks.workloads import OURS, Target, Workload

WARMUP_SECONDS = 1.0
GENERATOR_AT_MOST = 0.95  # of its core
SERVER_AT_LEAST = 0.80  # of its core
_GENERATOR_SLACK_SECONDS = 40.0  # to connect, to drain, to close


@dataclass(frozen=True, slots=True)
class Plan:
    """One measurement as the user asked for it."""

    workload: Workload
    servers: tuple[Server, ...]
    rounds: int
    seconds: float
    connections: int
    size: int
    cores: cpu.Cores


@dataclass(frozen=True, slots=True)
class Run:
    """One server in one round: `failed` throws it away, `doubt` marks its figures with ~."""

    server: str
    round: int
    outcome: load.Outcome | None
    failed: str
    doubt: str

    @property
    def valid(self) -> bool:
        """Whether a verdict may rest on this run."""
        return not self.failed and not self.doubt


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the runs of one server; not `sound` when no run of it was valid."""

    server: str
    runs: int
    used: int
    sound: bool
    messages_per_second: float
    us_per_message: float
    us_min: float
    us_max: float
    p50_ms: float
    p99_ms: float
    generator_share: float
    server_share: float


@dataclass(frozen=True, slots=True)
class Ratio:
    """Our CPU per message over the peer's: the median of the rounds' ratios, each in one round."""

    target: Target
    rounds: int
    sound: bool
    median: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """PASS, MISS, or why there is none."""
        if self.target.at_most is None:
            return "for information"
        if not self.sound:
            return "~ no valid round"
        return "PASS" if self.median <= self.target.at_most else "MISS"


def us_per_message(outcome: load.Outcome) -> float:
    """Server CPU for one message, in microseconds."""
    return outcome.server_cpu / outcome.messages * 1e6


def _judge(server: str, number: int, outcome: load.Outcome) -> Run:
    if outcome.errors or not outcome.messages or not outcome.server_cpu:
        failed = f"{outcome.errors} errors: {outcome.first_error or 'nothing was delivered'}"
        return Run(server, number, outcome, failed, "")
    generator = outcome.generator_cpu / outcome.seconds
    used = outcome.server_cpu / outcome.seconds
    doubts = []
    if generator > GENERATOR_AT_MOST:
        doubts.append(f"the generator used {generator:.0%} of its core")
    if used < SERVER_AT_LEAST:
        doubts.append(f"the server used only {used:.0%} of its core")
    return Run(server, number, outcome, "", " and ".join(doubts))


def _run_once(plan: Plan, server: Server, number: int, logs: Path) -> Run:
    log = logs / f"{number:02d}-{server.name}.log"
    with running(server, plan.workload, plan.cores.server, log) as target:
        options = load.Options(
            workload=plan.workload.name,
            url=target.url,
            server_pid=target.pid,
            connections=plan.connections,
            size=plan.size,
            warmup=WARMUP_SECONDS,
            seconds=plan.seconds,
        )
        with cpu.on_core(plan.cores.generator):
            generator = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.load", json.dumps(asdict(options))],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        with generator:
            try:
                bound = WARMUP_SECONDS + plan.seconds + _GENERATOR_SLACK_SECONDS
                output, complaint = generator.communicate(timeout=bound)
            except subprocess.TimeoutExpired:
                return Run(server.name, number, None, f"no result within {bound:.0f} s", "")
            finally:
                generator.kill()  # does nothing to one that has ended
    if generator.returncode:
        last = (complaint.strip().splitlines() or ["no reason given"])[-1]
        return Run(server.name, number, None, f"the generator failed: {last}", "")
    return _judge(server.name, number, load.Outcome(**json.loads(output)))


def measure(plan: Plan, logs: Path, progress: Callable[[Run], None]) -> list[Run]:
    """Every round runs every server once; each round begins with the next server."""
    runs = []
    for number in range(1, plan.rounds + 1):
        shift = (number - 1) % len(plan.servers)
        for server in plan.servers[shift:] + plan.servers[:shift]:
            run = _run_once(plan, server, number, logs)
            runs.append(run)
            progress(run)
    return runs


def figures(runs: list[Run], server: str) -> Figures | None:
    """The medians of one server over its valid runs, or failing those over its doubtful ones."""
    mine = [run for run in runs if run.server == server]
    valid = [run for run in mine if run.valid]
    outcomes = [run.outcome for run in valid or mine if run.outcome and not run.failed]
    if not outcomes:
        return None
    costs = [us_per_message(outcome) for outcome in outcomes]
    return Figures(
        server=server,
        runs=len(mine),
        used=len(outcomes),
        sound=bool(valid),
        messages_per_second=statistics.median(o.messages / o.seconds for o in outcomes),
        us_per_message=statistics.median(costs),
        us_min=min(costs),
        us_max=max(costs),
        p50_ms=statistics.median(o.p50_ms for o in outcomes),
        p99_ms=statistics.median(o.p99_ms for o in outcomes),
        generator_share=statistics.median(o.generator_cpu / o.seconds for o in outcomes),
        server_share=statistics.median(o.server_cpu / o.seconds for o in outcomes),
    )


def ratio(runs: list[Run], target: Target) -> Ratio | None:
    """Ours over the peer's, round by round; None when no round has both."""
    by_place = {(run.round, run.server): run for run in runs if run.outcome and not run.failed}
    pairs = [
        (run, by_place[number, target.peer])
        for (number, server), run in by_place.items()
        if server == OURS and (number, target.peer) in by_place
    ]
    valid = [pair for pair in pairs if pair[0].valid and pair[1].valid]
    values = [
        us_per_message(ours.outcome) / us_per_message(peer.outcome)
        for ours, peer in valid or pairs
        if ours.outcome and peer.outcome
    ]
    if not values:
        return None
    median = statistics.median(values)
    return Ratio(target, len(values), bool(valid), median, min(values), max(values))
