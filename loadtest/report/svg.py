"""Owns the drawing of one chart as SVG: scales, axes, lines; knows nothing of what it shows.

Colours are classes (`line c0`, `axis`, ...) that the page's style sheet gives a light and a dark
form. Titles, units and legends are HTML around it, so that they wrap on a phone.
"""

import math
from collections.abc import Callable, Sequence
from html import escape
from statistics import fmean

import msgspec

from loadtest.words import figures

WIDTH, HEIGHT = 460, 210
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 8, 24
MOST_POINTS = 240
Value = float | None
Fold = Callable[[Sequence[float]], float]


QUIET = 5  # the colour of what is there for comparison


class Line(msgspec.Struct, frozen=True):
    """One line of a chart; None is a gap."""

    name: str
    values: Sequence[Value]
    colour: int


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """Lines over seconds since the start.

    Attributes:
        unit: of the values, as in "ms".
        is_log: one step up is 10 times as much; for what goes from 0.1 to 1,000.
        fold: makes one point of several when there are more than can be seen.
        top: the least that the axis goes up to.
    """

    title: str
    unit: str
    seconds: Sequence[float]
    lines: Sequence[Line]
    is_log: bool = False
    fold: Fold = fmean
    top: float = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(value is not None for line in self.lines for value in line.values)


def draw(chart: Chart) -> str:
    """Return the chart as an `svg` element."""
    chart = _thinned(chart)
    ticks = _log_ticks(chart) if chart.is_log else _ticks(max(_most(chart), chart.top))
    across, up = _scales(chart, ticks)
    label = escape(f"{chart.title}, {chart.unit}")
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">',
        *_y_axis(ticks, up),
        *_x_axis(chart.seconds, across),
        *(_path(line, chart.seconds, across, up) for line in chart.lines),
        *_tips(chart, across),
        "</svg>",
    ]
    return "".join(parts)


def _thinned(chart: Chart) -> Chart:
    """Fold seconds together, if there are more than can be seen."""
    size = math.ceil(len(chart.seconds) / MOST_POINTS)
    if size <= 1:
        return chart
    starts = range(0, len(chart.seconds), size)
    lines = []
    for line in chart.lines:
        groups = [[v for v in line.values[at : at + size] if v is not None] for at in starts]
        lines.append(
            msgspec.structs.replace(
                line, values=[chart.fold(group) if group else None for group in groups]
            )
        )
    return msgspec.structs.replace(chart, seconds=[chart.seconds[at] for at in starts], lines=lines)


def _most(chart: Chart) -> float:
    return max((v for line in chart.lines for v in line.values if v is not None), default=0.0)


def _scales(
    chart: Chart, ticks: Sequence[float]
) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """Return how seconds and values become coordinates."""
    first, last = chart.seconds[0], chart.seconds[-1]
    span = max(last - first, 1e-9)
    low, high = ticks[0], ticks[-1]

    def across(second: float) -> float:
        return round(LEFT + (second - first) / span * (WIDTH - LEFT - RIGHT), 1)

    def up(value: float) -> float:
        if chart.is_log:
            share = math.log(max(value, low) / low) / math.log(high / low)
        else:
            share = value / high
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    return across, up


def _ticks(most: float) -> list[float]:
    """Return round values from 0 to just above `most`, about four steps."""
    if most <= 0:
        return [0.0, 1.0]
    step = _round_up(most / 4)
    return [index * step for index in range(math.ceil(round(most / step, 9)) + 1)]


def _round_up(number: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, ..., also below 1."""
    power = 10.0 ** math.floor(math.log10(number))
    return float(next(m for m in (1, 2, 5, 10) if m * power >= number * (1 - 1e-9)) * power)


def _log_ticks(chart: Chart) -> list[float]:
    """Return powers of ten around the values; of 1, 2 and 5 if there are few."""
    values = [v for line in chart.lines for v in line.values if v]
    if not values:
        return [0.1, 1.0]
    low = math.floor(math.log10(min(values)) + 1e-9)
    high = math.ceil(math.log10(max(values)) - 1e-9)
    powers = [10.0**power for power in range(low, max(high, low + 1) + 1)]
    if len(powers) > 3:
        return powers
    return [*(m * power for power in powers[:-1] for m in (1, 2, 5)), powers[-1]]


def _y_axis(ticks: Sequence[float], up: Callable[[float], float]) -> list[str]:
    parts = []
    for tick in ticks:
        y = up(tick)
        kind = "axis" if tick == ticks[0] else "grid"
        parts.append(f'<path class="{kind}" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{_short(tick)}</text>')
    return parts


def _short(number: float) -> str:
    if number >= 1e6:
        return f"{figures(number / 1e6)}M"
    return f"{figures(number / 1e3)}k" if number >= 1e4 else figures(number)


def _x_axis(seconds: Sequence[float], across: Callable[[float], float]) -> list[str]:
    first, last = seconds[0], seconds[-1]
    steps = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 43200, 86400)
    step = next((s for s in steps if (last - first) / s <= 7), steps[-1])
    parts = []
    for at in range(math.ceil(first / step) * step, math.floor(last) + 1, step):
        x, y = across(at), HEIGHT - BOTTOM
        anchor = "end" if x > WIDTH - RIGHT - 12 else "middle"
        parts.append(f'<path class="axis" d="M{x} {y}v4"/>')
        parts.append(f'<text x="{x}" y="{y + 17}" text-anchor="{anchor}">{_clock(at, step)}</text>')
    return parts


def _clock(second: int, step: int) -> str:
    if step >= 3600:
        return f"{second // 3600} h"
    return f"{second // 60} min" if step >= 60 else f"{second} s"


def _path(
    line: Line,
    seconds: Sequence[float],
    across: Callable[[float], float],
    up: Callable[[float], float],
) -> str:
    points, pen = [], "M"
    for place, value in enumerate(line.values):
        if value is None:
            pen = "M"
            continue
        points.append(f"{pen}{across(seconds[place])} {up(value)}")
        alone = pen == "M" and (place + 1 == len(line.values) or line.values[place + 1] is None)
        if alone:
            points.append("h0")  # a dot, with round caps
        pen = "L"
    return f'<path class="line c{line.colour}" d="{"".join(points)}"/>' if points else ""


def _tips(chart: Chart, across: Callable[[float], float]) -> list[str]:
    """Return columns that nobody sees; a pointer on one of them is told the values."""
    if len(chart.seconds) < 2:
        return []
    width = (WIDTH - LEFT - RIGHT) / (len(chart.seconds) - 1)
    parts = []
    for place, second in enumerate(chart.seconds):
        told = [
            f"{line.name} {figures(value)}"
            for line in chart.lines
            if (value := line.values[place]) is not None
        ]
        if told:
            text = escape(f"{second:.0f} s: {', '.join(told)} {chart.unit}")
            x = round(across(second) - width / 2, 1)
            parts.append(
                f'<rect class="tip" x="{x}" y="{TOP}" width="{width:.1f}" '
                f'height="{HEIGHT - TOP - BOTTOM}"><title>{text}</title></rect>'
            )
    return parts
