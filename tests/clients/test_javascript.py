"""switchboard.js under Node against real servers: it comes back, and misses nothing."""

import os
import signal
from collections import Counter

import pytest

from tests.browser.support import workers_of
from tests.clients.codes import reconnects
from tests.clients.support import KEY, script, served
from tests.support.processes import wait_until
from tests.support.servers import Server, free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

CLIENTS = 2000
BIN_MS = 100
MOST_IN_A_BIN = 0.25  # of all; spread evenly over the first second it is 0.1


def test_a_killed_worker_costs_no_message() -> None:
    """Each of the two clients loses its worker, and what was confirmed is heard, once, in order."""
    with served() as server, script("recovery", f"{server.url}/realtime", "r", 200) as node:
        victims = workers_of(server)
        heard = None
        while heard is None:
            event = node.next()
            if event["event"] == "said" and event["number"] in (40, 80, 120) and victims:
                os.kill(victims.pop(), signal.SIGKILL)
            if event["event"] == "heard":
                heard = event
    joins = [event for event in node.events if event["event"] == "joined"]
    assert not joins[0]["returning"]
    assert len(joins) >= 2
    assert all(event["returning"] and event["recovered"] for event in joins[1:])
    assert heard["offsets"] == list(range(1, len(heard["offsets"]) + 1))
    # One whose answer was lost was said again, and may have been published before.
    assert list(dict.fromkeys(heard["heard"])) == list(range(200))
    assert len(heard["heard"]) <= 203
    assert all(event["retry"] for event in node.events if event["event"] == "failed")


def test_each_close_code_is_obeyed(server: Server) -> None:
    expected = reconnects()
    with script("codes", f"{server.url}/close", *expected) as node:
        found = {event["code"]: event for event in (node.next() for _ in expected)}
    assert {code: event["comesBack"] for code, event in found.items()} == expected
    for code, event in found.items():
        closed = None if expected[code] else {"code": code, "reason": f"as asked: {code}"}
        assert event["closed"] == closed


def test_it_waits_longer_each_time_up_to_a_limit() -> None:
    with script("backoff", f"ws://127.0.0.1:{free_port()}/realtime") as node:
        longest, shortest = node.next(), node.next()
    assert longest["found"] == [10, 20, 40, 80, 80, 80]
    assert shortest["found"] == [0] * 6
    assert longest["refused"] == ["not_connected", True]
    assert (longest["joining"], longest["afterwards"]) == ("closed", "closed")


def test_a_request_waits_for_the_connection_that_is_being_made(server: Server) -> None:
    nobody = f"ws://127.0.0.1:{free_port()}/realtime"
    with script("early", f"{server.url}/realtime", nobody) as node:
        there, nowhere, closed = node.next(), node.next(), node.next()
    assert there["answers"] == [1, 2, 3]
    assert nowhere["answers"] == ["not_connected"] * 3
    assert closed["answers"] == ["closed"]


def test_tokens_are_renewed_and_bad_ones_final(server: Server) -> None:
    with script("tokens", f"{server.url}/tokens", KEY, 3) as node:
        kept, back, refused = node.next(), node.next(), node.next()
    assert kept["states"] == ["connecting", "open"]  # it outlived two tokens
    assert kept["given"] >= 3
    assert kept["user"] == "ada"
    assert back["seen"][:2] == ["connecting", "open"]
    assert "waiting" in back["seen"]
    assert back["seen"][-1] == "open"
    assert back["failures"] == ["no token now"]
    assert (refused["code"], refused["state"]) == ("unauthorized", "closed")


def test_a_server_that_stands_still_is_left() -> None:
    with served() as server, script("frozen", f"{server.url}/quick") as node:
        node.until("joined")
        stopped = workers_of(server)
        busy = [pid for pid in stopped if _connections(server, pid)]
        assert len(busy) == 1
        os.kill(busy[0], signal.SIGSTOP)
        try:
            node.order()
            node.until("back", 40)
        finally:
            os.kill(busy[0], signal.SIGCONT)
    reasons = [event["reason"] for event in node.events if event["event"] == "state"]
    assert "the server does not answer" in reasons


def _connections(server: Server, pid: int) -> int:
    """Return how many connections of clients a process has."""
    ends = {f"0100007F:{server.port:04X}"}
    inodes = set()
    with open("/proc/net/tcp") as table:
        for line in table.readlines()[1:]:
            columns = line.split()
            if columns[1] in ends and columns[3] == "01":
                inodes.add(f"socket:[{columns[9]}]")
    links = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            links.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except OSError:
            continue
    return sum(link in inodes for link in links)


def _share(attempts: list[int]) -> float:
    """Return which share of all came in the fullest bin."""
    bins = Counter(at // BIN_MS for at in attempts)
    return max(bins.values()) / len(attempts)


@pytest.mark.parametrize("jitter", ["yes", "no"])
def test_a_storm_does_not_synchronise(jitter: str) -> None:
    """2,000 lose their server at once; without chance in their waits they would come at once."""
    flags = ["--admission.connections-per-ip", str(2 * CLIENTS), "--backlog", "4096"]
    port = free_port()
    count = CLIENTS if jitter == "yes" else CLIENTS // 4
    with (
        served(*flags, port=port, workers=2) as server,
        script("storm", f"ws://127.0.0.1:{port}/realtime", count, jitter) as node,
    ):
        node.until("up", 60)
        for pid in workers_of(server):
            os.kill(pid, signal.SIGKILL)
        node.order()
        told = node.until("back", 60)
        wait_until(lambda: len(workers_of(server)) == 2, 20)
    assert (told["lost"], told["open"]) == (count, count)
    first = told["attempts"][:count]
    if jitter == "yes":
        assert _share(first) < MOST_IN_A_BIN
    else:
        assert _share(first) > MOST_IN_A_BIN
