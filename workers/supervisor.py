"""Owns the life of the server as a whole: start, the word that it is ready, the end.

It runs in the process that the user started; it knows granian only through `workers.granian`.
"""

import os
import socket
import threading
import time
from collections.abc import Callable

from workers.granian import ASGIApp, Host, HostConfig
from workers.preflight import local_address

READY_TIMEOUT_S = 60.0
_POLL_S = 0.05


class Supervisor:
    """Runs the workers and says once when the first of them listens.

    Args:
        on_ready: called in a thread of its own as soon as the port answers.
    """

    def __init__(
        self, config: HostConfig, load: Callable[[], ASGIApp], on_ready: Callable[[], None]
    ) -> None:
        self._config = config
        self._host = Host(config, load)
        self._on_ready = on_ready
        self._ended = threading.Event()

    def run(self) -> int:
        """Serve until a signal; returns the exit code: 0, or 1 when workers keep failing."""
        supervisor = os.getpid()
        threading.Thread(target=self._announce, name="announce", daemon=True).start()
        try:
            self._host.run()
        except SystemExit as error:
            if os.getpid() != supervisor:
                raise
            return error.code if isinstance(error.code, int) else 1
        finally:
            self._ended.set()
        return 0

    def _announce(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline and not self._ended.is_set():
            if self._answers():
                self._on_ready()
                return
            self._ended.wait(_POLL_S)

    def _answers(self) -> bool:
        address = (local_address(self._config.host), self._config.port)
        try:
            socket.create_connection(address, timeout=1).close()
        except OSError:
            return False
        return True
