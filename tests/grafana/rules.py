"""Owns the reading of the Prometheus configuration: its files, alerts and recorded series."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.support.servers import ROOT

FOLDER = ROOT / "grafana" / "prometheus"
CONFIG = FOLDER / "prometheus.yml"
RULE_FILES = (FOLDER / "rules" / "recording.yml", FOLDER / "rules" / "alerts.yml")


@cache
def rules() -> tuple[dict[str, Any], ...]:
    """Return every rule, recording and alerting."""
    groups = [group for path in RULE_FILES for group in load(path)["groups"]]
    return tuple(rule for group in groups for rule in group["rules"])


def groups() -> list[str]:
    """Return the names of the groups, those whose series others ask for first."""
    return [group["name"] for path in RULE_FILES for group in load(path)["groups"]]


def alerts() -> dict[str, dict[str, Any]]:
    """Return the alerting rules by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> set[str]:
    """Return the names of the series that the recording rules make."""
    return {rule["record"] for rule in rules() if "record" in rule}


def load(path: Path) -> Any:
    """Read a YAML file."""
    return yaml.safe_load(path.read_text())
