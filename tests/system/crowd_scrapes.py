"""Owns a thread that scrapes a server's admin port without a pause to speak of, and what it saw.

It knows the metrics by their public names alone, and reads them with Prometheus's own parser.
"""

import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

INTERVAL_S = 0.03
TIMEOUT_S = 10.0

Ending = tuple[str, str, str]
"""A route, a code and an initiator, as they are in labels."""


@dataclass
class Scrape:
    """The books at one moment; `begun_s` and `ended_s` are of `time.monotonic()`."""

    begun_s: float
    ended_s: float = 0.0
    opened: Counter[str] = field(default_factory=Counter)
    open: Counter[str] = field(default_factory=Counter)
    closed: Counter[Ending] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    lasted: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def closed_of(self, route: str) -> int:
        """Return how many of a route's connections are closed."""
        return sum(count for (of, _, _), count in self.closed.items() if of == route)

    def crashed(self, route: str) -> int:
        """Return how many of them were lost with their worker."""
        return self.closed[route, "1006", "crash"]

    def unbalanced(self) -> dict[str, tuple[int, int, int]]:
        """Return what does not add up: opened, open and closed by route."""
        sums = {
            route: (self.opened[route], self.open[route], self.closed_of(route))
            for route in {*self.opened, *self.open, *(route for route, _, _ in self.closed)}
        }
        return {route: it for route, it in sums.items() if it[0] != it[1] + it[2]}


class Scraper:
    """Scrapes until told to stop.

    Attributes:
        count: how many scrapes were made.
        latest: the last of them.
        problems: books that did not balance, and scrapes that failed.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scraper")
        self.count = 0
        self.problems: list[object] = []
        self.latest = scrape(url)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            try:
                self._take(scrape(self._url))
            except Exception as problem:  # a thread has nobody to raise it to
                self.problems.append(problem)

    def _take(self, taken: Scrape) -> None:
        if wrong := taken.unbalanced():
            self.problems.append((taken.begun_s, taken.ended_s, wrong))
        self.latest = taken
        self.count += 1


@contextmanager
def scraping(admin_port: int) -> Iterator[Scraper]:
    """Scrape for as long as the context lasts."""
    scraper = Scraper(f"http://127.0.0.1:{admin_port}/metrics")
    scraper.start()
    try:
        yield scraper
    finally:
        scraper.stop()


def scrape(url: str) -> Scrape:
    """Scrape once."""
    taken = Scrape(time.monotonic())
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:  # noqa: S310 - http, ours
        text = response.read().decode()
    taken.ended_s = time.monotonic()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            _enter(taken, sample.name, sample.labels, int(sample.value))
    return taken


def _enter(taken: Scrape, name: str, labels: dict[str, str], value: int) -> None:
    match name:
        case "ws_connections":
            taken.open[labels["route"]] += value
        case "ws_connections_opened_total":
            taken.opened[labels["route"]] += value
        case "ws_connections_closed_total":
            taken.closed[labels["route"], labels["code"], labels["initiator"]] += value
        case "ws_handshakes_rejected_total":
            taken.refused[labels["route"], labels["status"]] += value
        case "ws_connection_duration_seconds_count":
            taken.lasted[labels["route"]] += value
        case "ws_handler_errors_total":
            taken.errors[labels["route"]] += value
