"""Owns the fixtures of browser tests: one browser a process, a new page a test."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.support import CHROMIUM, MISSING, Chromium, Watched, chromium, opened


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
