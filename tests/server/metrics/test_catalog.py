"""The catalog keeps to the rules of https://prometheus.io/docs/practices/naming/."""

import re

import pytest

from server.limits import LIMITS
from server.metrics.catalog import (
    INITIATORS,
    LABELS,
    METRICS,
    POLICIES,
    SECTIONS,
    WORKER_STATES,
    Metric,
)
from workers import layout
from workers.layout import SlotState

CORE = {
    "ws_connections": ("gauge", ("route", "worker")),
    "ws_connections_opened_total": ("counter", ("route",)),
    "ws_connections_closed_total": ("counter", ("route", "code", "initiator")),
    "ws_handshakes_rejected_total": ("counter", ("route", "status")),
    "ws_messages_received_total": ("counter", ("route",)),
    "ws_messages_sent_total": ("counter", ("route",)),
    "ws_worker_restarts_total": ("counter", ("worker",)),
}
BASE_UNITS = {"seconds", "bytes"}
OTHER_UNITS = r"ms|us|ns|milliseconds|minutes|hours|kb|mb|kilobytes|megabytes|kib|mib|percent"
OF_SERIES = ("_count", "_sum", "_bucket", "_created")

each = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)


def test_the_names_that_users_rely_on_are_there():
    found = {metric.name: (metric.kind, metric.labels) for metric in METRICS}
    assert CORE.items() <= found.items()


def test_no_two_have_a_name_in_common():
    """Nor does one have a name that is made of another's."""
    names = [metric.name for metric in METRICS]
    made = [metric.name + end for metric in METRICS if metric.buckets for end in OF_SERIES]
    assert len(set(names + made)) == len(names + made)
    assert sum(len(section) for section in SECTIONS.values()) == len(METRICS)


@each
def test_its_name_says_what_kind_it_is(metric: Metric):
    assert re.fullmatch(r"ws_[a-z]+(_[a-z]+)*", metric.name)
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    assert not metric.name.endswith(OF_SERIES)
    assert not set(metric.name.split("_")) & {"counter", "gauge", "histogram"}


@each
def test_it_has_a_base_unit_or_counts(metric: Metric):
    assert metric.unit in BASE_UNITS | {""}
    assert not re.search(rf"_({OTHER_UNITS})(_|$)", metric.name)
    ending = metric.name.removesuffix("_total").rpartition("_")[2]
    assert metric.unit == (ending if ending in BASE_UNITS else "")


@each
def test_its_help_is_a_sentence(metric: Metric):
    assert re.fullmatch(r"[A-Z1].+\.", metric.help)
    assert "|" not in metric.help  # it stands in a table


@each
def test_only_a_histogram_has_buckets(metric: Metric):
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))


def test_every_label_is_explained():
    """And no other."""
    names = [label.name for label in LABELS]
    assert len(set(names)) == len(names)
    assert set(names) == {name for metric in METRICS for name in metric.labels}
    assert not {"le", "quantile", "job", "instance"} & set(names)


def test_values_of_labels_are_in_the_order_of_their_index():
    """The segment has numbers; the names are here."""
    assert INITIATORS.index("client") == layout.CLIENT
    assert INITIATORS.index("server") == layout.SERVER
    assert INITIATORS.index("crash") == layout.CRASH
    assert len(INITIATORS) == layout.INITIATORS
    assert len(POLICIES) <= layout.POLICIES
    assert len(LIMITS) <= layout.LIMITS_MAX
    used = [state.name.lower() for state in SlotState if state is not SlotState.FREE]
    assert list(WORKER_STATES) == used
