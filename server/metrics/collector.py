"""Owns the metrics' collector: what the segment says, as Prometheus families; it writes nothing.

Names, labels and help are the catalog's; where the words are, only `workers` knows.
"""

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from importlib import metadata
from itertools import product

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

import server
from server.health import readiness
from server.limits import LIMITS
from server.metrics.catalog import INITIATORS, METRICS, OTHER, POLICIES, WORKER_STATES
from server.metrics.process import process_use
from server.metrics.rooms import room_samples, worker_values
from server.metrics.samples import histogram
from workers.counters import Block, totals_and_open
from workers.layout import RowState, ServerState, SlotState
from workers.registry import row_states
from workers.segment import Segment
from workers.slots import SlotInfo, Slots

Routes = list[tuple[str, Block]]
Workers = list[tuple[str, list[SlotInfo]]]

_CATALOG = {metric.name: metric for metric in METRICS}
_FAMILIES: dict[str, Callable[..., Metric]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}
_ROUTE_COUNTERS = {
    "ws_connections_opened_total": "opened",
    "ws_messages_received_total": "messages_in",
    "ws_messages_sent_total": "messages_out",
    "ws_received_bytes_total": "bytes_in",
    "ws_sent_bytes_total": "bytes_out",
    "ws_handler_errors_total": "errors",
}
_ROUTE_HISTOGRAMS = {
    "ws_connection_duration_seconds": "duration",
    "ws_handler_duration_seconds": "handling",
}
_WORKER_VALUES = (
    "ws_worker_event_loop_lag_seconds",
    "ws_worker_event_loop_lag_max_seconds",
    "ws_worker_heartbeat_age_seconds",
    "ws_outbox_messages",
    "ws_outbox_bytes",
    "ws_registry_rows_used",
    "ws_registry_rows_capacity",
    "ws_worker_resident_memory_bytes",
    "ws_worker_cpu_seconds_total",
    "ws_worker_open_files",
    "ws_worker_max_files",
    "ws_room_memberships",
    "ws_room_memberships_capacity",
    "ws_journal_lag_bytes",
)
_text: Callable[[float], str] = floatToGoString
_NS_PER_S = 1e9
# Who asks for one of these wants other names than the catalog's.
_RENAMING = ("escaping=dots", "escaping=values")


def exposition(segment: Segment, accept_header: str | None) -> tuple[bytes, str]:
    """Return what `/metrics` answers to an Accept header, and its content type."""
    encoder, content_type = choose_encoder(accept_header or "")
    collector = SegmentCollector(segment)
    if content_type.endswith(_RENAMING):
        return encoder(collector), content_type
    end = encoder(_Given([]))
    parts = []
    for family in collector.collect():
        samples, family.samples = family.samples, []
        parts.append(encoder(_Given([family])).removesuffix(end))
        parts.append("".join(map(_line, samples)).encode())
    return b"".join([*parts, end]), content_type


class _Given:
    """Families as a collector."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families


def _line(sample: Sample) -> str:
    """Write a sample as all formats have it.

    The library takes three to five times as long, and that is most of what a scrape costs.
    """
    labels = ",".join([_pair(name, value) for name, value in sorted(sample.labels.items())])
    braces = f"{{{labels}}}" if labels else ""
    return f"{sample.name}{braces} {_text(sample.value)}\n"


@lru_cache(maxsize=4096)
def _pair(name: str, value: str) -> str:
    escaped = value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return f'{name}="{escaped}"'


class SegmentCollector:
    """Collects from a segment, which need not be writable; may be asked again and again."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment

    def collect(self) -> Iterator[Metric]:
        """Yield every family of the catalog, each with the series that there are now."""
        segment = self._segment
        blocks, opened = totals_and_open(segment)
        # After the blocks: a route that is added meanwhile has a name, if not yet a block.
        routes = [(name, blocks.get(at) or Block()) for at, name in enumerate(segment.routes)]
        yield _connections(segment, routes, opened)
        yield from _route_counters(segment, routes)
        yield from (_histogram(name, part, routes) for name, part in _ROUTE_HISTOGRAMS.items())
        yield from (_family(name, samples) for name, samples in room_samples(segment))
        yield from _worker_families(segment)
        yield from _server_families(segment)


def _family(name: str, samples: Iterable[Sample]) -> Metric:
    metric = _CATALOG[name]
    family = _FAMILIES[metric.kind](name, metric.help, unit=metric.unit)
    # Not by add_metric, which takes twice as long; there are thousands.
    family.samples = list(samples)
    return family


# ---- routes


def _connections(segment: Segment, routes: Routes, opened: dict[tuple[int, int], int]) -> Metric:
    name = "ws_connections"
    return _family(
        name,
        (
            Sample(name, {"route": route, "worker": str(worker)}, opened.get((at, worker), 0))
            for at, (route, _) in enumerate(routes)
            for worker in range(segment.sizes.workers)
        ),
    )


