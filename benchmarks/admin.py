"""Owns the admin port of our own server as benchmarks see it: finding it, and asking for a page."""

import time
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.servers import ServerFailed, admin_port

_READY_SECONDS = 60.0
_ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2"


@dataclass(frozen=True, slots=True)
class Admin:
    """The admin port. Each page is asked for on a new connection.

    The host ends one that is silent for 5 s, so Prometheus makes one for each scrape as well.
    """

    port: int

    def get(self, path: str) -> bytes:
        """Return the body of a page."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        with closing(connection):
            connection.request("GET", path, headers={"Accept": _ACCEPT})
            return connection.getresponse().read()


def admin_of(log: Path) -> Admin:
    """Return the admin port of the server with this log, as soon as all workers are ready."""
    until = time.monotonic() + _READY_SECONDS
    while time.monotonic() < until:
        if port := admin_port(log):
            return Admin(port)
        time.sleep(0.05)
    raise ServerFailed(f"the workers were not ready within {_READY_SECONDS:.0f} s")
