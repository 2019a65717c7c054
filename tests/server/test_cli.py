"""The command line as a user meets it: real processes, a real terminal."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import SO_REUSEPORT, SOL_SOCKET, socket

import pytest

from tests.support.cli import APP, LEADER, Project, environment
from tests.support.processes import children, wait_until
from tests.support.raw import connect
from tests.support.servers import Server, free_port, running
from workers.preflight import merge_warning

pytestmark = pytest.mark.e2e

BANNER_END = "stop    Ctrl-C"
SLOW_IMPORT = f"""\
{APP}
import pathlib, sys, time
if sys.argv[0].endswith("worker.py") is {{in_worker}}:
    pathlib.Path("importing").touch()
    time.sleep(60)
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@contextmanager
def serving(project: Project, *arguments: str) -> Iterator[Server]:
    port = free_port()
    command = project.command("serve", *arguments, "--port", str(port))
    with running(command, port, env=environment(), cwd=project.folder) as server:
        yield server


@contextmanager
def in_a_terminal(
    project: Project, *arguments: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a command in the foreground of a terminal of its own; yields it and the terminal."""
    ours, its = pty.openpty()
    command = [sys.executable, "-c", LEADER, "-m", "server", *arguments]
    with subprocess.Popen(
        command, cwd=project.folder, env=environment(), stdin=its, stdout=its, stderr=its
    ) as process:
        os.close(its)
        try:
            yield process, ours
        finally:
            process.kill()
            process.wait()
            os.close(ours)


def read_until(terminal: int, text: str | None) -> str:
    """Read a terminal until `text` comes, or to its end."""
    output = ""
    deadline = time.monotonic() + 20
    os.set_blocking(terminal, False)
    while text is None or text not in output:
        assert time.monotonic() < deadline, output
        try:
            data = os.read(terminal, 65536)
        except BlockingIOError:
            time.sleep(0.01)
            continue
        except OSError:  # how Linux says that nobody is at the other end
            data = b""
        if not data:
            assert text is None, output
            return output
        output += data.decode()
    return output


# -- serve -------------------------------------------------------------------------------------


def test_serve_says_when_it_is_ready_and_ends_on_sigterm(project: Project) -> None:
    with serving(project, "good", "--workers", "1") as server:
        banner = server.wait_for_output(BANNER_END)
        assert "Switchboard serves good with 1 worker:\n" in banner
        assert f"  route   ws://127.0.0.1:{server.port}/echo\n" in banner
        with connect(server.port, "/echo") as client:
            client.send_text("hello")
            assert client.read_text() == "hello"
        assert server.stop(signal.SIGTERM) == 0
        assert "Traceback" not in server.output()
    with socket() as again:
        again.bind(("127.0.0.1", server.port))


def test_ctrl_c_ends_it(project: Project) -> None:
    """The terminal signals its foreground group, which the workers have left."""
    with in_a_terminal(project, "serve", "good", "--port", "0") as (process, terminal):
        read_until(terminal, BANNER_END)
        workers = children(process.pid)
        assert workers
        assert os.tcgetpgrp(terminal) == process.pid
        assert {os.getpgid(worker) for worker in workers} == set(workers)
        os.write(terminal, b"\x03")
        output = read_until(terminal, None)
        assert process.wait(10) == 0
    assert "Traceback" not in output


def test_ctrl_c_while_the_app_is_looked_at(project: Project) -> None:
    project.write("slow.py", SLOW_IMPORT.format(in_worker=False))
    with in_a_terminal(project, "serve", "slow", "--port", "0") as (process, terminal):
        wait_until((project.folder / "importing").exists)
        os.write(terminal, b"\x03")
        output = read_until(terminal, None)
        assert process.wait(10) == 130
    assert "Traceback" not in output


def test_sigterm_while_a_worker_imports_the_app(project: Project) -> None:
    """It ends at once, and not when the worker is killed after `stop_timeout_s`."""
    project.write("slow.py", SLOW_IMPORT.format(in_worker=True))
    command = project.command("serve", "slow", "--port", "0", "--workers", "1")
    with subprocess.Popen(
        command, cwd=project.folder, env=environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_until((project.folder / "importing").exists)
            process.terminate()
            _, errors = process.communicate(timeout=10)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("shares", [False, True])
def test_the_port_is_taken(project: Project, shares: bool) -> None:
    """Also by a listener with SO_REUSEPORT, which granian's workers would share unnoticed."""
    with socket() as listener:
        listener.setsockopt(SOL_SOCKET, SO_REUSEPORT, shares)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        line = project.error("serve", "good", "--port", str(port))
    assert line.startswith(f"port {port} on 127.0.0.1 is taken: stop what listens there")
    assert "--port 0" in line


def test_the_port_is_taken_by_another_switchboard(project: Project) -> None:
    with serving(project, "good", "--workers", "1") as server:
        line = project.error("serve", "good", "--port", str(server.port))
        assert f"port {server.port} on 127.0.0.1 is taken" in line
        connect(server.port, "/echo").drop()


def test_few_files_are_warned_of(project: Project) -> None:
    limit = ("sh", "-c", 'ulimit -n 300 && exec "$@"', "sh")
    done = project.run("check", "good", "--port", "0", before=limit)
    assert done.returncode == 0
    assert done.stderr == (
        "switchboard: warning: each worker may open 300 files, so hold about 200 connections;"
        " raise it with `ulimit -n 65536` in this shell, or LimitNOFILE=65536 in the systemd unit\n"
    )


def test_pages_that_are_not_merged_are_warned_of(project: Project) -> None:
    done = project.run("check", "good", "--port", "0", "--merge-pages")
    warning = merge_warning()
    assert done.returncode == 0
    assert done.stderr == (f"switchboard: warning: {warning}\n" if warning else "")


# -- check, routes, help -----------------------------------------------------------------------


def test_check_says_where_it_would_serve(project: Project) -> None:
    done = project.run("check", "good", "--host", "localhost", "--port", "0")
    assert done.returncode == 0
    assert "ok: good can be served at http://127.0.0.1:" in done.stdout
    assert "(1 routes)" in done.stdout


ROUTES = """
import msgspec


class Order(msgspec.Struct):
    item: str


@app.websocket("/orders/{number}", value_type=Order)
async def orders(ws, number: int):
    pass


@app.route("/", methods=("GET", "POST"))
async def page(request):
    pass


async def other(scope, receive, send):
    pass


app.mount("/other", other)
"""


def test_routes_and_the_banner_list_them_in_order(project: Project) -> None:
    project.write("many.py", APP + ROUTES)
    done = project.run("routes", "many", "--json")
    rows = json.loads(done.stdout)
    text = {"accept": "automatic", "receive": "text", "send": "text"}
    order = {"accept": "by the view", "receive": "Order", "send": "Order"}
    assert rows[:3] == [
        {"kind": "websocket", "path": "/echo", "view": "echo", **text},
        {"kind": "websocket", "path": "/orders/{number}", "view": "orders", **order},
        {"kind": "http", "path": "/", "view": "page", "methods": ["GET", "POST"]},
    ]
    assert (rows[3]["kind"], rows[3]["path"]) == ("mount", "/other")

    with serving(project, "many", "--workers", "1") as server:
        banner = server.wait_for_output(BANNER_END)
        assert f"  mount   http://127.0.0.1:{server.port}/other\n" in banner

    table = project.run("routes", "many").stdout.splitlines()
    assert [line.split()[:2] for line in table] == [[row["kind"], row["path"]] for row in rows]
    assert "Order -> Order" in table[1]


def test_help_and_unknown_commands(project: Project) -> None:
    done = project.run()
    assert done.returncode == 0
    assert all(command in done.stdout for command in ("serve", "check", "routes"))
    assert 'Did you mean "serve"?' in project.error("sreve", "good")
