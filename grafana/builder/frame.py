"""Owns what all dashboards have in common: variables, links, notes in time, and the grid."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    Panel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from grafana.builder.panels import SOURCE, Query

TAG = "switchboard"
_GRID = 24
_OPEN_ROWS = 2  # the others are folded until somebody looks: their queries cost nothing before

Panels = tuple[Builder[Panel], ...]


@dataclass(frozen=True)
class Row:
    """A row of a dashboard: its panels fill lines of 24 columns, or end one."""

    title: str
    panels: Panels


@dataclass(frozen=True)
class Frame:
    """A dashboard.

    Attributes:
        uid: also the name of its file.
        since: how far back it looks when it is opened, such as "1h".
        variables: beside the data source, job and instance: "worker", "route".
    """

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    since: str = "1h"
    refresh: str = "30s"
    variables: tuple[str, ...] = ()


def build(frame: Frame) -> Dashboard:
    """Return a dashboard as Grafana has it."""
    board = (
        dashboard.Dashboard(frame.title)
        .uid(frame.uid)
        .description(frame.description)
        .tags([TAG])
        .readonly()
        .refresh(frame.refresh)
        .time(f"now-{frame.since}", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(_to_the_others())
    )
    board = board.with_variable(_source())
    for name in ("job", "instance", *frame.variables):
        board = board.with_variable(_variable(name))
    for annotation in _notes():
        board = board.annotation(annotation)
    for number, row in enumerate(frame.rows):
        board = _with_row(board, row, is_open=number < _OPEN_ROWS)
    built = board.build()
    _place(built)
    return built


def _with_row(board: dashboard.Dashboard, row: Row, *, is_open: bool) -> dashboard.Dashboard:
    folded = dashboard.Row(row.title)
    if is_open:
        board = board.with_row(folded)
        for panel in row.panels:
            board = board.with_panel(panel)
        return board
    for panel in row.panels:
        folded = folded.with_panel(panel)
    return board.with_row(folded)


def _place(board: Dashboard) -> None:
    """Give every panel its place on the grid, and its number."""
    numbers = count(1)
    y, line = 0, _Line()
    for panel in board.panels or ():
        assert panel.grid_pos is not None
        panel.id_val = next(numbers)
        if isinstance(panel, Panel):
            y = line.put(panel, y)
            continue
        y += line.height
        panel.grid_pos.x, panel.grid_pos.y = 0, y
        y, line = y + 1, _Line()
        inner_y, inner = y, _Line()  # a folded row takes one line, whatever is in it
        for folded in panel.panels or ():
            folded.id_val = next(numbers)
            inner_y = inner.put(folded, inner_y)


class _Line:
    """The panels that stand next to each other."""

    def __init__(self) -> None:
        self.width = self.height = 0

    def put(self, panel: Panel, y: int) -> int:
        """Place a panel in the line that begins at y, or in the next; returns where that begins."""
        at = panel.grid_pos
        assert at is not None
        if self.width + at.w > _GRID:
            y += self.height
            self.width = self.height = 0
        at.x, at.y = self.width, y
        self.width += at.w
        self.height = max(self.height, at.h)
        return y


def _to_the_others() -> dashboard.DashboardLink:
    return (
        dashboard.DashboardLink("Switchboard")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(False)
        .include_vars(True)
        .keep_time(True)
    )


def _source() -> dashboard.DatasourceVariable:
    return dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")


_FROM = {
    "job": "label_values(ws_build_info, job)",
    "instance": 'label_values(ws_build_info{job=~"$job"}, instance)',
    "route": 'label_values(ws_connections{job=~"$job", instance=~"$instance"}, route)',
    "worker": 'label_values(ws_connections{job=~"$job", instance=~"$instance"}, worker)',
}


def _variable(name: str) -> dashboard.QueryVariable:
    """Return a variable with all values chosen."""
    return (
        dashboard.QueryVariable(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query({"query": _FROM[name], "refId": f"variable-{name}"})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


_NOTES = (
    ("Reloads", "blue", "changes(ws_reloads_total{target}[rate]) > 0", "reloaded"),
    ("Failed reloads", "red", "changes(ws_reloads_failed_total{target}[rate]) > 0", "not reloaded"),
    ("Drains", "orange", "ws_server_draining{target} == 1", "draining"),
    (
        "Crashes",
        "dark-red",
        "changes(ws_worker_restarts_total{target}[rate]) > 0",
        "worker {{worker}} was started again",
    ),
)


def _notes() -> Iterable[dashboard.AnnotationQuery]:
    """What is marked in all panels: when the server was reloaded or drained, and what crashed."""
    for name, color, query, title in _NOTES:
        yield (
            dashboard.AnnotationQuery()
            .name(name)
            .datasource(SOURCE)
            .enable(True)
            .icon_color(color)
            .expr(Query(query, "").expr)
            .title_format(f"{title}: {{{{instance}}}}")
        )
