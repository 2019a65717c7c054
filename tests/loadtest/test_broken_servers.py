"""What is wrong with a server is seen in the totals as such, each fault as what it is."""

import json
import urllib.request
from pathlib import Path

import pytest

from loadtest.results import Totals
from tests.loadtest.running import Outcome, run
from tests.support.servers import uvicorn

pytestmark = pytest.mark.e2e

FLEET = ["-u", "20", "-r", "20", "-t", "5s", "--settle-timeout", "1"]


def broken(fault: str, scenario: str, folder: Path, *arguments: str) -> tuple[int, Outcome]:
    """Run against a server with a fault; returns also how often it was met."""
    with uvicorn("tests.loadtest.broken_app:app", env={"FAULT": fault}) as server:
        outcome = run(server.url, scenario, folder, *FLEET, *arguments)
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/faults", timeout=10) as answer:
            done = json.load(answer)["done"]
    assert done > 0
    assert outcome.run.is_complete, outcome.output
    return done, outcome


def gaps(totals: Totals) -> int:
    return totals.expected - totals.delivered


def flaws(totals: Totals) -> tuple[int, int, int, dict[str, int]]:
    return gaps(totals), totals.duplicated, totals.reordered, totals.failures


def test_an_answer_that_does_not_come_is_missing(tmp_path: Path) -> None:
    """A client with one message under way goes on after the timeout, which is a failure too."""
    done, outcome = broken("drop 300", "echo", tmp_path, "--answer-timeout", "0.5")
    late = outcome.run.totals.failures.pop("no answer in time")
    assert flaws(outcome.run.totals) == (done, 0, 0, {})
    assert 0 < late <= done
    assert outcome.code == 1
    assert f"{done}" in outcome.output.split("Error report")[1]


def test_a_message_that_a_member_does_not_get_is_missing(tmp_path: Path) -> None:
    """Also the last one of a run. All are in when the first is dropped, so each was due."""
    arguments = ["-t", "7s", "--interval", "0.3", "--room-size", "10"]
    done, outcome = broken("drop 100 2", "room", tmp_path, *arguments)
    assert flaws(outcome.run.totals) == (done, 0, 0, {})
    assert outcome.code == 1


def test_a_broadcast_that_a_listener_does_not_get_is_missing(tmp_path: Path) -> None:
    """Listeners are in other processes than the publisher."""
    arguments = ["-t", "4s", "--rate", "20", "--processes", "2"]
    done, outcome = broken("drop 50 2", "broadcast", tmp_path, *arguments)
    assert flaws(outcome.run.totals) == (done, 0, 0, {})


def test_what_comes_twice_is_a_duplicate(tmp_path: Path) -> None:
    done, outcome = broken("twice 100", "broadcast", tmp_path, "--rate", "20")
    assert flaws(outcome.run.totals) == (0, done, 0, {})
    assert outcome.code == 1


def test_what_comes_after_a_later_one_is_reordered(tmp_path: Path) -> None:
    """It is delivered all the same."""
    done, outcome = broken("swap 50", "echo", tmp_path, "--rate", "50")
    totals = outcome.run.totals
    # The last answer of a connection may be one that waits for the next.
    assert (totals.duplicated, totals.failures) == (0, {})
    assert done - 20 <= totals.reordered <= done
    assert gaps(totals) == done - totals.reordered


def test_a_slow_answer_shows_in_the_percentiles(tmp_path: Path) -> None:
    """200 ms more for 2 % of the answers."""
    _, outcome = broken("delay 50", "echo", tmp_path, "--rate", "20")
    rtt = outcome.run.totals.rtt
    assert rtt.p50_ms < 100 < 199 <= rtt.p99_ms
    assert flaws(outcome.run.totals) == (0, 0, 0, {})


def test_connections_that_the_server_closes_are_counted_by_code(tmp_path: Path) -> None:
    """Their users come back, and what was under way is no gap."""
    done, outcome = broken("close 500", "echo", tmp_path)
    totals = outcome.run.totals
    assert totals.closed["1011"] == done
    assert sum(totals.closed.values()) == totals.opened >= done
    assert set(totals.closed) <= {"1000", "1011"}
    assert flaws(totals) == (0, 0, 0, {"closed with 1011": done})


def test_a_gap_in_a_room_with_offsets_is_missing(tmp_path: Path) -> None:
    """Offsets tell, also if it was the last message before a storm."""
    arguments = ["--interval", "0.3", "--room-size", "10", "--storm-every", "1.5"]
    done, outcome = broken("drop 100", "storm", tmp_path, *arguments)
    totals = outcome.run.totals
    assert totals.failures == {}
    assert 0 < gaps(totals) <= done
    assert totals.recovered > 0
