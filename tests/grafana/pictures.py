"""Owns the pictures of the dashboards in docs/images: what their queries brought, by matplotlib.

They show which panels there are, and data of a real server. Grafana draws them otherwise.
"""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tests.grafana.dashboards import every, plain
from tests.grafana.prometheus import SPEED

Series = list[dict[str, Any]]
Ask = Callable[[str], Series]

WIDTH_IN, ROW_IN = 15.0, 0.36
SAID = (
    "Drawn by matplotlib from the queries of the panels, while the tests let things happen to a"
    f" server; time is {SPEED} times as fast, and figures are those of the middle. Not a screenshot"
    " of Grafana."
)
_SCALES = {"bytes": 1024, "Bps": 1024}
_COLORS = {"text": "#555", "light-green": "#8c8", "light-blue": "#8ad", "dark-red": "#922"}
_MOST_NAMES = 5


def draw(board: dict[str, Any], ask: Ask, path: Path) -> None:
    """Draw a dashboard, all its rows unfolded."""
    places = list(_unfolded(board))
    height = max(y + h for _, _, y, _, h in places)
    with mpl.rc_context({"font.size": 7, "axes.titlesize": 8, "axes.titleweight": "bold"}):
        figure = Figure(figsize=(WIDTH_IN, ROW_IN * (height + 2)), facecolor="#f6f7f8")
        for panel, x, y, w, h in places:
            top = 1 - (y + 1) / (height + 2)
            if panel["type"] == "row":
                figure.text(0.01, top - 0.6 / (height + 2), panel["title"], weight="bold", size=10)
                continue
            # A margin inside each place, for the title and the numbers at the axes.
            left, right = x / 24 + 0.035, (x + w) / 24 - 0.01
            bottom = top - (h - 1.1) / (height + 2)
            axes = figure.add_axes(
                (left, bottom, right - left, top - 1.0 / (height + 2) - bottom), facecolor="white"
            )
            _panel(axes, panel, ask)
        figure.text(0.5, 0.5 / (height + 2), SAID, ha="center", size=8, color="#555")
        figure.text(0.01, 1 - 0.6 / (height + 2), board["title"], weight="bold", size=13)
        figure.savefig(path, dpi=70)


def _unfolded(board: dict[str, Any]) -> list[tuple[dict[str, Any], int, int, int, int]]:
    """Return the panels with their places: x, y, width, height."""
    places = []
    y = line_y = line_height = 0
    x = 0
    for panel in every(board):
        at = panel["gridPos"]
        if panel["type"] == "row" or x + at["w"] > 24:
            line_y += line_height
            x, line_height = 0, 0
        y = line_y
        places.append((panel, x, y, at["w"], at["h"]))
        x += at["w"]
        line_height = max(line_height, at["h"])
        if panel["type"] == "row":
            line_y, x, line_height = line_y + 1, 0, 0
    return places


def _panel(axes: Axes, panel: dict[str, Any], ask: Ask) -> None:
    axes.set_title(panel["title"], loc="left", pad=3)
    for side in axes.spines.values():
        side.set_color("#ccc")
    unit = panel["fieldConfig"]["defaults"]["unit"]
    found = [
        (_name(target["legendFormat"], one["metric"]), _points(one))
        for target in panel["targets"]
        for one in ask(plain(target["expr"]))
    ]
    kind = {"stat": _figures, "bargauge": _gauges, "heatmap": _heat}.get(panel["type"], _lines)
    kind(axes, panel, unit, found)


Found = list[tuple[str, list[tuple[float, float]]]]


def _name(legend: str, labels: dict[str, str]) -> str:
    for label, value in labels.items():
        legend = legend.replace("{{" + label + "}}", value)
    return legend


def _points(series: dict[str, Any]) -> list[tuple[float, float]]:
    points = [(float(at), float(value)) for at, value in series["values"]]
    return [point for point in points if math.isfinite(point[1])]


