"""Owns what a run of a load test leaves behind: the figures for reports and verdicts.

Written by the master of a run as `run.json`, read by `report`, `slo` and `capacity`. It knows
neither locust nor how any of it is shown.
"""

from typing import Literal

import msgspec

BROKEN_OFF = "The run was broken off"
"""The note of a run that ended early for a reason that the generator does not know."""

Limit = Literal["server CPU", "generator CPU", "file limit", "memory", "ports", "none"]


class Latency(msgspec.Struct, frozen=True):
    """A distribution in milliseconds, to 3 significant digits; all 0 if there was nothing."""

    count: int = 0
    mean_ms: float = 0.0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0


class WorkerUse(msgspec.Struct, frozen=True):
    """What one server worker uses; from the admin port.

    Attributes:
        lag_ms: how late its event loop was.
        files_share: of the files that it may have open.
    """

    worker: str
    cpu_cores: float
    resident_mib: float
    connections: int
    lag_ms: float = 0.0
    files_share: float = 0.0


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One second of a run.

    Attributes:
        at_s: seconds since the start.
        wanted: users that there are to be.
        connections: open, as the clients see it.
        sent_per_s, received_per_s: messages in this second, as the clients see it.
        rtt, delivery: latencies of this second: of answers to the sender, of messages to others.
        failures: of this second.
        server: its workers, empty if there is no admin port.
        generator_cpu: the share of one core that the busiest process of the generator uses, 0 to 1.
    """

    at_s: float
    wanted: int
    connections: int
    sent_per_s: float
    received_per_s: float
    rtt: Latency
    delivery: Latency
    failures: int
    server: list[WorkerUse]
    generator_cpu: float


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The whole of a run, added up over all processes of the generator.

    Attributes:
        opened: handshakes that led to a connection; refused: to an HTTP status, by it.
        closed: connections that ended, by close code (1006: lost without a close frame).
        expected: deliveries that were due; delivered: of these; then gaps = expected - delivered.
        duplicated: messages that came more than once.
        reordered: messages that came after a later one.
        recovered, not_recovered: joins after a reconnect that asked for what was missed.
        failures: what went wrong by a short text, such as "closed with 1011", and how often.
    """

    opened: int
    refused: dict[str, int]
    closed: dict[str, int]
    sent: int
    received: int
    expected: int
    delivered: int
    duplicated: int
    reordered: int
    recovered: int
    not_recovered: int
    connect: Latency
    rtt: Latency
    delivery: Latency
    reconnect: Latency
    failures: dict[str, int]

    @property
    def completeness(self) -> float:
        """The share of the deliveries due that came, 1 if none were due."""
        return self.delivered / self.expected if self.expected else 1.0


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run.

    Attributes:
        started_at: Unix time.
        target: the address that was tested, ws:// or wss://.
        options: what was asked for, by name, as text.
        is_complete: False if it was broken off (Ctrl-C, the server died).
        server_deltas: what the server's own counters have changed by, by series
            (`ws_connections_opened_total{route="/ws/echo"}`), empty without an admin port.
        generator_limit: why the figures are not the server's capacity; None if they are.
        machine: of the generator: cores, memory, file limit, kernel, as text.
        notes: what the reader has to know besides, such as why it was broken off; sentences.
    """

    started_at: float
    duration_s: float
    scenario: str
    target: str
    options: dict[str, str]
    is_complete: bool
    samples: list[Sample]
    totals: Totals
    server_deltas: dict[str, float]
    generator_limit: Limit | None
    machine: dict[str, str]
    notes: tuple[str, ...] = ()
