"""Owns what a scrape of /metrics costs: its time, and the pauses it makes in workers' loops.

The server is a real one: `serve` with 8 workers that have nothing to do but to hold connections.
"""

import argparse
import asyncio
import re
import resource
import statistics
import sys
import time
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from benchmarks import cpu, report
from benchmarks.admin import Admin, admin_of
from benchmarks.apps.scraped_app import ROUTES, WATCH_DIRECTORY, paths
from benchmarks.servers import SERVERS, Running, ServerFailed, running
from benchmarks.session import session
from benchmarks.targets import OURS

_DESCRIPTION = f"""\
Measure a scrape of /metrics: {ROUTES} routes, 8 idle workers, a connection of each route on each.

Times without and with scrapes take turns. A timer of 1 ms in each worker tells how late its loop
was; without scrapes, that is what the machine does to it by itself.
"""
WORKERS = 8
SCRAPE_AT_MOST_MS = 20.0
PAUSE_AT_MOST_MS = 1.0
_SCRAPES_PER_SECOND = 10
_CODES = (1000, 1001, 3000, 4000)  # connections are closed with each on every route
_AT_ONCE = 50
_CONNECT_SECONDS = 20.0
_SPREAD_SECONDS = 60.0
_SETTLE_SECONDS = 2.0  # the workers' sweeps have written what came in
_OPEN = re.compile(rb'^ws_connections\{route="([^"]+)",worker="(\d+)"\} ([1-9]\S*)$', re.MULTILINE)

SERVER = replace(
    SERVERS[OURS],
    name="scraped",
    title=f"{ROUTES} routes on {WORKERS} workers",
    arguments=(
        *("-m", "server", "serve", "benchmarks.apps.scraped_app:app"),
        *("--workers", str(WORKERS), "--host", "127.0.0.1", "--port", "{port}"),
        *("--admin-port", "0", "--drain-s", "1", "--log-level", "warning"),
    ),
)


# -- connections -------------------------------------------------------------------------------


class _Member(WSListener):
    """One connection, which has had one echo."""

    def __init__(self) -> None:
        self.has_echo = asyncio.Event()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.TEXT:
            self.has_echo.set()


async def _connect(url: str, gate: asyncio.Semaphore) -> WSTransport:
    async with gate, asyncio.timeout(_CONNECT_SECONDS):
        transport, member = await ws_connect(
            _Member, url, websocket_handshake_timeout=_CONNECT_SECONDS
        )
        transport.send(WSMsgType.TEXT, b"hello")
        await member.has_echo.wait()
        return transport


async def _populate(base: str, admin: Admin) -> list[WSTransport]:
    """Close connections on each route, and connect until each worker has one of each route."""
    gate = asyncio.Semaphore(_AT_ONCE)
    for code in _CODES:
        closing = await asyncio.gather(*(_connect(base + path, gate) for path in paths()))
        for transport in closing:
            transport.send_close(code)
        await asyncio.gather(*(transport.wait_disconnected() for transport in closing))
    opened: list[WSTransport] = []
    async with asyncio.timeout(_SPREAD_SECONDS):
        while missing := [path for path in paths() if _workers_with(admin)[path] < WORKERS]:
            wanted = [path for path in missing for _ in range(WORKERS)]
            opened += await asyncio.gather(*(_connect(base + path, gate) for path in wanted))
    return opened


def _workers_with(admin: Admin) -> dict[str, int]:
    """Return on how many workers each route has a connection."""
    found = dict.fromkeys(paths(), 0)
    for route, _, _ in _OPEN.findall(admin.get("/metrics")):
        found[route.decode()] += 1
    return found


# -- measuring ---------------------------------------------------------------------------------


@dataclass(slots=True)
class Phase:
    """What was seen in the windows of one kind.

    Attributes:
        windows: begin and end of each, by the monotonic clock in ns.
        scrapes_s: how long each scrape took.
        supervisor_cpu_s: what the supervisor used.
        late_ns: of all workers' timers.
    """

    name: str
    windows: list[tuple[int, int]] = field(default_factory=list)
    scrapes_s: list[float] = field(default_factory=list)
    supervisor_cpu_s: float = 0.0
    late_ns: list[int] = field(default_factory=list)

    @property
    def long_pauses(self) -> int:
        """How often a loop was later than it may be."""
        return sum(1 for late in self.late_ns if late > PAUSE_AT_MOST_MS * 1e6)


def _supervisor_cpu_s(pid: int) -> float:
    return sum(seconds for process, seconds in cpu.tree(pid).items() if process.pid == pid)


