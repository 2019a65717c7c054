"""Owns the command line: `python -m server serve|check|routes|...`; the one place that joins an app
and the worker processes. What it prints is for a person; errors are one line on stderr.

Exit codes: 0 fine, 1 it was not done or a check has failed, 2 a setting or the app cannot be used.
"""

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

from cyclopts import App as CommandLine
from cyclopts import CycloptsError, Parameter

from server import control, room_commands
from server.admin import admin_app, hosts_for, read_key
from server.exceptions import SettingsError
from server.hardening import has_failed, judge, look_at_machine, summary
from server.inspection import inspect_app, routes_now, websocket_templates
from server.ledger import labels
from server.logs import configure
from server.serving import options
from server.settings import Settings, add_sources, as_toml, explain, split_config_flag
from workers.crew import CrewConfig
from workers.granian import leave
from workers.layout import WORD_BYTES, Labels, Layout, Sizes
from workers.listener import ListenerOptions
from workers.preflight import (
    PreflightError,
    backlog_warning,
    check_memory,
    claim_address,
    file_limit_warning,
    local_address,
    merge_warning,
)
from workers.process import Task
from workers.segment import SegmentError
from workers.supervisor import ServerConfig, Supervisor

DEFAULT_APP = "examples.showcase:app"

HELP = """Switchboard serves WebSocket apps from several worker processes.

Settings come from flags, then SWITCHBOARD_* variables (SWITCHBOARD_PORT,
SWITCHBOARD_CONNECTION_SEND_TIMEOUT_S), then the TOML file given with --config (switchboard.toml in
this directory if there is one), then defaults. Try: python -m server serve examples.showcase:app
"""

AppReference = Annotated[str, Parameter(help="The app as pkg.mod:attribute.")]
Flat = Annotated[Settings, Parameter(name="*")]

_config_file: ContextVar[Path | None] = ContextVar("config_file")
"""The file that settings are read from. No command has it as an argument."""

commands = CommandLine(name="python -m server", help=HELP, version_flags=[])


@commands.command
def serve(app: AppReference = DEFAULT_APP, /, *, settings: Flat = Settings()) -> NoReturn:  # noqa: B008
    """Serve an app in the foreground until Ctrl-C or SIGTERM. Takes --config FILE as well."""
    admin_key = read_key(settings)  # before anything inherits the environment
    settings.proxies()
    look = inspect_app(app)
    host, port = claim_address(settings.host, settings.port)
    admin_host, admin_port = _claim_admin(settings)
    sizes = _sizes(settings, look.routes)
    check_memory(Path(settings.runtime_dir), Layout(sizes).size_bytes)
    configure(settings.log_level, settings.log_format)
    _warn(settings)
    announce = partial(_announce, app, settings, (host, port), admin_host, look.routes)
    config = ServerConfig(
        app=app,
        task=partial(_task, app, settings),
        crew=CrewConfig(
            host=host,
            port=port,
            workers=settings.workers,
            listener=ListenerOptions(
                backlog=settings.backlog, dead_peer_timeout_s=settings.dead_peer_timeout_s
            ),
            ready_timeout_s=settings.ready_timeout_s,
        ),
        labels=labels(websocket_templates(look.routes), look.close_codes),
        sizes=sizes,
        base=Path(settings.runtime_dir),
        admin_host=admin_host,
        admin_port=admin_port,
        admin=partial(admin_app, allowed_hosts=hosts_for(admin_host), key=admin_key),
        look_again=partial(_look_again, app, look.close_codes),
        on_ready=announce,
    )
    leave(asyncio.run(Supervisor(config).run()))


async def _look_again(app: str, close_codes: Sequence[int]) -> Labels:
    return labels(await routes_now(app), close_codes)


def _sizes(settings: Settings, rows: list[dict[str, Any]]) -> Sizes:
    return Sizes(
        workers=settings.workers,
        slots=2 * settings.workers,  # so that a reload overlaps
        rows_per_slot=settings.registry_rows,
        routes=max(64, 2 * len(rows)),  # a reload may bring more
        rooms=settings.rooms,
        memberships_per_slot=settings.memberships,
        ring_words=(settings.journal_mib << 20) // WORD_BYTES,
    )


def _warn(settings: Settings) -> None:
    merges = merge_warning() if settings.merge_pages else None
    for warning in (file_limit_warning(), backlog_warning(settings.backlog), merges):
        if warning is not None:
            _say(f"warning: {warning}")


def _claim_admin(settings: Settings) -> tuple[str, int]:
    try:
        return claim_address(settings.admin_host, settings.admin_port)
    except PreflightError as error:
        raise PreflightError(f"the admin port: {error}".replace("--port", "--admin-port")) from None


