"""What comes out on stderr of real processes that log: into a pipe, into a terminal."""

import json
import os
import pickle
import pty
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from server.logs import LogFormat, log_config
from tests.support import servers
from tests.support.cli import environment
from tests.support.raw import RawClient

TIMEOUT_S = 30
CLOSED: dict[str, Any] = {
    "id": "4-17",
    "route": "/rooms/{name}",
    "path": "/rooms/general",
    "client": "127.0.0.1:50312",
    "user": "u-42",
    "code": 1000,
    "initiator": "client",
    "reason": "done",
    "duration_s": 12.34567,
    "messages_received": 3,
    "messages_sent": 5,
    "bytes_received": 30,
    "bytes_sent": 50,
}
PROGRAM = """\
import logging, sys, structlog
from server.logs import configure, connection_closed
configure({level!r}, {log_format!r}, worker={worker!r})
theirs = logging.getLogger("library")
ours = logging.getLogger("switchboard.app")
struct = structlog.get_logger("switchboard.struct")
def closed(**changes):
    connection_closed(**{{**{closed!a}, **changes}})
{body}
"""
FAIL = """
try:
    int("x\\n2026-01-01 00:00:00.000 [info     ] switchboard: forged")
except ValueError:
    {logger}.exception("it failed", {extra})
"""
Line = dict[str, Any]


def command(
    body: str, log_format: LogFormat = "json", level: str = "info", worker: int | None = None
) -> list[str]:
    """A process that sets up its logs, then runs `body`."""
    program = PROGRAM.format(
        level=level, log_format=log_format, worker=worker, closed=CLOSED, body=body
    )
    return [sys.executable, "-c", program]


def text_of(body: str, log_format: LogFormat = "console", **more: Any) -> str:
    """What it writes into a pipe."""
    done = subprocess.run(
        command(body, log_format, **more),
        env=environment({"PYTHONIOENCODING": "utf-8"}),
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b""), done
    return done.stderr.decode()


def lines_of(body: str, **more: Any) -> list[Line]:
    """The lines it writes into a pipe as JSON, each of them one object."""
    text = text_of(body, "json", **more)
    assert text.isascii()
    return [json.loads(line) for line in text.split("\n")[:-1]]


def in_a_terminal(body: str, log_format: LogFormat = "auto") -> str:
    """What it writes on a terminal."""
    ours, its = pty.openpty()
    written = b""
    with subprocess.Popen(command(body, log_format), env=environment(), stderr=its) as process:
        os.close(its)
        try:
            while data := os.read(ours, 65536):
                written += data
        except OSError:  # how Linux says that nobody is at the other end
            pass
        os.close(ours)
        assert process.wait(TIMEOUT_S) == 0
    return written.decode()


# -- every line ----------------------------------------------------------------------------------


def test_both_kinds_of_logger_make_the_same_line() -> None:
    body = 'ours.warning("%s left", "Ann", extra={"n": 1}); struct.warning("%s left", "Ann", n=1)'
    before = datetime.now(UTC)
    first, second = lines_of(body)
    for line, logger in ((first, "switchboard.app"), (second, "switchboard.struct")):
        assert list(line) == ["timestamp", "level", "logger", "event", "n"]
        assert before <= datetime.fromisoformat(line["timestamp"]) <= datetime.now(UTC)
        assert line["timestamp"].endswith("Z")
        del line["timestamp"]
        assert line == {"level": "warning", "logger": logger, "event": "Ann left", "n": 1}


def test_the_worker_is_in_each_line() -> None:
    body = 'ours.info("a"); struct.info("b"); theirs.warning("c"); closed()'
    assert [line["worker"] for line in lines_of(body, worker=0)] == [0, 0, 0, 0]


def test_a_second_configure_replaces_the_first() -> None:
    """A worker inherits its supervisor's."""
    body = 'struct.info("a"); configure("error", "json", worker=3); ours.error("b"); ours.info("c")'
    assert [(line["event"], line.get("worker")) for line in lines_of(body)] == [
        ("a", None),
        ("b", 3),
    ]


def test_no_key_replaces_what_every_line_has() -> None:
    (line,) = lines_of('struct.info("a", level="gold", logger=1, timestamp=2, worker=3)', worker=1)
    assert (line["level"], line["logger"], line["worker"]) == ("info", "switchboard.struct", 1)


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("debug", ["debug", "info", "warning", "error", "library warning", "library error"]),
        ("info", ["info", "warning", "error", "library warning", "library error"]),
        ("warning", ["warning", "error", "library warning", "library error"]),
        ("error", ["error", "library error"]),
    ],
)
def test_the_level_is_ours_and_a_library_has_to_warn(level: str, events: list[str]) -> None:
    body = """
for logger in (ours, struct):
    for level in ("debug", "info", "warning", "error"): getattr(logger, level)(level)
for logger in (theirs, structlog.get_logger("library")):
    for level in ("debug", "info", "warning", "error"): getattr(logger, level)("library " + level)
"""
    lines = [line["event"] for line in lines_of(body, level=level)]
    theirs = [event for event in events if "library" in event]
    ours = [event for event in events if event not in theirs]
    assert lines == ours * 2 + theirs * 2


