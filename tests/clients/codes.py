"""Owns the table of close codes of docs/protocol.md, as the tests of both clients use it."""

import re

from tests.support.servers import ROOT

_ROW = re.compile(r"^\| (\d{4}) \| (yes|no) \|", re.MULTILINE)


def reconnects() -> dict[int, bool]:
    """Return for each code of the protocol whether a client comes back after it."""
    page = (ROOT / "docs" / "protocol.md").read_text()
    found = {int(code): answer == "yes" for code, answer in _ROW.findall(page)}
    assert len(found) >= 15, "the table of close codes in docs/protocol.md is not found"
    return found
