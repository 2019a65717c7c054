"""Owns the settings of a served app: one frozen tree, its sources and its checks.

A flag beats an environment variable `SWITCHBOARD_*`, which beats the TOML file, which beats the
default. Workers are handed the frozen value; nothing reads the environment later.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App as CommandLine
from cyclopts import ArgumentCollection, CoercionError, CycloptsError, Parameter, Token
from cyclopts.config import Env, Toml
from cyclopts.validators import Number

from server.exceptions import SettingsError
from server.limits import FASTEST, SLOWEST
from server.proxies import TrustedProxies
from server.transport import TransportLimits
from workers.directories import DEFAULT_BASE

ENV_PREFIX = "SWITCHBOARD_"
DEFAULT_FILE = "switchboard.toml"


def _whole(type_: Any, tokens: Sequence[Token]) -> int:
    try:
        return int(tokens[0].value)  # cyclopts' own conversion rounds
    except ValueError:
        raise CoercionError(token=tokens[0], target_type=int) from None


def _number(type_: Any, tokens: Sequence[Token]) -> float:
    try:
        return float(tokens[0].value)  # to cyclopts `none` is as good as not set
    except ValueError:
        raise CoercionError(token=tokens[0], target_type=float) from None


def _no_flag(type_: Any, tokens: Sequence[Token]) -> str:
    if tokens[0].source == "cli":
        raise CoercionError(
            msg=f"{tokens[0].keyword}: whoever lists the processes sees it; set the environment"
            " variable, or name a file with --admin-key-file"
        )
    return tokens[0].value


Seconds = Annotated[float, Parameter(validator=Number(gt=0, lte=3600))]
Whole = Annotated[int, Parameter(converter=_whole)]
Secret = Annotated[str, Parameter(converter=_no_flag, show_default=False)]
Count = Annotated[Whole, Parameter(validator=Number(gte=1))]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class ConnectionSettings:
    """Bounds of each connection.

    Attributes:
        window_messages: Messages queued or under way at once per connection.
        window_bytes: Payload bytes queued or under way at once per connection.
        send_timeout_s: Seconds a send waits for a peer that does not read (then 1013).
        close_timeout_s: Seconds a close waits for a peer that does not read.
    """

    window_messages: Count = TransportLimits.window_messages
    window_bytes: Count = TransportLimits.window_bytes
    send_timeout_s: Seconds = TransportLimits.send_timeout_s
    close_timeout_s: Seconds = TransportLimits.close_timeout_s

    def limits(self) -> TransportLimits:
        """Return them as the transport takes them."""
        return TransportLimits(**{f.name: getattr(self, f.name) for f in fields(self)})


Limit = Annotated[Whole | None, Parameter(validator=Number(gte=1))]
Decimal = Annotated[float, Parameter(converter=_number)]
Rate = Annotated[Decimal | None, Parameter(validator=Number(gte=SLOWEST, lte=FASTEST))]
Span = Annotated[Decimal | None, Parameter(validator=Number(gt=0, lte=31_536_000))]


@dataclass(frozen=True, kw_only=True)
class AdmissionSettings:
    """Who is let in, all workers together; what is not set is as the app has it.

    Attributes:
        connections: Connections at a time, handshakes included (then 503); the app's: 10000.
        connections_per_ip: Connections of one address at a time (then 429); the app's: no limit.
        connections_per_user: Connections of one user id at a time (then 429); the app's: no limit.
        handshakes_per_s: Handshakes a second, an equal share for each worker (then 503); the app's:
            no limit.
        header_bytes: Bytes of a request's headers (then 431); the app's: 32768.
        url_bytes: Bytes of a request's path and query (then 414); the app's: 65536.
    """

    connections: Limit = None
    connections_per_ip: Limit = None
    connections_per_user: Limit = None
    handshakes_per_s: Rate = None
    header_bytes: Limit = None
    url_bytes: Limit = None


@dataclass(frozen=True, kw_only=True)
class LimitSettings:
    """What one connection may do; what is not set is as the app has it, or the route.

    Attributes:
        messages_per_s: Messages a second from a client (then 1008); the app's: no limit.
        bytes_per_s: Payload bytes a second from a client (then 1008); the app's: no limit.
        on_rate: What becomes of a message over these two; the app's: disconnect.
        rooms: Rooms a connection may be in; the app's: 100.
        idle_timeout_s: Seconds without a message from a client (then 4001); the app's: no limit.
        lifetime_s: Seconds a connection may last (then 4004); the app's: no limit.
    """

    messages_per_s: Rate = None
    bytes_per_s: Rate = None
    on_rate: Literal["disconnect", "drop"] | None = None
    rooms: Limit = None
    idle_timeout_s: Span = None
    lifetime_s: Span = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything `serve` can be told.

    Attributes:
        workers: Worker processes; default: one per core.
        host: Address to listen on; 0.0.0.0 opens it to the network.
        port: Port to listen on; 0 takes a free one.
        admin_host: Address of the admin port; 127.0.0.1 keeps metrics private.
        admin_port: Port of /metrics, /healthz, /readyz, /connections; 0 takes a free one.
        admin_key: What programs have to send to publish on the admin port; not as a flag, which
            others would see; default: nobody can.
        admin_key_file: A file with that key, in place of admin_key; default: none.
        backlog: Handshakes the kernel may queue per worker.
        registry_rows: Connections each worker may hold; more are refused with 503.
        rooms: Rooms the server may have; those without members make way for others.
        memberships: Rooms that the connections of a worker may be in, added up.
        journal_mib: Size of the ring of published messages, in MiB; a message is at most an eighth.
        drain_s: Seconds over which a stop or reload closes the connections of a worker.
        stop_timeout_s: Seconds a drained worker has to end before it is killed.
        ready_timeout_s: Seconds a new worker has to become ready.
        dead_peer_timeout_s: Seconds until a peer that vanished without a word is dropped.
        runtime_dir: Directory of the shared memory; a tmpfs keeps it off the disk.
        merge_pages: Let the kernel merge equal pages (KSM): less memory for idle connections.
        trusted_proxies: Addresses and networks, with commas between them, whose X-Forwarded-For
            and X-Forwarded-Proto are believed; default: nobody's.
        log_level: Least important lines to print.
        log_format: Lines for a person or for a machine; auto looks whether stderr is a terminal.
        connection: Bounds of each connection.
        admission: Who is let in.
        limits: What one connection may do.
    """

    workers: Annotated[Whole, Parameter(validator=Number(gte=1, lte=256))] = _cores()  # noqa: RUF009
    host: str = "127.0.0.1"
    port: Annotated[Whole, Parameter(validator=Number(gte=0, lte=65535))] = 8000
    admin_host: str = "127.0.0.1"
    admin_port: Annotated[Whole, Parameter(validator=Number(gte=0, lte=65535))] = 9464
    admin_key: Secret = field(default="", repr=False)
    admin_key_file: str = ""
    backlog: Annotated[Whole, Parameter(validator=Number(gte=128, lte=65535))] = 4096
    registry_rows: Annotated[Whole, Parameter(validator=Number(gte=16, lte=1_000_000))] = 16_384
    rooms: Annotated[Whole, Parameter(validator=Number(gte=16, lte=1_000_000))] = 16_384
    memberships: Annotated[Whole, Parameter(validator=Number(gte=16, lte=10_000_000))] = 65_536
    journal_mib: Annotated[Whole, Parameter(validator=Number(gte=1, lte=65_536))] = 64
    drain_s: Seconds = 30.0
    stop_timeout_s: Annotated[Whole, Parameter(validator=Number(gte=1, lte=3600))] = 15
    ready_timeout_s: Seconds = 60.0
    dead_peer_timeout_s: Annotated[float, Parameter(validator=Number(gte=2, lte=3600))] = 60.0
    runtime_dir: str = str(DEFAULT_BASE)
    merge_pages: Annotated[bool, Parameter(negative="")] = False
    trusted_proxies: str = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json"] = "auto"
    connection: ConnectionSettings = ConnectionSettings()
    admission: AdmissionSettings = AdmissionSettings()
    limits: LimitSettings = LimitSettings()

    def proxies(self) -> list[str]:
        """Return the trusted proxies as a list.

        Raises:
            SettingsError: one is no address and no network.
        """
        networks = [one for part in self.trusted_proxies.split(",") if (one := part.strip())]
        try:
            TrustedProxies(networks)
        except ValueError as error:
            raise SettingsError(f"trusted_proxies: {error}") from None
        return networks


