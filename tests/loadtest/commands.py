"""Owns the running of `python -m loadtest` for tests: with limits that a busy machine keeps to."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest import report, slo
from loadtest.results import Run
from tests.support import servers

TIMEOUT_S = 55
_LATENCY = re.compile(r"^(\w+_p99_ms = ).*", re.MULTILINE)


@dataclass(frozen=True)
class Done:
    """What a command has left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        """All that it printed, for the message of a failure."""
        return f"{self.stdout}\n{self.stderr}"

    @property
    def folder(self) -> Path:
        """The folder of the report."""
        found = re.search(r"^report: (.*)/[\w.]+$", self.stdout, re.MULTILINE)
        assert found is not None, self.text
        return servers.ROOT / found[1]

    @property
    def run(self) -> Run:
        """What was measured."""
        return report.read(self.folder)


def lenient(folder: Path, p99_ms: int = 20_000) -> Path:
    """Write the limits that come with it, but for those of latency."""
    file = folder / "slo.toml"
    file.write_text(_LATENCY.sub(rf"\g<1>{p99_ms}", slo.DEFAULT_FILE.read_text()))
    return file


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start `python -m loadtest`."""
    return subprocess.Popen(
        [sys.executable, "-m", "loadtest", *arguments],
        cwd=servers.ROOT,
        env={**os.environ, "SWITCHBOARD_WORKERS": "2"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> Done:
    """Wait for its end."""
    try:
        stdout, stderr = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.terminate()  # it ends its own processes
        stdout, stderr = process.communicate(timeout=TIMEOUT_S)
        raise AssertionError(f"it did not end:\n{stdout}\n{stderr}") from None
    return Done(process.returncode, stdout, stderr)


def loadtest(*arguments: str) -> Done:
    """Run it to its end."""
    return finish(start(*arguments))


@contextmanager
def serving(app: str) -> Iterator[tuple[servers.Server, list[str]]]:
    """Serve an app; yields the server and the flags that name it."""
    with servers.granian(app) as server:
        output = server.wait_for_output("Ctrl-C")
        found = re.search(r"admin +(\S+)", output)
        assert found is not None
        yield server, ["--host", server.url, "--admin", found[1]]