def test_an_app_can_open_its_own_logger() -> None:
    body = """
logging.getLogger("chat").setLevel("INFO")
structlog.get_logger("chat.rooms").info("a")
logging.getLogger("chat.rooms").info("b")
"""
    assert [line["event"] for line in lines_of(body)] == ["a", "b"]


@pytest.mark.parametrize("logger", ["ours", "struct", "theirs"])
def test_an_exception_is_one_line(logger: str) -> None:
    extra = "room=1" if logger == "struct" else 'extra={"room": 1}'
    (line,) = lines_of(FAIL.format(logger=logger, extra=extra))
    assert (line["event"], line["level"], line["room"]) == ("it failed", "error", 1)
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert "ValueError: invalid literal for int()" in line["exception"]
    assert "exc_info" not in line


def test_no_exception_where_there_is_none() -> None:
    (line,) = lines_of('ours.error("a", exc_info=True)')
    assert "exception" not in line


def test_what_no_json_can_say_is_said_otherwise() -> None:
    """Half a surrogate pair, numbers, cycles, a repr that raises: none loses the line."""
    body = """
class Bad:
    def __repr__(self): raise ValueError
cycle = {}
cycle["cycle"] = cycle
struct.info("\\udc80", half="a\\ud800b", n=2**70, nan=float("nan"), bad=Bad(), code=1000)
struct.info("b", cycle=cycle, code=1000, **{"\\ud800": 1})
struct.info("c", deep={"bad": Bad()}, text="\\u2028 \\u202e \\x9b \\U0001f600 \\n \\u00e9")
ours.info(Bad)
"""
    a, b, c, d = lines_of(body)
    assert (a["event"], a["half"], a["n"], a["nan"]) == ("\\udc80", "a\\ud800b", 2**70, None)
    assert (a["bad"], a["code"]) == ("<Bad without a repr>", 1000)
    assert (b["cycle"], b["code"], b["\\ud800"]) == ("{'cycle': {...}}", 1000, 1)
    assert c["text"] == "\u2028 \u202e \x9b \U0001f600 \n \u00e9"
    assert c["deep"] == {"bad": "<Bad without a repr>"}
    assert d["event"] == "<class '__main__.Bad'>"


# -- the end of a connection ---------------------------------------------------------------------


def test_the_line_at_the_end_of_a_connection() -> None:
    (line,) = lines_of("closed()", worker=2)
    del line["timestamp"]
    assert line == {
        "level": "info",
        "logger": "switchboard.connection",
        "event": "connection closed",
        "worker": 2,
        **CLOSED,
        "duration_s": 12.346,
    }


def test_no_user_and_a_code_with_a_name() -> None:
    body = "from server import CloseCode; closed(user=None, code=CloseCode.GOING_AWAY)"
    (line,) = lines_of(body)
    assert "user" not in line
    assert line["code"] == 1001
    assert "code=1001 " in text_of(body)


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_query_string_is_logged(log_format: LogFormat) -> None:
    """Not even one that the client took for a part of the path, as `%3F` says."""
    text = text_of('closed(path="/rooms/general?token=secret")', log_format)
    assert "/rooms/general" in text
    assert "secret" not in text


def test_nothing_is_logged_above_info() -> None:
    assert text_of("closed()", level="warning") == ""


def test_what_a_client_sends_does_not_mix_with_the_lines_of_other_processes() -> None:
    """They share a pipe, which takes 4096 bytes at once: the longest line has to fit."""
    longest = {"path": "\U000e0001" * 10_000, "reason": "\x01" * 123, "user": "u" * 64}
    body = f"for _ in range(300): closed(**{longest!a})"
    reader, writer = os.pipe()
    writers = [
        subprocess.Popen(command(body, worker=number), env=environment(), stderr=writer)
        for number in range(2)
    ]
    os.close(writer)
    with open(reader) as pipe:
        lines = pipe.readlines()
    assert [process.wait(TIMEOUT_S) for process in writers] == [0, 0]
    assert max(map(len, lines)) < 4096
    assert sorted(json.loads(line)["worker"] for line in lines) == [0] * 300 + [1] * 300


# -- for a person --------------------------------------------------------------------------------


