"""Owns the fixtures of browser tests: one browser a process, a new page a test."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.support import CHROMIUM, MISSING, Chromium, Watched, chromium, opened
from tests.support.servers import ROOT

NewPage = Callable[..., Page]
# Said of servers that a test ends on purpose; the page has to cope with it.
LOST = ("net::ERR_", "WebSocket connection to")


@pytest.fixture(scope="session")
def shared_chromium() -> Iterator[Chromium]:
    if CHROMIUM is None:
        pytest.skip(MISSING)
    with chromium() as shared:
        yield shared


@pytest.fixture
def browser(shared_chromium: Chromium) -> Iterator[Browser]:
    """The browser of this process."""
    with shared_chromium.in_use() as browser:
        yield browser


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """A page and its problems; a test that provokes some adds their text to `expected`."""
    with opened(browser) as watched:
        yield watched
        assert watched.problems == []


@pytest.fixture
def page(watched: Watched) -> Page:
    """A new page; errors on its console and uncaught ones fail the test."""
    return watched.page


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Return a function that opens a page of its own, as another person has it.

    Any problem of theirs, but for servers that are lost, fails the test.
    """
    pages: list[Watched] = []
    with ExitStack() as contexts:

        def make(**options: Any) -> Page:
            watched = contexts.enter_context(opened(browser, **options))
            watched.expected += LOST
            pages.append(watched)
            return watched.page

        yield make
    assert [problem for watched in pages for problem in watched.problems] == []


@pytest.fixture
def picture() -> Callable[[Page, str], None]:
    """Return a function that puts a picture of a page into docs/images, if that is asked for."""

    def take(page: Page, name: str) -> None:
        if os.environ.get("SWITCHBOARD_SCREENSHOTS"):
            page.screenshot(path=ROOT / "docs" / "images" / f"{name}.png")

    return take
