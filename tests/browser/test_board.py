"""The board in a real Chromium, of a real server with two workers and real clients."""

import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.browser.support import PHONE, Watched, is_wider_than_window, opened, violations
from tests.support.cli import environment
from tests.support.processes import is_alive, wait_until
from tests.support.raw import get
from tests.support.servers import ROOT, Server, free_port, running

pytestmark = pytest.mark.e2e

SCRIPT = "<script>document.title='bad'</script>"
TAG = "<script src=x>"  # a path can hold this: a slash would be another route
KEY = "k-0123456789abcdef"
IMAGE = ROOT / "docs" / "images" / "board.png"
APP = """\
from server import App

app = App()


@app.websocket_route("/room/{name}")
async def room(ws, name: str):
    ws.user_id = ws.query_params.get("user", "") or None
    await ws.join(name)
    async for message in ws:
        await app.room(name).publish(message)
"""


class Served:
    """A server and its admin port."""

    def __init__(self, server: Server, admin: int) -> None:
        self.server = server
        self.admin = admin
        self.board = f"http://127.0.0.1:{admin}/board"

    def status(self) -> Any:
        return json.loads(get(self.admin, "/status").body)

    @contextmanager
    def client(self, room: str = "tea", user: str = "ada") -> Iterator[ClientConnection]:
        url = f"{self.server.url}/room/{quote(room, safe='')}?user={quote(user)}"
        with connect(url, proxy=None, max_queue=None) as client:
            yield client


@contextmanager
def serving(folder: Path, *more_flags: str, **env: str) -> Iterator[Served]:
    (folder / "board_app.py").write_text(APP)
    port, admin = free_port(), free_port()
    flags = ["--port", str(port), "--workers", "2", "--drain-s", "3", *more_flags]
    command = [sys.executable, "-m", "server", "serve", "board_app:app", *flags]
    more = {**environment(), "SWITCHBOARD_ADMIN_PORT": str(admin), **env}
    with running(command, port, env=more, cwd=folder) as server:
        served = Served(server, admin)
        wait_until(lambda: served.status()["ready"] == 2, 20, message="both workers serve")
        yield served


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("b")) as served:
        yield served


def rows(page: Page, table: str) -> Locator:
    return page.locator(f"#{table} tbody tr:not(.none)")


def ended(client: ClientConnection) -> tuple[int, str]:
    """Return the code and the reason that a client's connection ends with."""
    with pytest.raises(ConnectionClosed) as caught:
        client.recv(timeout=10)
    assert caught.value.rcvd is not None
    return caught.value.rcvd.code, caught.value.rcvd.reason


# -- showing -----------------------------------------------------------------------------------


def test_rows_come_and_go_with_clients(served: Served, page: Page) -> None:
    page.goto(served.board)
    expect(page.locator("#fresh")).to_have_text("live")
    expect(rows(page, "workers")).to_have_count(2)
    with ExitStack() as stack:
        for number in range(6):
            stack.enter_context(served.client("roses", f"u{number}"))
        expect(rows(page, "connections")).to_have_count(6)
        # The newest is first.
        expect(rows(page, "connections").first).to_contain_text("u5")
        expect(rows(page, "rooms").filter(has_text="roses").locator("td").nth(1)).to_have_text("6")
        expect(rows(page, "routes").first.locator("td").nth(1)).to_have_text("6")
    expect(rows(page, "connections")).to_have_count(0)
    expect(rows(page, "closes").filter(has_text="1000")).to_have_count(1)


def test_what_clients_send_is_text(served: Served, page: Page) -> None:
    page.goto(served.board)
    with served.client(TAG, SCRIPT):
        row = rows(page, "connections")
        expect(row).to_have_count(1)
        assert row.locator("td").nth(1).text_content() == SCRIPT
        assert TAG in (row.locator("td").nth(3).text_content() or "")
        expect(rows(page, "rooms").filter(has_text=TAG)).to_have_count(1)
        page.get_by_role("button", name="Disconnect").click()
        expect(page.get_by_role("dialog")).to_contain_text(SCRIPT)
    assert page.locator("main script").count() == 0
    assert "board_app" in page.title()


