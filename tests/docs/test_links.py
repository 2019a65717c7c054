"""Owns the links of README.md and docs/: each leads to a file that is there, and to a heading."""

from pathlib import PurePosixPath

import pytest

from tests.docs.pages import Page, pages
from tests.support.servers import ROOT


@pytest.mark.parametrize("page", pages(), ids=str)
def test_links_lead_somewhere(page: Page):
    """A relative link names a file of the project, and its anchor a heading of that page."""
    by_name = {page.name: page for page in pages()}
    broken = []
    for line, target in page.links:
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / page.name).parent / path if path else ROOT / page.name
        name = str(file.resolve().relative_to(ROOT))
        has_anchor = not anchor or (name in by_name and anchor in by_name[name].anchors)
        if not file.exists() or not has_anchor:
            broken.append(f"{page.name}:{line}: {target}")
    assert broken == []


def test_every_page_is_in_the_index():
    """docs/README.md leads to all other pages."""
    index = next(page for page in pages() if page.name == "docs/README.md")
    linked = {str(PurePosixPath("docs") / target) for _, target in index.links}
    assert {page.name for page in pages()} - linked <= {"README.md", "docs/README.md"}
