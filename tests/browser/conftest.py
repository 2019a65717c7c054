"""Owns the browser of the tests: Debian's Chromium, one for each file of tests.

Not for the whole process: Playwright has an event loop as long as it runs, and so would no other
test in that process.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.support.servers import ROOT

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NewPage = Callable[..., Page]
# Said of servers that tests end on purpose, and of what they refuse; pages have to cope with both.
_EXPECTED = ("net::ERR_", "WebSocket connection to", "the server responded with a status of 4")


def _chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("there is no chromium (Debian: apt install chromium)")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = _chromium()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=[*ARGUMENTS])
        yield running
        running.close()


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Return a function that opens a page in a context of its own, as another person has it.

    At the end, anything that a page has complained of fails the test.
    """
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error" and not any(text in message.text for text in _EXPECTED):
            complaints.append(message.text)

    def make(**options: object) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        context.set_default_timeout(15_000)
        contexts.append(context)
        page = context.new_page()
        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def picture() -> Callable[[Page, str], None]:
    """Return a function that puts a picture of a page into docs/images, if that is asked for."""

    def take(page: Page, name: str) -> None:
        if os.environ.get("SWITCHBOARD_SCREENSHOTS"):
            folder = ROOT / "docs" / "images"
            folder.mkdir(exist_ok=True)
            page.screenshot(path=Path(folder) / f"{name}.png")

    return take
