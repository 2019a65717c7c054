"""Owns the runs of real locust processes for tests, and what a server's /metrics say of them.

locust patches the process that imports it, so it never runs in the one of pytest.
"""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from loadtest.results import Run
from tests.support.processes import wait_until
from tests.support.servers import ROOT, Server, free_port, running

SECRET = "the key of the tests of the load test"
TIMEOUT_S = 60
_SERIES = re.compile(r"^(ws_\w+)\{(.*)\} ([0-9.e+-]+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass
class Watched:
    """A server, and where its metrics are."""

    server: Server
    admin_port: int

    @property
    def url(self) -> str:
        return self.server.url

    def counts(self, route: str) -> Counter[str]:
        """Return what it has counted on a route, by metric and the labels that matter here."""
        url = f"http://127.0.0.1:{self.admin_port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        counts: Counter[str] = Counter()
        for metric, inner, value in _SERIES.findall(text):
            labels = dict(_LABEL.findall(inner))
            if labels.get("route") == route and metric.endswith("_total"):
                name = labels.get("code") or labels.get("status") or ""
                counts[f"{metric.removesuffix('_total')} {name}".strip()] += round(float(value))
        return counts

    def settled(self, route: str, opened: int) -> Counter[str]:
        """The same, when so many connections are closed and their messages counted."""
        deadline = time.monotonic() + 10
        while True:
            counts = self.counts(route)
            closed = sum(n for name, n in counts.items() if name.startswith("ws_connections_cl"))
            if closed >= opened or time.monotonic() > deadline:
                return counts
            time.sleep(0.05)


@contextmanager
def watched(app: str, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Watched]:
    """Serve an app with two workers."""
    port, admin_port = free_port(), free_port()
    flags = ["--port", str(port), "--admin-port", str(admin_port), "--workers", "2", *arguments]
    command = [sys.executable, "-m", "server", "serve", app, *flags]
    with running(command, port, env=dict(env or {})) as server:
        # Its port takes connections before there are workers to serve them.
        wait_until(lambda: _is_ready(admin_port), 30, message="the server is ready")
        yield Watched(server, admin_port)


def _is_ready(admin_port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/readyz", timeout=10).close()
    except OSError:
        return False
    return True


def command(url: str, scenario: str, run_file: Path, arguments: Sequence[str]) -> list[str]:
    """Return the command of a run."""
    flags = ["-f", "loadtest/locustfile.py", "--host", url, "--scenario", scenario]
    files = ["--only-summary", "--run-file", str(run_file)]
    return [sys.executable, "-m", "locust", *flags, *files, *arguments]


def environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("LOADTEST_")}
    return {**clean, **(env or {})}


@dataclass
class Outcome:
    """What a run has left."""

    code: int
    output: str
    run: Run

    def books(self) -> Counter[str]:
        """Return what the clients counted, named as the server does."""
        totals = self.run.totals
        counts = Counter(
            {
                "ws_connections_opened": totals.opened,
                "ws_messages_received": totals.sent,
                "ws_messages_sent": totals.received,
            }
        )
        for code, amount in totals.closed.items():
            counts[f"ws_connections_closed {code}"] = amount
        for status, amount in totals.refused.items():
            counts[f"ws_handshakes_rejected {status}"] = amount
        return counts


class Locust:
    """A run that is under way, in a process group of its own, as a terminal has it."""

    def __init__(
        self,
        url: str,
        scenario: str,
        folder: Path,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        is_headless: bool = True,
    ) -> None:
        self.run_file = folder / "run.json"
        more = [*arguments, "--headless"] if is_headless else arguments
        self.process = subprocess.Popen(
            command(url, scenario, self.run_file, more),
            cwd=ROOT,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def outcome(self) -> Outcome:
        """Wait for the end."""
        code, output = self.end()
        left = self.read()
        assert left is not None, output
        return Outcome(code, output, left)

    def read(self) -> Run | None:
        """Return the figures, when there are some."""
        if not self.run_file.exists():
            return None
        return msgspec.json.decode(self.run_file.read_bytes(), type=Run)

    def end(self) -> tuple[int, str]:
        """Wait for the end of a run that may have left no figures."""
        try:
            output, _ = self.process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            output, _ = self.process.communicate()
            raise AssertionError(f"locust did not end:\n{output}") from None
        return self.process.returncode, output


def run(
    url: str, scenario: str, folder: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> Outcome:
    """Run locust to its end."""
    return Locust(url, scenario, folder, *arguments, env=env).outcome()
