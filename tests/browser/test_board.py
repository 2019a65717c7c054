"""The live board in a real browser: it changes with the server, and an operator can act."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, expect
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.browser.conftest import NewPage
from tests.browser.support import accessibility_faults, visited, workers_of
from tests.support.processes import wait_until
from tests.support.servers import Server, free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

Picture = Callable[[Page, str], None]
KEY = "k-0123456789abcdef"
EVIL = "<img src=x onerror=alert(1)>"


class Served:
    """A server and its board."""

    def __init__(self, server: Server, admin_port: int) -> None:
        self.server = server
        self.board = f"http://127.0.0.1:{admin_port}/board"

    @contextmanager
    def join(self, name: str, room: str = "chat:tea") -> Iterator[ClientConnection]:
        """Connect as somebody, and be in a room."""
        url = f"{self.server.url}/realtime"
        with connect(url, subprotocols=[Subprotocol("switchboard.v1")], open_timeout=10) as ws:
            ws.send(json.dumps({"type": "connect", "id": 1, "data": {"name": name}}))
            ws.send(json.dumps({"type": "join", "id": 2, "room": room}))
            while json.loads(ws.recv(timeout=10))["type"] != "joined":
                pass
            yield ws


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    admin_port = free_port()
    with visited("examples.chat:app", "--admin-port", str(admin_port), workers=2) as server:
        yield Served(server, admin_port)


def drain(ws: ClientConnection) -> None:
    """Read until it ends."""
    while True:
        ws.recv(timeout=10)


def test_it_follows_what_happens(served: Served, new_page: NewPage, picture: Picture) -> None:
    page = new_page(viewport={"width": 1250, "height": 950})
    page.goto(served.board)
    expect(page.get_by_role("status")).to_have_text("ready, 2 of 2 workers")
    with served.join("Ada"), served.join("Ben"), served.join(EVIL[:24], f"chat:{EVIL}"):
        expect(page.locator("#connections tr")).to_have_count(3)
        expect(page.locator("#connections")).to_contain_text(EVIL[:24])
        expect(page.locator("#rooms")).to_contain_text(f"chat:{EVIL}")
        expect(page.locator("#rooms tr").first).to_contain_text("chat:tea")
        assert page.locator("#connections img, #rooms img").count() == 0
        page.get_by_label("Search").fill("ada")
        expect(page.locator("#connections tr")).to_have_count(1)
        page.get_by_label("Search").fill("")
        expect(page.locator("#connections tr")).to_have_count(3)
        picture(page, "board")
    expect(page.locator("#connections")).to_contain_text("none")
    expect(page.locator("#routes tr", has_text="/realtime")).to_contain_text("1000")
    victim = workers_of(served.server)[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in workers_of(served.server))
    expect(page.locator("#workers .warn", has_text="1")).to_be_visible(timeout=15_000)
    expect(page.get_by_role("status")).to_have_text("ready, 2 of 2 workers", timeout=15_000)


def test_a_connection_is_disconnected(served: Served, new_page: NewPage) -> None:
    page = new_page()
    with served.join("Cleo") as cleo, served.join("Dee") as dee:
        page.goto(served.board)
        page.get_by_role("button", name="of Cleo").click()
        expect(page.get_by_role("dialog")).to_contain_text("of Cleo?")
        page.get_by_label("Close code").fill("4503")
        page.get_by_label("Reason").fill("enough")
        page.get_by_role("dialog").get_by_role("button", name="Disconnect").click()
        with pytest.raises(ConnectionClosed) as closed:
            drain(cleo)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4503, "enough")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(page.locator("#connections tr")).to_have_count(1)
        dee.ping().wait(5)


def test_what_is_refused_is_said_where_it_was_asked(served: Served, new_page: NewPage) -> None:
    page = new_page()
    with served.join("Eve"):
        page.goto(served.board)
        page.get_by_role("button", name="of Eve").click()
        page.get_by_label("Close code").fill("2000")
        page.get_by_role("dialog").get_by_role("button", name="Disconnect").click()
        expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("2000")
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.parametrize("look", ["light", "dark"])
def test_axe_finds_nothing(served: Served, new_page: NewPage, look: str) -> None:
    page = new_page(color_scheme=look, viewport={"width": 390, "height": 800})
    with served.join("Fay"):
        page.goto(served.board)
        expect(page.locator("#connections tr")).to_have_count(1)
        assert accessibility_faults(page) == ""
        page.get_by_role("button", name="of Fay").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        assert accessibility_faults(page) == ""
        page.keyboard.press("Escape")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_drain_needs_the_key_and_a_confirmation(
    new_page: NewPage,
) -> None:
    admin_port = free_port()
    page = new_page()
    flags = ["--admin-port", str(admin_port), "--drain-s", "3"]
    env = {"SWITCHBOARD_ADMIN_KEY": KEY}
    with visited("examples.chat:app", *flags, workers=1, env=env) as server:
        served = Served(server, admin_port)
        with served.join("Gus") as gus:
            page.goto(served.board)
            expect(page.locator("#connections tr")).to_have_count(1)
            page.get_by_role("button", name="Drain").click()
            dialog = page.get_by_role("dialog")
            expect(dialog).to_contain_text("closes its 1 connections with 1001")
            page.get_by_label("Admin key").fill("wrong-0123456789")
            dialog.get_by_role("button", name="Drain and stop").click()
            expect(dialog.get_by_role("alert")).to_contain_text("the key is missing or wrong")
            page.get_by_label("Admin key").fill(KEY)
            dialog.get_by_role("button", name="Drain and stop").click()
            with pytest.raises(ConnectionClosed) as closed:
                drain(gus)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
        assert server.process.wait(15) == 0
        expect(page.locator("#stale")).to_contain_text("the server does not answer", timeout=15_000)
