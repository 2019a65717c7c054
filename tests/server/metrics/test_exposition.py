"""What a scrape gets can be read by those who scrape, and is what the library would write."""

import shutil
import subprocess

import pytest
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from server.metrics.catalog import METRICS
from server.metrics.collector import SegmentCollector, exposition
from tests.server.metrics.segments import Worker, segment, touched
from workers.segment import Segment

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text"
# As the Prometheus servers of those versions send them.
DEBIAN_12 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
STILL = {  # they change from one look to the next
    "ws_worker_heartbeat_age_seconds",
    "ws_worker_resident_memory_bytes",
    "ws_worker_cpu_seconds_total",
    "ws_worker_open_files",
}
ODD_ROUTE = '/a"b\\c\nd/{é}'

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool: apt-get install prometheus has it"
)


def still(text: str) -> list[str]:
    """Return the lines of what does not change by itself, whichever way `_` is escaped."""
    lines = text.splitlines()
    return [line for line in lines if not any(name in line.replace("__", "_") for name in STILL)]


def odd() -> Segment:
    """Return a segment with numbers and names that have to be written with care."""
    made = segment([ODD_ROUTE])
    counters = Worker(made, 0).ready().route(ODD_ROUTE)
    counters.traffic(1_234_567, 2**40, 10**15, 999_999)
    counters.handled(0.00001)
    return made


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        DEBIAN_12,
        PROMETHEUS_3,
        "application/openmetrics-text",
        "text/plain;version=1.0.0;escaping=allow-utf-8",
        "text/plain;version=1.0.0;escaping=underscores",
        "text/plain;version=1.0.0;escaping=dots",
        "application/openmetrics-text;version=1.0.0;escaping=values",
    ],
)
@pytest.mark.parametrize("make", [segment, touched, odd])
def test_it_is_what_the_library_writes(make, accept: str):
    """To the byte, whatever is asked for."""
    made = make()
    encoder, content_type = choose_encoder(accept)
    body, said_type = exposition(made, accept)
    assert said_type == content_type
    assert still(body.decode()) == still(encoder(SegmentCollector(made)).decode())
    assert b"\n\n" not in body
    assert body.endswith(b"\n")


@pytest.mark.parametrize(
    ("accept", "begins"),
    [(None, PLAIN), ("", PLAIN), ("text/html", PLAIN), (DEBIAN_12, OPENMETRICS)],
)
def test_the_format_is_the_one_asked_for(accept: str | None, begins: str):
    body, content_type = exposition(segment(), accept)
    assert content_type.startswith(begins)
    assert body.endswith(b"# EOF\n") == (begins == OPENMETRICS)


@pytest.mark.parametrize(
    ("accept", "parse"),
    [(DEBIAN_12, parse_openmetrics), (PROMETHEUS_3, parse_openmetrics), ("", parse_text)],
)
def test_it_can_be_parsed(accept: str, parse):
    """All families are there, each histogram adds up, and odd names come through."""
    made = odd()
    found = list(parse(exposition(made, accept)[0].decode()))
    assert len(found) == len(METRICS)
    routes = {sample.labels.get("route") for family in found for sample in family.samples}
    assert routes == {None, "other", ODD_ROUTE}
    histograms = [family for family in found if family.type == "histogram"]
    assert len(histograms) == sum(bool(metric.buckets) for metric in METRICS)
    for family in histograms:
        ends = [s for s in family.samples if s.labels.get("le") == "+Inf"]
        counts = [s for s in family.samples if s.name.endswith("_count")]
        assert [(s.labels.get("route"), s.value) for s in ends] == [
            (s.labels.get("route"), s.value) for s in counts
        ]


@needs_promtool
@pytest.mark.parametrize("make", [segment, touched, odd])
def test_promtool_finds_nothing_wrong(make):
    body, _ = exposition(make(), "")
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=body, capture_output=True, check=False, timeout=30
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


@needs_promtool
def test_promtool_finds_something_wrong():
    """So its silence means something."""
    body = exposition(segment(), "")[0].replace(b"ws_messages_sent_total", b"ws_messages_sent")
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=body, capture_output=True, check=False, timeout=30
    )
    assert checked.returncode != 0
