"""Owns the samples about rooms and the journal, from the segment; knows no family and no format."""

from collections.abc import Iterator

from prometheus_client.samples import Sample

from server.metrics.catalog import OUTCOMES
from server.metrics.samples import histogram
from workers.layout import SlotState
from workers.memberships import used
from workers.room_counts import lag_bytes, ring_state, room_counts
from workers.segment import Segment
from workers.slots import SlotInfo

_NS_PER_S = 1e9
_READING = (SlotState.READY, SlotState.DRAINING)


def room_samples(segment: Segment) -> Iterator[tuple[str, list[Sample]]]:
    """Yield each metric that is of no single worker, with its samples."""
    counts, ring = room_counts(segment), ring_state(segment)
    values = {
        "ws_room_published_total": counts.published,
        "ws_room_delivered_total": counts.delivered,
        "ws_room_incomplete_total": counts.incomplete,
        "ws_rooms": ring.rooms,
        "ws_rooms_capacity": ring.rooms_capacity,
        "ws_rooms_evicted_total": ring.evicted,
        "ws_journal_messages_total": ring.messages,
        "ws_journal_written_bytes_total": ring.written_bytes,
        "ws_journal_used_bytes": ring.used_bytes,
        "ws_journal_capacity_bytes": ring.capacity_bytes,
        "ws_journal_overruns_total": counts.overruns,
    }
    for name, value in values.items():
        yield name, [Sample(name, {}, value)]
    name = "ws_room_recoveries_total"
    yield name, [Sample(name, {"outcome": which}, getattr(counts, which)) for which in OUTCOMES]
    name = "ws_room_delivery_seconds"
    yield name, histogram(name, {}, counts.latency, counts.latency_sum_ns / _NS_PER_S)


def worker_values(segment: Segment, slots: list[SlotInfo]) -> Iterator[tuple[str, float]]:
    """Yield what there is to say of a worker; its slots are two while it is being replaced."""
    if slots:
        yield "ws_room_memberships", sum(used(segment, slot.number) for slot in slots)
        yield "ws_room_memberships_capacity", len(slots) * segment.sizes.memberships_per_slot
    if reading := [slot.number for slot in slots if slot.state in _READING]:
        yield "ws_journal_lag_bytes", max(lag_bytes(segment, slot) for slot in reading)
