"""Owns the comparison of what the clients counted with what the server counted; judges nothing."""

import re
from collections import Counter

import msgspec

from loadtest.results import Run
from loadtest.scenarios import SCENARIOS
from loadtest.words import count

_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Entry(msgspec.Struct, frozen=True):
    """One count that both sides keep."""

    what: str
    clients: int
    server: int

    @property
    def difference(self) -> int:
        """How many more the server has counted."""
        return self.server - self.clients

    def __str__(self) -> str:
        return f"{self.what}: clients {count(self.clients)}, server {count(self.server)}"


def compare(run: Run) -> list[Entry]:
    """Put the counts of a run side by side: connections, refusals, close codes, messages.

    Not messages to clients that vanish in between (`Scenario.is_all_read`).
    """
    totals, deltas = run.totals, run.server_deltas
    opened = sum_of(deltas, "ws_connections_opened_total")
    received = sum_of(deltas, "ws_messages_received_total")
    sent = sum_of(deltas, "ws_messages_sent_total")
    refused = by_label(deltas, "ws_handshakes_rejected_total", "status")
    closed = by_label(deltas, "ws_connections_closed_total", "code")
    entries = [
        Entry("connections opened", totals.opened, opened),
        *_each("handshakes refused with", totals.refused, refused),
        *_each("connections closed with", _lost(totals.closed), _lost(closed)),
        Entry("messages to the server", totals.sent, received),
    ]
    scenario = SCENARIOS.get(run.scenario)
    if scenario is None or scenario.is_all_read:
        entries.append(Entry("messages from the server", totals.received, sent))
    return entries


def _lost(closed: dict[str, int]) -> dict[str, int]:
    """Put 1005 and 1006 together: granian, the server's host, cannot tell them apart."""
    folded: Counter[str] = Counter()
    for code, amount in closed.items():
        folded["1005 or 1006" if code in ("1005", "1006") else code] += amount
    return dict(folded)


def _each(what: str, ours: dict[str, int], theirs: dict[str, int]) -> list[Entry]:
    # The server puts what it has no row for under `other`, and we do not know what that is.
    folded: Counter[str] = Counter()
    for name, amount in ours.items():
        folded[name if name in theirs or "other" not in theirs else "other"] += amount
    names = sorted({*folded, *theirs})
    return [Entry(f"{what} {name}", folded[name], theirs.get(name, 0)) for name in names]


def sum_of(deltas: dict[str, float], metric: str) -> int:
    """Add up all series of a metric."""
    return round(sum(delta for series, delta in deltas.items() if _is_of(series, metric)))


def by_label(deltas: dict[str, float], metric: str, label: str) -> dict[str, int]:
    """Add up the series of a metric for each value of a label, without those that are 0."""
    amounts: Counter[str] = Counter()
    for series, delta in deltas.items():
        if delta and _is_of(series, metric):
            amounts[dict(_LABEL.findall(series))[label]] += round(delta)
    return dict(amounts)


def _is_of(series: str, metric: str) -> bool:
    return series.partition("{")[0] == metric
