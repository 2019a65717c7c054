"""The rules ask only for what the server tells, say what they mean, and all files are read."""

import re
from typing import Any

import pytest

from tests.grafana.promql import OF_THE_TARGET, level_labels, names, problems
from tests.grafana.rules import CONFIG, FOLDER, RULE_FILES, alerts, load, recorded, rules

RULES = [pytest.param(rule, id=rule.get("alert") or rule["record"]) for rule in rules()]
RUNBOOK = "docs/operations/runbook.md"


def test_it_scrapes_the_admin_port():
    """The one of `make serve`; the alerts ask for that job."""
    (job,) = load(CONFIG)["scrape_configs"]
    assert job["job_name"] == "switchboard"
    assert job["static_configs"] == [{"targets": ["127.0.0.1:9464"]}]


def test_it_loads_all_rules():
    (pattern,) = load(CONFIG)["rule_files"]
    assert sorted(FOLDER.glob(pattern)) == sorted(RULE_FILES)


@pytest.mark.parametrize("rule", RULES)
def test_rule_asks_for_what_is_there(rule: dict[str, Any]):
    """Series of the catalog or of another rule, and labels and values that they have."""
    assert problems(rule["expr"], recorded()) == []


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("ws_conections", "there is no series 'ws_conections'"),
        ("ws_connections_closed_total", None),
        ("ws_handler_duration_seconds", "there is no series 'ws_handler_duration_seconds'"),
        ('ws_connections{rout="x"}', "ws_connections has no label 'rout'"),
        ('rate(ws_rooms{worker="0"}[5m])', "ws_rooms has no label 'worker'"),
        ('ws_worker_state{state="busy"}', "state is never 'busy'"),
        ('ws_slow_consumers_total{policy=~"full|fast"}', "policy is never 'fast'"),
        ("sum by (worker) (ws_rooms)", "nothing in ws_rooms has 'worker'"),
        ("ws_rooms / on (route) up", "nothing in ws_rooms has 'route'"),
        ("worker:ws_connections:sum", None),
        ("sum by (route) (worker:ws_connections:sum)", "nothing in worker:ws_connections:sum"),
    ],
)
def test_what_is_not_there_is_found(query: str, problem: str | None):
    found = problems(query, recorded())
    assert found == [] if problem is None else found[0].startswith(problem)


@pytest.mark.parametrize("name", sorted(recorded()))
def test_recorded_series_has_the_labels_of_its_name(name: str):
    """Its rule sums up by them, or is made of series that have them."""
    (rule,) = [rule for rule in rules() if rule.get("record") == name]
    summed = re.match(r"\s*\w+ by \(([\w, ]+)\)", rule["expr"])
    if summed is not None:
        assert set(summed[1].split(", ")) | {"instance"} == level_labels(name)
    else:
        assert {level_labels(asked) for asked in names(rule["expr"])} == {level_labels(name)}


@pytest.mark.parametrize("name", sorted(recorded()))
def test_recorded_series_is_of_use(name: str):
    asked = {asked for rule in rules() for asked in names(rule["expr"])}
    assert name in asked


@pytest.mark.parametrize("name", alerts())
def test_alert_says_what_it_means(name: str):
    """Name, severity, a summary of whom, a description, and where to read on."""
    rule = alerts()[name]
    annotations = rule["annotations"]

    assert re.fullmatch(r"Switchboard([A-Z][a-z]+)+", name)
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert annotations.keys() == {"summary", "description", "runbook_url"}
    assert annotations["runbook_url"] == f"{RUNBOOK}#{name.lower()}"
    assert re.search(r"\.$", annotations["description"])
    assert "$labels.instance" in annotations["summary"] + annotations["description"]


def test_labels_of_the_target():
    """They are in every series, so each aggregation of the rules keeps them."""
    for rule in rules():
        for labels in re.findall(r"by \(([\w, ]+)\)", rule["expr"]):
            assert set(labels.split(", ")) >= OF_THE_TARGET, rule
