"""Owns the commands that talk to a running server: connections, disconnect, status, drain, reload.

They find it by its segment, and reach it through that, its doorbells and its signals; what they
print is for a person, or JSON. `server.cli` registers them and prints what they raise.
"""

import asyncio
import json
import os
import select
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from server.close_codes import CloseCode
from server.connections import Connections, DisconnectFailed, describe, has_route
from server.exceptions import SettingsError
from server.health import status as describe_server
from server.printing import Progress, count, fail, print_table, printable, say, span
from workers.directories import DEFAULT_BASE, find_running
from workers.layout import ServerState
from workers.segment import Segment
from workers.slots import Slots

POLL_S = 0.2

RuntimeDir = Annotated[Path, Parameter(help="Where the server keeps its segment.")]
Pid = Annotated[int | None, Parameter(help="The server, by its process id, if several run.")]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]
RouteFilter = Annotated[str | None, Parameter(name="--route", help="Only of this route pattern.")]
UserFilter = Annotated[str | None, Parameter(name="--user", help="Only of this user id.")]
WorkerFilter = Annotated[
    int | None, Parameter(name="--worker", help="Only of this worker, from 0.")
]
Timeout = Annotated[
    float, Parameter(name="--timeout", validator=Number(gt=0), help="Seconds to wait.")
]


class ControlError(SettingsError):
    """No running server can be reached; the message says why, and the way out, in one line."""


# -- commands ----------------------------------------------------------------------------------


def connections(
    *,
    route: RouteFilter = None,
    user: UserFilter = None,
    worker: WorkerFilter = None,
    limit: Annotated[
        int | None, Parameter(validator=Number(gte=1), help="Print at most so many.")
    ] = None,
    as_json: AsJson = False,
    pid: Pid = None,
    runtime_dir: RuntimeDir = DEFAULT_BASE,
) -> int:
    """List the connections of a running server, of all its workers."""
    with running_server(runtime_dir, pid) as segment:
        _check_filters(segment, route, worker)
        rows = Connections(segment).list(route=route, user=user, worker=worker)
    total, shown = len(rows), [describe(row) for row in rows[:limit]]
    if as_json:
        say(json.dumps({"total": total, "connections": shown}, indent=2))
        return 0
    print_table(CONNECTION_COLUMNS, [_connection_cells(row) for row in shown])
    say(count(total, "connection") + (f", {len(shown):,} shown" if len(shown) < total else ""))
    return 0


def disconnect(
    *,
    user: UserFilter = None,
    id: Annotated[str | None, Parameter(help="Only the one of this id.")] = None,
    route: RouteFilter = None,
    worker: WorkerFilter = None,
    everyone: Annotated[bool, Parameter(negative="", help="All connections.")] = False,
    code: Annotated[int, Parameter(help="The close code.")] = int(CloseCode.POLICY_VIOLATION),
    reason: Annotated[str, Parameter(help="The close reason, at most 123 bytes.")] = "",
    pid: Pid = None,
    runtime_dir: RuntimeDir = DEFAULT_BASE,
) -> int:
    """Close connections of a running server, on whatever worker they are."""
    if (user, id, route, worker, everyone) == (None, None, None, None, False):
        raise ControlError("who? give --user, --id, --route or --worker, or --everyone")
    with running_server(runtime_dir, pid) as segment:
        _check_filters(segment, route, worker)
        call = Connections(segment).disconnect(
            user=user, id=id, route=route, worker=worker,
            everyone=everyone, code=code, reason=reason,
        )  # fmt: skip
        try:
            asked = asyncio.run(call)
        except ValueError as error:
            raise ControlError(str(error)) from None
        except DisconnectFailed as error:
            return fail(str(error))
    say(f"{count(asked, 'connection')} asked to close with {code}")
    return 0


def status(
    *, as_json: AsJson = False, pid: Pid = None, runtime_dir: RuntimeDir = DEFAULT_BASE
) -> int:
    """Show a running server and its workers."""
    with running_server(runtime_dir, pid) as segment:
        server = describe_server(segment)
    if as_json:
        say(json.dumps(server, indent=2))
        return 0
    say(
        f"{server['app']} at {server['address']}, pid {server['pid']}: {server['status']},"
        f" {server['ready']} of {count(server['wanted'], 'worker')} ready,"
        f" {count(server['connections'], 'connection')}, up {span(server['uptime_s'])}"
    )
    print_table(WORKER_COLUMNS, [_worker_cells(worker) for worker in server["workers"]])
    return 0


def drain(
    *, timeout_s: Timeout = 600.0, pid: Pid = None, runtime_dir: RuntimeDir = DEFAULT_BASE
) -> int:
    """Stop a running server: no new connections, close the others by and by, end."""
    with running_server(runtime_dir, pid) as segment, Supervisor(segment) as supervisor:
        if segment.server_state in (ServerState.DRAINING, ServerState.STOPPED):
            say("draining already")  # a second signal would stop it at once
        else:
            supervisor.signal(signal.SIGTERM)
        progress = Progress(lambda: f"{count(len(Connections(segment)), 'connection')} left")
        deadline = time.monotonic() + timeout_s
        while not supervisor.ends_within(POLL_S):
            progress.report()
            if time.monotonic() > deadline:
                problem = f"the server still runs after {timeout_s:g} s"
                return fail(f"{problem}: `kill {supervisor.pid}` stops it at once")
    say("the server has ended")
    return 0


