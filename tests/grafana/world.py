"""Owns series as Prometheus would have scraped them, minute by minute; knows no rule.

A world is a healthy server with two workers and some traffic. A case changes some of its series;
what was opened always follows from what is open and closed, unless a case says otherwise.
"""

import re
from collections.abc import Callable, Iterator

Value = Callable[[float], float | None]  # of the minute; None is a series that is not there
World = dict[str, Value]

TARGET = 'job="switchboard",instance="127.0.0.1:9464"'
ROUTES = ("/echo", "unmatched")
MIB = 1024 * 1024
_SERIES = re.compile(r"(\w+)\{(.*)\}")


def steady(value: float) -> Value:
    """The same all the time."""
    return lambda minute: value


def grows(per_minute: float, start: float = 0) -> Value:
    """More by as much each minute."""
    return lambda minute: start + int(per_minute * minute)


def until(end: float, before: Value | None, after: Value | None) -> Value:
    """One until that minute, and the other from then on; None is a series that is not there."""

    def value(minute: float) -> float | None:
        now = before if minute < end else after
        return None if now is None else now(minute)

    return value


def between(start: float, end: float, value: float, other: float) -> Value:
    """A value for some time, another before and after it."""
    return until(start, steady(other), until(end, steady(value), steady(other)))


def appears(at: float, value: float, per_minute: float = 0) -> Value:
    """A counter that has no series before its first count."""
    return until(at, None, lambda minute: value + int(per_minute * (minute - at)))


def healthy() -> World:
    """A server with 200 connections, 20 more and 20 fewer a minute, that has run for a day."""
    world: World = {
        'ws_connections{route="/echo",worker="0"}': steady(110),
        'ws_connections{route="/echo",worker="1"}': steady(90),
        'ws_connections{route="unmatched",worker="0"}': steady(0),
        'ws_connections{route="unmatched",worker="1"}': steady(0),
        closed(1000, "client"): grows(19, 5000),
        closed(1011, "server"): grows(0.2, 3),
        closed(1005, "client"): grows(1, 900),
        "ws_handshakes_rejected_total{" + 'route="unmatched",status="404"}': grows(2, 70),
        "ws_rooms{}": steady(16384),
        "ws_rooms_capacity{}": steady(16384),
        "ws_journal_used_bytes{}": steady(64 * MIB),
        "ws_journal_capacity_bytes{}": steady(64 * MIB),
        "ws_journal_overruns_total{}": steady(0),
        "ws_workers_ready{}": steady(2),
        "ws_workers_wanted{}": steady(2),
        "ws_server_draining{}": steady(0),
        "ws_server_degraded{}": steady(0),
        "ws_reloads_total{}": steady(1),
        "ws_reloads_failed_total{}": steady(0),
        "ws_start_time_seconds{}": steady(-86400),
        "up{}": steady(1),
    }
    for worker in ("0", "1"):
        world |= _worker(worker)
    return world


def _worker(worker: str) -> World:
    own = f'worker="{worker}"'
    states = ("starting", "ready", "draining", "dead")
    return {
        f"ws_worker_restarts_total{{{own}}}": steady(0),
        f"ws_worker_heartbeat_age_seconds{{{own}}}": steady(0.4),
        f"ws_worker_event_loop_lag_seconds{{{own}}}": steady(0.002),
        f"ws_registry_rows_used{{{own}}}": steady(100),
        f"ws_registry_rows_capacity{{{own}}}": steady(16384),
        f"ws_worker_resident_memory_bytes{{{own}}}": steady(150 * MIB),
        f"ws_worker_open_files{{{own}}}": steady(180),
        f"ws_worker_max_files{{{own}}}": steady(20000),
        f"ws_room_memberships{{{own}}}": steady(300),
        f"ws_room_memberships_capacity{{{own}}}": steady(65536),
        f"ws_journal_lag_bytes{{{own}}}": steady(4096),
        **{
            f'ws_worker_state{{{own},state="{state}"}}': steady(int(state == "ready"))
            for state in states
        },
    }


def closed(code: int, initiator: str, route: str = "/echo") -> str:
    """The series of how connections ended."""
    return f'ws_connections_closed_total{{route="{route}",code="{code}",initiator="{initiator}"}}'


def vanishes(world: World, start: float, end: float) -> World:
    """The target does not answer for some time: what it tells is not there then."""

    def gone(value: Value) -> Value:
        return until(start, value, until(end, None, value))

    kept: World = {"up{}": between(start, end, 0, 1)}
    return {name: gone(value) for name, value in world.items() if name not in kept} | kept


def restarts(world: World, start: float, end: float) -> World:
    """The server ends and starts anew: what it has counted begins at 0, rare series are gone."""
    after = {
        name: (lambda minute: 0) if "_total{" in name else value
        for name, value in world.items()
        if not name.startswith(("ws_connections_closed", "ws_handshakes", "ws_slow"))
    }
    after["ws_start_time_seconds{}"] = steady(end * 60)
    return {
        name: until(start, value, until(end, None, after.get(name)))
        for name, value in world.items()
    } | {"up{}": between(start, end, 0, 1)}


def input_series(world: World, minutes: float, interval_s: int) -> list[dict[str, str]]:
    """The series as promtool reads them; a series that goes away leaves a mark, as in a scrape."""
    moments = [step * interval_s / 60 for step in range(int(minutes * 60 / interval_s) + 1)]
    return [
        {"series": _with_target(name), "values": " ".join(_texts(value, moments))}
        for name, value in (_opened(world) | world).items()
    ]


def _texts(value: Value, moments: list[float]) -> Iterator[str]:
    there = False
    for moment in moments:
        now = value(moment)
        yield repr(now) if now is not None else "stale" if there else "_"
        there = now is not None


def _opened(world: World) -> World:
    """What was opened on each route, by what is open and what was closed."""
    return {
        f'ws_connections_opened_total{{route="{route}"}}': _sum(
            value
            for name, value in world.items()
            if name.startswith("ws_connections") and f'route="{route}"' in name
        )
        for route in ROUTES
    }


def _sum(values: Iterator[Value]) -> Value:
    parts = list(values)

    def total(minute: float) -> float | None:
        there = [now for part in parts if (now := part(minute)) is not None]
        return sum(there) if there else None

    return total


def _with_target(series: str) -> str:
    name, labels = _SERIES.fullmatch(series).groups()  # type: ignore[union-attr]
    return f"{name}{{{labels}{',' if labels else ''}{TARGET}}}"
