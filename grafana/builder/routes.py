"""Owns the dashboard of routes: rate, errors and duration of each."""

from grafana.builder.frame import Frame, Row
from grafana.builder.panels import RED, YELLOW, Query, Text, areas, bars, heat, lines
from grafana.builder.shared import CODE_COLORS, view_time

_ROUTE = "{{route}}"

_RATE = Row(
    "Rate",
    (
        areas(
            Text("Connections", "Connections that are open, by route.", "short"),
            Query("sum by (route) (ws_connections{route})", _ROUTE),
        ),
        lines(
            Text("Opened a second", "Connections accepted, by route.", "ops"),
            Query("sum by (route) (rate(ws_connections_opened_total{route}[rate]))", _ROUTE),
        ),
        lines(
            Text("Messages from clients", "Messages received a second, by route.", "mps"),
            Query("sum by (route) (rate(ws_messages_received_total{route}[rate]))", _ROUTE),
        ),
        lines(
            Text("Messages to clients", "Messages sent a second, by route.", "mps"),
            Query("sum by (route) (rate(ws_messages_sent_total{route}[rate]))", _ROUTE),
        ),
        lines(
            Text("Bytes from clients", "Payload received a second, by route.", "Bps"),
            Query("sum by (route) (rate(ws_received_bytes_total{route}[rate]))", _ROUTE),
        ),
        lines(
            Text("Bytes to clients", "Payload sent a second, by route.", "Bps"),
            Query("sum by (route) (rate(ws_sent_bytes_total{route}[rate]))", _ROUTE),
        ),
    ),
)

_ERRORS = Row(
    "Errors",
    (
        lines(
            Text(
                "Faults of views",
                "Exceptions a second that left a view unexpected.",
                "ops",
                {0.01: YELLOW, 1: RED},
            ),
            Query("sum by (route) (rate(ws_handler_errors_total{route}[rate]))", _ROUTE),
        ),
        bars(
            Text(
                "Refused handshakes",
                "Handshakes refused within five minutes, by route and HTTP status; `unmatched` is a"
                " path without a route.",
                "short",
                {1: YELLOW},
            ),
            Query(
                "sum by (route, status) (route_status:ws_handshakes_rejected:increase5m{route})",
                "{{route}} {{status}}",
            ),
        ),
        bars(
            Text(
                "Stopped by limits",
                "What a limit has stopped a second: handshakes, messages, joins or connections.",
                "ops",
                {0.01: YELLOW},
            ),
            Query(
                "sum by (route, limit) (rate(ws_limited_total{route}[rate])) > 0",
                "{{route}} {{limit}}",
            ),
        ),
    ),
)

_DURATION = Row(
    "Duration",
    (
        view_time(0.5, 0.99),
        heat(
            Text(
                "Time of views, all",
                "How many timed messages took how long, on the chosen routes.",
                "s",
            ),
            Query("sum by (le) (rate(ws_handler_duration_seconds_bucket{route}[rate]))", "{{le}}"),
        ),
        lines(
            Text(
                "How long connections lasted",
                "Of those that ended within the last five minutes: half of them lasted shorter"
                " (p50), one in ten longer (p90).",
                "s",
            ),
            *(
                Query(
                    f"histogram_quantile({share}, sum by (le, route)"
                    " (rate(ws_connection_duration_seconds_bucket{route}[5m])))",
                    f"p{share * 100:g} {_ROUTE}",
                )
                for share in (0.5, 0.9)
            ),
        ),
    ),
)

_CODES = Row(
    "Close codes",
    (
        bars(
            Text(
                "Closes by route and code",
                "Connections that ended within five minutes.",
                "short",
            ),
            Query(
                """sum by (route, code)
                (route_code_initiator:ws_connections_closed:increase5m{route})""",
                "{{route}} {{code}}",
            ),
            width=12,
            colors={f"/ {code}$/": color for code, color in CODE_COLORS.items()},
        ),
        bars(
            Text(
                "Closes by who ended them",
                "Connections that ended within five minutes: by the client (or it was lost), by the"
                " server, or by the crash of their worker.",
                "short",
            ),
            Query(
                """sum by (initiator)
                (route_code_initiator:ws_connections_closed:increase5m{route})""",
                "{{initiator}}",
            ),
            width=6,
            colors={"client": "green", "server": "blue", "crash": "red"},
        ),
        lines(
            Text(
                "Abnormal closes",
                "The share of closes of five minutes with 1006 or a fault, by route.",
                "percentunit",
                {0.05: YELLOW, 0.2: RED},
            ),
            Query("route:ws_connections_abnormal:ratio5m{route}", _ROUTE),
            width=6,
            top=1,
        ),
    ),
)

_SIZES = Row(
    "Messages",
    (
        lines(
            Text("Size of messages from clients", "The mean payload of a message.", "bytes"),
            Query(
                """sum by (route) (rate(ws_received_bytes_total{route}[rate]))
                / (sum by (route) (rate(ws_messages_received_total{route}[rate])) > 0)""",
                _ROUTE,
            ),
        ),
        lines(
            Text("Size of messages to clients", "The mean payload of a message.", "bytes"),
            Query(
                """sum by (route) (rate(ws_sent_bytes_total{route}[rate]))
                / (sum by (route) (rate(ws_messages_sent_total{route}[rate])) > 0)""",
                _ROUTE,
            ),
        ),
        bars(
            Text(
                "Slow consumers",
                "What was done, within five minutes, about clients that did not read fast enough.",
                "short",
                {1: YELLOW},
            ),
            Query(
                "sum by (route, policy) (route_policy:ws_slow_consumers:increase5m{route})",
                "{{route}} {{policy}}",
            ),
        ),
    ),
)

ROUTES = Frame(
    uid="ws-routes",
    title="Switchboard: routes",
    description="Rate, errors and duration of each route, and how its connections end.",
    rows=(_RATE, _ERRORS, _DURATION, _CODES, _SIZES),
    variables=("route",),
)
