"""Owns the agreement of docs/security.md with the code: the same items, tests that exist."""

import re

from server.hardening import ITEMS
from tests.docs.pages import pages
from tests.support.servers import ROOT

TEXT = (ROOT / "docs" / "security.md").read_text()


def test_page_and_code_have_the_same_items_in_the_same_order():
    """Each is a row of a table in the last section."""
    section = TEXT.partition("\n## Check-list\n")[2]
    assert tuple(re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)) == ITEMS


def test_the_tests_that_it_names_are_there():
    """A threat whose test has gone would pass for covered."""
    named = re.findall(r"`(tests/[\w/]+\.py)`", TEXT)
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_what_stays_your_duty_has_its_heading():
    """Other pages lead there."""
    page = next(page for page in pages() if page.name == "docs/security.md")
    assert "what-stays-your-duty" in page.anchors
