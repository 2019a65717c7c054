"""What is counted in a segment by real writers is what the collector says."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

import server
from server.limits import LIMITS
from server.metrics.catalog import METRICS, POLICIES
from server.metrics.collector import SegmentCollector
from tests.server.metrics.segments import (
    CODES,
    ROUTES,
    SIZES,
    STATUSES,
    Worker,
    families,
    samples,
    segment,
    touched,
    values,
)
from workers.layout import CLIENT, SERVER, ServerState, Sizes, SlotState
from workers.registry import SlotRows
from workers.segment import Segment
from workers.slots import Slots

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")


def test_the_catalog_and_the_families_are_the_same():
    """Every one with its type, help, unit and exactly its labels."""
    busy = touched()
    found = families(busy)
    assert set(found) == {metric.name for metric in METRICS}
    assert len(list(SegmentCollector(busy).collect())) == len(METRICS)
    for metric in METRICS:
        family = found[metric.name]
        assert (family.type, family.documentation, family.unit) == (
            metric.kind,
            metric.help,
            metric.unit,
        )
        assert family.samples != []
        for sample in family.samples:
            expected = set(metric.labels)
            if sample.name == f"{metric.name}_bucket":
                expected.add("le")
            assert set(sample.labels) == expected, metric.name


def test_no_series_is_said_twice():
    """Prometheus refuses the whole scrape then."""
    said = [
        (sample.name, *sorted(sample.labels.items()))
        for family in families(touched()).values()
        for sample in family.samples
    ]
    assert len(set(said)) == len(said)


def test_every_route_has_its_series_from_the_start():
    """A rate needs a value from before the first event."""
    quiet = segment()
    routes = ["other", *ROUTES]
    for name in (
        "ws_connections_opened_total",
        "ws_messages_received_total",
        "ws_messages_sent_total",
        "ws_received_bytes_total",
        "ws_sent_bytes_total",
        "ws_handler_errors_total",
    ):
        assert values(quiet, name) == {(route,): 0 for route in routes}
    assert values(quiet, "ws_connections") == {
        (route, str(worker)): 0 for route in routes for worker in range(2)
    }
    assert values(quiet, "ws_worker_restarts_total") == {("0",): 0, ("1",): 0}


def test_what_never_happened_has_no_series():
    """There are too many pairs of code and initiator to show them all."""
    quiet = segment()
    for name in (
        "ws_connections_closed_total",
        "ws_handshakes_rejected_total",
        "ws_slow_consumers_total",
        "ws_limited_total",
    ):
        assert samples(quiet, name) == []


def test_counts_of_all_workers_are_added_up():
    """Connections that are open are told by worker, everything else by route."""
    busy = segment()
    first, second = Worker(busy, 0).ready(), Worker(busy, 1, generation=2).ready()
    for counters in (first.route("/echo"), second.route("/echo"), second.route("/echo")):
        counters.opened()
        counters.traffic(1, 10, 2, 30)
    second.route("/echo").closed(busy.code_index(1001), SERVER, 2.5)
    second.route("/rooms/{room}").opened()

    opened = values(busy, "ws_connections")
    assert opened["/echo", "0"] == 1
    assert opened["/echo", "1"] == 1
    assert opened["/rooms/{room}", "1"] == 1
    assert values(busy, "ws_connections_opened_total")["/echo",] == 3
    assert values(busy, "ws_connections_closed_total") == {("/echo", "1001", "server"): 1}
    assert values(busy, "ws_messages_received_total")["/echo",] == 3
    assert values(busy, "ws_received_bytes_total")["/echo",] == 30
    assert values(busy, "ws_messages_sent_total")["/echo",] == 6
    assert values(busy, "ws_sent_bytes_total")["/echo",] == 90


def test_the_books_balance():
    """opened = open + the sum of closed, for every route."""
    busy = touched()
    opened = values(busy, "ws_connections_opened_total")
    closed = samples(busy, "ws_connections_closed_total")
    now = samples(busy, "ws_connections")
    for (route,), count in opened.items():
        ended = sum(sample.value for sample in closed if sample.labels["route"] == route)
        held = sum(sample.value for sample in now if sample.labels["route"] == route)
        assert count == ended + held > 0


def test_codes_that_peers_make_up_are_other():
    """1,000 of them make no more series than the table has codes, and none is lost."""
    busy = segment()
    counters = Worker(busy, 0).route("/echo")
    made_up = random.Random(7).sample(range(65536), 1000)
    for code in [*made_up, *CODES]:
        counters.opened()
        counters.closed(busy.code_index(code), CLIENT, 1)
    found = values(busy, "ws_connections_closed_total")
    assert {code for _, code, _ in found} == {"other", *map(str, CODES)}
    assert len(found) == len(CODES) + 1
    assert sum(found.values()) == 1000 + len(CODES)


def test_refusals_by_status():
    busy = segment()
    for status in (*STATUSES, 418):
        Worker(busy, 0).route("unmatched").refused(busy.status_index(status))
    assert values(busy, "ws_handshakes_rejected_total") == {
        ("unmatched", status): 1 for status in ("403", "404", "503", "other")
    }


def test_slow_consumers_by_policy():
    busy = segment()
    counters = Worker(busy, 0).route("/echo")
    for index in range(len(POLICIES)):
        counters.slow(index)
    assert values(busy, "ws_slow_consumers_total") == {("/echo", name): 1 for name in POLICIES}


def test_what_limits_have_stopped():
    """By route, and over all workers."""
    busy = segment()
    workers = [Worker(busy, index, generation=index + 1) for index in range(2)]
    for index in range(len(LIMITS)):
        workers[index % 2].route("/echo").limited(index)
    for worker in workers:
        worker.route("unmatched").limited(LIMITS.index("connections"))
    assert values(busy, "ws_limited_total") == {
        **{("/echo", name): 1 for name in LIMITS},
        ("unmatched", "connections"): 2,
    }


def test_routes_that_found_no_room_are_other():
    busy = segment([f"/{number}" for number in range(9)])
    worker = Worker(busy, 0)
    for number in range(9):
        worker.route(f"/{number}").opened()
    assert values(busy, "ws_connections_opened_total") == {
        **{(f"/{number}",): 1 for number in range(4)},
        ("other",): 5,
    }


@pytest.mark.parametrize(
    ("name", "observe", "lowest_s", "highest_s"),
    [
        ("ws_connection_duration_seconds", "closed", 0.01, 14400),
        ("ws_handler_duration_seconds", "handled", 0.0001, 2.5),
    ],
)
def test_histograms_are_cumulative(name: str, observe: str, lowest_s: float, highest_s: float):
    """+Inf is the count, a value on a bound is within it, and the sum is in seconds."""
    busy = segment()
    counters = Worker(busy, 0).route("/echo")
    observed = [lowest_s / 2, lowest_s, highest_s, highest_s * 2]
    for duration_s in observed:
        if observe == "closed":
            counters.opened()
            counters.closed(1, CLIENT, duration_s)
        else:
            counters.handled(duration_s)
    of_route = [sample for sample in samples(busy, name) if sample.labels["route"] == "/echo"]
    buckets = {s.labels["le"]: s.value for s in of_route if s.name == f"{name}_bucket"}
    (count,) = [s.value for s in of_route if s.name == f"{name}_count"]
    (sum_s,) = [s.value for s in of_route if s.name == f"{name}_sum"]

    assert [float(bound) for bound in buckets] == sorted(float(bound) for bound in buckets)
    assert list(buckets.values()) == sorted(buckets.values())
    assert buckets[str(float(lowest_s))] == 2
    assert buckets[str(float(highest_s))] == 3
    assert buckets["+Inf"] == count == 4
    assert sum_s == pytest.approx(sum(observed))


def test_a_worker_says_its_state():
    """Exactly one is 1; a worker that waits to be started again is dead."""
    busy = segment()
    worker = Worker(busy, 0)
    for state in (SlotState.STARTING, SlotState.READY, SlotState.DRAINING):
        worker.voice.set_state(state)
        found = values(busy, "ws_worker_state")
        assert [state for (index, state), is_now in found.items() if index == "0" and is_now] == [
            state.name.lower()
        ]
    assert found["1", "dead"] == 1
    Slots(busy).mark_dead(worker.slot)
    assert values(busy, "ws_worker_state")["0", "dead"] == 1


def test_a_heartbeat_has_an_age():
    """There is none before the first, and none of a dead worker."""
    busy = segment()
    worker = Worker(busy, 0)
    assert samples(busy, "ws_worker_heartbeat_age_seconds") == []
    worker.ready(age_s=3, lag_s=0.75).ready(age_s=2, lag_s=0.5)
    assert values(busy, "ws_worker_heartbeat_age_seconds")["0",] == pytest.approx(2, abs=0.5)
    assert values(busy, "ws_worker_event_loop_lag_seconds") == {("0",): 0.5}
    assert values(busy, "ws_worker_event_loop_lag_max_seconds") == {("0",): 0.75}
    Slots(busy).mark_dead(worker.slot)
    assert samples(busy, "ws_worker_heartbeat_age_seconds") == []


def test_rows_against_their_capacity():
    busy = segment()
    rows = SlotRows(busy, Worker(busy, 1).slot, 1)
    for number in range(3):
        rows.claim(1, f"127.0.0.1:{number}", "/echo")
    rows.free(0)
    assert values(busy, "ws_registry_rows_used") == {("1",): 2}
    assert values(busy, "ws_registry_rows_capacity") == {("1",): SIZES.rows_per_slot}


def test_a_worker_that_is_being_replaced_is_two_processes():
    """Times are the larger; amounts the sum."""
    busy = segment()
    old, new = Worker(busy, 0, generation=1), Worker(busy, 0, generation=2)
    old.ready(age_s=3, lag_s=0.1)
    new.ready(age_s=1, lag_s=0.2)
    old.voice.set_state(SlotState.DRAINING)
    old.route("/echo").opened()
    new.route("/echo").opened()

    assert values(busy, "ws_connections")["/echo", "0"] == 2
    states = values(busy, "ws_worker_state")
    assert (states["0", "ready"], states["0", "draining"], states["0", "dead"]) == (1, 1, 0)
    assert values(busy, "ws_worker_heartbeat_age_seconds")["0",] == pytest.approx(3, abs=0.5)
    assert values(busy, "ws_worker_event_loop_lag_seconds") == {("0",): 0.2}
    assert values(busy, "ws_registry_rows_capacity") == {("0",): 2 * SIZES.rows_per_slot}


@needs_proc
def test_what_a_worker_process_uses():
    """Nothing is said of one that has gone."""
    busy = segment()
    Worker(busy, 0)
    Worker(busy, 1, generation=2, pid=2**22 + 1)  # above any pid_max
    assert values(busy, "ws_worker_resident_memory_bytes").keys() == {("0",)}
    assert values(busy, "ws_worker_resident_memory_bytes")["0",] > 1 << 20
    assert values(busy, "ws_worker_open_files")["0",] > 0
    assert values(busy, "ws_worker_cpu_seconds_total")["0",] > 0
    assert values(busy, "ws_worker_max_files").keys() == {("0",)}


@needs_proc
def test_processor_time_is_the_old_processs_until_it_has_gone():
    """So no second of either is counted twice, or lost. Memory and files are of both."""
    busy = segment()
    with subprocess.Popen(["sleep", "60"]) as idle:
        old = Worker(busy, 0, generation=1, pid=idle.pid)
        limit = values(busy, "ws_worker_max_files")["0",]
        Worker(busy, 0, generation=2)
        of_old = values(busy, "ws_worker_cpu_seconds_total")["0",]
        limit_of_both = values(busy, "ws_worker_max_files")["0",]
        Slots(busy).mark_dead(old.slot)
        of_new = values(busy, "ws_worker_cpu_seconds_total")["0",]
        idle.kill()
    assert of_new == pytest.approx(time.process_time(), abs=0.2)
    assert of_old < 0.1 < of_new
    assert limit_of_both == 2 * limit


def test_restarts_are_counted_by_worker():
    busy = segment()
    busy.count_restart(1)
    busy.count_restart(1)
    assert values(busy, "ws_worker_restarts_total") == {("0",): 0, ("1",): 2}


def server_values(of: Segment) -> tuple[float, ...]:
    names = ("ws_workers_ready", "ws_workers_wanted", "ws_server_degraded", "ws_server_draining")
    return tuple(samples(of, name)[0].value for name in names)


def test_the_server_as_a_whole():
    """It is degraded while it serves with fewer workers than it should."""
    busy = segment()
    assert server_values(busy) == (0, 2, 0, 0)
    busy.server_state = ServerState.SERVING
    assert server_values(busy) == (0, 2, 1, 0)
    first = Worker(busy, 0).ready()
    assert server_values(busy) == (1, 2, 1, 0)
    Worker(busy, 1, generation=2).ready()
    assert server_values(busy) == (2, 2, 0, 0)
    Slots(busy).mark_dead(first.slot)
    assert server_values(busy) == (1, 2, 1, 0)
    busy.server_state = ServerState.DRAINING
    assert server_values(busy) == (1, 2, 0, 1)


def test_build_and_start():
    (build,) = samples(segment(), "ws_build_info")
    assert build.value == 1
    assert build.labels["version"] == server.__version__
    assert build.labels["python"] == ".".join(map(str, sys.version_info[:3]))
    assert build.labels["granian"][0].isdigit()
    (start,) = samples(segment(), "ws_start_time_seconds")
    assert start.value == pytest.approx(time.time(), abs=60)


def test_another_process_can_collect(tmp_path: Path):
    """It maps the segment for reading only."""
    sizes = Sizes(workers=1, slots=2, rows_per_slot=4, routes=4)
    made = Segment.create(
        tmp_path / "s", sizes, routes=ROUTES, codes=CODES, statuses=STATUSES, app="app:app"
    )
    Worker(made, 0, pid=os.getpid()).ready().route("/echo").opened()
    reader = Segment.attach(made.path or tmp_path, writable=False)
    assert values(reader, "ws_connections")["/echo", "0"] == 1
    assert families(reader).keys() == families(made).keys()
    reader.close()
    made.remove()
    made.close()
