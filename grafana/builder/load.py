"""Owns the dashboard to watch during `make loadtest`: one screen, what counts first."""

from grafana.builder.frame import Frame, Row
from grafana.builder.panels import RED, YELLOW, Query, Text, figure, gauges, lines
from grafana.builder.shared import (
    capacity,
    close_codes,
    delivery_latency,
    opens_and_closes,
    refused,
)

_WORKER = "worker {{worker}}"

_NOW = Row(
    "Now",
    (
        figure(
            Text("Connections", "Connections that are open now.", "short"),
            Query("sum(ws_connections{route})", "open"),
        ),
        figure(
            Text("From clients", "Messages received a second.", "mps"),
            Query("sum(rate(ws_messages_received_total{route}[rate]))", "received"),
        ),
        figure(
            Text("To clients", "Messages sent a second.", "mps"),
            Query("sum(rate(ws_messages_sent_total{route}[rate]))", "sent"),
        ),
        figure(
            Text(
                "Delivery, p99",
                "From publishing to a room until a worker has handed it to its members.",
                "s",
                {0.2: YELLOW, 1: RED},
            ),
            Query(
                """histogram_quantile(0.99,
                sum by (le) (rate(ws_room_delivery_seconds_bucket{target}[rate])))""",
                "p99",
            ),
        ),
        figure(
            Text(
                "Busiest worker",
                "Cores that the busiest worker uses. Near 100 % the server is the limit.",
                "percentunit",
                {0.8: YELLOW, 0.95: RED},
            ),
            Query("max(rate(ws_worker_cpu_seconds_total{target}[rate]))", "busiest"),
        ),
        figure(
            Text(
                "Memory a connection",
                "Memory of all workers, divided by the connections; at few connections it is the"
                " workers themselves.",
                "bytes",
            ),
            Query(
                """sum(ws_worker_resident_memory_bytes{target})
                / (sum(ws_connections{target}) > 0)""",
                "each",
            ),
        ),
    ),
)

_COURSE = Row(
    "Course",
    (
        lines(
            Text("Connections by worker", "Connections that are open.", "short"),
            Query("sum by (worker) (ws_connections{route})", _WORKER),
        ),
        opens_and_closes(),
        lines(
            Text("Messages a second", "From clients, and to clients.", "mps"),
            Query("sum(rate(ws_messages_received_total{route}[rate]))", "from clients"),
            Query("sum(rate(ws_messages_sent_total{route}[rate]))", "to clients"),
        ),
        delivery_latency(),
        close_codes(),
        refused(),
        lines(
            Text(
                "CPU by worker",
                "Cores that each worker process uses.",
                "percentunit",
                {0.8: YELLOW, 0.95: RED},
            ),
            Query("sum by (worker) (rate(ws_worker_cpu_seconds_total{target}[rate]))", _WORKER),
            top=1,
        ),
        lines(
            Text(
                "Lag of the event loop",
                "How late the last heartbeat of each worker was.",
                "s",
                {0.1: YELLOW, 0.5: RED},
            ),
            Query("max by (worker) (ws_worker_event_loop_lag_seconds{target})", _WORKER),
        ),
        gauges(
            Text(
                "Capacity used",
                "How much of each limit is in use, on the worker that uses most of it.",
                "percentunit",
                {0.7: YELLOW, 0.85: RED},
            ),
            *capacity(),
        ),
    ),
)

LOAD = Frame(
    uid="ws-load",
    title="Switchboard: load test",
    description="The server while `make loadtest` or `make capacity` runs.",
    rows=(_NOW, _COURSE),
    since="15m",
    refresh="5s",
    variables=("route",),
)
