"""Owns the dashboard of rooms: publishing, delivery, recovery, slow members and the journal."""

from grafana.builder.frame import Frame, Row
from grafana.builder.panels import RED, YELLOW, Query, Text, areas, bars, heat, lines
from grafana.builder.shared import delivery_latency

_WORKER = "worker {{worker}}"

_DELIVERY = Row(
    "Delivery",
    (
        lines(
            Text(
                "Published a second",
                "Messages that workers have published, to rooms and broadcast.",
                "mps",
            ),
            Query("sum(rate(ws_room_published_total{target}[rate]))", "published"),
        ),
        lines(
            Text(
                "Delivered a second",
                "Messages handed to members, and of broadcasts to connections; one for each of"
                " them.",
                "mps",
            ),
            Query("sum(rate(ws_room_delivered_total{target}[rate]))", "delivered"),
        ),
        lines(
            Text("Fan-out", "How many connections got a published message, on average.", "short"),
            Query(
                """sum(rate(ws_room_delivered_total{target}[rate]))
                / (sum(rate(ws_room_published_total{target}[rate])) > 0)""",
                "members",
            ),
        ),
        delivery_latency(),
        heat(
            Text(
                "Delivery latency, all",
                "How many timed messages took how long from publishing to their members.",
                "s",
            ),
            Query("sum by (le) (rate(ws_room_delivery_seconds_bucket{target}[rate]))", "{{le}}"),
        ),
        areas(
            Text("Memberships", "Connections in rooms, by worker.", "short"),
            Query("sum by (worker) (ws_room_memberships{target})", _WORKER),
        ),
    ),
)

_RECOVERY = Row(
    "Recovery",
    (
        bars(
            Text(
                "Returns",
                "Joins a second that asked for what they had missed, and whether they got it.",
                "ops",
            ),
            Query("sum by (outcome) (rate(ws_room_recoveries_total{target}[rate]))", "{{outcome}}"),
            colors={"recovered": "green", "not_recovered": "red"},
        ),
        lines(
            Text(
                "Recovered",
                "The share of them, over five minutes, that got all they had missed. Below 100 %"
                " clients come too late for the journal, or ask for rooms of an earlier start.",
                "percentunit",
                {0: RED, 0.95: YELLOW, 1: "green"},
            ),
            Query(
                """sum(rate(ws_room_recoveries_total{target, outcome="recovered"}[5m]))
                / (sum(rate(ws_room_recoveries_total{target}[5m])) > 0)""",
                "recovered",
            ),
            top=1,
        ),
        lines(
            Text(
                "Lost to members",
                "Memberships a second that missed messages, because the journal overtook their"
                " worker. They were told, or closed with 1013.",
                "ops",
                {0.01: RED},
            ),
            Query("sum(rate(ws_room_incomplete_total{target}[rate]))", "incomplete"),
        ),
    ),
)

_SLOW = Row(
    "Slow consumers",
    (
        bars(
            Text(
                "What was done",
                "Within five minutes, about clients that did not read fast enough.",
                "short",
                {1: YELLOW},
            ),
            Query(
                "sum by (policy) (route_policy:ws_slow_consumers:increase5m{target})", "{{policy}}"
            ),
        ),
        areas(
            Text("Messages that wait", "In outboxes, for clients that read slowly.", "short"),
            Query("sum by (worker) (ws_outbox_messages{target})", _WORKER),
        ),
        areas(
            Text("Bytes that wait", "Payload in outboxes.", "bytes"),
            Query("sum by (worker) (ws_outbox_bytes{target})", _WORKER),
        ),
    ),
)

_JOURNAL = Row(
    "Journal",
    (
        lines(
            Text(
                "Messages a second",
                "Messages written to the journal, by workers and from outside.",
                "mps",
            ),
            Query("sum(rate(ws_journal_messages_total{target}[rate]))", "written"),
        ),
        lines(
            Text("Bytes a second", "What they took there, with their headers.", "Bps"),
            Query("sum(rate(ws_journal_written_bytes_total{target}[rate]))", "written"),
        ),
        lines(
            Text(
                "History",
                "How far back the journal goes at the present rate: who comes back later than that"
                " is not recovered.",
                "s",
            ),
            Query(
                """sum(ws_journal_capacity_bytes{target})
                / (sum(rate(ws_journal_written_bytes_total{target}[rate])) > 0)""",
                "reaches back",
            ),
        ),
        lines(
            Text(
                "Journal in use",
                "Bytes of the journal that can be read. It fills once and stays full: what is"
                " oldest makes way.",
                "bytes",
            ),
            Query("sum(ws_journal_used_bytes{target})", "in use"),
            Query("sum(ws_journal_capacity_bytes{target})", "size"),
        ),
        lines(
            Text(
                "Unread",
                "The share of the journal that each worker has yet to read. At 100 % it is"
                " overtaken, and loses messages.",
                "percentunit",
                {0.25: YELLOW, 0.5: RED},
            ),
            Query(
                """max by (worker) (ws_journal_lag_bytes{target}
                / on (job, instance) group_left () ws_journal_capacity_bytes{target})""",
                _WORKER,
            ),
        ),
        lines(
            Text(
                "Overruns",
                "How often within five minutes the journal has overtaken a worker.",
                "short",
                {0.5: RED},
            ),
            Query("sum(increase(ws_journal_overruns_total{target}[5m]))", "overruns"),
        ),
    ),
)

_DIRECTORY = Row(
    "Directory",
    (
        lines(
            Text(
                "Rooms",
                "Rooms in the directory, with members or without, and how many fit.",
                "short",
            ),
            Query("sum(ws_rooms{target})", "rooms"),
            Query("sum(ws_rooms_capacity{target})", "fit"),
        ),
        lines(
            Text(
                "Rooms that made way",
                "Rooms without members, a second, that had to make way for others: their history is"
                " lost.",
                "ops",
                {1: YELLOW},
            ),
            Query("sum(rate(ws_rooms_evicted_total{target}[rate]))", "evicted"),
        ),
        lines(
            Text(
                "Memberships in use",
                "Of what each worker has room for; at 100 % joins fail.",
                "percentunit",
                {0.7: YELLOW, 0.85: RED},
            ),
            Query(
                """max by (worker)
                (ws_room_memberships{target} / ws_room_memberships_capacity{target})""",
                _WORKER,
            ),
        ),
    ),
)

ROOMS = Frame(
    uid="ws-rooms",
    title="Switchboard: rooms and delivery",
    description="Publishing to rooms, what became of it, and the journal that carries it.",
    rows=(_DELIVERY, _RECOVERY, _SLOW, _JOURNAL, _DIRECTORY),
)
