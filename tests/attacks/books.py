"""Owns what a server's admin port says of connections, and how that has changed since."""

import re
import urllib.request
from collections import Counter
from dataclasses import dataclass, field

TIMEOUT_S = 10.0

_SAMPLE = re.compile(r"^(ws_\w+)\{(.*)\} (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Pair = tuple[str, str]
"""A route, and a status or a limit."""


@dataclass
class Books:
    """Counts by route; and how many files all workers have open.

    Attributes:
        closed: by route, code and initiator.
    """

    opened: Counter[str] = field(default_factory=Counter)
    open: Counter[str] = field(default_factory=Counter)
    closed: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    refused: Counter[Pair] = field(default_factory=Counter)
    limited: Counter[Pair] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    files: int = 0

    def unbalanced(self) -> dict[str, tuple[int, int, int]]:
        """Return opened, open and closed of the routes where the first is not the sum."""
        closed: Counter[str] = Counter()
        for (route, _, _), count in self.closed.items():
            closed[route] += count
        sums = {
            route: (self.opened[route], self.open[route], closed[route])
            for route in {*self.opened, *self.open, *closed}
        }
        return {route: it for route, it in sums.items() if it[0] != it[1] + it[2]}

    def since(self, before: "Books") -> "Books":
        """Return what was counted after `before`; what is open, and files, as they are now."""
        return Books(
            opened=self.opened - before.opened,
            open=self.open,
            closed=self.closed - before.closed,
            refused=self.refused - before.refused,
            limited=self.limited - before.limited,
            errors=self.errors - before.errors,
            files=self.files,
        )


def read_books(admin_port: int) -> Books:
    """Ask the admin port."""
    url = f"http://127.0.0.1:{admin_port}/metrics"
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
        text = response.read().decode()
    books = Books()
    for name, labels, value in _SAMPLE.findall(text):
        _enter(books, name, dict(_LABEL.findall(labels)), int(float(value)))
    return books


def _enter(books: Books, name: str, labels: dict[str, str], value: int) -> None:
    match name:
        case "ws_connections":
            books.open[labels["route"]] += value
        case "ws_connections_opened_total":
            books.opened[labels["route"]] += value
        case "ws_connections_closed_total":
            books.closed[labels["route"], labels["code"], labels["initiator"]] += value
        case "ws_handshakes_rejected_total":
            books.refused[labels["route"], labels["status"]] += value
        case "ws_limited_total":
            books.limited[labels["route"], labels["limit"]] += value
        case "ws_handler_errors_total":
            books.errors[labels["route"]] += value
        case "ws_worker_open_files":
            books.files += value
