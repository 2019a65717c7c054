"""Owns how log lines look and where they go: one formatter for logging and structlog, on stderr.

Of a connection it knows only the line that is left at its end. docs/topics/logging.md has examples.
"""

import json
import logging
import logging.config
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
import structlog
from structlog.dev import (
    Column,
    ConsoleRenderer,
    KeyValueColumnFormatter,
    LogLevelColumnFormatter,
    plain_traceback,
)
from structlog.processors import format_exc_info
from structlog.stdlib import ExtraAdder, ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["auto", "console", "json"]

# The processes share one stderr. A pipe takes 4096 bytes at once or lets lines of others in between
# (pipe(7)), and a client may choose a path whose every character is written as 12 bytes.
MAX_PATH = 200
_connection_log = logging.getLogger("switchboard.connection")
_AS_STRUCTLOG = {"_logger": _connection_log, "_name": "info"}  # marks the message as fields


def configure(level: str, log_format: LogFormat, *, worker: int | None = None) -> None:
    """Set up logging and structlog in this process; again replaces what was before.

    Args:
        level: debug, info, warning or error.
        worker: its index, to be in each line.
    """
    logging.config.dictConfig(log_config(level, log_format, worker=worker))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.StackInfoRenderer(),
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def log_config(level: str, log_format: LogFormat, *, worker: int | None = None) -> dict[str, Any]:
    """Return what `configure` gives to `logging.config.dictConfig`: plain data, no objects."""
    wanted = level.upper()
    at_least_warning = "ERROR" if wanted == "ERROR" else "WARNING"
    levels = {
        "switchboard": wanted,
        # At info it tells of its own threads and of each peer that went without a goodbye.
        "_granian": "DEBUG" if wanted == "DEBUG" else at_least_warning,
        # Off by itself. What is to be known of a request is in the line at a connection's end.
        "granian.access": at_least_warning,
    }
    formatter = {"()": "server.logs.Formatter", "log_format": log_format, "worker": worker}
    handler = {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {"stderr": handler},
        "root": {"level": at_least_warning, "handlers": ["stderr"]},
        "loggers": {name: {"level": level, "propagate": True} for name, level in levels.items()},
    }


def connection_closed(
    *,
    id: str,
    route: str,
    path: str,
    client: str,
    user: str | None,
    code: int,
    initiator: str,
    reason: str,
    duration_s: float,
    messages_received: int,
    messages_sent: int,
    bytes_received: int,
    bytes_sent: int,
) -> None:
    """Log the end of a connection, at info.

    Args:
        route: the path template.
        path: `scope["path"]`, never with a query string, which may hold a token. What follows a
            `?` is not logged, also if the client had sent that as `%3F`.
        client: its address.
        initiator: `client` or `server`; who crashed writes no line.
    """
    if not _connection_log.isEnabledFor(logging.INFO):
        return
    fields: dict[str, Any] = {
        "event": "connection closed",
        "id": id,
        "route": route,
        "path": path.partition("?")[0][:MAX_PATH],
        "client": client,
    }
    if user:
        fields["user"] = user
    fields |= {
        "code": int(code),
        "initiator": initiator,
        "reason": reason,
        "duration_s": round(duration_s, 3),
        "messages_received": messages_received,
        "messages_sent": messages_sent,
        "bytes_received": bytes_received,
        "bytes_sent": bytes_sent,
    }
    _connection_log.info(fields, extra=_AS_STRUCTLOG)


