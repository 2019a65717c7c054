"""Owns the rows that a report shows and saves: the same for HTML, Markdown and CSV; formats none.

A table is a title, the names of its columns and its rows, all as text.
"""

import csv
import io
from collections.abc import Iterable

import msgspec

from loadtest import books
from loadtest.figures import is_coming_and_going, sum_up
from loadtest.results import Latency, Run, Sample
from loadtest.slo import Verdict
from loadtest.words import count, duration, figures, milliseconds, percent


class Table(msgspec.Struct, frozen=True):
    """What a person reads; the first column names the row."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def headline(run: Run) -> list[tuple[str, str]]:
    """Return the few figures that matter most, with their names."""
    few, totals = sum_up(run), run.totals
    if is_coming_and_going(run):
        found = [("connections opened", count(totals.opened))]
    else:
        found = [("connections held", count(few.connections))]
    found.append(("messages/s", figures(few.messages_per_s)))
    if totals.rtt.count:
        found.append(("rtt p99", milliseconds(totals.rtt.p99_ms)))
    if totals.delivery.count:
        found.append(("delivery p99", milliseconds(totals.delivery.p99_ms)))
    if totals.expected:
        found.append(("completeness", percent(totals.completeness)))
    return [
        *found,
        ("failures", count(sum(totals.failures.values()))),
        ("generator CPU", percent(round(few.generator_cpu, 2))),
        *([("busiest worker", percent(round(few.worker_cpu, 2)))] if few.server_mib else []),
    ]


def tables(run: Run, verdict: Verdict) -> list[Table]:
    """Return all tables that have rows."""
    totals = run.totals
    all_of_them = [
        Table(
            "Limits",
            ["limit", "was", "allowed", ""],
            [
                [check.what, check.was, check.limit, "BROKEN" if check.broken else "kept"]
                for check in verdict.checks
            ],
        ),
        Table("Totals", ["what", "how many"], _totals(run)),
        Table(
            "Latency",
            ["ms", "count", "mean", "p50", "p95", "p99", "max"],
            [_latency(name, one) for name, one in latencies(run) if one.count],
        ),
        Table("Close codes", ["code", "connections"], _most_first(totals.closed)),
        Table("Refused handshakes", ["status", "times"], _most_first(totals.refused)),
        Table("Failures", ["what", "times"], _most_first(totals.failures)),
        Table("The books", ["count", "clients", "server", "difference"], _books(run)),
        Table("The run", ["what", ""], _about(run)),
    ]
    return [table for table in all_of_them if table.rows]


def latencies(run: Run) -> list[tuple[str, Latency]]:
    """Return the distributions of the whole run."""
    totals = run.totals
    return [
        ("connect", totals.connect),
        ("reconnect", totals.reconnect),
        ("rtt", totals.rtt),
        ("delivery", totals.delivery),
    ]


def _totals(run: Run) -> list[list[str]]:
    totals = run.totals
    names = ("opened", "sent", "received", "expected", "delivered", "duplicated", "reordered")
    rows = [[name, count(getattr(totals, name))] for name in names]
    if totals.recovered or totals.not_recovered:
        rows.append(["recovered", count(totals.recovered)])
        rows.append(["not recovered", count(totals.not_recovered)])
    return rows


def _latency(name: str, one: Latency) -> list[str]:
    times = (one.mean_ms, one.p50_ms, one.p95_ms, one.p99_ms, one.max_ms)
    return [name, count(one.count), *(figures(ms) for ms in times)]


def _most_first(amounts: dict[str, int]) -> list[list[str]]:
    return [
        [name, count(times)] for name, times in sorted(amounts.items(), key=lambda item: -item[1])
    ]


def _books(run: Run) -> list[list[str]]:
    if not run.server_deltas:
        return []
    return [
        [entry.what, count(entry.clients), count(entry.server), count(entry.difference)]
        for entry in books.compare(run)
    ]


def _about(run: Run) -> list[list[str]]:
    return [
        ["scenario", run.scenario],
        ["target", run.target],
        ["lasted", duration(run.duration_s)],
        *([name, text] for name, text in run.options.items()),
        *([f"generator: {name}", text] for name, text in run.machine.items()),
    ]


def samples_csv(run: Run) -> str:
    """Write a row for each second; the workers' columns are at the end, by worker."""
    workers = sorted({use.worker for one in run.samples for use in one.server})
    fields = ("cpu_cores", "resident_mib", "connections", "lag_ms", "files_share")
    header = [*_flat(_EMPTY), *(f"worker_{name}_{field}" for name in workers for field in fields)]
    rows = []
    for sample in run.samples:
        by_name = {use.worker: use for use in sample.server}
        uses = [getattr(by_name.get(name), field, "") for name in workers for field in fields]
        rows.append([*_flat(sample).values(), *uses])
    return _csv([header, *rows])


_EMPTY = Sample(
    at_s=0,
    wanted=0,
    connections=0,
    sent_per_s=0,
    received_per_s=0,
    rtt=Latency(),
    delivery=Latency(),
    failures=0,
    server=[],
    generator_cpu=0,
)


def _flat(sample: Sample) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name in sample.__struct_fields__:
        value = getattr(sample, name)
        if isinstance(value, Latency):
            flat.update(
                {f"{name}_{key}": part for key, part in msgspec.structs.asdict(value).items()}
            )
        elif name != "server":
            flat[name] = value
    return flat


def totals_csv(run: Run) -> str:
    """Write a row for each total: group, name, value."""
    rows: list[list[object]] = [["group", "name", "value"]]
    for name in run.totals.__struct_fields__:
        value = getattr(run.totals, name)
        if isinstance(value, Latency):
            rows += [[name, key, part] for key, part in msgspec.structs.asdict(value).items()]
        elif isinstance(value, dict):
            rows += [[name, key, part] for key, part in value.items()]
        else:
            rows.append(["totals", name, value])
    rows += [["server", series, round(delta, 6)] for series, delta in run.server_deltas.items()]
    return _csv(rows)


def _csv(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