def _window(phase: Phase, seconds: float, admin: Admin | None, pid: int) -> None:
    """Let `seconds` pass; with `admin` scrape meanwhile."""
    cpu_before, began = _supervisor_cpu_s(pid), time.monotonic()
    for number in range(1, int(seconds * _SCRAPES_PER_SECOND) + 1):
        if admin is not None:
            asked = time.perf_counter()
            admin.get("/metrics")
            phase.scrapes_s.append(time.perf_counter() - asked)
        time.sleep(max(0.0, began + number / _SCRAPES_PER_SECOND - time.monotonic()))
    phase.windows.append((int(began * 1e9), time.monotonic_ns()))
    phase.supervisor_cpu_s += _supervisor_cpu_s(pid) - cpu_before


def _read_notes(directory: Path, phases: Iterable[Phase]) -> None:
    files = [*directory.glob("*.ns")]
    if len(files) != WORKERS:
        raise ServerFailed(f"{len(files)} of {WORKERS} workers have left what they saw")
    for file in files:
        notes = array("q", file.read_bytes())
        for phase in phases:
            for begin, end in phase.windows:
                phase.late_ns += (
                    late
                    for due, late in zip(notes[::2], notes[1::2], strict=True)
                    if begin <= due < end
                )


async def _drive(target: Running, admin: Admin, options: argparse.Namespace) -> list[Phase]:
    members = await _populate(target.base, admin)
    print(f"bench: {len(members)} connections are open", file=sys.stderr, flush=True)
    await asyncio.sleep(_SETTLE_SECONDS)
    quiet, scraped = Phase("without scrapes"), Phase("with scrapes")
    for _ in range(options.rounds):
        # The loop stands still meanwhile; nothing comes on the connections.
        _window(quiet, options.seconds, None, target.pid)
        _window(scraped, options.seconds, admin, target.pid)
    body = admin.get("/metrics")
    print(f"bench: {len(body)} bytes, {_series(body)} series", file=sys.stderr, flush=True)
    for member in members:
        member.disconnect(graceful=False)
    return [quiet, scraped]


def _series(body: bytes) -> int:
    return sum(1 for line in body.splitlines() if line and not line.startswith(b"#"))


# -- the command -------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks scrape",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--rounds", type=int, default=6, metavar="N", help="windows of each kind (default 6)")
    add("--seconds", type=float, default=5.0, metavar="S", help="length of each (default 5)")
    return parser


def run(arguments: Sequence[str]) -> int:
    """Measure and print; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not (options.rounds >= 1 and options.seconds >= 0.5):
        parser.error("--rounds must be at least 1 and --seconds at least 0.5")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return session(lambda logs: _measure(options, logs))


def _measure(options: argparse.Namespace, logs: Path) -> bool:
    log = logs / "scraped.log"
    server = replace(SERVER, environment={WATCH_DIRECTORY: str(logs)})
    with running(server, None, log) as target:
        admin = admin_of(log)
        phases = asyncio.run(_drive(target, admin, options))
    _read_notes(logs, phases)
    print(_report(*phases))
    return '"level":"error"' not in log.read_text()


def _report(quiet: Phase, scraped: Phase) -> str:
    times_ms = sorted(seconds * 1e3 for seconds in scraped.scrapes_s)
    median_ms = statistics.median(times_ms)
    cpu_ms = (scraped.supervisor_cpu_s - quiet.supervisor_cpu_s) / len(times_ms) * 1e3
    scrape = (
        f"{len(times_ms)} scrapes: median {median_ms:.1f} ms (<= {SCRAPE_AT_MOST_MS:g}: "
        f"{'PASS' if median_ms <= SCRAPE_AT_MOST_MS else 'MISS'}), "
        f"99 % {times_ms[int(len(times_ms) * 0.99)]:.1f} ms, longest {times_ms[-1]:.1f} ms, "
        f"CPU of the supervisor {cpu_ms:.1f} ms"
    )
    head = "workers' loops|timer turns|median late us|99.9 % us|longest pause ms|over 1 ms"
    rows = [_row(phase) for phase in (quiet, scraped)]
    return "\n\n".join(["", scrape, report.table(head.split("|"), rows), _verdict(quiet, scraped)])


def _row(phase: Phase) -> list[str]:
    late_us = sorted(late / 1e3 for late in phase.late_ns)
    return [
        phase.name,
        f"{len(late_us):,}",
        f"{statistics.median(late_us):.0f}",
        f"{late_us[int(len(late_us) * 0.999)]:.0f}",
        f"{late_us[-1] / 1e3:.2f}",
        f"{phase.long_pauses}",
    ]


def _verdict(quiet: Phase, scraped: Phase) -> str:
    longest_ms = max(scraped.late_ns) / 1e6
    if longest_ms <= PAUSE_AT_MOST_MS:
        return f"no pause over {PAUSE_AT_MOST_MS:g} ms: PASS"
    if quiet.long_pauses:
        return (
            f"no verdict on pauses: over {PAUSE_AT_MOST_MS:g} ms there were {quiet.long_pauses} "
            f"without scrapes and {scraped.long_pauses} with them"
        )
    return f"a pause of {longest_ms:.2f} ms: MISS"
