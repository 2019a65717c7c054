"""Owns what the browser tests do often: a server to visit, its workers, what axe says of a page."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.support.cli import environment
from tests.support.processes import children, title
from tests.support.servers import Server, free_port, running


@contextmanager
def visited(
    app: str, *arguments: str, workers: int = 3, port: int = 0, env: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Serve an app with workers that are ready; the address of the page is `address`."""
    port = port or free_port()
    flags = ["--workers", str(workers), "--port", str(port), *arguments]
    command = [sys.executable, "-m", "server", "serve", app, *flags]
    with running(command, port, env=environment(env or {})) as server:
        server.wait_for_output("stop    Ctrl-C", 30)
        yield server


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}/"


def workers_of(server: Server) -> list[int]:
    """Return the processes of the workers that live."""
    return [pid for pid in children(server.process.pid) if "worker" in title(pid)]


def accessibility_faults(page: Page) -> str:
    """Return what axe finds, as text; empty if that is nothing."""
    results = Axe().run(page)
    if not results.violations_count:
        return ""
    report: str = results.generate_report()
    return report