def reload(
    *, timeout_s: Timeout = 600.0, pid: Pid = None, runtime_dir: RuntimeDir = DEFAULT_BASE
) -> int:
    """Replace the workers of a running server one by one, with the app's code as it is now."""
    with running_server(runtime_dir, pid) as segment, Supervisor(segment) as supervisor:
        if segment.server_state is not ServerState.SERVING:
            state = segment.server_state.name.lower()
            raise ControlError(f"the server is {state}: only one that serves can be reloaded")
        before = _generations(segment)

        def old_workers() -> set[int]:
            return before & _generations(segment)

        done, failed = segment.reloads_done, segment.reloads_failed
        supervisor.signal(signal.SIGHUP)
        progress = Progress(lambda: f"{count(len(old_workers()), 'old worker')} left")
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            is_over = supervisor.ends_within(POLL_S)
            progress.report()
            if is_over:
                return fail("the server has ended: see its log")
            if segment.reloads_failed != failed:
                return fail("given up, the workers not replaced serve on: see the server's log")
            if segment.reloads_done == done:
                continue
            if not old_workers():
                say("reloaded")
                return 0
            # That was one that was under way already; meanwhile ours was ignored.
            done = segment.reloads_done
            supervisor.signal(signal.SIGHUP)
    return fail(f"not reloaded within {timeout_s:g} s: see the server's log")


def _generations(segment: Segment) -> set[int]:
    """Return the generations of the workers that there are; each process has its own."""
    return {slot.generation for slot in Slots(segment).in_use()}


# -- the running server ------------------------------------------------------------------------


@contextmanager
def running_server(
    runtime_dir: Path, pid: int | None, *, writable: bool = False
) -> Iterator[Segment]:
    """Attach to the segment of the one server that runs, or of the one with that pid.

    Raises:
        ControlError: there is none, or more than one.
        SegmentError: it is of another version.
    """
    paths = find_running(runtime_dir)
    chosen = [path for path in paths if pid in (None, _pid_of(path))]
    if not paths:
        raise ControlError(
            f"no server of this user runs (there is no segment in {runtime_dir}): start one with"
            " `python -m server serve`, or name its directory with --runtime-dir"
        )
    if not chosen:
        raise ControlError(f"no server has the pid {pid}: there is {_names(paths)}")
    if len(chosen) > 1:
        raise ControlError(f"several servers run: choose one with --pid: {_names(chosen)}")
    with closing(Segment.attach(chosen[0], writable=writable)) as segment:
        yield segment


def _pid_of(path: Path) -> int:
    """Return the supervisor's process id, which ends the name of its directory."""
    return int(path.parent.name.rpartition("-")[2])


def _names(paths: Sequence[Path]) -> str:
    names = []
    for path in paths:
        with closing(Segment.attach(path, writable=False)) as segment:
            names.append(f"{segment.supervisor_pid} ({segment.app}, port {segment.port})")
    return ", ".join(names)


class Supervisor:
    """The process of a running server.

    The descriptor stands for the process and not for its number, which may go to another one:
    nothing else is ever signalled.
    """

    def __init__(self, segment: Segment) -> None:
        self.pid = segment.supervisor_pid
        try:
            self._descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            raise ControlError("the server has just ended") from None
        assert segment.path is not None
        # With the descriptor at hand: had the number gone to another process, that is found here.
        if segment.path not in find_running(segment.path.parent.parent):
            os.close(self._descriptor)
            raise ControlError("the server has just ended")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    def ends_within(self, timeout_s: float) -> bool:
        """Wait for its end; False if it still runs then."""
        return bool(select.select([self._descriptor], [], [], timeout_s)[0])

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _check_filters(segment: Segment, route: str | None, worker: int | None) -> None:
    if route is not None and not has_route(segment, route):
        raise ControlError(f"there is no route {route!r}: there are {', '.join(segment.routes)}")
    workers = segment.sizes.workers
    if worker is not None and not 0 <= worker < workers:
        raise ControlError(f"there is no worker {worker}: use 0 to {workers - 1}")


# -- cells ------------------------------------------------------------------------------------


CONNECTION_COLUMNS = ("id", "route", "path", "client", "user", "worker", "age", "idle", "in", "out")
WORKER_COLUMNS = (
    "worker", "slot", "generation", "pid", "state", "up", "connections", "restarts", "heartbeat",
    "lag",
)  # fmt: skip


def _connection_cells(row: dict[str, Any]) -> list[str]:
    names = ("id", "route", "path", "client", "user", "worker")
    spans = [span(row["age_s"]), span(row["idle_s"])]
    messages = [str(row["messages_received"]), str(row["messages_sent"])]
    return [*(printable(str(row[name])) for name in names), *spans, *messages]


def _worker_cells(worker: dict[str, Any]) -> list[str]:
    age_s = worker["heartbeat_age_s"]
    heartbeat = "-" if age_s is None else f"{age_s:.1f}s ago"
    lag = f"{worker['lag_s'] * 1000:.1f}ms"
    names = ("worker", "slot", "generation", "pid", "state")
    counts = [str(worker["connections"]), str(worker["restarts"])]
    cells = [str(worker[name]) for name in names]
    return [*cells, span(worker["uptime_s"]), *counts, heartbeat, lag]