def test_a_line_for_a_person() -> None:
    (line,) = text_of('struct.info("hello", n=1, name="Ann", room="a b")', worker=2).splitlines()
    time, rest = line[:23], line[23:]
    datetime.strptime(time, "%Y-%m-%d %H:%M:%S.%f").astimezone()
    assert rest == ' [info     ] switchboard.struct: hello worker=2 n=1 name=Ann room="a b"'


def test_auto_is_the_console_with_colours_on_a_terminal() -> None:
    text = in_a_terminal('struct.info("hello", n=1)')
    assert "\x1b[" in text
    assert "hello" in text
    assert "{" not in text


def test_auto_is_json_in_a_pipe() -> None:
    assert json.loads(text_of('struct.info("hello")', "auto"))["event"] == "hello"


def test_json_on_a_terminal_is_json() -> None:
    text = in_a_terminal('struct.info("hello")', "json")
    assert json.loads(text)["event"] == "hello"


def test_there_are_no_colours_in_a_pipe() -> None:
    assert "\x1b" not in text_of('struct.info("hello", n=1); ours.error("x")')


@pytest.mark.parametrize(
    "evil",
    [
        "a\n2026-01-01 00:00:00.000 [info     ] switchboard: forged",
        "a\r\x1b[2K\x1b[1mforged\x07\x08",
        "a\x85b\u2028c\u2029d\x0be\x0cf\x1cg",
        "a\x9b31m\u202eb\u2066c\x7f",
        "a\ud800b\udfffc",
    ],
)
def test_no_text_breaks_a_line(evil: str) -> None:
    body = f"""
evil = {evil!a}
closed(path="/" + evil)
closed(reason=evil)
closed(user=evil, client=evil)
ours.info("%s left", evil)
struct.info(evil, names=[evil], **{{evil: 1}})
"""
    lines = text_of(body).splitlines()
    assert len(lines) == 5
    assert all(line.isprintable() and line.startswith("20") for line in lines)


def test_one_value_cannot_look_like_two() -> None:
    text = text_of("closed(reason='bye\" code=4000 \\\\')")
    assert r'reason="bye\" code=4000 \\"' in text
    assert 'reason="" ' in text_of('closed(reason="")')


@pytest.mark.parametrize("logger", ["ours", "struct"])
def test_a_traceback_is_indented(logger: str) -> None:
    """Its text may be the client's, and must not look like a line of the log."""
    text = text_of(FAIL.format(logger=logger, extra="") + 'ours.info("next")')
    first, *block, last = text.splitlines()
    assert first.endswith(": it failed")
    assert "forged" in "".join(block)
    assert all(line.startswith("    ") for line in block)
    assert last.endswith(": next")


# -- as data, and in granian ---------------------------------------------------------------------


def test_the_configuration_is_plain_data() -> None:
    """It is handed to the host, which must not know this module."""
    config = log_config("info", "auto", worker=1)
    assert json.loads(json.dumps(config)) == config == pickle.loads(pickle.dumps(config))  # noqa: S301


@pytest.mark.parametrize(
    ("level", "of_granian", "of_access"),
    [("debug", "DEBUG", "WARNING"), ("info", "WARNING", "WARNING"), ("error", "ERROR", "ERROR")],
)
def test_granian_tells_of_itself_only_when_debugging(
    level: str, of_granian: str, of_access: str
) -> None:
    loggers = log_config(level, "json")["loggers"]
    assert loggers["_granian"]["level"] == of_granian
    assert loggers["granian.access"]["level"] == of_access
    assert loggers["switchboard"]["level"] == level.upper()


GRANIAN = """\
import sys
from granian import Granian
from server.logs import log_config


async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        raise ValueError("no\\nforged")


if __name__ == "__main__":
    Granian(
        target="hosted:app", port=int(sys.argv[1]), interface="asginl", websockets=True,
        log_dictconfig=log_config("info", "json"), log_access=True,
    ).serve()
"""


@pytest.mark.e2e
def test_granian_logs_the_same_lines_and_no_request(tmp_path: Path) -> None:
    """Its access log stays off even when it is asked for, and a traceback is one line."""
    (tmp_path / "hosted.py").write_text(GRANIAN)
    port = servers.free_port()
    command = [sys.executable, "hosted.py", str(port)]
    with servers.running(command, port, cwd=tmp_path, env=environment()) as server:
        with RawClient(port) as client:
            assert client.handshake("/path?token=secret").status >= 400
        server.wait_for_output("ValueError")
        server.stop()
        output = server.output()
    lines = [json.loads(line) for line in output.splitlines()]
    assert "secret" not in output
    assert "granian.access" not in {line["logger"] for line in lines}
    (failure,) = [line for line in lines if line["level"] == "error"]
    assert failure["event"] == "Application callable raised an exception"
    assert failure["exception"].endswith("ValueError: no\nforged")
