"""What a person sees in the chat when something is wrong: the page says so, and goes on trying."""

import signal
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage
from tests.browser.support import address, visited
from tests.browser.test_chat import arrive, expect_state, expect_texts, say
from tests.support.servers import Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

NOBODY = "the server is not there, or does not let us in"
BABBLE = "what came is no frame of switchboard.v1"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with visited("tests.browser.accidents:app", workers=1) as server:
        yield server


def introduce(page: Page) -> None:
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Join the chat").click()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("nowhere", NOBODY),  # no such endpoint: 403
        ("locked", NOBODY),  # 401
        ("older", NOBODY),  # another protocol, which Chromium itself refuses
        ("babble", BABBLE),
        ("strange", BABBLE),
    ],
)
def test_an_endpoint_that_is_none(
    server: Server, new_page: NewPage, kind: str, reason: str
) -> None:
    """It is said, nothing can be sent, and the page does not break."""
    page = new_page()
    page.goto(f"{address(server)}{kind}/")
    introduce(page)
    expect_state(page, f"trying again … ({reason})")
    expect(page.get_by_label("Message")).to_be_disabled()
    expect(page.get_by_role("button", name="Send")).to_be_disabled()


def test_a_server_that_is_not_there_at_first(new_page: NewPage) -> None:
    page = new_page()
    with visited("examples.chat:app", "--drain-s", "1", workers=1) as server:
        page.goto(address(server))
        assert server.stop() == 0
    introduce(page)
    expect_state(page, f"trying again … ({NOBODY})")
    with visited("examples.chat:app", workers=1, port=server.port):
        expect_state(page, "connected")
        say(page, "here at last")
        expect_texts(page, ["here at last"])


def test_a_page_that_is_left_open_over_an_upgrade(new_page: NewPage) -> None:
    """New code in all workers: it is connected again, and nothing is missing or said to be."""
    with visited("examples.chat:app", "--drain-s", "1", workers=2) as server:
        page = new_page()
        arrive(page, server, "Ada", "harbour")
        say(page, "before")
        expect_texts(page, ["before"])
        server.process.send_signal(signal.SIGHUP)
        server.wait_for_output("reloaded", 30)
        expect_state(page, "connected")
        say(page, "after")
        expect_texts(page, ["before", "after"])
        expect(page.locator("#log .note")).to_have_count(0)