class _File(Toml):
    """The TOML file, with errors that name it; cyclopts overlooks keys named like a command."""

    def _load_config(self, path: Path) -> dict[str, Any]:
        try:
            tree = super()._load_config(path)
        except (OSError, ValueError) as error:
            raise CycloptsError(msg=f"{path}: {' '.join(str(error).split())}") from None
        _check_keys(tree, Settings(), str(path))
        return tree


def _check_keys(tree: dict[str, Any], settings: Any, where: str) -> None:
    known = {field.name: getattr(settings, field.name) for field in fields(settings)}
    for key, value in tree.items():
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"it may have {', '.join(known)}"
            raise CycloptsError(msg=f"{where}: there is no setting {key!r}; {hint}")
        if is_dataclass(known[key]) != isinstance(value, dict):
            kind = "is a table" if is_dataclass(known[key]) else "is no table"
            raise CycloptsError(msg=f"{where}: setting {key!r} {kind}")
        if key in _secrets(settings) and not isinstance(value, str):
            raise CycloptsError(msg=f"{where}: setting {key!r} is no text")
        if isinstance(value, dict):
            _check_keys(value, known[key], f"{where}: [{key}]")


def _secrets(settings: Any) -> set[str]:
    """Return the names of those that nobody is shown."""
    return {field.name for field in fields(settings) if not field.repr}


