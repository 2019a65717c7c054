"""Owns the dashboard of workers: what each uses, how busy and how far from its limits it is."""

from grafana.builder.frame import Frame, Row
from grafana.builder.panels import RED, YELLOW, Query, Text, bars, lines

_WORKER = "worker {{worker}}"

_STATE = Row(
    "State",
    (
        bars(
            Text("Workers by state", "How many workers are in which state.", "short"),
            Query("sum by (state) (ws_worker_state{worker})", "{{state}}"),
            width=6,
            colors={"ready": "green", "starting": "blue", "draining": YELLOW, "dead": RED},
        ),
        lines(
            Text(
                "Ready and wanted",
                "Workers that take connections, and workers that the settings ask for.",
                "short",
            ),
            Query("sum(ws_workers_ready{target})", "ready"),
            Query("sum(ws_workers_wanted{target})", "wanted"),
            width=6,
        ),
        bars(
            Text(
                "Started again",
                "How often within five minutes a worker had to be started again after it had"
                " ended.",
                "short",
                {1: RED},
            ),
            Query("sum by (worker) (increase(ws_worker_restarts_total{worker}[5m])) > 0", _WORKER),
            width=6,
        ),
        bars(
            Text(
                "Reloads",
                "Reloads within five minutes: done, and given up.",
                "short",
            ),
            Query("sum(increase(ws_reloads_total{target}[5m]))", "done"),
            Query("sum(increase(ws_reloads_failed_total{target}[5m]))", "given up"),
            width=6,
            colors={"done": "blue", "given up": RED},
        ),
    ),
)

_BUSY = Row(
    "How busy",
    (
        lines(
            Text(
                "CPU",
                "Cores that each worker process uses; one worker cannot use much more than one.",
                "percentunit",
                {0.7: YELLOW, 0.9: RED},
            ),
            Query("sum by (worker) (rate(ws_worker_cpu_seconds_total{worker}[rate]))", _WORKER),
            top=1,
        ),
        lines(
            Text(
                "Lag of the event loop",
                "How late the last heartbeat was: what else the loop had to do before. Clients wait"
                " as long.",
                "s",
                {0.1: YELLOW, 0.5: RED},
            ),
            Query("max by (worker) (ws_worker_event_loop_lag_seconds{worker})", _WORKER),
        ),
        lines(
            Text(
                "Worst lag since the start",
                "The latest that a heartbeat of each worker process has been.",
                "s",
                {1: YELLOW},
            ),
            Query("max by (worker) (ws_worker_event_loop_lag_max_seconds{worker})", _WORKER),
        ),
        lines(
            Text(
                "Age of the heartbeat",
                "A worker whose heartbeat is seconds old hangs: in a view that blocks, or stopped.",
                "s",
                {5: YELLOW, 10: RED},
            ),
            Query("max by (worker) (ws_worker_heartbeat_age_seconds{worker})", _WORKER),
        ),
        lines(
            Text(
                "Messages that wait",
                "In outboxes, for clients that read slowly.",
                "short",
            ),
            Query("sum by (worker) (ws_outbox_messages{worker})", _WORKER),
        ),
        lines(
            Text("Bytes that wait", "Their payload.", "bytes"),
            Query("sum by (worker) (ws_outbox_bytes{worker})", _WORKER),
        ),
    ),
)

_SHARE = Row(
    "How even",
    (
        lines(
            Text(
                "Connections",
                "By worker. The kernel gives a new connection to any of them; after a restart the"
                " new worker has few until clients come and go.",
                "short",
            ),
            Query("sum by (worker) (worker:ws_connections:sum{worker})", _WORKER),
            width=12,
        ),
        lines(
            Text(
                "Imbalance",
                "How many times the average the worker with the most connections has.",
                "short",
                {1.5: YELLOW, 2: RED},
            ),
            Query(
                """max(worker:ws_connections:sum{target})
                / (avg(worker:ws_connections:sum{target}) > 0)""",
                "most / average",
            ),
            width=12,
        ),
    ),
)

_USED = Row(
    "How much is used",
    (
        lines(
            Text(
                "Memory",
                "Of each worker process, in RAM. It counts the part of the shared memory that the"
                " worker has touched.",
                "bytes",
            ),
            Query("max by (worker) (ws_worker_resident_memory_bytes{worker})", _WORKER),
            width=6,
        ),
        lines(
            Text(
                "Open files",
                "Of those that a worker may have open; each connection is one. At 100 % it can"
                " accept nobody.",
                "percentunit",
                {0.7: YELLOW, 0.85: RED},
            ),
            Query(
                "max by (worker) (ws_worker_open_files{worker} / ws_worker_max_files{worker})",
                _WORKER,
            ),
            width=6,
        ),
        lines(
            Text(
                "Registry rows",
                "Of those a worker has; when all are in use, handshakes are refused with 503.",
                "percentunit",
                {0.7: YELLOW, 0.85: RED},
            ),
            Query(
                """max by (worker)
                (ws_registry_rows_used{worker} / ws_registry_rows_capacity{worker})""",
                _WORKER,
            ),
            width=6,
        ),
        lines(
            Text(
                "Memberships",
                "Of those a worker has room for; when all are in use, joins fail.",
                "percentunit",
                {0.7: YELLOW, 0.85: RED},
            ),
            Query(
                """max by (worker)
                (ws_room_memberships{worker} / ws_room_memberships_capacity{worker})""",
                _WORKER,
            ),
            width=6,
        ),
    ),
)

WORKERS = Frame(
    uid="ws-workers",
    title="Switchboard: workers",
    description="What each worker process does and uses, and how far it is from its limits.",
    rows=(_STATE, _BUSY, _SHARE, _USED),
    variables=("worker",),
)