def _task(app: str, settings: Settings, segment: str) -> Task:
    """Return what every worker is told."""
    return Task(
        title=f"switchboard {app}",
        load="server.serving:load",
        options=options(app, settings),
        backlog=settings.backlog,
        drain_s=settings.drain_s,
        stop_timeout_s=settings.stop_timeout_s,
        merge_pages=settings.merge_pages,
        segment=segment,
        supervisor=os.getpid(),
    )


@commands.command
def check(
    app: AppReference = DEFAULT_APP,
    /,
    *,
    production: Annotated[
        bool,
        Parameter(
            negative="",
            help="See too whether it may be opened to the internet: one line for each item, `ok`,"
            " `warn` or `FAIL`, with what to do about it. Exit code 1 if one fails.",
        ),
    ] = False,
    as_json: Annotated[
        bool,
        Parameter(name="--json", negative="", help="Print these items alone, as JSON."),
    ] = False,
    settings: Flat = Settings(),  # noqa: B008
) -> int:
    """Try all that serve needs, and print the settings in force. Takes --config FILE as well."""
    if as_json and not production:
        raise SettingsError("check --json prints the items of --production: give both")
    admin_key = read_key(settings)
    settings.proxies()
    look = inspect_app(app)
    host, port = claim_address(settings.host, settings.port)
    admin_host, _ = _claim_admin(settings)
    check_memory(Path(settings.runtime_dir), Layout(_sizes(settings, look.routes)).size_bytes)
    if not as_json:
        address = _authority(host, port)
        print(as_toml(settings))
        print(f"ok: {app} can be served at http://{address} ({len(look.routes)} routes)")
    _warn(settings)
    if not production:
        return 0
    machine = look_at_machine(
        settings,
        host=host,
        admin_host=admin_host,
        admin_key=admin_key,
        config_file=_config_file.get(),
    )
    findings = judge(look, settings, machine)
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        print("", *(finding.line() for finding in findings), "", summary(findings), sep="\n")
    return int(has_failed(findings))


@commands.command
def routes(
    app: AppReference = DEFAULT_APP,
    /,
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")] = False,
) -> int:
    """List an app's routes, in the order they are tried."""
    rows = inspect_app(app).routes
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        _print_table(rows)
    return 0


for _command in (
    control.connections,
    control.disconnect,
    control.status,
    control.drain,
    control.reload,
    room_commands.publish,
    room_commands.rooms,
):
    commands.command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        config_file, rest = split_config_flag(sys.argv[1:] if arguments is None else arguments)
        _config_file.set(add_sources(commands, config_file))
        result = commands(
            rest, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        return _fail(f"{explain(error)} (see --help)")
    except (SettingsError, PreflightError, SegmentError) as error:
        return _fail(str(error))
    except BrokenPipeError:  # the reader of our output, `head` say, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130  # as a shell reports a program that Ctrl-C ended
    return int(result or 0)


# -- printing ----------------------------------------------------------------------------------


def _announce(
    app: str,
    settings: Settings,
    address: tuple[str, int],
    admin_host: str,
    rows: list[dict[str, Any]],
    admin_port: int,
) -> None:
    authority = _authority(*address)
    workers = "1 worker" if settings.workers == 1 else f"{settings.workers} workers"
    lines = ["", f"Switchboard serves {app} with {workers}:"]
    if any(row["kind"] == "http" and row["path"] == "/" for row in rows):
        lines.append(f"  page    http://{authority}/")
    sockets = [row["path"] for row in rows if row["kind"] == "websocket"]
    lines += [f"  route   ws://{authority}{path}" for path in sockets[:10]]
    if len(sockets) > 10:
        lines.append(f"  ...     {len(sockets) - 10} more: python -m server routes {app}")
    mounts = [row["path"] for row in rows if row["kind"] == "mount"]
    lines += [f"  mount   http://{authority}{path}" for path in mounts[:10]]
    lines.append(f"  admin   http://{_authority(admin_host, admin_port)}/metrics")
    lines += ["  stop    Ctrl-C", ""]
    print("\n".join(lines), flush=True)


def _authority(host: str, port: int) -> str:
    host = local_address(host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _print_table(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        extra = ", ".join(row.get("methods", ())) or row.get("accept", "")
        types = f"{row['receive']} -> {row['send']}" if "receive" in row else ""
        print(f"{row['kind']:<10} {row['path']:<28} {row['view']:<18} {extra:<12} {types}".rstrip())


def _fail(message: str) -> int:
    _say(f"error: {message}")
    return 2


def _say(message: str) -> None:
    print(f"switchboard: {message}", file=sys.stderr, flush=True)
