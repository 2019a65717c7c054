"""The PromQL of docs/topics/metrics.md asks for what is there, and answers what it says."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from server.metrics.catalog import METRICS
from server.metrics.collector import SegmentCollector
from tests.server.metrics.segments import Worker, segment
from tests.server.metrics.test_exposition import needs_promtool
from tests.support.servers import ROOT
from workers.layout import CLIENT, SERVER

PAGE = (ROOT / "docs" / "topics" / "metrics.md").read_text()
QUERIES = re.findall(r"^\| .+ \| `(.*\bws_.+)` \|$", PAGE, re.MULTILINE)
BOOKS = QUERIES[0]


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, check=False, timeout=30
    )


def test_the_page_has_them():
    assert BOOKS.startswith("sum by (route) (ws_connections_opened_total) -")
    assert len(QUERIES) > 20


@pytest.mark.parametrize("query", QUERIES)
def test_query_names_what_is_there(query: str):
    """Series, and labels that each of them has."""
    series = {
        metric.name + end: metric
        for metric in METRICS
        for end in (("_bucket", "_sum", "_count") if metric.buckets else ("",))
    }
    asked = set(re.findall(r"\bws_\w+", query))
    assert asked <= series.keys()
    grouped = re.findall(r"by \(([\w, ]+)\)", query)
    matched = re.findall(r"[{,](\w+)=", query)
    labels = {label for group in grouped for label in group.split(", ")} | set(matched)
    known = {label for name in asked for label in series[name].labels} | {"le"}
    assert labels <= known


@needs_promtool
def test_queries_are_promql(tmp_path: Path):
    rules = [{"record": "query", "expr": query} for query in QUERIES]
    path = tmp_path / "rules.yml"
    path.write_text(json.dumps({"groups": [{"name": "page", "rules": rules}]}))
    checked = promtool("check", "rules", "--lint=none", path)
    assert checked.returncode == 0, checked.stderr


@needs_promtool
@pytest.mark.parametrize("uncounted", [0, 1])
def test_the_books_show_what_is_missing(tmp_path: Path, uncounted: int):
    """It is 0 for every route of a real scrape, also for one where nothing was closed yet."""
    made = segment()
    worker = Worker(made, 0)
    for name in ("/echo", "/rooms/{room}"):
        for _ in range(3):
            worker.route(name).opened()
    for initiator in (CLIENT, SERVER):
        worker.route("/echo").closed(1, initiator, 1)
    for _ in range(uncounted):
        worker.route("unmatched").opened()
    scraped = [
        {"series": _selector(sample.name, sample.labels), "values": str(sample.value)}
        for family in SegmentCollector(made).collect()
        for sample in family.samples
        if (sample.name, sample.labels.get("route")) != ("ws_connections", "unmatched")
    ]
    scraped.append({"series": 'ws_connections{route="unmatched",worker="0"}', "values": "0"})
    expected = [
        {
            "labels": _selector("", {"route": route}),
            "value": uncounted if route == "unmatched" else 0,
        }
        for route in made.routes
    ]
    assert_answers(tmp_path, BOOKS, scraped, expected)


def assert_answers(folder: Path, query: str, series: list[Any], expected: list[Any]) -> None:
    """Check that a Prometheus with those series answers what is expected, and no more."""
    test = {"expr": query, "eval_time": "0m", "exp_samples": expected}
    path = folder / "test.yml"
    path.write_text(json.dumps({"tests": [{"input_series": series, "promql_expr_test": [test]}]}))
    tested = promtool("test", "rules", path)
    assert tested.returncode == 0, tested.stderr


def _selector(name: str, labels: dict[str, str]) -> str:
    pairs = ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
    return f"{name}{{{pairs}}}"
