"""The dashboards are as they were built, keep Grafana's conventions, and ask for what is there.

What a Grafana makes of them no test can see: there is none to be had without Docker. That each
panel shows something is `test_panels`' matter.
"""

import json
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.builder import __main__ as builder
from server.metrics.catalog import METRICS
from tests.grafana.dashboards import FOLDER, Panel, dashboards, every, panels, plain
from tests.grafana.promql import names, problems
from tests.grafana.rules import recorded, rules
from tests.support.servers import ROOT

BOARDS = [pytest.param(board, id=name) for name, board in dashboards().items()]
PANELS = [pytest.param(panel, id=str(panel)) for panel in panels()]
VARIABLES = {"datasource", "job", "instance", "worker", "route"}
SOURCE = {"type": "prometheus", "uid": "$datasource"}
# Grafana's names for the units that are used here.
UNITS = {"short", "s", "ops", "mps", "Bps", "bytes", "percentunit"}
COUNTED = {metric.name for metric in METRICS if metric.kind == "counter"} | {
    f"{metric.name}_{part}"
    for metric in METRICS
    if metric.buckets
    for part in ("bucket", "sum", "count")
}
NOT_SHOWN: dict[str, str] = {}
"""Metrics that neither a panel nor an alert asks for, and why."""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "grafana.builder", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


# -- the builder -----------------------------------------------------------------------------------


def test_they_are_as_the_builder_makes_them() -> None:
    done = run("--check")
    assert done.returncode == 0, done.stderr


def test_an_old_one_is_found_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(builder, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["builder"])
    assert builder.main() == 0
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in FOLDER.iterdir()}
    (tmp_path / "ws-load.json").write_text("{}")
    (tmp_path / "ws-gone.json").write_text("{}")
    monkeypatch.setattr(sys, "argv", ["builder", "--check"])
    assert builder.main() == 1
    assert "error: ws-gone.json, ws-load.json in grafana/dashboards" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["builder"])
    assert builder.main() == 0
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in FOLDER.iterdir()}


@pytest.mark.parametrize("board", BOARDS)
def test_grafanas_own_model_reads_it(board: dict[str, Any]) -> None:
    """And writes the same again: there is nothing in it that its schema does not know."""
    register_default_plugins()
    read = Dashboard.from_json(board)
    assert json.loads(json.dumps(read, cls=JSONEncoder)) == board


# -- conventions -----------------------------------------------------------------------------------


def test_uids_are_the_names_of_the_files_and_titles_differ() -> None:
    assert [board["uid"] for board in dashboards().values()] == [*dashboards()]
    titles = [board["title"] for board in dashboards().values()]
    assert len({*titles}) == len(titles)
    assert "ws-overview" in dashboards()  # compose.yml has it as the home of Grafana


@pytest.mark.parametrize("board", BOARDS)
def test_frame(board: dict[str, Any]) -> None:
    """Read-only, refreshed, linked to the others, one cross-hair, notes of what happened."""
    assert board["editable"] is False
    assert re.fullmatch(r"\d+s", board["refresh"])
    assert board["time"]["to"] == "now"
    assert board["tags"] == ["switchboard"]
    assert board["graphTooltip"] == 1
    assert board["description"]
    (link,) = board["links"]
    assert (link["type"], link["tags"]) == ("dashboards", ["switchboard"])
    assert link["includeVars"]
    assert link["keepTime"]
    notes = {note["name"]: note for note in board["annotations"]["list"]}
    assert {"Reloads", "Drains"} <= notes.keys()
    for note in notes.values():
        assert note["datasource"] == SOURCE
        assert problems(plain(note["expr"]), recorded()) == []


@pytest.mark.parametrize("board", BOARDS)
def test_variables(board: dict[str, Any]) -> None:
    """All that are there are used, and all that are used are there; "All" is any value."""
    there = {variable["name"]: variable for variable in board["templating"]["list"]}
    used = {*re.findall(r"\$(\w+)", json.dumps([*every(board)]))} - {"__rate_interval"}
    assert used == there.keys()
    assert {"datasource", "job", "instance"} <= there.keys() <= VARIABLES
    assert there.pop("datasource")["query"] == "prometheus"
    for name, variable in there.items():
        assert variable["datasource"] == SOURCE
        assert variable["multi"]
        assert (variable["includeAll"], variable["allValue"]) == (True, ".+")
        assert variable["refresh"] == 2  # when the time range changes
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
        assert found is not None
        assert found[2] == name
        assert problems(f"sum by ({name}) ({plain(found[1])})", recorded()) == []


@pytest.mark.parametrize("board", BOARDS)
def test_grid(board: dict[str, Any]) -> None:
    """Panels do not overlap, and rows after the second are folded."""
    ids = [panel["id"] for panel in every(board)]
    assert len({*ids}) == len(ids)
    rows = [panel for panel in board["panels"] if panel["type"] == "row"]
    assert [row["collapsed"] for row in rows] == [number >= 2 for number in range(len(rows))]
    for group in (board["panels"], *(row["panels"] for row in rows)):
        for one, other in combinations([panel["gridPos"] for panel in group], 2):
            assert (
                one["x"] + one["w"] <= other["x"]
                or other["x"] + other["w"] <= one["x"]
                or one["y"] + one["h"] <= other["y"]
                or other["y"] + other["h"] <= one["y"]
            )
        assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in group)


@pytest.mark.parametrize("panel", PANELS)
def test_panel(panel: Panel) -> None:
    """It says what it shows, in which unit, and what is too much."""
    defaults = panel.json["fieldConfig"]["defaults"]
    assert panel.title[0].isupper()
    assert re.search(r"\.$", panel.json["description"])
    unit = panel.json["options"]["yAxis"]["unit"] if panel.json["type"] == "heatmap" else None
    assert {defaults["unit"], unit or defaults["unit"]} <= UNITS
    assert defaults["thresholds"]["steps"][0]["value"] is None
    assert panel.json["datasource"] == SOURCE
    names_of_targets = [target["refId"] for target in panel.json["targets"]]
    assert len({*names_of_targets}) == len(names_of_targets) > 0
    for target in panel.json["targets"]:
        assert target["datasource"] == SOURCE
        assert target["legendFormat"]


@pytest.mark.parametrize("panel", PANELS)
def test_query(panel: Panel) -> None:
    """It asks for what the catalog has, of the chosen servers, and for counters by their rate."""
    for target in panel.json["targets"]:
        query = plain(target["expr"])
        assert problems(query, recorded()) == []
        selectors = re.findall(r"(ws_\w+|\w+:ws_\w+:\w+)(\{[^}]*\})?(\[)?", query)
        assert selectors
        for name, matchers, window in selectors:
            assert matchers.startswith('{job=~".+", instance=~".+"'), query
            assert (name in COUNTED) == bool(window), f"{name} in {query}"
        for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
            assert re.search(rf"by \([^)]*\b{label}\b", query) or label == "route", query


def test_every_metric_is_shown_or_alerted() -> None:
    asked = {name for panel in panels() for query in panel.queries for name in names(query)}
    asked |= {name for rule in rules() for name in names(rule["expr"])}
    bare = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    missing = {metric.name for metric in METRICS} - bare
    assert missing == NOT_SHOWN.keys()
    shown = {name for panel in panels() for query in panel.queries for name in names(query)}
    assert {name for name in shown if ":" in name} <= recorded()
