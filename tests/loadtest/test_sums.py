"""What processes report is added up to one run: totals, and seconds in their order."""

import json
from typing import Any

from loadtest.results import Sample
from loadtest.sums import Sums, read_report, write_report
from loadtest.tally import CLOSE, CONNECT, DELIVER, RECONNECT, RTT, Report, Slice, Tally

START = 1000.0


def slice_of(second: int, **counted: Any) -> Slice:
    """Count this in a tally, and take it."""
    tally = Tally()
    for name, amount in counted.items():
        setattr(tally, name, amount)
    return tally.take(second)


def report(number: int, *slices: Slice, is_final: bool = False) -> Report:
    return Report(number, list(slices), is_final)


def test_a_report_survives_the_way_to_the_master() -> None:
    """As msgpack or JSON, which make text of numbers that are keys."""
    tally = Tally()
    tally.open()
    tally.close(1000)
    tally.refused["503"] += 2
    tally.expected, tally.delivered = -1, 0
    tally.fail(CONNECT, "/ws/echo", "refused with 503", 2)
    tally.times(RTT, "/ws/echo").add(123_456)
    tally.reach("ports")
    sent = report(3, tally.take(1000, 0.5, 0.25), is_final=True)
    got = read_report(json.loads(json.dumps(write_report(sent))))
    assert got.slices[0].counts == {"opened": 1, "expected": -1}
    sums = Sums(START)
    sums.add("a", got)
    sums.finish()
    totals = sums.totals()
    assert (totals.opened, totals.closed, totals.refused) == (1, {"1000": 1}, {"503": 2})
    assert totals.failures == {"refused with 503": 2}
    assert (totals.rtt.count, totals.rtt.p50_ms, totals.rtt.max_ms) == (1, 0.123456, 0.123456)
    assert sums.generator_limit() == "ports"
    assert (sums.finals, sums.lost_reports) == ({"a"}, 3)


def test_a_tally_that_was_taken_begins_anew_but_for_what_is_open() -> None:
    tally = Tally()
    tally.open()
    tally.sent = 5
    tally.times(RTT, "x").add(7)
    tally.expected = 3
    first, second = tally.take(1), tally.take(2)
    assert first.counts == {"opened": 1, "sent": 5, "expected": 3}
    assert (second.counts, second.times, second.connections) == ({}, [], 1)
    tally.delivered = 1
    assert tally.outstanding == 2


def test_totals_are_those_of_all_processes_and_kinds() -> None:
    sums = Sums(START)
    for source, kind in (
        ("a", CONNECT),
        ("b", RTT),
        ("c", DELIVER),
        ("d", RECONNECT),
        ("e", CLOSE),
    ):
        tally = Tally()
        tally.received = 2
        tally.times(kind, "/one").add(10**6)
        tally.times(kind, "/two").add(3 * 10**6)
        sums.add(source, report(0, tally.take(1000)))
    totals = sums.totals()
    assert totals.received == 10
    latencies = (totals.connect, totals.rtt, totals.delivery, totals.reconnect)
    assert [(latency.count, latency.mean_ms) for latency in latencies] == [(2, 2.0)] * 4


def test_seconds_of_processes_are_put_together_by_time() -> None:
    sums = Sums(START)
    sums.want(1000, 50)
    sums.want(1001, 80)
    sums.add("a", report(0, slice_of(1000, sent=10), slice_of(1001, sent=20, connections=2)))
    sums.advance(1002.0, {"a", "b"})
    assert sums.samples == []  # the other has not said what was
    sums.add("b", report(0, slice_of(1000, sent=1, connections=5)))
    sums.advance(1002.0, {"a", "b"})
    sums.add("b", report(1, slice_of(1001, sent=2, connections=6)))
    sums.advance(1002.0, {"a", "b"})
    seen = [(s.at_s, s.wanted, s.sent_per_s, s.connections) for s in sums.samples]
    assert seen == [(1.0, 50, 11.0, 5), (2.0, 80, 22.0, 8)]


def test_a_process_that_says_nothing_is_not_waited_for_long() -> None:
    """What it says later is added to a later second: nothing is lost."""
    sums = Sums(START)
    sums.add("a", report(0, slice_of(1000, sent=1)))
    sums.advance(1003.9, {"a", "b"})
    assert sums.samples == []
    sums.advance(1004.0, {"a", "b"})
    sums.add("b", report(0, slice_of(1000, sent=5)))
    sums.finish()
    assert [sample.sent_per_s for sample in sums.samples] == [1.0, 5.0]
    assert sums.totals().sent == 6


def test_a_short_second_has_its_own_rate() -> None:
    tally = Tally()
    tally.sent = 10
    sums = Sums(START)
    sums.add("a", report(0, tally.take(1000, 0.25)))
    sums.finish()
    assert sums.samples[0].sent_per_s == 40.0


def test_each_second_that_is_done_is_told() -> None:
    told: list[Sample] = []
    sums = Sums(START, told.append)
    sums.add("a", report(0, slice_of(1000), slice_of(1001)))
    sums.finish()
    assert told == sums.samples
    assert len(told) == 2


def test_a_report_that_is_lost_is_noticed() -> None:
    sums = Sums(START)
    sums.add("a", report(0))
    sums.add("a", report(2))
    sums.add("b", report(0))
    assert sums.lost_reports == 1


def busy(cpus: list[float], wanted: list[int], connections: list[int]) -> str | None:
    sums = Sums(START)
    for index, cpu in enumerate(cpus):
        tally = Tally()
        tally.connections = connections[index]
        sums.want(1000 + index, wanted[index])
        sums.add("a", report(index, tally.take(1000 + index, 1.0, cpu)))
    sums.finish()
    return sums.generator_limit()


def test_a_generator_that_is_busy_while_it_holds_its_users_is_the_limit() -> None:
    assert busy([0.95] * 4, [100] * 4, [100] * 4) == "generator CPU"
    assert busy([0.85] * 9, [100] * 9, [100] * 9) is None
    assert busy([0.95, 0.95, 0.95, 0.1, 0.95, 0.95], [100] * 6, [100] * 6) is None


def test_a_generator_that_is_busy_while_users_come_is_not() -> None:
    assert busy([0.95] * 5, [100, 200, 300, 400, 500], [500] * 5) is None
    assert busy([0.95] * 5, [500] * 5, [100, 200, 300, 400, 500]) is None
