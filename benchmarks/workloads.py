"""Owns the list of workloads: which servers carry what traffic, and what a result has to reach."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from benchmarks.crossing import CrossingLoad
from benchmarks.echo import EchoLoad, JSONLoad
from benchmarks.fanout import FanoutLoad
from benchmarks.handshakes import HandshakeLoad
from benchmarks.idle import IdleLoad
from benchmarks.small_rooms import SmallRoomsLoad
from benchmarks.targets import OURS, Measure, Target
from benchmarks.traffic import MakeLoad

TWO_WORKERS = f"{OURS}-2-workers"
UNAWAITED = "granian-unawaited"
PAIRED = "granian-paired"


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the connections do, how many there are by default, and to which path they go."""

    name: str
    load: MakeLoad
    path: str
    connections: int
    warmup_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Case:
    """One line of a table: a server under some traffic."""

    name: str
    server: str
    traffic: Traffic


@dataclass(frozen=True, slots=True)
class Workload:
    """Cases that are measured side by side, and what has to come of it.

    Attributes:
        unit, units: what is counted, one and many.
        is_saturating: whether a server has to be near its limit for its figure to count.
        is_default: whether it runs if nobody names workloads.
        measure: the figure it is about.
    """

    name: str
    title: str
    unit: str
    units: str
    cases: tuple[Case, ...]
    targets: tuple[Target, ...]
    is_saturating: bool = True
    is_default: bool = False
    measure: Measure = Measure.COST


ECHO = Traffic("echo", EchoLoad, "/echo", 200)
FANOUT = Traffic("fanout", FanoutLoad, "/room/bench", 200)
MANY = replace(FANOUT, connections=10_000)
SMALL_ROOMS = Traffic("small-rooms", SmallRoomsLoad, "/room/bench", 5_000)
ELSEWHERE = Traffic("elsewhere", partial(CrossingLoad, is_elsewhere=True), "/placed", 3)
AT_HOME = Traffic("at-home", partial(CrossingLoad, is_elsewhere=False), "/placed", 3)
HANDSHAKES = Traffic("handshakes", HandshakeLoad, "/echo", 64)
JSON = Traffic("json", JSONLoad, "/json", 200)
JSON_AS_TEXT = replace(JSON, path="/echo")
IDLE = Traffic("idle", IdleLoad, "/echo", 2_000, warmup_seconds=0.0)

TRAFFIC = {
    traffic.name: traffic
    for traffic in (ECHO, FANOUT, SMALL_ROOMS, ELSEWHERE, AT_HOME, HANDSHAKES, JSON, IDLE)
}


def _same(traffic: Traffic, servers: Sequence[str]) -> tuple[Case, ...]:
    """The same traffic for each server."""
    return tuple(Case(server, server, traffic) for server in servers)


def _rooms(prefix: str, server: str) -> tuple[Case, Case]:
    """Rooms of ten and a room of 200 on a server."""
    return (
        Case(f"{prefix}rooms-of-10", server, SMALL_ROOMS),
        Case(f"{prefix}room-of-200", server, FANOUT),
    )


_ALL = (OURS, "granian-bare", "starlette-uvicorn", "picows", "django-bolt")

WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload(
            name="echo",
            title="every connection keeps one text message under way and checks what comes back",
            unit="message",
            units="messages",
            cases=_same(ECHO, _ALL),
            targets=(
                Target("granian-bare", 1.0),
                Target("starlette-uvicorn", 0.75),
                Target("django-bolt", 0.2),
                Target("picows"),
            ),
            is_default=True,
        ),
        Workload(
            name="fanout",
            title="one of 200 members of a room publishes; each message is delivered to all",
            unit="delivery",
            units="deliveries",
            cases=_same(FANOUT, (*_ALL, "starlette-granian", UNAWAITED)),
            targets=(
                Target("picows", 1.25),
                Target("granian-bare", 0.2),
                Target("starlette-granian", 0.2),
                Target("django-bolt", 0.15),
                Target("starlette-uvicorn"),
                Target(UNAWAITED),
            ),
            is_default=True,
        ),
        Workload(
            name="fanout-10k",
            title="the same with 10,000 members (needs 10,300 open files a process)",
            unit="delivery",
            units="deliveries",
            cases=_same(MANY, (OURS, "picows")),
            targets=(Target("picows", 1.4),),
        ),
        Workload(
            name="two-workers",
            title="the room of 200 spread over two workers, and on one",
            unit="delivery",
            units="deliveries",
            cases=_same(FANOUT, (OURS, TWO_WORKERS)),
            targets=(Target(OURS, 1.1, case=TWO_WORKERS),),
        ),
        Workload(
            name="crossing",
            title="1,000 messages a second into a room with all members on the other worker",
            unit="message",
            units="messages",
            cases=(
                Case("other-worker", TWO_WORKERS, ELSEWHERE),
                Case("same-worker", TWO_WORKERS, AT_HOME),
                Case("paired-other-worker", PAIRED, ELSEWHERE),
                Case("paired-same-worker", PAIRED, AT_HOME),
            ),
            targets=(
                Target(None, 5.0, measure=Measure.P99, case="other-worker"),
                Target("same-worker", 15.0, is_difference=True, case="other-worker"),
                Target("paired-same-worker", is_difference=True, case="paired-other-worker"),
            ),
            is_saturating=False,
        ),
        Workload(
            name="small-rooms",
            title="5,000 members of rooms of 10, each of which publishes, and one room of 200",
            unit="delivery",
            units="deliveries",
            cases=(
                *_rooms("", OURS),
                *_rooms("picows-", "picows"),
                *_rooms(f"{UNAWAITED}-", UNAWAITED),
            ),
            targets=(
                Target("room-of-200", 1.3, case="rooms-of-10"),
                Target("picows-room-of-200", case="picows-rooms-of-10"),
                Target(f"{UNAWAITED}-room-of-200", case=f"{UNAWAITED}-rooms-of-10"),
                Target("picows-rooms-of-10", case="rooms-of-10"),
                Target(f"{UNAWAITED}-rooms-of-10", case="rooms-of-10"),
            ),
        ),
        Workload(
            name="handshakes",
            title="64 clients connect and close, again and again",
            unit="connection",
            units="connections",
            cases=_same(HANDSHAKES, (OURS, "granian-bare")),
            targets=(
                Target("granian-bare", at_least=0.9, measure=Measure.RATE),
                Target("granian-bare"),
            ),
        ),
        Workload(
            name="json",
            title="an object in and out of a route with a typed Struct, and the same as text",
            unit="message",
            units="messages",
            cases=(Case("typed", OURS, JSON), Case("text", OURS, JSON_AS_TEXT)),
            targets=(Target("text", 1.5, is_difference=True, case="typed"),),
        ),
        Workload(
            name="idle",
            title="memory of 2,000 connections that do nothing, after one echo each",
            unit="connection",
            units="connections",
            cases=_same(IDLE, (OURS, "granian-bare")),
            targets=(Target("granian-bare", 3.0, measure=Measure.MEMORY, is_difference=True),),
            is_saturating=False,
            measure=Measure.MEMORY,
        ),
    )
}
