"""Every panel shows something: a real Prometheus has watched a real server in good and bad times.

`tests.grafana.prometheus` says how times are divided, `tests.grafana.scenes` what happens.
"""

import math
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.grafana.dashboards import Panel, dashboards, panels
from tests.grafana.pictures import Ask, draw
from tests.grafana.prometheus import SPEED, faster, needs_prometheus, prometheus
from tests.grafana.rules import CONFIG, load
from tests.grafana.scenes import Scenes, served
from tests.support.servers import ROOT

pytestmark = [pytest.mark.e2e, needs_prometheus, pytest.mark.timeout(180)]


async def test_every_panel_shows_something(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """Each of its queries brings finite numbers, and not zeros alone."""
    begin = time.time()
    with served(tmp_path) as (server, admin_port, app):
        (folder := tmp_path / "prometheus").mkdir()
        with prometheus(folder, admin_port) as watching:
            await Scenes(server, watching, app).play()
            end = time.time()

            def ask(query: str) -> list[dict[str, Any]]:
                return watching.query_range(faster(query), begin, end, step_s())

            for panel in panels():
                with subtests.test(panel=str(panel)):
                    check(panel, ask)
            if os.environ.get("SWITCHBOARD_SCREENSHOTS"):
                for name, board in dashboards().items():
                    draw(
                        board,
                        ask,
                        ROOT / "docs" / "images" / f"dashboard-{name.removeprefix('ws-')}.png",
                    )


def check(panel: Panel, ask: Ask) -> None:
    for query in panel.queries:
        values = numbers(ask(query))
        assert values, f"nothing came of {query}"
        assert all(math.isfinite(value) for value in values), query
        assert any(value > 0 for value in values), f"only zeros came of {query}"


def numbers(series: list[dict[str, Any]]) -> list[float]:
    """Return all values; a quantile of nothing is no number, and Grafana leaves a gap there."""
    values = [float(value) for one in series for _, value in one["values"]]
    return [value for value in values if not math.isnan(value)]


def step_s() -> float:
    """Return half the interval of scrapes, as it is here, so that no scrape is passed over."""
    return float(load(CONFIG)["global"]["scrape_interval"].removesuffix("s")) / SPEED / 2
