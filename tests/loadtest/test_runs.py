"""Owns the proof that whole runs end with a verdict, an exit code and a report."""

import os
import re
import shlex
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from loadtest import books
from loadtest.results import Run
from tests.docs.running import OF_MAKE
from tests.loadtest import commands
from tests.support import servers
from tests.support.processes import children, is_alive, wait_until

pytestmark = pytest.mark.e2e

FILES = {"report.html", "report.md", "run.json", "samples.csv", "totals.csv"}


def _flags(folder: Path, *, users: int = 20, duration_s: int = 2) -> list[str]:
    limits = commands.lenient(folder)
    asked = ["--users", str(users), "--duration", str(duration_s)]
    return [*asked, "--slo", str(limits), "--reports", str(folder / "reports")]


def _wait_for_line(process: subprocess.Popen[str], number: int = 1) -> str:
    """Wait for lines of progress; returns the last."""
    assert process.stderr is not None
    while number:
        line = process.stderr.readline()
        assert line, "it ended"
        number -= " connections, " in line
    return line


def _assert_nobody_is_left(run: Run) -> None:
    """No process of ours has the target's port any more."""
    port = int(run.target.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_make_loadtest(tmp_path: Path):
    """`make loadtest` with nothing but its size holds them for 10 s, and all books agree."""
    plan = subprocess.run(
        ["make", "--dry-run", "loadtest", "USERS=300", "DURATION=10"],
        cwd=servers.ROOT,
        env={name: value for name, value in os.environ.items() if name not in OF_MAKE},
        capture_output=True,
        text=True,
        check=True,
    )
    _, _, module, *arguments = shlex.split(plan.stdout.splitlines()[-1].removeprefix("exec "))
    assert module == "loadtest"
    done = commands.loadtest(*arguments, *_flags(tmp_path)[-4:])

    assert done.code == 0, done.text
    assert "all limits were kept" in done.stdout
    assert "idle at ws://127.0.0.1:" in done.stderr
    assert " of 300 connections, " in done.stderr
    run = done.run
    assert run.is_complete
    assert run.totals.opened == run.totals.closed["1000"] == 300
    assert sum(entry.clients for entry in books.compare(run)) > 600
    assert all(entry.difference == 0 for entry in books.compare(run))
    assert {use.worker for one in run.samples for use in one.server} == {"0", "1"}
    assert {file.name for file in done.folder.iterdir()} >= FILES
    _assert_nobody_is_left(run)


def test_a_host_without_an_admin_port(tmp_path: Path):
    """It is said that the server was not watched; the run is judged all the same."""
    with servers.granian("examples.showcase:app") as server:
        done = commands.loadtest("run", "echo", "--host", server.url, *_flags(tmp_path))

    assert done.code == 0, done.text
    assert "note: no admin port was given, so the server was not watched" in done.stdout
    assert done.run.server_deltas == {}


def test_wrong_path(tmp_path: Path):
    """It is refused with 403, which is told before anything begins."""
    with servers.granian("examples.showcase:app") as server:
        done = commands.loadtest("run", "echo", "--host", f"{server.url}/x", *_flags(tmp_path))

    assert done.code == 2
    assert f"{server.url}/x/ws/echo was refused with HTTP 403: is the path right?" in done.stderr
    assert list((tmp_path / "reports").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_interrupted(tmp_path: Path, number: signal.Signals):
    """Ctrl-C and the like, half-way, end all in order: there is a report, and nobody is left."""
    process = commands.start("run", "echo", *_flags(tmp_path, duration_s=60))
    _wait_for_line(process, 1)
    time.sleep(1)
    process.send_signal(number)
    done = commands.finish(process)

    assert done.code == 130, done.text
    assert "BROKEN: the run was broken off after" in done.stdout
    assert "note: it was interrupted" in done.stdout
    run = done.run
    assert not run.is_complete
    assert run.totals.opened == run.totals.closed["1000"] == 20
    assert all(entry.difference == 0 for entry in books.compare(run))
    assert {file.name for file in done.folder.iterdir()} >= FILES
    _assert_nobody_is_left(run)


def test_killed(tmp_path: Path):
    """It can end nothing any more, and still no process is left behind."""
    process = commands.start("run", "echo", *_flags(tmp_path, duration_s=60))
    _wait_for_line(process, 1)
    started = children(process.pid)
    assert len(started) == 2  # the server's supervisor and the generator
    started += [worker for pid in started for worker in children(pid)]
    process.kill()
    process.communicate()
    wait_until(lambda: not any(map(is_alive, started)), 30, message="all of them end")


def test_the_server_dies(tmp_path: Path):
    """Half-way: that is what is told, there is a report, and it is a failure."""
    with commands.serving("examples.showcase:app") as (server, flags):
        process = commands.start("run", "echo", *flags, *_flags(tmp_path, duration_s=60))
        _wait_for_line(process, 1)
        server.stop(signal.SIGKILL)
        done = commands.finish(process)

    assert done.code == 1, done.text
    assert re.search(r"note: nobody listens at \S+ any more, after \d+ s", done.stdout)
    assert "BROKEN: the run was broken off after" in done.stdout
    assert not done.run.is_complete
    assert {file.name for file in done.folder.iterdir()} >= FILES


def test_capacity(tmp_path: Path):
    """It ends with one sentence and a number, and each step has a report."""
    done = commands.loadtest("capacity", "idle", *_flags(tmp_path, duration_s=1), "--most", "20")

    assert done.code == 0, done.text
    first, report = done.stdout.splitlines()
    assert re.fullmatch(
        r"this machine carries at least 20 connections at [\d,.]+ messages a second"
        r"( within p99 [\d,.]+ ms)?; no limit was reached, try more",
        first,
    )
    assert report.endswith("/capacity.md")
    assert {path.name for path in done.folder.iterdir() if path.is_dir()} >= {"01-20", "02-20"}


def test_web_page(tmp_path: Path):
    """A run that was started on the page is judged when Ctrl-C ends it."""
    flags = ["--ui", *_flags(tmp_path), "--", "--web-port", str(servers.free_port())]
    process = commands.start("run", "echo", *flags)
    try:
        assert process.stderr is not None
        host = _find(r"(ws://[\d.:]+\d)", process.stderr.readline())
        page = _find(r"(http://[\d.:]+)", process.stderr.readline())
        form = {"user_count": 20, "spawn_rate": 20, "host": host}
        while not _post(f"{page}/swarm", form):
            time.sleep(0.05)
        _wait_for_line(process)
    finally:
        process.send_signal(signal.SIGINT)
        done = commands.finish(process)
    assert 0 < done.run.totals.opened == done.run.totals.closed["1000"] <= 20
    assert "all limits" in done.stdout or "BROKEN: the run was broken off" in done.stdout


def _find(pattern: str, line: str) -> str:
    found = re.search(pattern, line)
    assert found is not None, line
    return found[1]


def _post(url: str, form: dict[str, object]) -> bool:
    """Send a form; returns whether somebody was there to take it."""
    data = urllib.parse.urlencode(form).encode()
    try:
        urllib.request.urlopen(url, data, timeout=10).close()  # noqa: S310 - a page of ours
    except urllib.error.URLError:
        return False
    return True