def test_a_killed_worker_shows(served: Served, page: Page) -> None:
    page.goto(served.board)
    expect(rows(page, "workers")).to_have_count(2)
    victim = served.status()["workers"][0]["pid"]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not is_alive(victim))
    expect(rows(page, "workers").filter(has_text=str(victim))).to_have_count(0)
    expect(rows(page, "workers").filter(has_text="ready")).to_have_count(2)
    restarts = rows(page, "workers").first.locator("td").nth(7)
    expect(restarts).to_have_text("1")
    wait_until(lambda: served.status()["ready"] == 2)


def test_old_data_are_told_from_new(served: Served, watched: Watched) -> None:
    page = watched.page
    watched.expected = ["ERR_"]
    page.goto(served.board)
    expect(page.locator("#fresh")).to_have_text("live")
    supervisor = served.status()["pid"]
    os.kill(supervisor, signal.SIGSTOP)
    try:
        expect(page.locator("#fresh")).to_have_text("old data", timeout=10_000)
    finally:
        os.kill(supervisor, signal.SIGCONT)
    expect(page.locator("#fresh")).to_have_text("live", timeout=10_000)


# -- acting ------------------------------------------------------------------------------------


def test_a_connection_is_found_and_disconnected(served: Served, page: Page) -> None:
    page.goto(served.board)
    with served.client(user="ada"), served.client(user="Grace") as client:
        page.get_by_label("Search").fill("grace")
        expect(rows(page, "connections")).to_have_count(1)
        expect(page.locator("#connections-count")).to_have_text("1 of 2 found")
        page.get_by_role("button", name="Disconnect").click()
        page.get_by_label("Close code", exact=True).fill("4503")
        page.get_by_label("Reason").fill("signed out")
        page.locator("#ask-yes").click()
        assert ended(client) == (4503, "signed out")
        expect(page.locator("#notice")).to_contain_text("was asked to close with 4503")
        expect(rows(page, "connections")).to_have_count(0)
        page.get_by_label("Search").fill("")
        expect(rows(page, "connections")).to_have_count(1)


def test_what_is_refused_is_said(served: Served, watched: Watched) -> None:
    page = watched.page
    watched.expected = ["status of 4"]
    page.goto(served.board)
    with served.client():
        page.get_by_role("button", name="Disconnect").click()
        page.get_by_label("Close code", exact=True).fill("1006")
        page.locator("#ask-yes").click()
        expect(page.locator("#ask-problem")).to_contain_text("close code 1006 may not be sent")
        page.keyboard.press("Escape")
        page.get_by_label("Where").select_option("worker")
        page.get_by_label("Search").fill("7")
        expect(page.locator("#search-problem")).to_have_text(
            "search: there is no worker '7': 0 to 1"
        )


def test_a_key_is_asked_for_and_the_drain_shows_until_the_end(
    tmp_path: Path, watched: Watched
) -> None:
    page = watched.page
    watched.expected = ["status of 401", "ERR_"]
    with serving(tmp_path, SWITCHBOARD_ADMIN_KEY=KEY) as served, ExitStack() as stack:
        clients = [stack.enter_context(served.client()) for _ in range(3)]
        page.goto(served.board)
        expect(rows(page, "connections")).to_have_count(3)
        for key, problem in (("wrong-0123456789", "needs the key"), (KEY, "missing or wrong")):
            page.get_by_role("button", name="Drain").click()
            expect(page.get_by_role("dialog")).to_contain_text("closes the 3 connections")
            page.locator("#ask-yes").click()
            expect(page.locator("#key-problem")).to_contain_text(problem)
            page.get_by_label("Key of the admin port").fill(key)
            page.get_by_role("button", name="Use it").click()
        assert served.status()["state"] == "serving"
        page.get_by_role("button", name="Drain").click()
        page.get_by_role("button", name=re.compile("Close 3 connections")).click()
        expect(page.locator("#draining")).to_be_visible()
        assert {ended(client)[0] for client in clients} == {1001}
        expect(page.locator("#fresh")).to_have_text("the server is gone", timeout=15_000)
        expect(page.locator("#draining-text")).to_contain_text("The server has ended")
        assert served.server.process.wait(10) == 0


