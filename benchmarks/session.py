"""Owns the frame around a measurement: the servers' logs, signals, errors and exit codes."""

import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.servers import ServerFailed


def _terminated(*_: object) -> None:
    raise KeyboardInterrupt


def session(body: Callable[[Path], bool]) -> int:
    """Run a measurement; returns the exit code.

    Args:
        body: given a directory for the logs of servers; returns whether nobody needs them.
    """
    signal.signal(signal.SIGTERM, _terminated)  # so that the server under test is ended too
    logs = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        is_fine = body(logs)
    except ServerFailed as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"bench: interrupted; the logs of the servers are in {logs}", file=sys.stderr)
        return 130
    if is_fine:
        shutil.rmtree(logs)
    else:
        print(f"bench: the logs of the servers are in {logs}", file=sys.stderr)
    return 0
