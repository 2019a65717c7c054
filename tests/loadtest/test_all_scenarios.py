"""Against a server that is well every scenario is a success, and both sides counted the same."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from loadtest.results import Totals
from loadtest.scenarios import SCENARIOS
from tests.loadtest.running import SECRET, Outcome, run

pytestmark = pytest.mark.e2e

USERS = "30"
MORE = {
    "echo": "-t 6s --rate 50",
    "idle": "-t 6s --interval 1",
    "room": "-t 6s --interval 0.5 --room-size 10",
    "broadcast": "-t 6s --rate 20",
    "churn": "-t 6s",
    "storm": "-t 7s --interval 0.5 --room-size 10 --storm-every 1",
    # More than their buffers hold, before they read again.
    "slow": "-t 7s --room-size 6 --rate 50 --payload-bytes 65000 --stall-seconds 1.5",
    "auth": "-t 6s --interval 0.2 --bad-share 0.3",
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_is_a_success_and_the_books_agree(name: str, request: Any, tmp_path: Path) -> None:
    """Two processes of the generator, two workers of the server."""
    scenario = SCENARIOS[name]
    server = request.getfixturevalue("protected" if name == "auth" else "showcase")
    (route,) = scenario.routes
    before = server.counts(route)
    flags = ["-u", USERS, "-r", USERS, "--processes", "2", *MORE[name].split()]
    outcome = run(server.url, name, tmp_path, *flags, env={"LOADTEST_JWT_SECRET": SECRET})
    totals = outcome.run.totals
    check_success(name, outcome)
    after = server.settled(route, before["ws_connections_opened"] + totals.opened)
    assert theirs(after - before, name) == ours(outcome, name)


def check_success(name: str, outcome: Outcome) -> None:
    """Assert what `Scenario` says."""
    scenario, run, totals = SCENARIOS[name], outcome.run, outcome.run.totals
    assert totals.failures == {}, outcome.output
    assert (outcome.code, run.is_complete, run.notes) == (0, True, ()), outcome.output
    assert totals.opened == sum(totals.closed.values()), outcome.output
    assert totals.opened + sum(totals.refused.values()) >= int(USERS), outcome.output
    assert set(totals.closed) <= scenario.close_codes
    assert set(totals.refused) <= scenario.refusals
    assert totals.expected == totals.delivered > 0
    assert (totals.duplicated, totals.reordered, totals.not_recovered) == (0, 0, 0)
    assert totals.connect.count == totals.opened
    assert 0 < totals.rtt.p50_ms <= totals.rtt.p99_ms <= totals.rtt.max_ms < 5000
    assert sum(sample.sent_per_s for sample in run.samples) > 0
    check_more(name, totals)


def check_more(name: str, totals: Totals) -> None:
    """Assert that what the scenario is about has happened."""
    if name in ("room", "broadcast", "storm", "slow"):
        assert totals.delivery.count > 0
    if name == "storm":
        assert totals.closed["1006"] > 0
        assert totals.recovered == totals.closed["1006"] == totals.reconnect.count
    if name == "slow":
        assert totals.closed["1013"] > 0
    if name == "auth":
        assert totals.refused["401"] > 0


COMPARED = (
    "ws_connections_opened",
    "ws_connections_closed",
    "ws_handshakes_rejected",
    "ws_messages_received",
    "ws_messages_sent",
)


def theirs(deltas: Counter[str], name: str) -> Counter[str]:
    """Return what the server counted."""
    counts = Counter({key: n for key, n in deltas.items() if key.split()[0] in COMPARED})
    return adjusted(counts, name)


def ours(outcome: Outcome, name: str) -> Counter[str]:
    """Return what the clients counted."""
    return adjusted(outcome.books(), name)


def adjusted(counts: Counter[str], name: str) -> Counter[str]:
    """Leave out what cannot be compared in a storm: see `loadtest.books`."""
    if name == "storm":
        gone = "ws_connections_closed gone"
        for code in ("1005", "1006"):
            counts[gone] += counts.pop(f"ws_connections_closed {code}", 0)
        del counts["ws_messages_sent"]
    return +counts
