"""Owns the judgement whether the server is alive and ready, and its state in plain values.

It reads the segment and nothing else; who asks, and over what, it does not know.
"""

import time
from typing import Any

from workers.layout import ServerState, SlotState
from workers.segment import Segment
from workers.slots import SlotInfo, Slots

HEARTBEAT_BOUND_S = 10.0


def health(segment: Segment) -> dict[str, Any]:
    """Say that this process answers, and the server's state."""
    return {"status": "ok", "state": segment.server_state.name.lower()}


def readiness(segment: Segment) -> tuple[bool, dict[str, Any]]:
    """Tell whether new connections are served, and how many workers do so.

    The status is "ready", "degraded" (ready, with fewer workers than wanted), "unready" (no
    worker), or the server's state if it does not serve.
    """
    wanted = segment.sizes.workers
    # By index: during a reload the old and the new worker are both ready.
    ready = len({slot.index for slot in Slots(segment).in_use() if _is_ready(slot)})
    state = segment.server_state
    if state is not ServerState.SERVING:
        status = state.name.lower()
    elif ready == 0:
        status = "unready"
    else:
        status = "ready" if ready >= wanted else "degraded"
    return status in ("ready", "degraded"), {"status": status, "ready": ready, "wanted": wanted}


def _is_ready(slot: SlotInfo) -> bool:
    age_s = _heartbeat_age_s(slot)
    return slot.state is SlotState.READY and age_s is not None and age_s <= HEARTBEAT_BOUND_S


def _heartbeat_age_s(slot: SlotInfo) -> float | None:
    """Return how long ago the worker's loop turned; None if it never has."""
    if slot.heartbeat_ns == 0:
        return None
    return round(max(0, time.monotonic_ns() - slot.heartbeat_ns) / 1e9, 3)


def status(segment: Segment) -> dict[str, Any]:
    """Return the server and each of its workers in plain values; times in seconds."""
    _, ready = readiness(segment)
    slots = sorted(Slots(segment).in_use(), key=lambda slot: (slot.index, slot.generation))
    workers = [_describe(segment, slot) for slot in slots]
    return {
        **ready,
        "state": segment.server_state.name.lower(),
        "app": segment.app,
        "address": _authority(segment.host, segment.port),
        "admin_port": segment.admin_port,
        "pid": segment.supervisor_pid,
        "epoch": segment.epoch,
        "uptime_s": _since_s(segment.created_ns),
        "connections": sum(worker["connections"] for worker in workers),
        "reloads": {"done": segment.reloads_done, "failed": segment.reloads_failed},
        "workers": workers,
    }


def _describe(segment: Segment, slot: SlotInfo) -> dict[str, Any]:
    return {
        "worker": slot.index,
        "slot": slot.number,
        "generation": slot.generation,
        "pid": slot.pid,
        "state": slot.state.name.lower(),
        "uptime_s": _since_s(slot.started_ns),
        "connections": slot.connections,
        "restarts": segment.restarts(slot.index),
        "heartbeat_age_s": _heartbeat_age_s(slot),
        "lag_s": slot.lag_ns / 1e9,
    }


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _since_s(unix_ns: int) -> float:
    return round(max(0, time.time_ns() - unix_ns) / 1e9, 3)
