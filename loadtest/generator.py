"""Owns the process that makes the load: its command line, its start, what it tells, and its end.

It reads what that process writes into a folder and knows nothing of how load is made:

- `samples.jsonl`: a `Sample` each second, while it runs,
- `run.json`: the `Run`, when it has ended, also after SIGTERM,
- `generator.log`: all that it prints.
"""

import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from loadtest.follower import following
from loadtest.results import Run, Sample

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
STOP_TIMEOUT_S = 30.0
_PAGE = re.compile(r"Starting web interface at (http\S+?),? ")
SAMPLES, RUN, LOG = "samples.jsonl", "run.json", "generator.log"


class GeneratorError(Exception):
    """It has left nothing behind; the text says why."""


class NothingRunError(GeneratorError):
    """It has ended as it should, without a run."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done in one run.

    Attributes:
        url: ws:// or wss://.
        spawn_rate: users that come each second.
        hold_s: how long all of them stay.
        secret: what tokens are signed with; empty if that is not known.
        has_ui: locust's web page instead of a start at once.
        more: options of the generator's own.
    """

    scenario: str
    url: str
    users: int
    spawn_rate: float
    hold_s: float
    processes: int = 1
    shape: str = "none"
    secret: str = ""
    has_ui: bool = False
    more: tuple[str, ...] = ()

    @property
    def length_s(self) -> float:
        """From the start to the end."""
        # Shapes divide the whole length up by themselves.
        return self.hold_s + (self.users / self.spawn_rate if self.shape == "none" else 0.0)


def command(plan: Plan, folder: Path) -> list[str]:
    """Return what starts the generator."""
    start = ["--web-host", "127.0.0.1"] if plan.has_ui else ["--headless", "--only-summary"]
    end = [] if plan.has_ui else ["--run-time", f"{math.ceil(plan.length_s)}s"]
    return [
        *(sys.executable, "-m", "locust", "-f", str(LOCUSTFILE)),
        *start,
        *end,
        *("--host", plan.url),
        *("--users", str(plan.users)),
        *("--spawn-rate", f"{plan.spawn_rate:g}"),
        *(("--processes", str(plan.processes)) if plan.processes != 1 else ()),
        *("--exit-code-on-error", "0"),  # limits are judged by us
        *("--scenario", plan.scenario),
        *("--shape", plan.shape),
        *("--run-file", str(folder / RUN)),
        *("--samples-file", str(folder / SAMPLES)),
        *plan.more,
    ]


class Generator:
    """The process, from its start to its end."""

    def __init__(self, arguments: Sequence[str], folder: Path, secret: str = "") -> None:
        self._folder = folder
        self._read_to = 0
        ours = {"LOADTEST_JWT_SECRET": secret} if secret else {}
        with (folder / LOG).open("wb") as log:
            self._process = subprocess.Popen(
                following(arguments),
                cwd=Path(__file__).resolve().parent.parent,
                env={**os.environ, **ours, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C is for us, who then end it in order
            )

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def samples(self) -> list[Sample]:
        """Return those that were written since the last call."""
        try:
            with (self._folder / SAMPLES).open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._read_to:
                    self._read_to = 0  # another run was started, on locust's web page
                file.seek(self._read_to)
                text = file.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]  # the last line may be half written
        self._read_to += len(whole)
        return msgspec.json.decode(b"[" + b",".join(whole.splitlines()) + b"]", type=list[Sample])

    def page(self) -> str | None:
        """Return the address of locust's web page, once it is there."""
        found = _PAGE.search((self._folder / LOG).read_text(errors="replace"))
        return found[1] if found is not None else None

    def stop(self) -> None:
        """Ask it to end, and end it and its processes by force if it does not."""
        if self.is_running:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it and all its processes at once."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()

    def result(self) -> Run:
        """Return what it has left behind.

        Raises:
            GeneratorError: nothing.
        """
        try:
            return msgspec.json.decode((self._folder / RUN).read_bytes(), type=Run)
        except FileNotFoundError as error:
            kind = GeneratorError if self._process.returncode else NothingRunError
            raise kind(self._why(error)) from None
        except (OSError, msgspec.DecodeError) as error:
            raise GeneratorError(self._why(error)) from None

    def _why(self, error: Exception) -> str:
        log = self._folder / LOG
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        what = "left no result" if isinstance(error, OSError) else f"left no good result ({error})"
        text = f"the generator {what}; exit code {self._process.returncode}, see {log}"
        return f"{text}\n  {lines[-1].strip()}" if lines else text
