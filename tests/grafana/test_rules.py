"""Every alert fires when it should, and is silent when all is well or something else is wrong."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.grafana.cases import CONNECTIONS, SERVER, Case
from tests.grafana.cases_workers import CAPACITY, WORKERS
from tests.grafana.rules import CONFIG, RULE_FILES, alerts, groups, rules
from tests.grafana.world import input_series
from tests.server.metrics.test_exposition import needs_promtool

CASES = [*SERVER, *CONNECTIONS, *WORKERS, *CAPACITY]
FIRING = 'count by (alertname) (ALERTS{alertstate="firing"})'


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, check=False, timeout=30
    )


def written(case: Case) -> dict[str, object]:
    """Return the case as promtool reads it."""
    expected = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(case.fires)]
    question = {"expr": FIRING, "eval_time": _minutes(case.at_minute), "exp_samples": expected}
    return {
        "interval": f"{case.interval_s}s",
        "input_series": input_series(case.world(), case.at_minute, case.interval_s),
        "promql_expr_test": [question, *_labels_of_annotations(case)],
    }


def _labels_of_annotations(case: Case) -> Iterator[dict[str, object]]:
    """Questions whether an alert that fires has the labels that its text speaks of."""
    if case.alert not in case.fires:
        return
    text = json.dumps(alerts()[case.alert]["annotations"]).replace("with $labels.worker", "")
    for label in re.findall(r"\$labels\.(\w+)", text):
        selector = f'ALERTS{{alertname="{case.alert}",alertstate="firing",{label}!=""}}'
        yield {
            "expr": f"count({selector})",
            "eval_time": _minutes(case.at_minute),
            "exp_samples": [{"labels": "{}", "value": 1}],
        }


def _minutes(at: float) -> str:
    return f"{round(at * 60)}s"


def run_cases(folder: Path, interval_s: int, cases: list[Case]) -> str:
    """Return what promtool finds wrong with the cases, or nothing."""
    path = folder / "cases.yml"
    content = {
        "rule_files": [str(file) for file in RULE_FILES],
        "evaluation_interval": f"{interval_s}s",
        # All of them: to promtool one that is not named is as early as the first.
        "group_eval_order": groups(),
        "tests": [written(case) for case in cases],
    }
    path.write_text(json.dumps(content))
    done = promtool("test", "rules", path)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.config
@needs_promtool
def test_promtool_takes_the_configuration():
    done = promtool("check", "config", CONFIG)
    assert done.returncode == 0, done.stderr
    found = [int(number) for number in re.findall(r"(\d+) rules found", done.stdout)]
    assert sum(found) == len(rules())


@needs_promtool
@pytest.mark.parametrize("case", CASES, ids=str)
def test_case(tmp_path: Path, case: Case):
    """At that minute exactly those alerts fire."""
    assert run_cases(tmp_path, case.interval_s, [case]) == ""


@pytest.mark.parametrize("alert", alerts())
def test_alert_has_cases(alert: str):
    """One in which it fires, and one that comes near in which it does not."""
    verdicts = {alert in case.fires for case in CASES if case.alert == alert}
    assert verdicts == {True, False}


def test_cases_are_about_alerts_that_exist():
    named = {name for case in CASES for name in (case.alert, *case.fires)} - {""}
    assert named <= set(alerts())
