"""Owns the reading of the dashboards: their panels, and their queries as Prometheus takes them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.support.servers import ROOT

FOLDER = ROOT / "grafana" / "dashboards"
RATE_INTERVAL_S = 60
"""What Grafana takes for `$__rate_interval`, at a scrape interval of 15 s: four of them."""


@dataclass(frozen=True)
class Panel:
    """A panel of a dashboard."""

    dashboard: str
    json: dict[str, Any]

    @property
    def title(self) -> str:
        return str(self.json["title"])

    @property
    def queries(self) -> list[str]:
        """Its queries in PromQL, with all values of all variables."""
        return [plain(target["expr"]) for target in self.json["targets"]]

    def __str__(self) -> str:
        return f"{self.dashboard}: {self.title}"


@cache
def dashboards() -> dict[str, dict[str, Any]]:
    """Return the dashboards by the names of their files."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


@cache
def panels() -> tuple[Panel, ...]:
    """Return all panels of all dashboards but rows."""
    return tuple(
        Panel(name, panel)
        for name, board in dashboards().items()
        for panel in every(board)
        if panel["type"] != "row"
    )


def every(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows and panels of a dashboard, those in folded rows too."""
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels") or ()


def plain(query: str) -> str:
    """Put values in the place of Grafana's variables."""
    query = query.replace("$__rate_interval", f"{RATE_INTERVAL_S}s")
    query = re.sub(r'=~"\$(job|instance|worker|route)"', '=~".+"', query)
    assert "$" not in query, query
    return query
