"""Owns a real Prometheus that runs the project's configuration in less time.

All times of the configuration and of the rules are divided by `SPEED`: intervals, windows, offsets,
`for`. What is no time stays, least numbers and bounds of seconds above all. This is done to the
text: every number with a unit of time that is a word of its own (`5m` in `[5m]`, not in
`increase5m`), and the 300 seconds of the recording rules.
"""

import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.grafana.rules import CONFIG, RULE_FILES
from tests.support.processes import wait_until
from tests.support.servers import free_port

SPEED = 30
needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="no prometheus: apt-get install prometheus has it"
)
_TIME = re.compile(r"\b(\d+)(s|m|h|d)\b")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_START_S = 10.0
_STOP_S = 10.0


def faster(text: str) -> str:
    """Divide the times in a configuration or in rules."""

    def shorter(found: re.Match[str]) -> str:
        return f"{int(found[1]) * _SECONDS[found[2]] * 1000 // SPEED}ms"

    return _TIME.sub(shorter, text).replace("time() - 300", f"time() - {300 // SPEED}")


def derive(folder: Path, admin_port: int) -> Path:
    """Write the configuration for a server with that admin port; returns its file."""
    (folder / "rules").mkdir()
    for file in RULE_FILES:
        (folder / "rules" / file.name).write_text(faster(file.read_text()))
    text = faster(CONFIG.read_text().replace("9464", str(admin_port)))
    # A third of a second is a little short for a busy machine.
    interval = re.search(r"scrape_interval: (\S+)", text)
    assert interval is not None
    config = folder / CONFIG.name
    config.write_text(re.sub(r"scrape_timeout: \S+", f"scrape_timeout: {interval[1]}", text))
    return config


class Prometheus:
    """One that runs.

    Attributes:
        port: where it listens on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str) -> tuple[int, str]:
        """Return the status and the body of a page; raises OSError while nobody listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def is_ready(self) -> bool:
        """Whether it answers queries."""
        try:
            return self.get("/-/ready")[0] == 200
        except OSError:
            return False

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an instant query."""
        status, body = self.get(f"/api/v1/query?{urlencode({'query': expression})}")
        assert status == 200, body
        result: list[dict[str, Any]] = json.loads(body)["data"]["result"]
        return result

    def query_range(
        self, expression: str, begin: float, end: float, step_s: float
    ) -> list[dict[str, Any]]:
        """Return the series of a query over time, from and to unix time."""
        asked = {"query": expression, "start": begin, "end": end, "step": step_s}
        status, body = self.get(f"/api/v1/query_range?{urlencode(asked)}")
        assert status == 200, body
        result: list[dict[str, Any]] = json.loads(body)["data"]["result"]
        return result

    def alerts(self, state: str = "firing") -> dict[str, dict[str, str]]:
        """Return the annotations of the alerts in that state, by their names."""
        found = json.loads(self.get("/api/v1/alerts")[1])["data"]["alerts"]
        return {
            alert["labels"]["alertname"]: alert["annotations"]
            for alert in found
            if alert["state"] == state
        }


@contextmanager
def prometheus(folder: Path, admin_port: int) -> Iterator[Prometheus]:
    """Run one that watches the server with that admin port."""
    config = derive(folder, admin_port)
    running = Prometheus(free_port())
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{running.port}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(running.is_ready, _START_S, message=log.read_text())
        yield running
    finally:
        process.terminate()
        process.wait(_STOP_S)
