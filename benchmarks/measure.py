"""Owns the method: rounds in which every case runs once, and what makes a run count."""

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import cpu, load
from benchmarks.servers import REPOSITORY, Server, running
from benchmarks.targets import Measure, Target
from benchmarks.workloads import Case, Workload

GENERATOR_AT_MOST = 0.95  # of its core
SERVER_AT_LEAST = 0.80  # of its core
_GENERATOR_SLACK_SECONDS = 60.0  # to connect, to drain, to close


@dataclass(frozen=True, slots=True)
class Plan:
    """One measurement as the user asked for it.

    Attributes:
        cases: those of the workload that are to run.
        servers: at least theirs, by name.
        connections: None: as many as each kind of traffic has by default.
    """

    workload: Workload
    cases: tuple[Case, ...]
    servers: dict[str, Server]
    rounds: int
    seconds: float
    connections: int | None
    size: int
    cores: cpu.Cores

    def connections_of(self, case: Case) -> int:
        """How many connections a case has."""
        return self.connections or case.traffic.connections


@dataclass(frozen=True, slots=True)
class Run:
    """One case in one round: `failed` throws it away, `doubt` marks its figures with ~."""

    case: str
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
    """Medians over the runs of one case; not `sound` when no run of it was valid.

    Attributes:
        value, low, high: of the figure that the workload is about.
    """

    case: str
    runs: int
    used: int
    sound: bool
    value: float
    low: float
    high: float
    per_second: float
    p50_ms: float
    p99_ms: float
    generator_share: float
    server_share: float


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a target: the median of the rounds' values, each from runs of one round."""

    target: Target
    rounds: int
    sound: bool
    median: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """PASS, MISS, or why there is none."""
        if not self.target.has_bound:
            return "for information"
        if not self.sound:
            return "~ no valid round"
        return "PASS" if self.target.is_met(self.median) else "MISS"


def value(measure: Measure, outcome: load.Outcome) -> float:
    """A figure of one run."""
    if measure is Measure.RATE:
        return outcome.messages / outcome.seconds
    if measure is Measure.MEMORY:
        return outcome.memory_kb / outcome.messages
    if measure is Measure.P99:
        return outcome.p99_ms
    return outcome.server_cpu / outcome.messages * 1e6


# -- running -----------------------------------------------------------------------------------


def _judge(workload: Workload, case: str, number: int, outcome: load.Outcome) -> Run:
    if outcome.errors or not outcome.messages or not outcome.server_cpu:
        failed = f"{outcome.errors} errors: {outcome.first_error or 'nothing was delivered'}"
        return Run(case, number, outcome, failed, "")
    generator = outcome.generator_cpu / outcome.seconds
    used = outcome.server_cpu / outcome.seconds
    doubts = []
    if generator > GENERATOR_AT_MOST:
        doubts.append(f"the generator used {generator:.0%} of its core")
    if used < SERVER_AT_LEAST and workload.is_saturating:
        doubts.append(f"the server used only {used:.0%} of its core")
    return Run(case, number, outcome, "", " and ".join(doubts))


def _run_once(plan: Plan, case: Case, number: int, logs: Path) -> Run:
    log = logs / f"{plan.workload.name}-{number:02d}-{case.name}.log"
    with running(plan.servers[case.server], plan.cores.server, log) as target:
        options = load.Options(
            traffic=case.traffic.name,
            url=target.base + case.traffic.path,
            server_pid=target.pid,
            connections=plan.connections_of(case),
            size=plan.size,
            warmup=case.traffic.warmup_seconds,
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
                bound = options.warmup + plan.seconds + _GENERATOR_SLACK_SECONDS
                output, complaint = generator.communicate(timeout=bound)
            except subprocess.TimeoutExpired:
                return Run(case.name, number, None, f"no result within {bound:.0f} s", "")
            finally:
                generator.kill()  # does nothing to one that has ended
    if generator.returncode:
        last = (complaint.strip().splitlines() or ["no reason given"])[-1]
        return Run(case.name, number, None, f"the generator failed: {last}", "")
    return _judge(plan.workload, case.name, number, load.Outcome(**json.loads(output)))


def measure(plan: Plan, logs: Path, progress: Callable[[Run], None]) -> list[Run]:
    """Every round runs every case once; each round begins with the next case."""
    runs = []
    for number in range(1, plan.rounds + 1):
        shift = (number - 1) % len(plan.cases)
        for case in plan.cases[shift:] + plan.cases[:shift]:
            run = _run_once(plan, case, number, logs)
            runs.append(run)
            progress(run)
    return runs


# -- judging -----------------------------------------------------------------------------------


def figures(runs: Sequence[Run], case: str, about: Measure) -> Figures | None:
    """The medians of one case over its valid runs, or failing those over its doubtful ones."""
    mine = [run for run in runs if run.case == case]
    valid = [run for run in mine if run.valid]
    outcomes = [run.outcome for run in valid or mine if run.outcome and not run.failed]
    if not outcomes:
        return None
    values = [value(about, outcome) for outcome in outcomes]
    return Figures(
        case=case,
        runs=len(mine),
        used=len(outcomes),
        sound=bool(valid),
        value=statistics.median(values),
        low=min(values),
        high=max(values),
        per_second=statistics.median(value(Measure.RATE, o) for o in outcomes),
        p50_ms=statistics.median(o.p50_ms for o in outcomes),
        p99_ms=statistics.median(o.p99_ms for o in outcomes),
        generator_share=statistics.median(o.generator_cpu / o.seconds for o in outcomes),
        server_share=statistics.median(o.server_cpu / o.seconds for o in outcomes),
    )


def result(runs: Sequence[Run], target: Target) -> Result | None:
    """What came of a target, round by round; None when no round has what it takes."""
    by_place = {(run.round, run.case): run for run in runs if run.outcome and not run.failed}
    wanted = [name for name in (target.case, target.peer) if name is not None]
    rounds = [
        found
        for number in sorted({run.round for run in runs})
        if len(found := [by_place[number, n] for n in wanted if (number, n) in by_place])
        == len(wanted)
    ]
    valid = [found for found in rounds if all(run.valid for run in found)]
    values = [_compared(target, found) for found in valid or rounds]
    if not values:
        return None
    median = statistics.median(values)
    return Result(target, len(values), bool(valid), median, min(values), max(values))


def _compared(target: Target, found: Sequence[Run]) -> float:
    """The value of a target in one round: of our run, and the peer's if there is one."""
    ours, *others = [value(target.measure, run.outcome) for run in found if run.outcome]
    return target.value(ours, others[0] if others else None)
