"""Owns the runs that tests judge and show: made up, without a server or a generator."""

import math
from typing import Any

import msgspec

from loadtest.results import Latency, Run, Sample, Totals, WorkerUse


def latency(p99_ms: float = 9.0, count: int = 1000) -> Latency:
    """Return a distribution with that p99."""
    return Latency(
        count=count,
        mean_ms=p99_ms / 5,
        p50_ms=p99_ms / 8,
        p95_ms=p99_ms / 2,
        p99_ms=p99_ms,
        max_ms=p99_ms * 2,
    )


def totals(**changes: Any) -> Totals:
    """Return the totals of a run in which all went well, with changes."""
    fine: dict[str, Any] = {
        "opened": 500,
        "refused": {},
        "closed": {"1000": 500},
        "sent": 10_000,
        "received": 30_000,
        "expected": 20_000,
        "delivered": 20_000,
        "duplicated": 0,
        "reordered": 0,
        "recovered": 0,
        "not_recovered": 0,
        "connect": latency(30, 500),
        "rtt": latency(8, 10_000),
        "delivery": latency(12, 20_000),
        "reconnect": Latency(),
        "failures": {},
    }
    return Totals(**{**fine, **changes})


def sample(at_s: int, workers: int = 2, **changes: Any) -> Sample:
    """Return a second of a run that ramps up to 500 in 10 s."""
    up = min(500, 50 * at_s)
    fine: dict[str, Any] = {
        "at_s": float(at_s),
        "wanted": up,
        "connections": up,
        "sent_per_s": up * 2.0,
        "received_per_s": up * 6.0,
        "rtt": latency(8 + 3 * math.sin(at_s), up * 2),
        "delivery": latency(12 + 4 * math.sin(at_s / 2), up * 4),
        "failures": 0,
        "server": [
            WorkerUse(
                worker=str(number),
                cpu_cores=up / 1000 + number / 20,
                resident_mib=40 + up / 100,
                connections=up // workers,
                lag_ms=1.5,
            )
            for number in range(workers)
        ],
        "generator_cpu": up / 800,
    }
    return Sample(**{**fine, **changes})


def deltas(of: Totals) -> dict[str, float]:
    """Return what a server counts that agrees with the clients."""
    closed = {
        f'ws_connections_closed_total{{code="{code}",initiator="client",route="/ws/echo"}}': times
        for code, times in of.closed.items()
    }
    refused = {
        f'ws_handshakes_rejected_total{{route="/ws/echo",status="{status}"}}': times
        for status, times in of.refused.items()
    }
    return {
        'ws_connections_opened_total{route="/ws/echo"}': of.opened,
        'ws_messages_received_total{route="/ws/echo"}': of.sent,
        'ws_messages_sent_total{route="/ws/echo"}': of.received,
        **closed,
        **refused,
    }


def run(*, seconds: int = 30, workers: int = 2, of: Totals | None = None, **changes: Any) -> Run:
    """Return a run in which all went well, with changes."""
    of = of or totals()
    fine: dict[str, Any] = {
        "started_at": 1_796_000_000.0,
        "duration_s": float(seconds),
        "scenario": "room",
        "target": "ws://127.0.0.1:8000",
        "options": {"users": "500", "duration": "30 s"},
        "is_complete": True,
        "samples": [sample(at_s, workers) for at_s in range(seconds)],
        "totals": of,
        "server_deltas": deltas(of),
        "generator_limit": None,
        "machine": {"cores": "2", "file limit": "20000"},
    }
    return Run(**{**fine, **changes})


def changed(one: Run, **changes: Any) -> Run:
    """Return the run with changes."""
    return msgspec.structs.replace(one, **changes)