def _lines(axes: Axes, panel: dict[str, Any], unit: str, found: Found) -> None:
    custom = panel["fieldConfig"]["defaults"]["custom"]
    moments = sorted({at for _, points in found for at, _ in points})
    minutes = [(at - moments[0]) * SPEED / 60 for at in moments]
    below = [0.0] * len(moments)
    for number, (name, points) in enumerate(found):
        values = dict(points)
        shown = [values.get(at, math.nan) for at in moments]
        label = name if len(found) <= _MOST_NAMES else None
        if custom["stacking"]["mode"] == "none":
            axes.plot(minutes, shown, linewidth=1, label=label)
            continue
        above = [low + values.get(at, 0.0) for low, at in zip(below, moments, strict=True)]
        color = _color(panel, name) or f"C{number % 10}"
        axes.fill_between(minutes, below, above, alpha=0.7, linewidth=0, label=label, color=color)
        below = above
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _text(value, unit)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} min"))
    axes.grid(color="#eee", linewidth=0.6)
    if len(found) <= _MOST_NAMES:
        axes.legend(loc="upper left", frameon=False, fontsize=6)


def _color(panel: dict[str, Any], name: str) -> str | None:
    for override in panel["fieldConfig"].get("overrides", ()):
        pattern = override["matcher"]["options"]
        is_regex = pattern.startswith("/")
        if re.search(pattern.strip("/"), name) if is_regex else pattern == name:
            for one in override["properties"]:
                if one["id"] == "color":
                    color = str(one["value"]["fixedColor"])
                    return _COLORS.get(color, color)
    return None


def _middle(points: list[tuple[float, float]]) -> float:
    return points[len(points) // 2][1] if points else math.nan


def _figures(axes: Axes, panel: dict[str, Any], unit: str, found: Found) -> None:
    axes.set_axis_off()
    texts = []
    for name, points in found:
        value = _middle(points)
        said = _said(panel, value)
        is_name = panel["options"].get("textMode") == "name"
        texts.append(name if is_name else said or _text(value, unit))
    size = 9 if panel["options"].get("textMode") == "name" else 20
    axes.text(0.5, 0.4, "\n".join(texts), ha="center", va="center", size=size)


def _said(panel: dict[str, Any], value: float) -> str | None:
    for mapping in panel["fieldConfig"]["defaults"].get("mappings", ()):
        if f"{value:g}" in mapping["options"]:
            return str(mapping["options"][f"{value:g}"]["text"])
    return None


def _gauges(axes: Axes, panel: dict[str, Any], unit: str, found: Found) -> None:
    names = [name for name, _ in found]
    values = [_middle(points) for _, points in found]
    axes.barh(names, values, color="#4a8", height=0.6)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.tick_params(axis="y", direction="in", pad=-4)
    for label in axes.get_yticklabels():
        label.set_horizontalalignment("left")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _text(value, unit)))


def _heat(axes: Axes, panel: dict[str, Any], unit: str, found: Found) -> None:
    """Buckets are counts up to a bound: what is in one is the difference to the one below."""
    rows = sorted(found, key=lambda one: float(one[0]))
    moments = sorted({at for _, points in rows for at, _ in points})
    table = [[dict(points).get(at, 0.0) for at in moments] for _, points in rows]
    for number in range(len(table) - 1, 0, -1):
        pairs = zip(table[number], table[number - 1], strict=True)
        table[number] = [max(0.0, upper - lower) for upper, lower in pairs]
    axes.imshow(table, aspect="auto", origin="lower", cmap="Oranges", interpolation="nearest")
    ticks = range(0, len(rows), 3)
    bounds = [float(rows[tick][0]) for tick in ticks]
    axes.set_yticks([*ticks], [_text(b, unit) if math.isfinite(b) else "more" for b in bounds])
    axes.set_xticks([])


def _text(value: float, unit: str) -> str:
    """Return a number with its unit, about as Grafana does."""
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s":
        small = [(1, "s"), (1e-3, "ms"), (1e-6, "µs")]
        scale, suffix = next((one for one in small if abs(value) >= one[0]), (1, "s"))
        return f"{value / scale:.3g} {suffix}"
    base = _SCALES.get(unit, 1000)
    for exponent, prefix in ((3, "G"), (2, "M"), (1, "k")):
        if abs(value) >= base**exponent:
            return f"{value / base**exponent:.3g} {prefix}{_suffix(unit)}"
    return f"{value:.3g} {_suffix(unit)}".rstrip()


def _suffix(unit: str) -> str:
    return {"bytes": "B", "Bps": "B/s", "mps": "/s", "ops": "/s"}.get(unit, "")
