"""Owns the command line: `python -m server serve|check|routes`; the one place that joins an app
and the worker processes. What it prints is for a person; errors are one line on stderr.

Exit codes: 0 fine, 1 workers keep failing, 2 a setting or the app cannot be used.
"""

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

from cyclopts import App as CommandLine
from cyclopts import CycloptsError, Parameter

from server.app import App
from server.exceptions import SettingsError
from server.loader import load_app
from server.settings import Settings, add_sources, as_toml, explain, split_config_flag
from workers.granian import HostConfig
from workers.preflight import PreflightError, claim_address, file_limit_warning, local_address
from workers.supervisor import Supervisor

DEFAULT_APP = "examples.showcase:app"

HELP = """Switchboard serves WebSocket apps from several worker processes.

Settings come from flags, then SWITCHBOARD_* variables (SWITCHBOARD_PORT,
SWITCHBOARD_CONNECTION_SEND_TIMEOUT_S), then the TOML file given with --config (switchboard.toml in
this directory if there is one), then defaults. Try: python -m server serve examples.showcase:app
"""

AppReference = Annotated[str, Parameter(help="The app as pkg.mod:attribute.")]
Flat = Annotated[Settings, Parameter(name="*")]

commands = CommandLine(name="python -m server", help=HELP, version_flags=[])


@commands.command
def serve(app: AppReference = DEFAULT_APP, /, *, settings: Flat = Settings()) -> int:  # noqa: B008
    """Serve an app in the foreground until Ctrl-C or SIGTERM. Takes --config FILE as well."""
    routes = inspect_app(app)
    warning = file_limit_warning()
    host, port = claim_address(settings.host, settings.port)
    if warning:
        _say(f"warning: {warning}")
    config = HostConfig(
        host=host,
        port=port,
        workers=settings.workers,
        backlog=settings.backlog,
        stop_timeout_s=settings.stop_timeout_s,
        log_level=settings.log_level,
        title=f"switchboard {app}",
    )
    announce = partial(_announce, app, config, routes)
    return Supervisor(config, partial(load_in_worker, app, settings), announce).run()


@commands.command
def check(app: AppReference = DEFAULT_APP, /, *, settings: Flat = Settings()) -> int:  # noqa: B008
    """Try all that serve needs, and print the settings in force. Takes --config FILE as well."""
    routes = inspect_app(app)
    host, port = claim_address(settings.host, settings.port)
    warning = file_limit_warning()
    print(as_toml(settings), end="")
    print(f"\nok: {app} can be served at http://{_authority(host, port)} ({len(routes)} routes)")
    if warning:
        _say(f"warning: {warning}")
    return 0


@commands.command
def routes(
    app: AppReference = DEFAULT_APP,
    /,
    *,
    as_json: Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")] = False,
) -> int:
    """List an app's routes, in the order they are tried."""
    rows = inspect_app(app)
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        _print_table(rows)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        config_file, rest = split_config_flag(sys.argv[1:] if arguments is None else arguments)
        add_sources(commands, config_file)
        result = commands(
            rest, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        return _fail(f"{explain(error)} (see --help)")
    except (SettingsError, PreflightError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return 130  # as a shell reports a program that Ctrl-C ended
    return int(result or 0)


def load_in_worker(reference: str, settings: Settings) -> Callable[..., Any]:
    """Load the app in a worker process and hand it its settings.

    Raises:
        SystemExit: the app cannot be used; said on one line.
    """
    try:
        app = load_app(reference)
    except SettingsError as error:
        _say(f"error: in a worker: {error}")
        raise SystemExit(1) from None
    if isinstance(app, App):
        app.configure(settings.connection.limits())
    return app


# -- looking at the app ------------------------------------------------------------------------


def inspect_app(reference: str) -> list[dict[str, Any]]:
    """Load the app in a process of its own and return its routes.

    The supervisor must not import the app: workers started later would inherit the old code.

    Raises:
        SettingsError: the app cannot be used.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_inspect_in_child, args=(reference, sender), daemon=True)
    child.start()
    sender.close()
    try:
        problem, rows = receiver.recv()
    except EOFError:
        child.join()
        raise SettingsError(
            f"importing {reference!r} ended the process (exit code {child.exitcode})"
        ) from None
    child.join(1)
    if child.is_alive():  # a thread that the app started at its import goes on
        child.kill()
        child.join()
    if problem is not None:
        raise SettingsError(problem)
    return rows  # type: ignore[no-any-return]


def _inspect_in_child(reference: str, sender: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it with no traceback
    os.dup2(2, 1)  # what the app prints at its import is no output of ours
    try:
        app = load_app(reference)
        sender.send((None, describe_routes(app)))
    except SettingsError as error:
        sender.send((str(error), None))
    except Exception as error:
        problem = " ".join(f"{type(error).__name__}: {error}".split())
        sender.send((f"looking at {reference!r} failed: {problem}", None))


def describe_routes(app: Any) -> list[dict[str, Any]]:
    """Return one row of plain values per route; a foreign ASGI app has none."""
    if not isinstance(app, App):
        return []
    rows: list[dict[str, Any]] = [
        {
            "kind": "websocket",
            "path": route.pattern.text,
            "view": route.name,
            "accept": "automatic" if route.auto_accept else "by the view",
            "receive": _type_name(route.receive_type),
            "send": _type_name(route.send_type),
        }
        for route in sorted(app.websocket_list, key=lambda route: not route.pattern.is_static)
    ]
    rows += [
        {"kind": "http", "path": route.pattern.text, "view": route.name, "methods": route.methods}
        for route in sorted(app.http_list, key=lambda route: not route.pattern.is_static)
    ]
    rows += [{"kind": "mount", "path": m.prefix or "/", "view": repr(m.app)} for m in app.mounts]
    return rows


def _type_name(type_: Any) -> str:
    return type_ if isinstance(type_, str) else getattr(type_, "__name__", repr(type_))


# -- printing ----------------------------------------------------------------------------------


def _announce(app: str, config: HostConfig, rows: list[dict[str, Any]]) -> None:
    authority = _authority(config.host, config.port)
    workers = "1 worker" if config.workers == 1 else f"{config.workers} workers"
    lines = ["", f"Switchboard serves {app} with {workers}:"]
    if any(row["kind"] == "http" and row["path"] == "/" for row in rows):
        lines.append(f"  page    http://{authority}/")
    sockets = [row["path"] for row in rows if row["kind"] == "websocket"]
    lines += [f"  route   ws://{authority}{path}" for path in sockets[:10]]
    if len(sockets) > 10:
        lines.append(f"  ...     {len(sockets) - 10} more: python -m server routes {app}")
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
