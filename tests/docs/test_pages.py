"""Owns the proof that the reading and comparing of pages overlooks nothing."""

import pytest

from tests.docs.pages import read_page, slug
from tests.docs.running import assert_shown

TEXT = """\
# A `title`, with more

See [there](other.md#part), not `[here](code.md)`, and a [long
one](far.md).

<!-- test: file x.py -->
<!-- test: raises ValueError -->
```python
# [no](link.md)
```

```text
shown
```
"""


def test_page():
    """Blocks come with their marks and order, headings and links without those in code."""
    page = read_page("page.md", TEXT)
    code, shown = page.blocks

    assert page.problems == ()
    assert page.headings == ("A `title`, with more",)
    assert page.links == ((3, "other.md#part"), (4, "far.md"))
    assert (code.language, code.line, code.text) == ("python", 8, "# [no](link.md)\n")
    assert code.marks == {"file": "x.py", "raises": "ValueError"}
    assert page.output_of(code) is shown


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- item\n\n  ```python\n  x\n  ```\n", "page.md:3: a fence"),
        ("~~~python\nx\n~~~\n", "page.md:1: a fence"),
        ("text\n\n    code\n", "page.md:3: code is fenced"),
        ("<!-- test: alone -->\ntext\n", "page.md:2: a test comment"),
    ],
)
def test_problems(text: str, problem: str):
    """What would pass by unread is a problem of the page."""
    page = read_page("page.md", text)
    assert any(found.startswith(problem) for found in page.problems)


def test_picture_is_no_output():
    """A block marked so shows nothing that was printed."""
    text = "```sh\nx\n```\n<!-- test: picture -->\n```text\ny\n```\n"
    page = read_page("page.md", text)
    assert page.output_of(page.blocks[0]) is None


def test_assert_shown():
    """Three dots stand for any text, everything else for itself."""
    block = read_page("page.md", "```text\na ... z.\n```\n").blocks[0]

    assert_shown(block, "a to\nthe z.\n")
    with pytest.raises(AssertionError, match=r"page\.md:1 shows"):
        assert_shown(block, "a to z!")


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Sending: text, JSON", "sending-text-json"),
        ("`caught_close_codes`", "caught_close_codes"),
        ("What is not there yet?", "what-is-not-there-yet"),
    ],
)
def test_slug(heading: str, anchor: str):
    """Anchors are those that GitHub makes."""
    assert slug(heading) == anchor