def add_sources(command_line: CommandLine, config_file: Path | None) -> Path | None:
    """Make `command_line` read the environment and a TOML file where flags are silent.

    Args:
        config_file: must exist if given; None reads `switchboard.toml` here if there is one.

    Returns:
        The file that will be read, if there is one.

    Raises:
        SettingsError: the file does not exist.
    """
    if config_file is not None and not config_file.is_file():
        raise SettingsError(f"--config {config_file}: no such file")
    path = config_file or Path(DEFAULT_FILE)
    environment = Env(ENV_PREFIX, command=False)
    file = _File(path, use_commands_as_keys=False, allow_unknown=True)  # `_check_keys` has looked
    command_line.config = (_of_settings(environment), _of_settings(file))
    return path if path.is_file() else None


def _of_settings(source: Callable[..., None]) -> Callable[..., None]:
    """Let a source speak of settings alone: no variable decides whom `disconnect` closes."""
    names = {"--" + field.name.replace("_", "-") for field in fields(Settings)}

    def apply(command_line: CommandLine, path: tuple[str, ...], arguments: Any) -> None:
        chosen = [one for one in arguments if one.name.partition(".")[0] in names]
        source(command_line, path, ArgumentCollection(chosen))  # type: ignore[no-untyped-call]

    return apply


def split_config_flag(arguments: Sequence[str]) -> tuple[Path | None, list[str]]:
    """Take `--config FILE` out of the arguments: it decides how the others are read.

    Raises:
        SettingsError: `--config` without a file.
    """
    rest: list[str] = []
    path: Path | None = None
    iterator = iter(arguments)
    for argument in iterator:
        if argument == "--config":
            value = next(iterator, None)
            if value is None:
                raise SettingsError("--config needs a file")
            path = Path(value)
        elif argument.startswith("--config="):
            path = Path(argument.removeprefix("--config="))
        else:
            rest.append(argument)
    return path, rest


def explain(error: CycloptsError) -> str:
    """Return cyclopts' message as one line."""
    text = " ".join(str(error).split())
    return text or type(error).__name__


def as_toml(settings: Any, prefix: str = "") -> str:
    """Return settings as the TOML file that would give them, but for a key."""
    lines: list[str] = []
    tables: list[str] = []
    for setting in fields(settings):
        name, value = setting.name, getattr(settings, setting.name)
        if hasattr(value, "__dataclass_fields__"):
            tables.append(f"\n[{prefix}{name}]\n" + as_toml(value, f"{name}."))
        elif name in _secrets(settings) and value:
            lines.append(f"# {name} is set\n")
        elif value is None:
            lines.append(f"# {name} is not set\n")
        else:
            lines.append(f"{name} = {_toml(value)}\n")
    return "".join(lines + tables)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
