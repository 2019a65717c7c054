"""Owns what a measurement looks like: tables, notes, JSON, and the part of a page it replaces."""

import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import (
    WARMUP_SECONDS,
    Figures,
    Plan,
    Ratio,
    Run,
    figures,
    ratio,
    us_per_message,
)
from benchmarks.workloads import OURS

START = "<!-- bench:start -->"
END = "<!-- bench:end -->"


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


def progress(run: Run, rounds: int) -> str:
    """One line about one finished run."""
    where = f"round {run.round}/{rounds}  {run.server:<18}"
    if run.failed or not run.outcome:
        return f"{where} invalid: {run.failed}"
    outcome = run.outcome
    rate = outcome.messages / outcome.seconds
    text = f"{where} {us_per_message(outcome):6.1f} us/message  {rate:9,.0f} msg/s"
    return f"{text}  ~ {run.doubt}" if run.doubt else text


def _server_row(server: str, figure: Figures | None) -> list[str]:
    if figure is None:
        return [server, *["-"] * 8]
    mark = "" if figure.sound else "~ "
    return [
        server,
        f"{mark}{figure.messages_per_second:,.0f}",
        f"{mark}{figure.us_per_message:.1f}",
        f"{figure.us_min:.1f} - {figure.us_max:.1f}",
        f"{figure.p50_ms:.2f}",
        f"{figure.p99_ms:.2f}",
        f"{figure.generator_share:.0%}",
        f"{figure.server_share:.0%}",
        f"{figure.used}/{figure.runs}",
    ]


def _ratio_row(result: Ratio) -> list[str]:
    mark = "" if result.sound else "~ "
    target = result.target
    return [
        f"{OURS} / {target.peer}",
        f"{mark}{result.median:.2f}",
        f"{result.low:.2f} - {result.high:.2f}",
        "-" if target.at_most is None else f"<= {target.at_most:.2f}",
        str(result.rounds),
        result.verdict,
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
    names = sorted(
        {name for server in plan.servers for name in server.distributions}, key=str.lower
    )
    return ", ".join(f"{name} {version(name)}" for name in names)


def setting(plan: Plan) -> str:
    """The options of the measurement in one line."""
    return (
        f"{plan.workload.name}: {plan.connections} connections, {plan.size}-byte text, "
        f"{plan.rounds} x {plan.seconds:g} s for each server, after {WARMUP_SECONDS:g} s of warm-up"
    )


def tables(plan: Plan, runs: list[Run]) -> str:
    """Everything the measurement says: figures, ratios to the targets, and what was left out."""
    head = "server|msg/s|CPU us/message|min - max|p50 ms|p99 ms|generator CPU|server CPU|runs used"
    rows = [_server_row(server.name, figures(runs, server.name)) for server in plan.servers]
    parts = [table(head.split("|"), rows)]
    ratios = [found for target in plan.workload.targets if (found := ratio(runs, target))]
    if ratios:
        head = "CPU per message|ratio|min - max|target|rounds|verdict"
        parts.append(table(head.split("|"), map(_ratio_row, ratios)))
    else:
        parts.append(f"No ratios: they need {OURS} and a peer in the same round.")
    notes = [
        f"- round {run.round}, {run.server}: "
        + (f"thrown away, {run.failed}" if run.failed else f"~, {run.doubt}")
        for run in runs
        if not run.valid
    ]
    if notes:
        parts.append("Runs that do not count:\n\n" + "\n".join(notes))
    return "\n\n".join(parts)


def write_json(path: Path, plan: Plan, runs: list[Run], command: str) -> None:
    """Every run and every derived figure, for a program to read."""
    found = [figures(runs, server.name) for server in plan.servers]
    ratios = [ratio(runs, target) for target in plan.workload.targets]
    document = {
        "command": command,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(plan),
        "versions": versions(plan),
        "pinned": plan.cores.pinned,
        "workload": plan.workload.name,
        "connections": plan.connections,
        "size": plan.size,
        "seconds": plan.seconds,
        "warmup": WARMUP_SECONDS,
        "rounds": plan.rounds,
        "runs": [asdict(run) | {"valid": run.valid} for run in runs],
        "servers": [asdict(figure) for figure in found if figure],
        "ratios": [asdict(one) | {"verdict": one.verdict} for one in ratios if one],
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


def check_page(path: Path) -> None:
    """Say so before anything is measured if the page has no place for the figures."""
    try:
        text = path.read_text()
    except OSError as error:
        raise NoPlace(f"cannot read {path}: {error.strerror}") from None
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise NoPlace(f"{path} needs one {START} and, after it, one {END}")


def write_page(path: Path, plan: Plan, runs: list[Run], command: str) -> None:
    """Replace what stands between the two marks by the command, the date and the tables."""
    text = path.read_text()
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    part = (
        f"Measured on {datetime.now(UTC):%Y-%m-%d} with `{command}`.\n\n"
        f"- {machine(plan)}\n- {setting(plan)}\n- {versions(plan)}\n\n{tables(plan, runs)}"
    )
    path.write_text(f"{before}{START}\n\n{part}\n\n{END}{after}")
