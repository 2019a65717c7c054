"""Owns which charts a report has, and what of a run is in each; draws nothing."""

from collections.abc import Callable, Sequence
from statistics import median

from loadtest.report.svg import QUIET, Chart, Line, Value
from loadtest.results import Latency, Run, Sample, WorkerUse

MOST_LINES = 6
Take = Callable[[WorkerUse], float]


def charts(run: Run) -> list[Chart]:
    """Return those that have something to show, in order."""
    samples = run.samples
    if not samples:
        return []
    all_of_them = [
        _plain(
            "Connections",
            "open",
            samples,
            {"wanted": lambda one: one.wanted, "connected": lambda one: one.connections},
            (QUIET, 0),
        ),
        _plain(
            "Messages a second",
            "messages/s",
            samples,
            {"sent": lambda one: one.sent_per_s, "received": lambda one: one.received_per_s},
        ),
        _latency("Answers (rtt)", samples, lambda one: one.rtt),
        _latency("Deliveries to others", samples, lambda one: one.delivery),
        _failures(samples),
        _workers("Server: processor", "cores", samples, lambda use: use.cpu_cores, top=1.0),
        _workers("Server: memory", "MiB", samples, lambda use: use.resident_mib),
        _workers("Server: connections", "open", samples, lambda use: use.connections),
        _workers("Server: lateness of its event loops", "ms", samples, lambda use: use.lag_ms),
        _generator(samples),
    ]
    return [chart for chart in all_of_them if not chart.is_empty]


def _seconds(samples: Sequence[Sample]) -> list[float]:
    return [sample.at_s for sample in samples]


def _plain(
    title: str,
    unit: str,
    samples: Sequence[Sample],
    takes: dict[str, Callable[[Sample], float]],
    colours: Sequence[int] = (0, 1),
) -> Chart:
    lines = [
        Line(name, [take(sample) for sample in samples], colour)
        for (name, take), colour in zip(takes.items(), colours, strict=True)
    ]
    return Chart(title=title, unit=unit, seconds=_seconds(samples), lines=lines)


def _latency(title: str, samples: Sequence[Sample], take: Callable[[Sample], Latency]) -> Chart:
    def line(name: str, of: Callable[[Latency], float], colour: int) -> Line:
        found = [take(each) for each in samples]
        return Line(name, [of(one) if one.count else None for one in found], colour)

    lines = [
        line("p50", lambda one: one.p50_ms, QUIET),
        line("p95", lambda one: one.p95_ms, 0),
        line("p99", lambda one: one.p99_ms, 1),
    ]
    return Chart(
        title=title, unit="ms", seconds=_seconds(samples), lines=lines, is_log=True, fold=max
    )


def _generator(samples: Sequence[Sample]) -> Chart:
    line = Line("busiest process", [100 * sample.generator_cpu for sample in samples], 0)
    return Chart(
        title="Generator: processor",
        unit="% of a core",
        seconds=_seconds(samples),
        lines=[line],
        top=100.0,
    )


def _failures(samples: Sequence[Sample]) -> Chart:
    values = [sample.failures for sample in samples]
    lines = [Line("failures", values, 1)] if any(values) else []
    return Chart(
        title="Failures a second", unit="failures/s", seconds=_seconds(samples), lines=lines
    )


def _workers(
    title: str, unit: str, samples: Sequence[Sample], take: Take, top: float = 0.0
) -> Chart:
    """Return a line for each worker; if they are many, the highest, the middle and the lowest."""
    seen = [{use.worker: take(use) for use in sample.server} for sample in samples]
    names = sorted({name for one in seen for name in one}, key=lambda name: name.zfill(4))
    if len(names) <= MOST_LINES:
        lines = [
            Line(f"worker {name}", [one.get(name) for one in seen], colour)
            for colour, name in enumerate(names)
        ]
    else:
        lines = [
            Line(f"highest of {len(names)} workers", _over(seen, max), 1),
            Line("middle", _over(seen, median), 0),
            Line("lowest", _over(seen, min), QUIET),
        ]
    return Chart(title=title, unit=unit, seconds=_seconds(samples), lines=lines, top=top)


def _over(seen: list[dict[str, float]], fold: Callable[[list[float]], float]) -> list[Value]:
    return [fold(list(one.values())) if one else None for one in seen]
