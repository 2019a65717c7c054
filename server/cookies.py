"""Owns the reading of cookies, in time that grows with their size alone.

What comes out is what Starlette's `cookie_parser` makes of them. That uses `http.cookies`, which up
to Python 3.11.9 and 3.12.5 takes quadratic time for a value with escapes (CVE-2024-7592): most of a
second for the 32 KiB that a handshake may have, for whoever sends them.
"""

import re
from collections.abc import Iterable, Iterator

_ESCAPE = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))")


def cookie_pairs(header: str) -> Iterator[tuple[str, str]]:
    """Yield each cookie of a header; one without `=` has no name."""
    for chunk in header.split(";"):
        name, has_name, value = chunk.partition("=")
        if not has_name:
            name, value = "", chunk
        name, value = name.strip(), value.strip()
        if name or value:
            yield name, _unquoted(value)


def read_cookies(headers: Iterable[str]) -> dict[str, str]:
    """Return the cookies of a request; the last one of a name counts."""
    return {name: value for header in headers for name, value in cookie_pairs(header)}


def _unquoted(value: str) -> str:
    if len(value) < 2 or not value.startswith('"') or not value.endswith('"'):
        return value
    return _ESCAPE.sub(_unescaped, value[1:-1])


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 8)) if found[1] else found[2]
