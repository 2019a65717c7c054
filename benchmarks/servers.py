"""Owns the servers under test: how each is started, found ready and ended."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from picows import WSError

from benchmarks import cpu
from benchmarks.echo import probe
from benchmarks.targets import OURS
from benchmarks.traffic import SMALLEST_SIZE
from benchmarks.workloads import PAIRED, TWO_WORKERS, UNAWAITED

REPOSITORY = Path(__file__).resolve().parent.parent

_READY_SECONDS = 20.0
_PROBE_SECONDS = 5.0
_STOP_SECONDS = 10.0
_LOG_LINES = 12
_PROBED = "/echo"  # every server has it
_ALL_READY = re.compile(r"admin +http://127\.0\.0\.1:(\d+)/")  # `serve` says so, with the port
# A setting left in the caller's shell must not change what is measured; nor must a settings file,
# so each server runs in the directory of the logs, where there is none.
_FOREIGN_SETTINGS = ("GRANIAN_", "UVICORN_", "DJANGO_", "BOLT_", "SWITCHBOARD_", "PYTHONASYNCIO")


class ServerFailed(Exception):
    """A server could not be measured; the text is one line and then the end of its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server under test: `{port}` in the arguments of `python` stands for its port."""

    name: str
    title: str
    arguments: tuple[str, ...]
    modules: tuple[str, ...]  # what has to be installed
    distributions: tuple[str, ...]  # whose versions are reported
    environment: dict[str, str] = field(default_factory=dict)
    has_workers: bool = False  # it is ready when its log says that all are

    def missing(self) -> list[str]:
        """The modules that are not installed."""
        return [module for module in self.modules if find_spec(module) is None]


def _ours(name: str, title: str, workers: int) -> Server:
    return Server(
        name=name,
        title=title,
        arguments=(
            *("-m", "server", "serve", "benchmarks.apps.switchboard_app:app"),
            *("--workers", str(workers), "--host", "127.0.0.1", "--port", "{port}"),
            *("--admin-port", "0"),
        ),
        modules=("server", "workers", "granian", "uvloop"),
        distributions=("granian", "uvloop"),
        has_workers=workers > 1,
    )


def _granian(
    name: str,
    title: str,
    app: str = "granian_app:app",
    also: tuple[str, ...] = (),
    workers: int = 1,
) -> Server:
    return Server(
        name=name,
        title=f"{title}, {'one worker' if workers == 1 else f'{workers} workers'}",
        arguments=(
            *("-m", "granian", f"benchmarks.apps.{app}", "--interface", "asgi"),
            *("--loop", "uvloop", "--workers", str(workers)),
            *("--host", "127.0.0.1", "--port", "{port}"),
        ),
        modules=(*also, "granian", "uvloop"),
        distributions=(*also, "granian", "uvloop"),
    )


SERVERS = {
    server.name: server
    for server in (
        _ours(OURS, "this project: routes as `serve` runs them by default, one worker", 1),
        _ours(TWO_WORKERS, "the same with two workers, which share the core of the server", 2),
        _granian("granian-bare", "bare ASGI (await receive, await send) on granian with uvloop"),
        _granian(
            UNAWAITED,
            "the same, and nobody waits for a room's sends: a floor",
            "granian_app:unawaited",
        ),
        _granian(
            PAIRED,
            "bare ASGI on granian with uvloop, a room by datagrams: a floor",
            "paired_app:app",
            workers=2,
        ),
        _granian(
            "starlette-granian",
            "a Starlette route on granian with uvloop",
            "starlette_app:app",
            also=("starlette",),
        ),
        Server(
            name="starlette-uvicorn",
            title="a Starlette route on uvicorn with uvloop and websockets-sansio (its default)",
            arguments=(
                *("-m", "uvicorn", "benchmarks.apps.starlette_app:app", "--loop", "uvloop"),
                *("--ws", "websockets-sansio", "--workers", "1"),
                *("--host", "127.0.0.1", "--port", "{port}"),
            ),
            modules=("starlette", "uvicorn", "uvloop", "websockets"),
            distributions=("starlette", "uvicorn", "websockets", "uvloop"),
        ),
        Server(
            name="picows",
            title="a picows server with uvloop: C and no framework, the practical limit",
            arguments=("-m", "benchmarks.apps.picows_server", "{port}"),
            modules=("picows", "uvloop"),
            distributions=("picows", "uvloop"),
        ),
        Server(
            name="django-bolt",
            title="a Django-Bolt route under its runbolt command, one process, one worker",
            arguments=(
                *("-m", "django", "runbolt", "--no-admin", "--processes", "1", "--workers", "1"),
                *("--host", "127.0.0.1", "--port", "{port}"),
            ),
            modules=("django", "django_bolt"),
            distributions=("django-bolt", "Django"),
            environment={"DJANGO_SETTINGS_MODULE": "benchmarks.apps.bolt_settings"},
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Running:
    """A server that has answered on its WebSocket; `base` is the URL of all its paths."""

    pid: int
    base: str


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _environment(server: Server) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN_SETTINGS)}
    paths = (str(REPOSITORY), os.environ.get("PYTHONPATH", ""))
    return kept | server.environment | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _failure(server: Server, reason: str, log: Path) -> ServerFailed:
    lines = log.read_text(errors="replace").strip().splitlines()[-_LOG_LINES:]
    quoted = "".join(f"\n  | {line}" for line in lines) or "\n  | (its log is empty)"
    return ServerFailed(f"{server.name} did not start: {reason}; the end of {log}:{quoted}")


def admin_port(log: Path) -> int | None:
    """The admin port of our own server, as soon as all its workers are ready."""
    found = _ALL_READY.search(log.read_text(errors="replace"))
    return int(found[1]) if found else None


def _wait_ready(server: Server, process: subprocess.Popen[bytes], base: str, log: Path) -> None:
    async def answers() -> None:
        async with asyncio.timeout(_PROBE_SECONDS):
            await probe(base + _PROBED, SMALLEST_SIZE)

    until = time.monotonic() + _READY_SECONDS
    last = "nothing answered"
    while time.monotonic() < until:
        if process.poll() is not None:
            raise _failure(server, f"it ended with exit code {process.returncode}", log)
        try:
            asyncio.run(answers())
            if not server.has_workers or admin_port(log):
                return
            last = "not all workers are ready"
        except (OSError, WSError) as error:  # OSError: also a refused connection or a timeout
            last = f"{type(error).__name__} {error}".strip()
        time.sleep(0.05)
    raise _failure(server, f"not ready within {_READY_SECONDS:.0f} s ({last})", log)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it has started: ask first, then insist. Nothing else is touched."""
    members = cpu.tree(process.pid)
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for member in members | cpu.tree(process.pid):
        if cpu.is_alive(member):
            with suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGKILL)


@contextmanager
def running(server: Server, core: int | None, log: Path) -> Iterator[Running]:
    """The server as a real process of its own, on its core, for as long as the body runs."""
    port = _free_port()
    arguments = [argument.format(port=port) for argument in server.arguments]
    with log.open("wb") as output, cpu.on_core(core):
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=log.parent,
            env=_environment(server),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches only us, and we end it
        )
    try:
        base = f"ws://127.0.0.1:{port}"
        _wait_ready(server, process, base, log)
        yield Running(process.pid, base)
    finally:
        _end(process)
