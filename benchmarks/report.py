"""Owns what a measurement looks like: tables, notes, JSON, and the part of a page it replaces."""

import json
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measure import Figures, Plan, Result, Run, figures, result, value
from benchmarks.targets import Measure
from benchmarks.workloads import Workload


class NoPlace(Exception):
    """The page has no place for the figures; the text is one line."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table that reads well in a terminal: first column left, the others right."""
    cells = [list(head), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]

    def line(row: Sequence[str]) -> str:
        padded = [row[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(cells[0]), f"| {' | '.join(rule)} |", *map(line, cells[1:])])


def progress(plan: Plan, run: Run) -> str:
    """One line about one finished run."""
    where = f"{plan.workload.name}  round {run.round}/{plan.rounds}  {run.case:<18}"
    if run.failed or not run.outcome:
        return f"{where} invalid: {run.failed}"
    about = plan.workload.measure
    text = f"{where} {_name(about, plan.workload)} {value(about, run.outcome):6.1f}"
    text += f"  {_name(Measure.RATE, plan.workload)} {value(Measure.RATE, run.outcome):9,.0f}"
    return f"{text}  ~ {run.doubt}" if run.doubt else text


def _name(measure: Measure, workload: Workload) -> str:
    return measure.value.format(unit=workload.unit, units=workload.units)


def _columns(workload: Workload) -> dict[str, Callable[[Figures], str]]:
    """The columns of the table of cases: their heads, and what stands under them."""

    def marked(figure: Figures, text: str) -> str:
        return text if figure.sound else f"~ {text}"

    columns: dict[str, Callable[[Figures], str]] = {
        _name(Measure.RATE, workload): lambda one: marked(one, f"{one.per_second:,.0f}"),
        _name(workload.measure, workload): lambda one: marked(one, f"{one.value:.1f}"),
        "min - max": lambda one: f"{one.low:.1f} - {one.high:.1f}",
        "p50 ms": lambda one: f"{one.p50_ms:.2f}",
        "p99 ms": lambda one: f"{one.p99_ms:.2f}",
        "generator CPU": lambda one: f"{one.generator_share:.0%}",
        "server CPU": lambda one: f"{one.server_share:.0%}",
        "runs used": lambda one: f"{one.used}/{one.runs}",
    }
    if workload.measure is Measure.MEMORY:  # nothing is going on
        wanted = (_name(workload.measure, workload), "min - max", "runs used")
        return {head: columns[head] for head in wanted}
    return columns


def _result_row(found: Result, workload: Workload) -> list[str]:
    mark = "" if found.sound else "~ "
    return [
        f"{_name(found.target.measure, workload)}: {found.target.title}",
        f"{mark}{found.median:.2f}",
        f"{found.low:.2f} - {found.high:.2f}",
        found.target.bound,
        str(found.rounds),
        found.verdict,
    ]


def machine(plan: Plan) -> str:
    """The machine and the Python in one line."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    cores = (
        f"server on core {plan.cores.server}, load generator on core {plan.cores.generator}"
        if plan.cores.pinned
        else "NOT pinned (one core): the figures mean little"
    )
    linux = ".".join(platform.release().split(".")[:2])
    return f"{model}, {cores}; Linux {linux}, Python {platform.python_version()}"


def versions(plan: Plan) -> str:
    """What was installed, for the servers that were measured."""
    servers = [plan.servers[case.server] for case in plan.cases]
    names = sorted({name for server in servers for name in server.distributions}, key=str.lower)
    return ", ".join(f"{name} {version(name)}" for name in names)


def setting(plan: Plan) -> str:
    """The options of the measurement in one line."""
    numbers = dict.fromkeys(f"{plan.connections_of(case):,}" for case in plan.cases)
    return (
        f"{plan.workload.name}: {' or '.join(numbers)} connections, {plan.size}-byte text, "
        f"{plan.rounds} x {plan.seconds:g} s for each case, after "
        f"{plan.cases[0].traffic.warmup_seconds:g} s of warm-up"
    )


def tables(plan: Plan, runs: Sequence[Run]) -> str:
    """Everything the measurement says: figures, verdicts, and what was left out."""
    workload = plan.workload
    columns = _columns(workload)
    rows = []
    for case in plan.cases:
        found = figures(runs, case.name, workload.measure)
        rows.append([case.name, *(cell(found) if found else "-" for cell in columns.values())])
    parts = [table(["case", *columns], rows)]
    results = [came for target in workload.targets if (came := result(runs, target))]
    if results:
        head = ["what", "value", "min - max", "target", "rounds", "verdict"]
        parts.append(table(head, [_result_row(one, workload) for one in results]))
    else:
        parts.append("No verdicts: they need this server and a peer in the same round.")
    notes = [
        f"- round {run.round}, {run.case}: "
        + (f"thrown away, {run.failed}" if run.failed else f"~, {run.doubt}")
        for run in runs
        if not run.valid
    ]
    if notes:
        parts.append("Runs that do not count:\n\n" + "\n".join(notes))
    return "\n\n".join(parts)


def document(plan: Plan, runs: Sequence[Run], command: str) -> dict[str, Any]:
    """Every run and every derived figure, for a program to read."""
    workload = plan.workload
    found = [figures(runs, case.name, workload.measure) for case in plan.cases]
    results = [result(runs, target) for target in workload.targets]
    return {
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(plan),
        "versions": versions(plan),
        "pinned": plan.cores.pinned,
        "workload": workload.name,
        "figure": _name(workload.measure, workload),
        "connections": {case.name: plan.connections_of(case) for case in plan.cases},
        "size": plan.size,
        "seconds": plan.seconds,
        "rounds": plan.rounds,
        "runs": [asdict(run) | {"valid": run.valid} for run in runs],
        "cases": [asdict(figure) for figure in found if figure],
        "results": [
            asdict(one)
            | {"verdict": one.verdict}
            | {"target": asdict(one.target) | {"measure": one.target.measure.name.lower()}}
            for one in results
            if one
        ],
    }


def write_json(path: Path, documents: Sequence[dict[str, Any]]) -> None:
    """One document for each workload."""
    path.write_text(json.dumps(documents, indent=2) + "\n")


def _marks(workload: str) -> tuple[str, str]:
    return f"<!-- bench:start {workload} -->", f"<!-- bench:end {workload} -->"


def check_page(path: Path, workload: str) -> None:
    """Say so before anything is measured if the page has no place for the figures."""
    try:
        text = path.read_text()
    except OSError as error:
        raise NoPlace(f"cannot read {path}: {error.strerror}") from None
    start, end = _marks(workload)
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise NoPlace(f"{path} needs one {start} and, after it, one {end}")


def write_page(path: Path, plan: Plan, runs: Sequence[Run], command: str) -> None:
    """Replace what stands between the workload's marks by the command, the date and the tables."""
    text = path.read_text()
    start, end = _marks(plan.workload.name)
    before, _, rest = text.partition(start)
    after = rest.partition(end)[2]
    part = (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} with `{command}`.\n\n"
        f"- {machine(plan)}\n- {setting(plan)}\n- {versions(plan)}\n\n{tables(plan, runs)}"
    )
    path.write_text(f"{before}{start}\n\n{part}\n\n{end}{after}")
