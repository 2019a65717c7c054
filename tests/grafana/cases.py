"""Owns the cases of the alerts of the server and its connections; each says which alerts fire.

Those that `fires` does not name are silent at that minute, all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.grafana.world import (
    World,
    appears,
    between,
    closed,
    grows,
    healthy,
    restarts,
    steady,
    until,
    vanishes,
)


@dataclass(frozen=True)
class Case:
    """What a Prometheus sees until some minute, and the alerts that fire then.

    Attributes:
        alert: which one it is about; it has to fire or to be silent.
        changes: series in place of those of the healthy world, or besides them.
        turn: what becomes of the whole world at last.
    """

    alert: str
    about: str
    at_minute: float
    changes: World = field(default_factory=dict)
    fires: frozenset[str] = frozenset()
    turn: Callable[[World], World] = lambda world: world
    interval_s: int = 15

    def __str__(self) -> str:
        return f"{self.alert}: {self.about}"

    def world(self) -> World:
        """All series of the case."""
        return self.turn(healthy() | self.changes)


def fires(
    alert: str, about: str, at_minute: float, changes: World, *also: str, interval_s: int = 15
) -> Case:
    """A case in which the alert fires, and those that have to fire with it."""
    return Case(
        f"Switchboard{alert}",
        about,
        at_minute,
        changes,
        frozenset(f"Switchboard{name}" for name in (alert, *also)),
        interval_s=interval_s,
    )


def silent(
    alert: str,
    about: str,
    at_minute: float,
    changes: World | None = None,
    *but: str,
    turn: Callable[[World], World] = lambda world: world,
    interval_s: int = 15,
) -> Case:
    """A case that comes near, in which only others fire, or none."""
    others = frozenset(f"Switchboard{name}" for name in but)
    return Case(f"Switchboard{alert}", about, at_minute, changes or {}, others, turn, interval_s)


def _rejected(status: int, route: str = "/echo") -> str:
    return f'ws_handshakes_rejected_total{{route="{route}",status="{status}"}}'


def _slow(policy: str) -> str:
    return f'ws_slow_consumers_total{{route="/echo",policy="{policy}"}}'


def _drains(start: float, end: float) -> World:
    """The server is asked to stop."""
    return {
        "ws_server_draining{}": between(start, end, 1, 0),
        "ws_workers_ready{}": between(start, end, 0, 2),
        'ws_worker_state{worker="0",state="draining"}': between(start, end, 1, 0),
        'ws_worker_state{worker="1",state="draining"}': between(start, end, 1, 0),
    }


SERVER = [
    Case("", "a healthy server fires nothing", 60),
    fires(
        "Down",
        "the server has gone",
        6.5,
        vanishes(healthy(), 5, 60),
    ),
    silent("Down", "it starts again", 5.5, turn=lambda world: restarts(world, 5, 5.75)),
    fires(
        "NoReadyWorker",
        "the workers have gone",
        6.5,
        {
            "ws_workers_ready{}": until(5, steady(2), steady(0)),
            "ws_server_degraded{}": until(5, steady(0), steady(1)),
        },
    ),
    silent("NoReadyWorker", "it drains", 7.5, _drains(5, 60)),
    silent(
        "NoReadyWorker",
        "it starts",
        6.5,
        {"ws_workers_ready{}": until(5.75, steady(0), steady(2))},
        turn=lambda world: restarts(world, 4, 5),
    ),
    fires(
        "WorkersMissing",
        "one worker is not ready",
        10.5,
        {
            "ws_workers_ready{}": until(5, steady(2), steady(1)),
            "ws_server_degraded{}": until(5, steady(0), steady(1)),
        },
    ),
    silent(
        "WorkersMissing",
        "it is back after four minutes",
        10.5,
        {
            "ws_workers_ready{}": between(5, 9, 1, 2),
            "ws_server_degraded{}": between(5, 9, 1, 0),
        },
    ),
    fires("DrainStuck", "a drain of the server lasts", 8.5, _drains(5, 60)),
    fires(
        "DrainStuck",
        "a reload does not get rid of a worker",
        8.5,
        {'ws_worker_state{worker="1",state="draining"}': until(5, steady(0), steady(1))},
    ),
    silent("DrainStuck", "a drain of 45 seconds", 8.5, _drains(5, 5.75)),
    silent(
        "DrainStuck",
        "a reload, one worker after the other",
        8.5,
        {
            'ws_worker_state{worker="0",state="draining"}': between(5, 7, 1, 0),
            'ws_worker_state{worker="1",state="draining"}': between(7, 9, 1, 0),
        },
    ),
    fires(
        "ReloadFailed",
        "new code does not start",
        6,
        {"ws_reloads_failed_total{}": until(5, steady(0), steady(1))},
    ),
    silent("ReloadFailed", "a reload", 6, {"ws_reloads_total{}": until(5, steady(1), steady(2))}),
]

CONNECTIONS = [
    fires(
        "AbnormalCloses",
        "a view begins to raise, on a route where it never had",
        8,
        {closed(1011, "server"): appears(5, 10, 20)},
    ),
    fires(
        "AbnormalCloses",
        "500 are lost in one instant",
        7.5,
        {closed(1006, "crash"): appears(5, 500)},
    ),
    fires(
        "AbnormalCloses",
        "a share below a quarter that was lower before",
        60,
        {closed(1011, "server"): until(50, grows(0.4, 3), grows(4, -177))},
    ),
    silent(
        "AbnormalCloses",
        "the same share, as usual",
        60,
        {closed(1011, "server"): grows(4, 3)},
    ),
    silent(
        "AbnormalCloses",
        "most of a few",
        8,
        {closed(1000, "client"): grows(0.2), closed(1011, "server"): appears(5, 5, 2)},
    ),
    silent(
        "AbnormalCloses",
        "a drain and a reload",
        8,
        {closed(1001, "server"): appears(5, 500), closed(1012, "server"): appears(5, 500)},
    ),
    silent(
        "AbnormalCloses",
        "browsers close, which granian does not tell from lost connections",
        8,
        {closed(1005, "client"): appears(5, 500)},
    ),
    silent(
        "AbnormalCloses",
        "they were counted before Prometheus came",
        4,
        {closed(1006, "crash"): steady(500)},
    ),
    silent(
        "AbnormalCloses",
        "the server starts again",
        9,
        {closed(1006, "crash"): steady(500)},
        turn=lambda world: restarts(world, 5, 5.5),
    ),
    fires(
        "BooksDoNotBalance",
        "one was opened and is neither open nor closed",
        7,
        {'ws_connections_opened_total{route="unmatched"}': until(5, steady(0), steady(1))},
    ),
    silent(
        "BooksDoNotBalance",
        "a worker has crashed",
        7,
        {closed(1006, "crash"): appears(5, 10)},
    ),
    silent("BooksDoNotBalance", "it starts again", 9, turn=lambda world: restarts(world, 5, 5.5)),
    fires(
        "HandshakesRefused",
        "there is no room",
        8,
        {_rejected(503): appears(5, 10, 10)},
    ),
    fires(
        "HandshakesRefused",
        "clients come too fast",
        8,
        {_rejected(429, "unmatched"): appears(5, 100)},
    ),
    silent("HandshakesRefused", "a few", 8, {_rejected(503): appears(5, 9, 2)}),
    silent(
        "HandshakesRefused",
        "one of a hundred",
        8,
        {_rejected(503): appears(5, 10, 10), closed(1000, "client"): grows(1000)},
    ),
    silent(
        "HandshakesRefused",
        "it drains and starts again",
        8.5,
        {_rejected(503): appears(5, 100, 100), **_drains(5, 6)},
        turn=lambda world: restarts(world, 6, 6.25),
    ),
    fires(
        "HandshakesDenied",
        "nobody's token is good",
        20,
        {_rejected(401): appears(5, 30, 30)},
    ),
    silent("HandshakesDenied", "some tokens are not", 20, {_rejected(401): appears(5, 30, 10)}),
    silent("HandshakesDenied", "for a moment", 9.5, {_rejected(401): appears(5, 300)}),
    silent(
        "HandshakesDenied",
        "most of a few",
        20,
        {_rejected(401): appears(5, 5, 5), closed(1000, "client"): grows(0.2)},
    ),
    silent(
        "HandshakesDenied",
        "a limit, which is told by another alert",
        20,
        {_rejected(429): appears(5, 30, 30)},
        "HandshakesRefused",
    ),
    silent("HandshakesDenied", "a scanner", 20, {_rejected(404, "unmatched"): grows(500)}),
    fires(
        "SlowConsumers",
        "members do not keep up",
        8,
        {_slow("disconnect"): appears(5, 6, 6), closed(1013, "server"): appears(5, 6, 6)},
    ),
    fires("SlowConsumers", "queues are full", 8, {_slow("full"): appears(5, 30)}),
    silent("SlowConsumers", "a few", 8, {_slow("disconnect"): appears(5, 9)}),
    silent(
        "SlowConsumers",
        "15 of 5000",
        8,
        {
            _slow("disconnect"): appears(5, 15),
            'ws_connections{route="/echo",worker="0"}': steady(2500),
            'ws_connections{route="/echo",worker="1"}': steady(2500),
        },
    ),
    silent(
        "SlowConsumers",
        "the app wants them to skip",
        8,
        {_slow("latest"): appears(5, 900, 900), _slow("drop_oldest"): appears(5, 900, 900)},
    ),
]