def test_from_a_network_nothing_is_shown_without_the_key(tmp_path: Path, watched: Watched) -> None:
    page = watched.page
    watched.expected = ["status of 401"]
    flags = ("--admin-host", "0.0.0.0")  # noqa: S104 - that is what it is about
    with serving(tmp_path, *flags, SWITCHBOARD_ADMIN_KEY=KEY) as served:
        page.goto(served.board)
        expect(page.locator("#fresh")).to_have_text("needs the key")
        expect(rows(page, "workers")).to_have_count(0)
        for key, problem in (("wrong-0123456789", "missing or wrong"), ("schlüssel", "ASCII")):
            page.get_by_label("Key of the admin port").fill(key)
            page.get_by_role("button", name="Use it").click()
            expect(page.locator("#key-problem")).to_contain_text(problem)
        page.get_by_label("Key of the admin port").fill(KEY)
        page.get_by_role("button", name="Use it").click()
        expect(page.locator("#fresh")).to_have_text("live")
        expect(rows(page, "workers")).to_have_count(2)
        expect(page.locator("#key-form")).to_be_hidden()


# -- for everybody -----------------------------------------------------------------------------


def test_all_is_reached_by_keyboard(served: Served, page: Page) -> None:
    page.goto(served.board)
    with served.client():
        expect(rows(page, "connections")).to_have_count(1)
        reached: list[str] = []
        for _ in range(20):
            page.keyboard.press("Tab")
            name = "e => e.id || e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')"
            reached.append(str(page.evaluate(f"() => ({name})(document.activeElement)")))
            if reached[-1].startswith("Disconnect"):
                break
        for wanted in ("drain", "workers-title", "field", "search", "connections-title"):
            assert wanted in reached, reached
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        expect(page.locator("#ask-no")).to_be_focused()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [None, PHONE], ids=["desktop", "phone"])
def test_it_is_accessible_and_fits(
    served: Served, browser: Browser, scheme: str, viewport: dict[str, int] | None
) -> None:
    options = {"color_scheme": scheme, **({"viewport": viewport} if viewport else {})}
    with opened(browser, **options) as watched, served.client():
        page = watched.page
        page.goto(served.board)
        expect(rows(page, "connections")).to_have_count(1)
        assert violations(page) == []
        assert not is_wider_than_window(page)
        page.get_by_role("button", name="Disconnect").click()
        assert violations(page) == []
        assert watched.problems == []


def test_the_picture_of_the_docs(served: Served, page: Page, tmp_path: Path) -> None:
    """It can be drawn; into the tree only when asked for (`SWITCHBOARD_SCREENSHOTS=1`)."""
    image = IMAGE if "SWITCHBOARD_SCREENSHOTS" in os.environ else tmp_path / IMAGE.name
    users = ["ada", "ben", "grace", "linus", "margaret", "edsger", "barbara", "alan"]
    with ExitStack() as stack:
        clients = [
            stack.enter_context(served.client(("tea", "chess", "news")[number % 3], user))
            for number, user in enumerate(users * 2)
        ]
        page.goto(served.board)
        for _ in range(5):
            for client in clients:
                client.send("hello")
            page.wait_for_timeout(800)
        expect(rows(page, "connections")).to_have_count(len(clients))
        page.screenshot(path=image, full_page=False)
    assert image.stat().st_size > 10_000
