"""Owns the start and the end of real server processes for tests; knows no test.

Every server listens on a free port of 127.0.0.1, is ready when it answers, and is ended by the
process id it was started with. Its output is kept for the failure message and for assertions.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from socket import create_connection, socket

ROOT = Path(__file__).resolve().parent.parent.parent
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0


class Server:
    """A running server.

    Attributes:
        port: where it listens.
        process: the one that was started (granian's main process, or uvicorn).
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def output(self) -> str:
        """Everything the server has printed so far."""
        return self._log.read_text(errors="replace")

    def wait_for_output(self, text: str, timeout_s: float = 10.0) -> str:
        """Wait until the server has printed `text`."""
        deadline = time.monotonic() + timeout_s
        while text not in (output := self.output()):
            assert time.monotonic() < deadline, f"{text!r} was not printed:\n{output}"
            time.sleep(0.02)
        return output

    def stop(self, signal_number: int = signal.SIGTERM) -> int:
        """Signal the process and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal_number)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not stop:\n{self.output()}") from None


def free_port() -> int:
    """Return a port that nobody listens on.

    From below the range that the kernel gives to clients, or another test's connection could take
    it before the server does.
    """
    for port in random.sample(range(20_000, 32_000), 100):
        with socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port between 20000 and 32000")


def granian_command(app: str, port: int, arguments: Sequence[str] = ()) -> list[str]:
    """Our own command line, which is what users run."""
    flags = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return [sys.executable, "-m", "server", "serve", app, *flags, *arguments]


def uvicorn_command(app: str, port: int, arguments: Sequence[str] = ()) -> list[str]:
    flags = ["--host", "127.0.0.1", "--port", str(port), "--ws", "websockets-sansio"]
    return [sys.executable, "-m", "uvicorn", app, *flags, "--lifespan", "on", *arguments]


@contextmanager
def running(
    command: Sequence[str], port: int, *, env: dict[str, str] | None = None, cwd: Path = ROOT
) -> Iterator[Server]:
    """Start a server, wait until its port takes connections, and end it."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "output"
        ours = {"SWITCHBOARD_ADMIN_PORT": "0", "PYTHONUNBUFFERED": "1"}
        with log.open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, **ours, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        server = Server(process, port, log)
        try:
            _wait_until_it_listens(server)
            yield server
        finally:
            server.stop()


@contextmanager
def granian(app: str, *arguments: str, env: dict[str, str] | None = None) -> Iterator[Server]:
    """Serve `app` (pkg.mod:name) with one granian worker, as `python -m server serve` does."""
    port = free_port()
    with running(granian_command(app, port, arguments), port, env=env) as server:
        yield server


@contextmanager
def uvicorn(app: str, *arguments: str, env: dict[str, str] | None = None) -> Iterator[Server]:
    """Serve `app` with uvicorn, as any ASGI app."""
    port = free_port()
    with running(uvicorn_command(app, port, arguments), port, env=env) as server:
        yield server


def _wait_until_it_listens(server: Server) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            create_connection(("127.0.0.1", server.port), timeout=1).close()
            return
        except OSError:
            pass
        ended = server.process.poll() is not None
        if ended or time.monotonic() > deadline:
            raise AssertionError(f"the server did not start:\n{server.output()}")
        time.sleep(0.02)
