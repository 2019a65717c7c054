"""Owns the proof that two sets of books are compared count by count."""

from loadtest import books
from tests.loadtest import runs


def test_books_that_agree():
    """All counts that both sides keep are there, and equal."""
    totals = runs.totals(closed={"1000": 490, "1011": 10}, refused={"503": 3})
    entries = books.compare(runs.run(of=totals))

    assert [str(entry) for entry in entries] == [
        "connections opened: clients 500, server 500",
        "handshakes refused with 503: clients 3, server 3",
        "connections closed with 1000: clients 490, server 490",
        "connections closed with 1011: clients 10, server 10",
        "messages to the server: clients 10,000, server 10,000",
        "messages from the server: clients 30,000, server 30,000",
    ]
    assert all(entry.difference == 0 for entry in entries)


def test_a_code_that_only_one_side_knows():
    """It is a difference on that side."""
    totals = runs.totals(closed={"1000": 499, "1006": 1})
    deltas = runs.deltas(runs.totals(closed={"1000": 499, "1011": 1}))
    entries = books.compare(runs.run(of=totals, server_deltas=deltas))

    wrong = {entry.what: entry.difference for entry in entries if entry.difference}
    assert wrong == {
        "connections closed with 1005 or 1006": -1,
        "connections closed with 1011": 1,
    }


def test_lost_connections():
    """A connection without a close frame is 1006 here, and may be 1005 to the server's host."""
    totals = runs.totals(closed={"1000": 490, "1006": 10})
    deltas = runs.deltas(runs.totals(closed={"1000": 490, "1005": 7, "1006": 3}))
    entries = books.compare(runs.run(of=totals, server_deltas=deltas))

    assert "connections closed with 1005 or 1006: clients 10, server 10" in map(str, entries)
    assert all(entry.difference == 0 for entry in entries)


def test_codes_that_the_server_puts_together():
    """What the server has no row for is compared as `other`."""
    totals = runs.totals(closed={"1000": 495, "4321": 2, "4322": 3})
    deltas = runs.deltas(runs.totals(closed={"1000": 495, "other": 5}))
    entries = books.compare(runs.run(of=totals, server_deltas=deltas))

    assert all(entry.difference == 0 for entry in entries)


def test_series_of_all_routes_are_added():
    """Routes and initiators do not matter; other metrics with the same beginning do."""
    deltas = {
        'ws_connections_opened_total{route="/a"}': 2.0,
        'ws_connections_opened_total{route="/b"}': 3.0,
        'ws_connections_opened_total_more{route="/b"}': 100.0,
        'ws_connections_closed_total{code="1000",initiator="client",route="/a"}': 1.0,
        'ws_connections_closed_total{code="1000",initiator="server",route="/b"}': 1.0,
        'ws_connections_closed_total{code="1001",initiator="server",route="/b"}': 0.0,
    }
    assert books.sum_of(deltas, "ws_connections_opened_total") == 5
    assert books.by_label(deltas, "ws_connections_closed_total", "code") == {"1000": 2}