class Formatter(ProcessorFormatter):
    """Makes a line of a record, whoever logged it; `log_config` names it.

    Args:
        log_format: "auto" is the console's if stderr is a terminal, else JSON.
        worker: its index, to be in each line.
    """

    def __init__(self, log_format: LogFormat = "auto", worker: int | None = None) -> None:
        is_terminal = sys.stderr.isatty()
        if log_format == "auto":
            log_format = "console" if is_terminal else "json"
        if log_format == "json":
            self._time: Callable[[logging.LogRecord], str] = _utc_time
            render: list[Processor] = [_as_json]
        else:
            self._time = _local_time
            render = [_indent_blocks, _console(has_colours=is_terminal)]
        self._worker = worker
        super().__init__(
            processors=[self._arrange, format_exc_info, *render],
            foreign_pre_chain=[ExtraAdder()],
        )

    def _arrange(self, _logger: WrappedLogger, _name: str, fields: EventDict) -> EventDict:
        """Put in front what every line has; no key of the caller's can replace that."""
        record = fields.pop("_record")
        del fields["_from_structlog"]
        event = fields.get("event", "")
        if isinstance(event, str) and "\nTraceback " in event:  # granian logs them so
            event, _, trace = event.partition("\n")
            fields.setdefault("exception", trace.rstrip())
        head = {
            "timestamp": self._time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": event,
        }
        if self._worker is not None:
            head["worker"] = self._worker
        return {**head, **fields, **head}


def _utc_time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _local_time(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}"


def _text(value: object) -> str:
    """Return any value as text that can be written as UTF-8."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except Exception:
        text = f"<{type(value).__name__} without a repr>"
    return text.encode("utf-8", "backslashreplace").decode()


# -- JSON --------------------------------------------------------------------------------------

_ENCODER = msgspec.json.Encoder(enc_hook=_text)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


def _as_json(_logger: WrappedLogger, _name: str, fields: EventDict) -> str:
    """Return one line of ASCII: no locale can break it, and no terminal that it is shown on."""
    try:
        line = _ENCODER.encode(fields).decode()
    except Exception:
        # Half a surrogate pair, a key that is no text, a number over 64 bits, a cycle.
        plain = {_text(key): _encodable(value) for key, value in fields.items()}
        line = _ENCODER.encode(plain).decode()
    return line if line.isascii() else _NOT_ASCII.sub(lambda found: _escape(found[0]), line)


def _encodable(value: object) -> object:
    try:
        _ENCODER.encode(value)
    except Exception:
        return _text(value)
    return value


def _escape(text: str) -> str:
    return json.dumps(text)[1:-1]


# -- console -----------------------------------------------------------------------------------

_BLOCKS = ("stack", "exception")
_AMBIGUOUS = frozenset(' ="\\')


def _console(*, has_colours: bool) -> ConsoleRenderer:
    styles = ConsoleRenderer.get_default_column_styles(has_colours)
    levels = ConsoleRenderer.get_default_level_styles(has_colours)

    def text(style: str, postfix: str = "") -> KeyValueColumnFormatter:
        return KeyValueColumnFormatter(None, style, styles.reset, _printable, postfix=postfix)

    pair = KeyValueColumnFormatter(styles.kv_key, styles.kv_value, styles.reset, _value)
    columns = [
        Column("timestamp", text(styles.timestamp)),
        Column("level", LogLevelColumnFormatter(levels, styles.reset)),
        Column("logger", text(styles.logger_name, postfix=":")),
        Column("event", text(styles.bright)),
        Column("", pair),
    ]
    # Not rich's, which is installed: it shows local variables, so also secrets.
    return ConsoleRenderer(columns=columns, sort_keys=False, exception_formatter=plain_traceback)


def _printable(value: object) -> str:
    """Return a text in which nothing starts a line, moves a cursor or turns the reading order."""
    text = _text(value)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _value(value: object) -> str:
    """Return it so that it cannot be taken for more than one value."""
    if isinstance(value, str) and (not value or not _AMBIGUOUS.isdisjoint(value)):
        value = json.dumps(value, ensure_ascii=False)
    return _printable(value)


def _indent_blocks(_logger: WrappedLogger, _name: str, fields: EventDict) -> EventDict:
    """Indent what goes under the line, so that no part of it can be taken for another line."""
    fields = {_printable(key): value for key, value in fields.items()}
    for key in _BLOCKS:
        if key in fields:
            lines = _text(fields[key]).splitlines()
            fields[key] = "\n".join(f"    {_printable(line)}" for line in lines)
    return fields
