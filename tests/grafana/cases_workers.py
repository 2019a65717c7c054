"""Owns the cases of the alerts of workers and of what they have room for."""

from tests.grafana.cases import fires, silent
from tests.grafana.world import (
    MIB,
    Value,
    World,
    between,
    grows,
    healthy,
    restarts,
    steady,
    until,
)

_MEMORY = 'ws_worker_resident_memory_bytes{worker="0"}'
_RESTARTS = 'ws_worker_restarts_total{worker="1"}'
_HEARTBEAT = 'ws_worker_heartbeat_age_seconds{worker="1"}'
_LAG = 'ws_worker_event_loop_lag_seconds{worker="1"}'


def _connections(first: Value, second: Value) -> World:
    return {
        'ws_connections{route="/echo",worker="0"}': first,
        'ws_connections{route="/echo",worker="1"}': second,
    }


def _used(name: str, capacity: str, share: float, start: float = 5, end: float = 99) -> World:
    """A worker uses that share of its room for some time."""
    whole = healthy()[f'{capacity}{{worker="0"}}'](0) or 0
    return {f'{name}{{worker="0"}}': between(start, end, share * whole, 0.1 * whole)}


def _ramp(start: float, end: float, low: float, high: float) -> Value:
    """It rises evenly between two minutes."""
    slope = (high - low) / (end - start)
    return lambda minute: low + slope * (min(max(minute, start), end) - start)


WORKERS = [
    fires("WorkerRestarted", "it was killed", 6, {_RESTARTS: until(5, steady(0), steady(1))}),
    silent(
        "WorkerRestarted",
        "the server starts again and counts from 0",
        9,
        {_RESTARTS: steady(3)},
        turn=lambda world: restarts(world, 5, 5.5),
    ),
    fires(
        "WorkerCrashLoop",
        "it crashes as fast as it may",
        9,
        {_RESTARTS: until(5, steady(0), grows(2, -10))},
        "WorkerRestarted",
    ),
    silent(
        "WorkerCrashLoop",
        "it was killed twice",
        9,
        {_RESTARTS: until(5, steady(0), until(7, steady(1), steady(2)))},
        "WorkerRestarted",
    ),
    fires(
        "HeartbeatStale",
        "its loop hangs",
        6,
        {_HEARTBEAT: until(5, steady(0.4), grows(60, -300))},
    ),
    silent("HeartbeatStale", "a long turn", 5.4, {_HEARTBEAT: between(5, 5.5, 20, 0.4)}),
    silent("HeartbeatStale", "a loop that turns slowly", 6, {_HEARTBEAT: steady(8)}),
    silent(
        "HeartbeatStale",
        "there is no worker yet after a crash",
        6,
        {_HEARTBEAT: until(5, steady(0.4), until(5.75, None, steady(0.4)))},
    ),
    fires("EventLoopLag", "it is busy", 11, {_LAG: until(5, steady(0.002), steady(0.2))}),
    silent("EventLoopLag", "one turn of 5 seconds", 6, {_LAG: between(5, 5.25, 5, 0.002)}),
    silent("EventLoopLag", "one turn of 5 seconds, later", 9, {_LAG: between(5, 5.25, 5, 0.002)}),
    silent("EventLoopLag", "a little late all the time", 11, {_LAG: steady(0.05)}),
    fires(
        "WorkersImbalanced",
        "one has nearly all",
        17,
        _connections(until(5, steady(300), steady(580)), until(5, steady(300), steady(20))),
    ),
    silent("WorkersImbalanced", "of a few", 17, _connections(steady(58), steady(2))),
    silent("WorkersImbalanced", "after a reload", 17, _connections(steady(375), steady(225))),
    silent(
        "WorkersImbalanced",
        "during a long reload",
        30,
        {
            'ws_worker_state{worker="0",state="draining"}': steady(1),
            **_connections(steady(5), steady(595)),
        },
        "DrainStuck",
    ),
    silent(
        "WorkersImbalanced",
        "there is no other",
        17,
        {
            "ws_workers_ready{}": steady(1),
            "ws_server_degraded{}": steady(1),
            **_connections(steady(0), steady(600)),
        },
        "WorkersMissing",
    ),
    fires(
        "MemoryGrowth",
        "it leaks",
        240,
        {_MEMORY: grows(MIB, 150 * MIB)},
        interval_s=60,
    ),
    silent(
        "MemoryGrowth",
        "by a little",
        240,
        {_MEMORY: grows(MIB / 4, 40 * MIB)},
        interval_s=60,
    ),
    silent(
        "MemoryGrowth",
        "so do its connections",
        240,
        {_MEMORY: grows(MIB, 150 * MIB), **_connections(grows(6, 100), grows(6, 100))},
        interval_s=60,
    ),
    silent(
        "MemoryGrowth",
        "it stays high after a peak",
        240,
        {_MEMORY: _ramp(120, 150, 150 * MIB, 400 * MIB)},
        interval_s=60,
    ),
    silent(
        "MemoryGrowth",
        "a new process warms up",
        240,
        {_MEMORY: until(200, steady(200 * MIB), _ramp(200, 220, 50 * MIB, 210 * MIB))},
        interval_s=60,
    ),
]

REGISTRY = ("ws_registry_rows_used", "ws_registry_rows_capacity")
MEMBERSHIPS = ("ws_room_memberships", "ws_room_memberships_capacity")
FILES = ("ws_worker_open_files", "ws_worker_max_files")

CAPACITY = [
    *(
        case
        for alert, used in (
            ("RegistryNearlyFull", REGISTRY),
            ("MembershipsNearlyFull", MEMBERSHIPS),
            ("FilesNearlyUsedUp", FILES),
        )
        for case in (
            fires(alert, "nine of ten", 11, _used(*used, 0.9)),
            silent(alert, "eight of ten", 11, _used(*used, 0.8)),
            silent(alert, "full for four minutes", 11, _used(*used, 1, 5, 9)),
        )
    ),
    fires(
        "JournalNearlyFull",
        "a worker does not read",
        7,
        {'ws_journal_lag_bytes{worker="0"}': until(5, steady(0), steady(40 * MIB))},
    ),
    silent(
        "JournalNearlyFull",
        "a burst",
        5.75,
        {'ws_journal_lag_bytes{worker="0"}': between(5, 6, 40 * MIB, 0)},
    ),
    silent(
        "JournalNearlyFull",
        "the ring is full of what was read",
        7,
        {"ws_journal_used_bytes{}": steady(64 * MIB)},
    ),
    fires(
        "JournalOverrun",
        "it was overtaken",
        6,
        {"ws_journal_overruns_total{}": until(5, steady(0), steady(1))},
    ),
    silent("JournalOverrun", "it was, long ago", 20, {"ws_journal_overruns_total{}": steady(2)}),
    silent(
        "JournalOverrun",
        "the server starts again and counts from 0",
        9,
        {"ws_journal_overruns_total{}": steady(2)},
        turn=lambda world: restarts(world, 5, 5.5),
    ),
]
