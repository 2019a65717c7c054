"""Owns the dashboard that answers: are the users fine, and is the server?"""

from grafana.builder.frame import Frame, Row
from grafana.builder.panels import (
    GRAY,
    GREEN,
    RED,
    YELLOW,
    Query,
    Text,
    areas,
    bars,
    figure,
    gauges,
    leads_to,
    lines,
)
from grafana.builder.shared import (
    capacity,
    close_codes,
    delivery_latency,
    opens_and_closes,
    refused,
    view_time,
)

_NOW = Row(
    "Now",
    (
        figure(
            Text("Connections", "Connections that are open now, on all workers.", "short"),
            Query("sum(ws_connections{route})", "open"),
        ),
        figure(
            Text(
                "Server",
                "Whether it serves, drains in order to stop, or serves with fewer workers than"
                " wanted.",
                "short",
                {1: YELLOW, 2: RED},
            ),
            Query("max(ws_server_draining{target}) + 2 * max(ws_server_degraded{target})", "state"),
            words={
                0: ("serving", GREEN),
                1: ("draining", YELLOW),
                2: ("degraded", RED),
                3: ("draining, degraded", RED),
            },
        ),
        figure(
            Text(
                "Workers ready",
                "The share of the wanted workers that take connections. Below 100 % for longer than"
                " a start takes, something is wrong.",
                "percentunit",
                {0: RED, 0.01: YELLOW, 1: GREEN},
            ),
            Query("sum(ws_workers_ready{target}) / sum(ws_workers_wanted{target})", "ready"),
        ),
        figure(
            Text(
                "Abnormal closes",
                "The share of closes of the last five minutes with 1006 (lost) or a fault:"
                " 1002, 1003, 1007, 1009, 1011, 1014. Not counted: what a browser sends when a page"
                " is left, and what a drain sends.",
                "percentunit",
                {0.05: YELLOW, 0.2: RED},
            ),
            Query(
                """sum(route:ws_connections_abnormal:increase5m{route})
                / (sum(route:ws_connections_closed:increase5m{route}) > 0) or vector(0)""",
                "abnormal",
            ),
        ),
        figure(
            Text(
                "Refused handshakes",
                "Handshakes of the last five minutes that were answered with an HTTP status instead"
                " of a connection.",
                "short",
                {1: YELLOW, 100: RED},
            ),
            Query(
                "round(sum(route_status:ws_handshakes_rejected:increase5m{target})) or vector(0)",
                "refused",
            ),
        ),
        figure(
            Text(
                "Running for",
                "Since the server (its supervisor) was started; a reload does not begin it anew.",
                "s",
            ),
            Query("time() - max(ws_start_time_seconds{target})", "running"),
        ),
    ),
)

_USERS = Row(
    "Are the users fine?",
    (
        leads_to(
            areas(
                Text("Connections by route", "Connections that are open, by route.", "short"),
                Query("sum by (route) (ws_connections{route})", "{{route}}"),
            ),
            "This route",
            "/d/ws-routes?var-route=${__field.labels.route}&${__url_time_range}",
        ),
        opens_and_closes(),
        close_codes(),
        refused(),
        view_time(0.99),
        delivery_latency(),
        lines(
            Text(
                "Messages a second",
                "Messages from clients, and to clients, on the chosen routes.",
                "mps",
            ),
            Query("sum(rate(ws_messages_received_total{route}[rate]))", "from clients"),
            Query("sum(rate(ws_messages_sent_total{route}[rate]))", "to clients"),
        ),
        bars(
            Text(
                "Slow consumers",
                "What was done, within five minutes, about clients that did not read fast enough.",
                "short",
                {1: YELLOW},
            ),
            Query(
                "sum by (policy) (route_policy:ws_slow_consumers:increase5m{route})", "{{policy}}"
            ),
        ),
        lines(
            Text(
                "Faults of views",
                "Exceptions a second that left a view unexpected; each closed a connection with"
                " 1011, or refused it with 500.",
                "ops",
                {0.01: YELLOW, 1: RED},
            ),
            Query("sum by (route) (rate(ws_handler_errors_total{route}[rate]))", "{{route}}"),
        ),
    ),
)

_SERVER = Row(
    "Is the server fine?",
    (
        bars(
            Text("Workers by state", "How many workers are in which state.", "short"),
            Query("sum by (state) (ws_worker_state{target})", "{{state}}"),
            colors={"ready": GREEN, "starting": "blue", "draining": YELLOW, "dead": RED},
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
        leads_to(
            lines(
                Text(
                    "CPU by worker",
                    "Cores that each worker process uses; one cannot use much more than one.",
                    "percentunit",
                    {0.7: YELLOW, 0.9: RED},
                ),
                Query(
                    "sum by (worker) (rate(ws_worker_cpu_seconds_total{target}[rate]))",
                    "worker {{worker}}",
                ),
                top=1,
            ),
            "This worker",
            "/d/ws-workers?var-worker=${__field.labels.worker}&${__url_time_range}",
        ),
        figure(
            Text("Versions", "What runs.", "short", {0: GRAY}),
            Query(
                "count by (version, python, granian) (ws_build_info{target})",
                "Switchboard {{version}}, granian {{granian}}, Python {{python}}",
            ),
            width=24,
            is_name=True,
        ),
    ),
)

OVERVIEW = Frame(
    uid="ws-overview",
    title="Switchboard: overview",
    description="Are the users fine, and is the server?",
    rows=(_NOW, _USERS, _SERVER),
    variables=("route",),
)
