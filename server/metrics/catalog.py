"""Owns the catalog of metrics as data; knows no metrics library, and not where values come from.

The collector, the reference page and the dashboards are made from it, so that none of them can
name a series that the others do not have.
"""

from dataclasses import dataclass
from typing import Literal

from server.limits import LIMITS
from workers.counters import DURATION_BUCKETS_S, HANDLING_BUCKETS_S
from workers.room_tables import LATENCY_BUCKETS_S

Kind = Literal["counter", "gauge", "histogram"]

OTHER = "other"
UNMATCHED = "unmatched"
INITIATORS = ("client", "server", "crash")
POLICIES = ("disconnect", "drop_oldest", "drop_newest", "latest", "full")
OUTCOMES = ("recovered", "not_recovered")
WORKER_STATES = ("starting", "ready", "draining", "dead")


@dataclass(frozen=True, slots=True)
class Label:
    """A label and what it may be.

    Attributes:
        meaning: for the reference page, Markdown.
        values: all of them in the order of their index, or empty if the app or the machine decides.
    """

    name: str
    meaning: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of series.

    Attributes:
        name: as in a query; a histogram has `_bucket`, `_sum` and `_count` behind it.
        labels: by name; a histogram's buckets have `le` besides.
        unit: the base unit that the name ends with, or empty.
        buckets: upper bounds of a histogram in its unit, without +Inf.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    unit: str = ""
    buckets: tuple[float, ...] = ()


LABELS = (
    Label(
        "route",
        f"the route's path as it was declared, such as `/ws/{{room}}`; `{OTHER}` for routes that"
        f" the table has no room for; `{UNMATCHED}` for handshakes that no route took",
    ),
    Label("worker", "the number of the worker, from 0; a respawned worker has its number again"),
    Label(
        "code",
        f"a registered close code, or one that the app declares; `{OTHER}` for all others, which"
        " a client may make up",
    ),
    Label(
        "initiator",
        "who ended the connection: the client (or it was lost), the server, or the crash of the"
        " worker",
        INITIATORS,
    ),
    Label("status", f"the HTTP status of the answer; `{OTHER}` for one that is not in the table"),
    Label(
        "policy",
        "what was done about a slow client; `full` is a message that a full queue did not take",
        POLICIES,
    ),
    Label("limit", "which limit it was", LIMITS),
    Label("state", "what the worker is doing", WORKER_STATES),
    Label("outcome", "whether a member that came back was sent all that it had missed", OUTCOMES),
    Label("version", "of Switchboard"),
    Label("python", "the version of Python"),
    Label("granian", "the version of granian, the host"),
)

