"""Owns panels that are on more than one dashboard."""

from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import Panel

from grafana.builder.panels import RED, YELLOW, Query, Text, bars, lines

CODE_COLORS = {
    "1000": "green",
    "1001": "blue",
    "1005": "light-green",
    "1006": "red",
    "1011": "dark-red",
    "1012": "light-blue",
    "1013": "orange",
}


def opens_and_closes() -> Builder[Panel]:
    """Return how many connections come and go."""
    return lines(
        Text(
            "Opens and closes a second",
            "Connections accepted, and connections that ended. While both are equal, the number of"
            " connections stays. The first close with a code is not seen here: see below.",
            "ops",
        ),
        Query("sum(rate(ws_connections_opened_total{route}[rate]))", "opened"),
        Query("sum(rate(ws_connections_closed_total{route}[rate])) or vector(0)", "closed"),
    )


def close_codes() -> Builder[Panel]:
    """Return with which codes connections end."""
    return bars(
        Text(
            "Close codes",
            "Connections that ended within five minutes, by close code. 1000, 1001 and 1005 are"
            " clients that leave, or a drain; 1006 is a lost client or a killed worker; 1011 an"
            " exception in a view; 1013 a client that reads too slowly.",
            "short",
        ),
        Query(
            "sum by (code) (route_code_initiator:ws_connections_closed:increase5m{route})",
            "{{code}}",
        ),
        colors=CODE_COLORS,
    )


def refused() -> Builder[Panel]:
    """Return with which statuses handshakes are refused."""
    return bars(
        Text(
            "Refused handshakes",
            "Handshakes refused within five minutes, by HTTP status, on all paths: 401 and 403 are"
            " not allowed in, 404 or 403 on `unmatched` is a path without a route, 429 and 503 are"
            " limits, or a server that drains.",
            "short",
            {1: YELLOW},
        ),
        Query(
            "sum by (status) (route_status:ws_handshakes_rejected:increase5m{target})", "{{status}}"
        ),
    )


def view_time(*shares: float) -> Builder[Panel]:
    """Return how long views take for a message."""
    names = " and ".join(f"p{share * 100:g}" for share in shares)
    return lines(
        Text(
            f"Time of views, {names}",
            "From handing a message to a view until the view asks for the next; one message in 16"
            " is timed.",
            "s",
            {0.1: YELLOW, 1: RED},
        ),
        *(
            Query(
                f"histogram_quantile({share:g}, sum by (le, route)"
                " (rate(ws_handler_duration_seconds_bucket{route}[rate])))",
                f"p{share * 100:g} {{{{route}}}}",
            )
            for share in shares
        ),
    )


def delivery_latency() -> Builder[Panel]:
    """Return how long messages of rooms take."""
    return lines(
        Text(
            "Delivery latency",
            "From publishing a message to a room until a worker has handed it to its members; one"
            " message in 16 is timed.",
            "s",
            {0.2: YELLOW, 1: RED},
        ),
        *(
            Query(
                f"histogram_quantile({share:g}, sum by (le)"
                " (rate(ws_room_delivery_seconds_bucket{target}[rate])))",
                f"p{share * 100:g}",
            )
            for share in (0.5, 0.95, 0.99)
        ),
    )


def capacity() -> tuple[Query, ...]:
    """Return how much of each limit is in use."""
    of_worker = {
        "registry rows": ("ws_registry_rows_used", "ws_registry_rows_capacity"),
        "open files": ("ws_worker_open_files", "ws_worker_max_files"),
        "memberships": ("ws_room_memberships", "ws_room_memberships_capacity"),
    }
    queries = [
        Query(f"max({used}{{target}} / {fits}{{target}})", name)
        for name, (used, fits) in of_worker.items()
    ]
    lag = (
        "max(ws_journal_lag_bytes{target} / on (job, instance) group_left ()"
        " ws_journal_capacity_bytes{target})"
    )
    rooms = "max(ws_rooms{target} / ws_rooms_capacity{target})"
    return (*queries, Query(rooms, "rooms"), Query(lag, "journal, unread"))
