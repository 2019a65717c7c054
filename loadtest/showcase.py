"""Owns the server that a load test starts for itself when it is given none: its start and its end.

It runs `python -m server` as anybody would, and reads the ports from what it prints.
"""

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loadtest.follower import following

ROOT = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
APP = "examples.showcase:app"
SECRET_VARIABLE = "LOADTEST_JWT_SECRET"  # noqa: S105 - the name of a variable
_ROUTE = re.compile(r"^  route +(ws://[^/\s]+)", re.MULTILINE)
_ADMIN = re.compile(r"^  admin +(http://\S+)", re.MULTILINE)
_READY = "  stop    Ctrl-C"


class ShowcaseError(Exception):
    """It did not start; the text says why."""


class Showcase:
    """A server of our own.

    Attributes:
        url: its address, ws://.
        metrics: where its metrics are.
        process: of its supervisor.
        secret: what its tokens are signed with.
    """

    def __init__(self, process: subprocess.Popen[bytes], log: Path, secret: str) -> None:
        self.process = process
        self.secret = secret
        self._log = log
        self.url, self.metrics = self._wait_until_ready()

    def _wait_until_ready(self) -> tuple[str, str]:
        deadline = time.monotonic() + START_TIMEOUT_S
        while _READY not in (text := self._log.read_text(errors="replace")):
            if (code := self.process.poll()) is not None:
                last = text.strip().splitlines()[-1:] or ["it said nothing"]
                raise ShowcaseError(f"the server ended with exit code {code}: {last[0]}")
            if time.monotonic() > deadline:
                raise ShowcaseError(f"the server was not ready after {START_TIMEOUT_S:.0f} s")
            time.sleep(0.05)
        route, admin = _ROUTE.search(text), _ADMIN.search(text)
        if route is None or admin is None:
            raise ShowcaseError(f"the server does not say where it listens: {text}")
        return route[1], admin[1]

    def ended(self) -> str | None:
        """Say how it ended; None as long as it runs."""
        code = self.process.poll()
        if code is None:
            return None
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"the server ended with {how}"


@contextmanager
def showcase(log: Path, *, app: str = APP, connections: int = 0) -> Iterator[Showcase]:
    """Serve it on free ports until the block ends.

    Args:
        log: what it prints goes there.
        connections: how many it has to let in.

    Raises:
        ShowcaseError: it did not start.
    """
    secret = secrets.token_hex(32)
    command = [sys.executable, "-m", "server", "serve", app, "--port", "0", "--admin-port", "0"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            following(command),
            cwd=ROOT,
            env=_environment(secret, connections),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,  # Ctrl-C is for us, and we stop it when the clients are gone
        )
    try:
        yield Showcase(process, log, secret)
    finally:
        stop(process)


def _environment(secret: str, connections: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _OURS}
    return {
        # More than there are to be: those that come back may overlap with those that go. A worker
        # may get more than its share of them.
        "SWITCHBOARD_ADMISSION_CONNECTIONS": str(max(10_000, 2 * connections)),
        "SWITCHBOARD_REGISTRY_ROWS": str(max(16_384, connections)),
        **kept,
        "SWITCHBOARD_JWT_SECRET": secret,
        "SWITCHBOARD_HOST": "127.0.0.1",
        "PYTHONUNBUFFERED": "1",
    }


_OURS = ("SWITCHBOARD_JWT_SECRET_FILE", "SWITCHBOARD_PORT", "SWITCHBOARD_ADMIN_PORT")


def stop(process: subprocess.Popen[bytes], timeout_s: float = STOP_TIMEOUT_S) -> None:
    """End it: first kindly, then at once, then by force."""
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            continue