_CONNECTIONS = (
    Metric("ws_connections", "gauge", ("route", "worker"), "Connections that are open now."),
    Metric("ws_connections_opened_total", "counter", ("route",), "Connections accepted."),
    Metric(
        "ws_connections_closed_total",
        "counter",
        ("route", "code", "initiator"),
        "Connections that ended, by close code and by who ended them.",
    ),
    Metric(
        "ws_connection_duration_seconds",
        "histogram",
        ("route",),
        "How long connections lasted, entered when they end.",
        "seconds",
        DURATION_BUCKETS_S,
    ),
    Metric(
        "ws_handshakes_rejected_total",
        "counter",
        ("route", "status"),
        "Handshakes answered with an HTTP status instead of a connection.",
    ),
    Metric(
        "ws_limited_total",
        "counter",
        ("route", "limit"),
        "What a limit has stopped: handshakes, messages, joins or connections.",
    ),
)
_MESSAGES = (
    Metric("ws_messages_received_total", "counter", ("route",), "Messages from clients."),
    Metric("ws_messages_sent_total", "counter", ("route",), "Messages to clients."),
    Metric(
        "ws_received_bytes_total",
        "counter",
        ("route",),
        "Payload of the messages from clients.",
        "bytes",
    ),
    Metric(
        "ws_sent_bytes_total", "counter", ("route",), "Payload of the messages to clients.", "bytes"
    ),
    Metric(
        "ws_slow_consumers_total",
        "counter",
        ("route", "policy"),
        "Actions taken because a client did not read fast enough.",
    ),
)
_VIEWS = (
    Metric(
        "ws_handler_duration_seconds",
        "histogram",
        ("route",),
        "Time from handing a message to the view until the view asks for the next;"
        " one message in 16 is timed.",
        "seconds",
        HANDLING_BUCKETS_S,
    ),
    Metric(
        "ws_handler_errors_total", "counter", ("route",), "Exceptions that left a view unexpected."
    ),
)
_ROOMS = (
    Metric(
        "ws_room_published_total",
        "counter",
        (),
        "Messages that workers have published, to rooms and broadcast.",
    ),
    Metric(
        "ws_room_delivered_total",
        "counter",
        (),
        "Messages handed to members, and of broadcasts to connections; one for each of them.",
    ),
    Metric(
        "ws_room_delivery_seconds",
        "histogram",
        (),
        "Time from publishing a message until a worker has handed it to its members;"
        " one message in 16 is timed.",
        "seconds",
        LATENCY_BUCKETS_S,
    ),
    Metric(
        "ws_room_recoveries_total",
        "counter",
        ("outcome",),
        "Joins that asked for what they had missed.",
    ),
    Metric(
        "ws_room_incomplete_total",
        "counter",
        (),
        "Memberships that missed messages because the journal overtook their worker.",
    ),
    Metric("ws_room_memberships", "gauge", ("worker",), "Memberships of connections in rooms."),
    Metric(
        "ws_room_memberships_capacity",
        "gauge",
        ("worker",),
        "Memberships that the worker has room for; when all are in use, joins fail.",
    ),
    Metric("ws_rooms", "gauge", (), "Rooms in the directory, with members or without."),
    Metric(
        "ws_rooms_capacity",
        "gauge",
        (),
        "Rooms that fit; then those without members make way, those silent for longest first.",
    ),
    Metric("ws_rooms_evicted_total", "counter", (), "Rooms that made way for others."),
    Metric(
        "ws_journal_messages_total",
        "counter",
        (),
        "Messages written to the journal, by workers and from outside.",
    ),
    Metric(
        "ws_journal_written_bytes_total",
        "counter",
        (),
        "What they took there, with their headers.",
        "bytes",
    ),
    Metric("ws_journal_used_bytes", "gauge", (), "Bytes of the journal that can be read.", "bytes"),
    Metric("ws_journal_capacity_bytes", "gauge", (), "The size of the journal.", "bytes"),
    Metric(
        "ws_journal_lag_bytes",
        "gauge",
        ("worker",),
        "Bytes of the journal that the worker has yet to read.",
        "bytes",
    ),
    Metric(
        "ws_journal_overruns_total",
        "counter",
        (),
        "Times that the journal overtook a worker, which lost messages then.",
    ),
)
_WORKERS = (
    Metric("ws_worker_state", "gauge", ("worker", "state"), "1 for the state the worker is in."),
    Metric(
        "ws_worker_restarts_total",
        "counter",
        ("worker",),
        "Times the worker was started again after it had ended.",
    ),
    Metric(
        "ws_worker_event_loop_lag_seconds",
        "gauge",
        ("worker",),
        "How late the last heartbeat of the worker was: what else its event loop had to do.",
        "seconds",
    ),
    Metric(
        "ws_worker_event_loop_lag_max_seconds",
        "gauge",
        ("worker",),
        "The latest that a heartbeat of the worker process has been since it started.",
        "seconds",
    ),
    Metric(
        "ws_worker_heartbeat_age_seconds",
        "gauge",
        ("worker",),
        "Time since the last heartbeat of the worker.",
        "seconds",
    ),
    Metric(
        "ws_outbox_messages",
        "gauge",
        ("worker",),
        "Messages that wait in outboxes for clients that read slowly.",
    ),
    Metric(
        "ws_outbox_bytes",
        "gauge",
        ("worker",),
        "Their payload bytes.",
        "bytes",
    ),
    Metric("ws_registry_rows_used", "gauge", ("worker",), "Rows of the registry in use."),
    Metric(
        "ws_registry_rows_capacity",
        "gauge",
        ("worker",),
        "Rows of the registry; when all are in use, handshakes are refused with 503.",
    ),
    Metric(
        "ws_worker_resident_memory_bytes",
        "gauge",
        ("worker",),
        "Memory of the worker process that is in RAM.",
        "bytes",
    ),
    Metric(
        "ws_worker_cpu_seconds_total",
        "counter",
        ("worker",),
        "User and system time of the worker process; starts again at 0 with a new process.",
        "seconds",
    ),
    Metric("ws_worker_open_files", "gauge", ("worker",), "Files that the worker has open."),
    Metric(
        "ws_worker_max_files",
        "gauge",
        ("worker",),
        "Files that the worker may have open; each connection is one.",
    ),
)
_SERVER = (
    Metric("ws_workers_ready", "gauge", (), "Workers that take connections."),
    Metric("ws_workers_wanted", "gauge", (), "Workers that the settings ask for."),
    Metric("ws_server_draining", "gauge", (), "1 while the server closes its connections to stop."),
    Metric("ws_reloads_total", "counter", (), "Reloads that have replaced every worker."),
    Metric("ws_reloads_failed_total", "counter", (), "Reloads that were given up."),
    Metric("ws_server_degraded", "gauge", (), "1 while it serves with fewer workers than wanted."),
    Metric("ws_start_time_seconds", "gauge", (), "When the server started, Unix time.", "seconds"),
    Metric("ws_build_info", "gauge", ("version", "python", "granian"), "Always 1."),
)

SECTIONS: dict[str, tuple[Metric, ...]] = {
    "Connections": _CONNECTIONS,
    "Messages": _MESSAGES,
    "Views": _VIEWS,
    "Rooms": _ROOMS,
    "Workers": _WORKERS,
    "The server": _SERVER,
}
METRICS = tuple(metric for section in SECTIONS.values() for metric in section)
