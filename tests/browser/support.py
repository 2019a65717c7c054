"""Owns the browser of tests, Debian's Chromium by Playwright; axe; and servers to visit."""

import asyncio
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.support.cli import environment
from tests.support.processes import children, title
from tests.support.servers import Server, free_port, running

CHROMIUM = shutil.which("chromium")
MISSING = "there is no chromium: apt-get install chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT_MS = 10_000
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}


class Chromium:
    """A browser that many tests use, one after the other.

    Playwright has an event loop that is running all the time, by asyncio's books. Tests that run
    one of their own in the same process could not then, so it is taken off the books in between.
    """

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._loop = asyncio._get_running_loop()
        asyncio._set_running_loop(None)

    @contextmanager
    def in_use(self) -> Iterator[Browser]:
        """Yield the browser; outside of this block nothing may be done with it."""
        asyncio._set_running_loop(self._loop)
        try:
            yield self._browser
        finally:
            asyncio._set_running_loop(None)


@contextmanager
def chromium() -> Iterator[Chromium]:
    """Run a browser until the block ends."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        shared = Chromium(browser)
        yield shared
        asyncio._set_running_loop(shared._loop)
        browser.close()


@contextmanager
def opened(browser: Browser, **options: Any) -> Iterator["Watched"]:
    """Yield a page with cookies and storage of its own.

    Args:
        options: of the browser context, such as `viewport`, `color_scheme`.
    """
    context = browser.new_context(**{"viewport": DESKTOP, **options})
    context.set_default_timeout(TIMEOUT_MS)
    try:
        yield Watched(context.new_page())
    finally:
        context.close()


class Watched:
    """A page, and what went wrong in it.

    Attributes:
        problems: errors on the console, and those that no script has caught.
        expected: a problem with one of these texts in it is none.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.expected: list[str] = []
        self.problems: list[str] = []
        page.on("console", lambda line: self._note(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: self._note(str(error)))

    def _note(self, problem: str) -> None:
        if not any(text in problem for text in self.expected):
            self.problems.append(problem)


def violations(page: Page) -> list[str]:
    """Return what axe finds wrong with a page: each rule, and where."""
    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
    ]


def is_wider_than_window(page: Page) -> bool:
    """Whether the page as a whole scrolls sideways."""
    script = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"
    return bool(page.evaluate(script))


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
