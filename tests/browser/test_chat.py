"""The chat in a real browser: people talk, workers die, networks go, and nothing is lost."""

import os
import re
import signal
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage
from tests.browser.support import address, violations, visited, workers_of
from tests.support.processes import wait_until
from tests.support.servers import Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

Picture = Callable[[Page, str], None]
PHONE = {"viewport": {"width": 390, "height": 780}, "has_touch": True, "is_mobile": True}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with visited("examples.chat:app") as server:
        yield server


def arrive(page: Page, server: Server, name: str, room: str) -> None:
    """Say who it is, and enter a room."""
    page.goto(f"{address(server)}#{room}")
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Join the chat").click()
    expect(page.get_by_role("heading", name=room, exact=True)).to_be_visible()
    expect_state(page, "connected")


def expect_state(page: Page, text: str) -> None:
    expect(page.get_by_role("status")).to_contain_text(text, timeout=25_000)


def say(page: Page, text: str) -> None:
    box = page.get_by_label("Message")
    box.fill(text)
    box.press("Enter")
    expect(box).to_have_value("")


def say_surely(page: Page, text: str) -> None:
    """Say it again if the page gives it back, as it does when the connection was just lost.

    Who does so may say it twice: the answer may have been lost, and not the message.
    """
    box = page.get_by_label("Message")
    while text not in texts(page):
        wait_until(box.is_enabled, 25, message="it is connected")
        box.fill(text)
        box.press("Enter")
        wait_until(lambda: text in texts(page) or box.input_value() == text, 25, message=text)


def texts(page: Page) -> list[str]:
    """Return the messages on the page, in their order."""
    found: list[str] = page.locator("#log article p:not(.head)").all_text_contents()
    return found


def expect_texts(page: Page, wanted: list[str]) -> None:
    expect(page.locator("#log article p:not(.head)")).to_have_text(wanted, timeout=25_000)


def test_two_people_talk_and_see_each_other(
    server: Server, new_page: NewPage, picture: Picture
) -> None:
    ada, ben = new_page(), new_page()
    arrive(ada, server, "Ada", "tea")
    arrive(ben, server, "Ben", "tea")
    say(ada, "Is there any tea left?")
    say(ben, "One cup. It is yours.")
    wanted = ["Is there any tea left?", "One cup. It is yours."]
    expect_texts(ada, wanted)
    expect_texts(ben, wanted)
    expect(ada.locator("#people li")).to_have_text(["Ada (you)", "Ben"])
    expect(ben.locator("#people li")).to_have_text(["Ada", "Ben (you)"])
    picture(ada, "chat")
    ben.context.close()
    expect(ada.locator("#people li")).to_have_text(["Ada (you)"])
    late = new_page()
    arrive(late, server, "Cleo", "tea")
    expect_texts(late, wanted)  # history on entry


def test_what_is_said_elsewhere_is_marked_unread(server: Server, new_page: NewPage) -> None:
    ada, ben = new_page(), new_page()
    arrive(ada, server, "Ada", "garden")
    arrive(ben, server, "Ben", "garden")
    ada.locator("[data-room=lobby]").click()
    say(ben, "The roses are out")
    say(ben, "Come and see")
    badge = ada.locator("[data-room=garden] .badge")
    expect(badge).to_have_text("2")
    ada.locator("[data-room=garden]").click()
    expect(badge).to_have_count(0)
    expect(ada.locator("#log .divider ~ article")).to_have_count(2)


