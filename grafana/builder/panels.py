"""Owns the kinds of panels, and how a query is written; knows no dashboard and no metric.

In a query `{target}`, `{route}` and `{worker}` stand for the matchers of the dashboard's variables,
alone or with more behind a comma, and `[rate]` for the window that Grafana finds right.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from grafana_foundation_sdk.builders import bargauge, common, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueTextMode,
    DataSourceRef,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DynamicConfigValue,
    Panel,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="$datasource")
GREEN, YELLOW, RED, GRAY = "green", "yellow", "red", "text"

_TARGET = 'job=~"$job", instance=~"$instance"'
_MATCHERS = {
    "target": _TARGET,
    "route": f'{_TARGET}, route=~"$route"',
    "worker": f'{_TARGET}, worker=~"$worker"',
}
_STANDS_FOR = re.compile(r"\{(target|route|worker)\b")

Levels = Mapping[float, str]
"""Colours from these values on; below the first it is green."""


@dataclass(frozen=True)
class Query:
    """A query and what its series are called.

    Attributes:
        legend: with labels in double braces, as Grafana has it.
    """

    text: str
    legend: str

    @property
    def expr(self) -> str:
        """The query in PromQL with Grafana's variables."""
        text = " ".join(self.text.split()).replace("[rate]", "[$__rate_interval]")
        return _STANDS_FOR.sub(lambda found: "{" + _MATCHERS[found[1]], text)


@dataclass(frozen=True)
class Text:
    """What a panel says about itself.

    Attributes:
        unit: as Grafana calls it, such as "s", "percentunit", "short".
        levels: the thresholds.
    """

    title: str
    description: str
    unit: str
    levels: Levels | None = None


P = TypeVar("P", timeseries.Panel, stat.Panel, bargauge.Panel, heatmap.Panel)


def lines(text: Text, *queries: Query, width: int = 8, top: float | None = None) -> Builder[Panel]:
    """Return lines over time.

    Args:
        top: the axis reaches at least so far.
    """
    panel = _over_time(text, queries, width).fill_opacity(8).line_width(1)
    panel = panel.stacking(common.StackingConfig().mode(StackingMode.NONE))
    return panel if top is None else panel.axis_soft_max(top)


def areas(text: Text, *queries: Query, width: int = 8) -> Builder[Panel]:
    """Return areas over time, each on top of the other."""
    panel = _over_time(text, queries, width).fill_opacity(30).line_width(1)
    return panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))


def bars(
    text: Text, *queries: Query, width: int = 8, colors: Mapping[str, str] | None = None
) -> Builder[Panel]:
    """Return stacked bars over time.

    Args:
        colors: of the series whose names fit these patterns.
    """
    panel = _over_time(text, queries, width).draw_style(GraphDrawStyle.BARS)
    panel = panel.fill_opacity(80).line_width(0)
    panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    for pattern, color in (colors or {}).items():
        panel = panel.override_by_regexp(
            pattern, [_property("color", {"mode": "fixed", "fixedColor": color})]
        )
    return panel


def figure(
    text: Text,
    *queries: Query,
    width: int = 4,
    words: Mapping[int, tuple[str, str]] | None = None,
    is_name: bool = False,
) -> Builder[Panel]:
    """Return large figures of now.

    Args:
        words: what is said instead of some values, and in which colour.
        is_name: what matters are the names of the series.
    """
    panel = _common(stat.Panel(), text, queries, width, height=4)
    panel = panel.color_mode(BigValueColorMode.VALUE)
    panel = panel.text_mode(BigValueTextMode.NAME if is_name else BigValueTextMode.AUTO)
    if words:
        options = {
            str(value): ValueMappingResult(text=said, color=color, index=number)
            for number, (value, (said, color)) in enumerate(words.items())
        }
        panel = panel.mappings([ValueMap(options=options)])
    return panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


def gauges(text: Text, *queries: Query, width: int = 8) -> Builder[Panel]:
    """Return bars of now, from 0 to 1."""
    panel = _common(bargauge.Panel(), text, queries, width, height=8).min(0).max(1)
    panel = panel.display_mode(BarGaugeDisplayMode.LCD)
    return panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))


def heat(text: Text, query: Query, *, width: int = 8) -> Builder[Panel]:
    """Return the buckets of a histogram over time."""
    panel = heatmap.Panel()
    panel = panel.calculate(False).y_axis(heatmap.YAxisConfig().unit(text.unit))
    panel = _described(panel, text, width, height=8)
    return panel.with_target(_target(query, "A").format(PromQueryFormat.HEATMAP))


def leads_to(panel: Builder[Panel], title: str, url: str) -> Builder[Panel]:
    """Give each series of lines or bars a link; the address may have the series' labels in it."""
    assert isinstance(panel, timeseries.Panel)
    return panel.override_by_regexp("/.*/", [_property("links", [{"title": title, "url": url}])])


def _over_time(text: Text, queries: Sequence[Query], width: int) -> timeseries.Panel:
    panel = _common(timeseries.Panel(), text, queries, width, height=8)
    legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST)
    tooltip = common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
    return (
        panel.legend(legend.placement(LegendPlacement.BOTTOM).show_legend(True).calcs([]))
        .tooltip(tooltip)
        .min(0)
    )


def _common(panel: P, text: Text, queries: Sequence[Query], width: int, height: int) -> P:
    panel = _described(panel, text, width, height)
    for number, query in enumerate(queries):
        panel = panel.with_target(_target(query, chr(ord("A") + number)))
    return panel


def _described(panel: P, text: Text, width: int, height: int) -> P:
    steps = [Threshold(value=None, color=GREEN)]
    steps += [Threshold(value=float(value), color=c) for value, c in (text.levels or {}).items()]
    return (
        panel.title(text.title)
        .description(text.description)
        .unit(text.unit)
        .datasource(SOURCE)
        .thresholds(ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .span(width)
        .height(height)
    )


def _target(query: Query, name: str) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend)
    return target.ref_id(name).datasource(SOURCE)


def _property(name: str, value: Any) -> DynamicConfigValue:
    return DynamicConfigValue(id_val=name, value=value)
