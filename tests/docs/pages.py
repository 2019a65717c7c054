"""Owns the reading of README.md and docs/: pages, fenced blocks, headings, links; runs nothing."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from tests.support.servers import ROOT

LANGUAGES = ("python", "sh", "toml", "text")
_MARK = re.compile(r"<!-- test: (.+?) -->")
_FENCE = re.compile(r"(\s*)(```+|~~~+)(.*)")
_HEADING = re.compile(r"#{1,6} (.+)")
_INLINE_CODE = re.compile(r"`[^`]*`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: the file, relative to the root of the project.
        line: of the opening fence, from 1.
        marks: what comments right above it say (see test_code_blocks), by their first word.
        follows: the block before it on the page.
    """

    page: str
    line: int
    language: str
    text: str
    marks: dict[str, str]
    follows: "Block | None"

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Page:
    """One Markdown file.

    Attributes:
        problems: what the tests cannot read, so that nothing passes by unread.
        links: line and target, without those in code.
    """

    name: str
    blocks: tuple[Block, ...]
    headings: tuple[str, ...]
    links: tuple[tuple[int, str], ...]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        return self.name

    def of(self, *languages: str) -> list[Block]:
        """Return the blocks in those languages."""
        return [block for block in self.blocks if block.language in languages]

    def output_of(self, block: Block) -> Block | None:
        """Return the block that shows what `block` prints, if there is one."""
        texts = (text for text in self.of("text") if "picture" not in text.marks)
        return next((text for text in texts if text.follows is block), None)

    @property
    def anchors(self) -> set[str]:
        """The anchors of its headings, as GitHub makes them."""
        return {slug(heading) for heading in self.headings}


def slug(heading: str) -> str:
    """Return the anchor of a heading: lower case, hyphens for spaces, no punctuation."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@cache
def pages() -> tuple[Page, ...]:
    """Return README.md and every page below docs/."""
    files = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return tuple(read_page(str(file.relative_to(ROOT)), file.read_text()) for file in files)


def read_page(name: str, text: str) -> Page:
    """Read the text of one Markdown file."""
    blocks: list[Block] = []
    headings: list[str] = []
    links: list[tuple[int, str]] = []
    problems: list[str] = []
    marks: dict[str, str] = {}
    lines = enumerate(text.splitlines(), 1)
    previous = ""
    for number, line in lines:
        fence = _FENCE.fullmatch(line)
        if fence is not None:
            indent, fence_text, language = fence.groups()
            if indent or fence_text != "```":
                problems.append(f"{name}:{number}: a fence is ``` at the start of its line")
            code = "".join(_until_fence(lines))
            before = blocks[-1] if blocks else None
            blocks.append(Block(name, number, language.strip(), code, marks, before))
            marks = {}
        elif mark := _MARK.fullmatch(line):
            word, _, rest = mark[1].partition(" ")
            marks[word] = rest
        elif line.strip():
            if marks:
                problems.append(f"{name}:{number}: a test comment stands right above its block")
                marks = {}
            if line.startswith("    ") and not previous:
                problems.append(f"{name}:{number}: code is fenced, not indented")
            if heading := _HEADING.fullmatch(line):
                headings.append(heading[1])
            links += [(number, target) for target in _LINK.findall(_INLINE_CODE.sub("", line))]
        previous = line.strip()
    return Page(name, tuple(blocks), tuple(headings), tuple(links), tuple(problems))


def _until_fence(lines: Iterator[tuple[int, str]]) -> Iterator[str]:
    for _, line in lines:
        if _FENCE.fullmatch(line):
            return
        yield line + "\n"
