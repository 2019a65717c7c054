"""Owns every touch of granian: how its server is configured and what its workers run first.

It knows nothing of the app but a function that loads it. Pinned to granian 2.8 (pyproject.toml),
because later issues override private methods here.
"""

import asyncio
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes
from granian.http import HTTP1Settings
from granian.log import LogLevels

ASGIApp = Callable[..., Any]
# A worker does not end before the handshakes under way are complete or given up.
HEADER_TIMEOUT_MS = 5_000
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class HostConfig:
    """What granian is told.

    Attributes:
        title: of the processes, as `ps` shows them.
        stop_timeout_s: how long a worker may take to end before it is killed.
    """

    host: str
    port: int
    workers: int
    backlog: int
    stop_timeout_s: int
    log_level: str
    title: str


class Host:
    """granian, configured; `run` serves until a signal.

    Args:
        load: called once in each worker; returns the ASGI app. Must be picklable.
    """

    def __init__(self, config: HostConfig, load: Callable[[], ASGIApp]) -> None:
        self._load = load
        self._server = Granian(
            target=config.title,
            address=config.host,
            port=config.port,
            interface=Interfaces.ASGI,
            workers=config.workers,
            loop=Loops.uvloop,
            # One thread carries out all sends of a worker in the order they were made. It is the
            # multi-threaded runtime all the same: `st` costs a fifth more CPU for each message.
            runtime_mode=RuntimeModes.mt,
            runtime_threads=1,
            # HTTP/2 would need WebSockets over RFC 8441, which granian does not have.
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS),
            backlog=config.backlog,
            # granian splits the backlog among workers; the kernel's queue is per listener.
            backpressure=config.backlog,
            respawn_failed_workers=True,
            workers_kill_timeout=config.stop_timeout_s,
            process_name=config.title,
            log_level=LogLevels(config.log_level),
            log_dictconfig=log_config(config.log_level),
        )

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM.

        Raises:
            SystemExit: workers keep failing.
        """
        loader = partial(load_in_worker, self._load, os.getpid())
        self._server.serve(target_loader=loader, wrap_loader=False)


def load_in_worker(load: Callable[[], ASGIApp], supervisor: int) -> ASGIApp:
    """Prepare this worker process, then load the app; runs in the worker, before its loop.

    Args:
        supervisor: its process id.
    """
    # The supervisor's handlers were inherited and would swallow a signal; granian sets its own
    # when it has the app.
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    keep_stop_signals(asyncio.get_event_loop())
    leave_terminal(supervisor)
    app = load()
    tune_garbage_collection()
    return app


def tune_garbage_collection() -> None:
    """Keep the collector from the modules just loaded, and let it run less often.

    A connection's objects are freed by their reference counts; what the collector looks at again
    and again is the app itself. Measured on echo: 7 % less CPU a message.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def keep_stop_signals(loop: asyncio.AbstractEventLoop) -> None:
    """See to it that a worker told to stop between its startup and its first serving does stop.

    The loop does not run then, and uvloop would keep such a signal until another one comes.
    """
    add_signal_handler = loop.add_signal_handler

    def add(number: int, callback: Callable[..., object], *arguments: Any) -> None:
        if number not in STOP_SIGNALS:
            add_signal_handler(number, callback, *arguments)
            return

        def handle(*_: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(callback, *arguments)

        signal.signal(number, handle)

    loop.add_signal_handler = add  # type: ignore[assignment]


def leave_terminal(supervisor: int) -> None:
    """Stay out of the way of Ctrl-C, and end when the supervisor is gone.

    The terminal signals its whole foreground group; a worker that got that too would drop its
    connections before the supervisor can see to them.
    """
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != supervisor:  # it died before that call
            os.kill(os.getpid(), signal.SIGTERM)


def log_config(level: str) -> dict[str, Any]:
    """Return the logging configuration of supervisor and workers, for `logging.config`."""
    handler = {"formatter": "line", "class": "logging.StreamHandler", "stream": "ext://sys.stderr"}
    logger = {"handlers": ["stderr"], "level": level.upper(), "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"}},
        "handlers": {"stderr": handler},
        "loggers": {
            **{name: dict(logger) for name in ("_granian", "granian.access", "switchboard")},
            # A line for each peer that went without a goodbye, which is nothing to act on.
            "_granian.asgi.io": {"level": "DEBUG" if level == "debug" else "WARNING"},
        },
    }