def test_a_killed_worker_costs_no_message(server: Server, new_page: NewPage) -> None:
    """Both go on speaking meanwhile, and end with one and the same list."""
    pages = [new_page(), new_page()]
    for page, name in zip(pages, ("Ada", "Ben"), strict=True):
        arrive(page, server, name, "storm")
    victims = workers_of(server)
    assert len(victims) == 3
    said = [f"message {number}" for number in range(30)]
    for number, text in enumerate(said):
        if number in (8, 14, 20):  # so that each of the two loses its worker
            os.kill(victims[(number - 8) // 6], signal.SIGKILL)
        say_surely(pages[number % 2], text)
    wait_until(lambda: len(set(workers_of(server)) - set(victims)) == 3, 20)
    for page in pages:
        expect_state(page, "connected")
    wait_until(lambda: texts(pages[0]) == texts(pages[1]), 25, message="the lists are the same")
    seen = texts(pages[0])
    assert list(dict.fromkeys(seen)) == said
    assert len(seen) <= len(said) + len(victims)
    expect(pages[0].locator("#people li")).to_have_text(["Ada (you)", "Ben"], timeout=25_000)


def test_what_was_said_while_one_was_offline_is_there_afterwards(
    server: Server, new_page: NewPage
) -> None:
    ada, ben = new_page(), new_page()
    arrive(ada, server, "Ada", "train")
    arrive(ben, server, "Ben", "train")
    ada.context.set_offline(True)
    expect_state(ada, "offline")
    expect(ada.get_by_label("Message")).to_be_disabled()
    wanted = [f"while you were away {number}" for number in range(5)]
    for text in wanted:
        say(ben, text)
    ada.context.set_offline(False)
    expect_texts(ada, wanted)
    expect_state(ada, "connected")


def test_a_script_tag_is_text(server: Server, new_page: NewPage) -> None:
    ada, ben = new_page(), new_page()
    arrive(ada, server, "<b>Ada</b>", "lab")
    arrive(ben, server, "Ben", "lab")
    evil = "<script>document.title='got you'</script><img src=x onerror=alert(1)>"
    say(ada, evil)
    expect_texts(ben, [evil])
    expect(ben.locator("#log .who")).to_have_text(["<b>Ada</b>"])
    expect(ben.locator("#people li")).to_have_text(["<b>Ada</b>", "Ben (you)"])
    assert ben.title() == "lab – Chat"
    assert ben.locator("#log script, #log img, #log b").count() == 0


def test_what_the_server_refuses_is_said(server: Server, new_page: NewPage) -> None:
    ada = new_page()
    ada.goto(address(server))
    ada.evaluate("localStorage.setItem('name', 'A\\u0007da')")
    ada.reload()
    expect(ada.get_by_role("alert")).to_contain_text("1 to 24 printable characters")
    expect(ada.get_by_label("Your name")).to_be_visible()


def test_a_drain_is_said_and_the_page_comes_back(new_page: NewPage) -> None:
    """The server that comes next knows nothing of before, and the page says so."""
    ada = new_page()
    with visited("examples.chat:app", "--drain-s", "1", workers=1) as server:
        arrive(ada, server, "Ada", "harbour")
        say(ada, "before")
        expect_texts(ada, ["before"])
        assert server.stop() == 0
    expect_state(ada, "trying again")
    with visited("examples.chat:app", workers=1, port=server.port):
        expect_state(ada, "connected")
        say(ada, "after")
        expect_texts(ada, ["before", "after"])
        expect(ada.locator("#log .note")).to_contain_text("started anew")


def test_the_keyboard_is_enough(server: Server, new_page: NewPage) -> None:
    ada = new_page()
    ada.goto(address(server))
    ada.keyboard.type("Ada")
    ada.keyboard.press("Enter")
    expect(ada.get_by_label("Message")).to_be_focused()
    ada.keyboard.type("typed")
    ada.keyboard.press("Enter")
    expect(ada.locator("#log article").last).to_contain_text("typed")
    for _ in range(12):
        ada.keyboard.press("Tab")
        if ada.evaluate("document.activeElement.dataset.room") == "help":
            break
    ada.keyboard.press("Enter")
    expect(ada.get_by_role("heading", name="help", exact=True)).to_be_visible()
    expect(ada.get_by_label("Message")).to_be_focused()


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_axe_finds_nothing(
    server: Server, new_page: NewPage, picture: Picture, look: str, device: str
) -> None:
    options = PHONE if device == "phone" else {}
    page = new_page(color_scheme=look, **options)
    page.goto(address(server))
    assert violations(page) == []
    arrive(page, server, f"Dee {look} {device}", "stairs")
    say(page, "a message")
    expect(page.locator("#log article").first).to_be_visible()
    assert violations(page) == []
    if device == "phone":
        picture(page, f"chat-phone-{look}")
        page.get_by_role("button", name=re.compile("Rooms")).click()
        expect(page.locator("[data-room=help]")).to_be_visible()
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