def _route_counters(segment: Segment, routes: Routes) -> Iterator[Metric]:
    for name, part in _ROUTE_COUNTERS.items():
        yield _family(
            name, (Sample(name, {"route": route}, getattr(block, part)) for route, block in routes)
        )
    ends = [
        {"code": code, "initiator": initiator}
        for code, initiator in product(map(_number, segment.codes), INITIATORS)
    ]
    statuses = [{"status": _number(status)} for status in segment.statuses]
    policies = [{"policy": policy} for policy in POLICIES]
    yield _counted("ws_connections_closed_total", "closed", ends, routes)
    yield _counted("ws_handshakes_rejected_total", "refused", statuses, routes)
    limits = [{"limit": limit} for limit in LIMITS]
    yield _counted("ws_slow_consumers_total", "slow", policies, routes)
    yield _counted("ws_limited_total", "limited", limits, routes)


def _number(number: int) -> str:
    return str(number) if number else OTHER


def _counted(name: str, part: str, labels: list[dict[str, str]], routes: Routes) -> Metric:
    """Return a counter with a series for each of `labels` that was ever counted on a route."""
    return _family(
        name,
        (
            Sample(name, {"route": route, **label}, count)
            for route, block in routes
            for label, count in zip(labels, getattr(block, part), strict=False)
            if count
        ),
    )


def _histogram(name: str, part: str, routes: Routes) -> Metric:
    samples = []
    for route, block in routes:
        sum_s = getattr(block, f"{part}_sum_ns") / _NS_PER_S
        samples += histogram(name, {"route": route}, getattr(block, part), sum_s)
    return _family(name, samples)


# ---- workers


def _worker_families(segment: Segment) -> Iterator[Metric]:
    in_use = sorted(Slots(segment).in_use(), key=lambda slot: slot.generation)
    workers = [
        (str(index), [slot for slot in in_use if slot.index == index])
        for index in range(segment.sizes.workers)
    ]
    yield _states(workers)
    name = "ws_worker_restarts_total"
    restarts = [segment.restarts(index) for index in range(segment.sizes.workers)]
    yield _family(
        name, (Sample(name, {"worker": str(at)}, count) for at, count in enumerate(restarts))
    )
    values = [(worker, dict(_values(segment, slots))) for worker, slots in workers]
    for name in _WORKER_VALUES:
        yield _family(
            name,
            (Sample(name, {"worker": worker}, of[name]) for worker, of in values if name in of),
        )


def _states(workers: Workers) -> Metric:
    name = "ws_worker_state"
    samples = []
    for worker, slots in workers:
        # Without a slot it waits to be started again.
        now = {slot.state.name.lower() for slot in slots} or {"dead"}
        samples += [
            Sample(name, {"worker": worker, "state": state}, int(state in now))
            for state in WORKER_STATES
        ]
    return _family(name, samples)


def _values(segment: Segment, slots: list[SlotInfo]) -> Iterator[tuple[str, float]]:
    """Yield what there is to say of a worker; its slots are two while it is being replaced.

    Of times the larger counts; of other things the sum.
    """
    yield from worker_values(segment, slots)
    if slots:
        states = [state for slot in slots for state in row_states(segment, slot.number)]
        yield "ws_registry_rows_used", len(states) - states.count(RowState.FREE)
        yield "ws_registry_rows_capacity", len(slots) * segment.sizes.rows_per_slot
    living = [slot for slot in slots if slot.state is not SlotState.DEAD]
    if beating := [slot for slot in living if slot.heartbeat_ns]:
        times_ns = {
            "ws_worker_event_loop_lag_seconds": max(slot.lag_ns for slot in beating),
            "ws_worker_event_loop_lag_max_seconds": max(slot.lag_max_ns for slot in beating),
            "ws_worker_heartbeat_age_seconds": time.monotonic_ns()
            - min(slot.heartbeat_ns for slot in beating),
        }
        yield from ((name, time_ns / _NS_PER_S) for name, time_ns in times_ns.items())
        yield "ws_outbox_messages", sum(slot.outbox_messages for slot in beating)
        yield "ws_outbox_bytes", sum(slot.outbox_bytes for slot in beating)
    if uses := [use for slot in living if slot.pid and (use := process_use(slot.pid))]:
        yield "ws_worker_resident_memory_bytes", sum(use.resident_bytes for use in uses)
        # Not the sum, which would count the new process again when the old one has gone.
        yield "ws_worker_cpu_seconds_total", uses[0].cpu_s
        yield "ws_worker_open_files", sum(use.open_files for use in uses)
        yield "ws_worker_max_files", sum(use.max_files for use in uses)


# ---- the server


def _server_families(segment: Segment) -> Iterator[Metric]:
    _, judged = readiness(segment)
    values = {
        "ws_workers_ready": judged["ready"],
        "ws_workers_wanted": judged["wanted"],
        "ws_server_draining": int(segment.server_state is ServerState.DRAINING),
        "ws_reloads_total": segment.reloads_done,
        "ws_reloads_failed_total": segment.reloads_failed,
        "ws_server_degraded": int(judged["status"] in ("degraded", "unready")),
        "ws_start_time_seconds": segment.created_ns / _NS_PER_S,
    }
    for name, value in values.items():
        yield _family(name, [Sample(name, {}, value)])
    name = "ws_build_info"
    versions = {
        "version": server.__version__,
        "python": platform.python_version(),
        "granian": metadata.version("granian"),
    }
    yield _family(name, [Sample(name, versions, 1)])
