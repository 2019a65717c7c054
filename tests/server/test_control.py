"""The commands for a running server, over real segments.

Where a command needs no supervisor's reaction, this process is the supervisor. For signals a
process of its own stands in for it: `python -m tests.server.test_control BASE BEHAVIOUR`.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from server.cli import main
from server.control import CONNECTION_COLUMNS, ControlError, Supervisor
from server.printing import span
from tests.server.test_connections import SIZES, Worker, base, employ, segment, workers
from tests.support.processes import is_alive, wait_until
from tests.workers.memory_support import process, put_word, shared
from workers.directories import directory_for, find_running, start_time
from workers.doorbell import Disconnect, Doorbell, Message
from workers.layout import ServerState
from workers.segment import Segment
from workers.slots import Slots

__all__ = ["base", "segment", "workers"]  # fixtures

NEW = 100  # generations after a reload
Output = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no settings file is."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def serving(segment: Segment, workers: list[Worker]) -> Segment:
    segment.server_state = ServerState.SERVING
    return segment


def run(base: Path, command: str, *arguments: str) -> int:
    return main([command, *arguments, "--runtime-dir", str(base)])


def error(output: Output, base: Path, command: str, *arguments: str) -> str:
    """Run a command that must be refused; returns what it says."""
    assert run(base, command, *arguments) == 2
    out, errors = output.readouterr()
    assert out == ""
    (line,) = errors.splitlines()
    return line.removeprefix("switchboard: error: ")


# -- finding the server ------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["connections", "status", "drain", "reload"])
def test_without_a_server_each_says_how_to_get_one(
    base: Path, capsys: Output, command: str
) -> None:
    assert error(capsys, base, command) == (
        f"no server of this user runs (there is no segment in {base}): start one with"
        " `python -m server serve`, or name its directory with --runtime-dir"
    )


def test_of_several_servers_one_is_chosen(base: Path, serving: Segment, capsys: Output) -> None:
    with stand_in(base, "drain") as other:
        problem = error(capsys, base, "status")
        assert problem.startswith("several servers run: choose one with --pid: ")
        assert f"{serving.supervisor_pid} (chat:app, port 8000)" in problem
        assert f"{other.pid} (chat:app, port 8000)" in problem
        assert run(base, "status", "--pid", str(other.pid)) == 0
        assert f"pid {other.pid}: ready" in capsys.readouterr().out
        problem = error(capsys, base, "status", "--pid", "1")
        assert problem.startswith("no server has the pid 1: there is ")


# -- connections, status -----------------------------------------------------------------------


def test_connections_are_a_table_and_a_total(
    base: Path, serving: Segment, workers: list[Worker], capsys: Output
) -> None:
    first = workers[0].connect("/chat", "ada", "/chat")
    workers[0].rows.update(0, time.time_ns() - 65 * 10**9, 7, 8, 90, 100)
    second = workers[1].connect("/feed", "", "/feed/7")
    assert run(base, "connections") == 0
    head, *lines, total = capsys.readouterr().out.splitlines()
    assert tuple(head.split()) == CONNECTION_COLUMNS
    assert lines[0].split()[:6] == [first, "/chat", "/chat", "192.0.2.1:5000", "ada", "0"]
    assert re.fullmatch(r"\ds +1m0\ds +7 +8", lines[0][head.index("age") :])
    assert lines[1].split()[:5] == [second, "/feed", "/feed/7", "192.0.2.1:5000", "1"]
    assert [line.index("192.0.2.1") for line in lines] == [head.index("client")] * 2
    assert total == "2 connections"


def test_connections_are_filtered_and_limited(
    base: Path, serving: Segment, workers: list[Worker], capsys: Output
) -> None:
    for _ in range(1500):
        workers[2].connect("/feed", "ada")
    workers[0].connect("/feed", "ada")
    workers[2].connect("/chat", "ada")
    workers[2].connect("/feed", "ben")
    filters = ("--route", "/feed", "--user", "ada", "--worker", "2")
    assert run(base, "connections", *filters, "--limit", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[-1] == "1,500 connections, 2 shown"
    assert run(base, "connections", *filters, "--limit", "2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["total"] == 1500
    assert [row["worker"] for row in found["connections"]] == [2, 2]


def test_a_path_cannot_steer_the_terminal(
    base: Path, serving: Segment, workers: list[Worker], capsys: Output
) -> None:
    workers[0].connect(path="/\x1b]0;pwned\x07\n\u202eé", user="\x9b31m")
    assert run(base, "connections") == 0
    output = capsys.readouterr().out
    assert "/\ufffd]0;pwned\ufffd\ufffd\ufffdé" in output
    assert "\ufffd31m" in output
    assert not set(output) & set("\x1b\x07\x9b\u202e")


def test_a_span_is_as_long_as_a_person_would_say_it() -> None:
    spans = [0.9, 59.9, 60, 3599, 3600, 90_061]
    assert [span(s) for s in spans] == ["0s", "59s", "1m00s", "59m59s", "1h00m", "25h01m"]


def test_what_is_not_there_is_named(
    base: Path, serving: Segment, workers: list[Worker], capsys: Output
) -> None:
    problem = error(capsys, base, "connections", "--route", "/caht")
    assert problem == "there is no route '/caht': there are other, /chat, /feed"
    assert error(capsys, base, "disconnect", "--worker", "3").startswith("there is no worker 3: ")


def test_the_status_is_a_line_and_a_table(
    base: Path, serving: Segment, workers: list[Worker], capsys: Output
) -> None:
    workers[1].connect()
    workers[0].own.beat(0, 0)
    Slots(serving).mark_dead(workers[2].slot)
    assert run(base, "status") == 0
    first, head, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith(
        f"chat:app at 127.0.0.1:8000, pid {serving.supervisor_pid}: degraded,"
        " 1 of 3 workers ready, 1 connection, up "
    )
    assert head.split()[:5] == ["worker", "slot", "generation", "pid", "state"]
    assert [line.split()[4] for line in lines] == ["ready", "ready", "dead"]
    assert lines[0].split()[-2:] == ["-", "0.0ms"]
    assert run(base, "status", "--json") == 0
    assert json.loads(capsys.readouterr().out)["workers"][1]["connections"] == 1


# -- disconnect --------------------------------------------------------------------------------


def read(bell: Doorbell, count: int) -> list[Message]:
    """Return what is queued at a doorbell, and close it."""
    heard: list[Message] = []

    async def listen() -> None:
        bell.listen(asyncio.get_running_loop(), heard.append)
        async with asyncio.timeout(5):
            while len(heard) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        bell.close()

    asyncio.run(listen())
    return heard


def test_a_user_is_disconnected(
    base: Path, serving: Segment, workers: list[Worker], capsys: Output
) -> None:
    ada = [workers[0].connect(user="ada"), workers[0].connect(user="ada")]
    with workers[0].doorbell() as bell:
        arguments = ("--user", "ada", "--code", "4001", "--reason", "signed out")
        assert run(base, "disconnect", *arguments) == 0
        assert read(bell, 1) == [Disconnect(ada, 4001, "signed out")]
    assert capsys.readouterr().out == "2 connections asked to close with 4001\n"


def test_everyone_of_a_route_or_one_id(
    base: Path, serving: Segment, workers: list[Worker], capsys: Output
) -> None:
    feed, chat = workers[1].connect("/feed"), workers[1].connect("/chat")
    with workers[1].doorbell() as bell:
        for who in (("--route", "/feed"), ("--id", chat), ("--worker", "1"), ("--everyone",)):
            assert run(base, "disconnect", *who) == 0
        messages = read(bell, 4)
    expected = [[feed], [chat], [feed, chat], [feed, chat]]
    assert messages == [Disconnect(ids, 1008, "") for ids in expected]
    assert capsys.readouterr().out.splitlines()[0] == "1 connection asked to close with 1008"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "who? give --user, --id, --route or --worker, or --everyone"),
        (("--everyone", "--user", "ada"), "takes no filter, but user was given"),
        (("--everyone", "--code", "1006"), "close code 1006 may not be sent: use 1000-1003"),
        (("--everyone", "--reason", "x" * 124), "close reason is 124 bytes, the limit is 123"),
        (("--id", "ada"), "'ada' is no id of a connection"),
        (("--user", ""), "empty user"),
    ],
)
def test_a_disconnect_that_cannot_be_meant_is_refused(
    base: Path, serving: Segment, capsys: Output, arguments: tuple[str, ...], problem: str
) -> None:
    assert problem in error(capsys, base, "disconnect", *arguments)


def test_a_worker_that_does_not_answer_fails_the_command(
    base: Path,
    serving: Segment,
    workers: list[Worker],
    capsys: Output,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.connections.DELIVERY_TIMEOUT_S", 0.1)
    workers[2].connect(user="ada")
    assert run(base, "disconnect", "--user", "ada") == 1
    assert "error: worker 2 did not take the request" in capsys.readouterr().err


# -- drain, reload -----------------------------------------------------------------------------


@contextmanager
def stand_in(base: Path, behaviour: str) -> Iterator[subprocess.Popen[str]]:
    """Have another process be the supervisor of a serving server with three connections."""
    with process("-m", "tests.server.test_control", str(base), behaviour) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "serving\n"
        yield child


def test_drain_ends_the_server_and_says_how_far_it_is(base: Path, capsys: Output) -> None:
    with stand_in(base, "drain") as server:
        assert run(base, "drain") == 0
        assert server.wait(10) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.endswith(" left")
    assert last == "the server has ended"


def test_drain_of_a_draining_server_only_waits(base: Path, capsys: Output) -> None:
    """A second signal would stop it at once."""
    with stand_in(base, "already") as server:
        assert run(base, "drain") == 0
        assert server.wait(10) == 0
    assert capsys.readouterr().out.splitlines()[0] == "draining already"


def test_drain_waits_no_longer_than_it_is_told(base: Path, capsys: Output) -> None:
    with stand_in(base, "hang") as server:
        assert run(base, "drain", "--timeout", "0.5") == 1
        assert is_alive(server.pid)
        out, errors = capsys.readouterr()
    assert "3 connections left" in out
    assert errors == (
        "switchboard: error: the server still runs after 0.5 s:"
        f" `kill {server.pid}` stops it at once\n"
    )


def generations(base: Path) -> list[int]:
    (path,) = find_running(base)
    with closing(Segment.attach(path, writable=False)) as segment:
        return [slot.generation for slot in Slots(segment).in_use()]


@pytest.mark.parametrize("behaviour", ["reload", "busy"])
def test_reload_ends_when_every_worker_was_replaced(
    base: Path, capsys: Output, behaviour: str
) -> None:
    """Also if another reload was under way, because of which the server ignored this one."""
    with stand_in(base, behaviour):
        assert run(base, "reload") == 0
        assert min(generations(base)) >= NEW
    *progress, last = capsys.readouterr().out.splitlines()
    assert {line.split()[-1] for line in progress} == {"left"}
    assert last == "reloaded"


@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [
        ("refuse", "given up, the workers not replaced serve on: see the server's log"),
        ("die", "the server has ended: see its log"),
        ("hang", "not reloaded within 1 s: see the server's log"),
    ],
)
def test_a_reload_that_fails_says_so(
    base: Path, capsys: Output, behaviour: str, problem: str
) -> None:
    with stand_in(base, behaviour):
        assert run(base, "reload", "--timeout", "1") == 1
    assert capsys.readouterr().err == f"switchboard: error: {problem}\n"


def test_only_a_serving_server_is_reloaded(base: Path, capsys: Output) -> None:
    """One that starts would die of the signal."""
    with stand_in(base, "already") as server:
        problem = "the server is draining: only one that serves can be reloaded"
        assert error(capsys, base, "reload") == problem
        assert server.poll() is None


def test_a_process_that_has_the_supervisors_number_is_not_signalled(
    base: Path, segment: Segment, capsys: Output
) -> None:
    """The number of a dead supervisor may be another process's by now."""
    with process("-c", "import time; time.sleep(60)") as bystander:
        wait_until(lambda: start_time(bystander.pid))
        assert segment.path is not None
        segment.path.parent.rename(directory_for(base, bystander.pid))
        path = directory_for(base, bystander.pid) / segment.path.name
        put_word(path, "supervisor_pid", bystander.pid)
        assert error(capsys, base, "drain").startswith("no server of this user runs")
        with (
            closing(Segment.attach(path, writable=False)) as attached,
            pytest.raises(ControlError, match="the server has just ended"),
        ):
            Supervisor(attached)
        assert is_alive(bystander.pid)


def test_a_supervisor_that_has_ended_meanwhile_is_no_more(base: Path) -> None:
    with stand_in(base, "drain") as server:
        (path,) = find_running(base)
        with closing(Segment.attach(path, writable=False)) as attached:
            server.kill()
            server.wait()
            with pytest.raises(ControlError, match="the server has just ended"):
                Supervisor(attached)


# -- the supervisor's stand-in -----------------------------------------------------------------

SIGNALS = {signal.SIGTERM, signal.SIGHUP}


def be_supervisor(base: Path, behaviour: str) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    with shared(base, SIZES) as segment:
        crew = employ(segment)
        for worker in crew:
            worker.connect()
        is_draining = behaviour == "already"
        segment.server_state = ServerState.DRAINING if is_draining else ServerState.SERVING
        os.write(1, b"serving\n")
        if is_draining:
            assert signal.sigtimedwait(SIGNALS, 1.0) is None
            return
        got = signal.sigwait(SIGNALS)
        if behaviour == "drain":
            assert got is signal.SIGTERM
            segment.server_state = ServerState.DRAINING
            for worker in crew:
                time.sleep(0.2)
                worker.rows.free(0)
        elif behaviour != "die":
            on_reload(segment, crew, behaviour)
            time.sleep(60)


def on_reload(segment: Segment, crew: list[Worker], behaviour: str) -> None:
    if behaviour == "refuse":
        segment.count_reload(succeeded=False)
    if behaviour == "busy":
        segment.count_reload(succeeded=True)  # the one that had begun before
        assert signal.sigwait(SIGNALS) is signal.SIGHUP
    if behaviour in ("busy", "reload"):
        for worker in crew:
            Worker(segment, 0, generation=NEW + worker.slot)
            time.sleep(0.1)
            Slots(segment).mark_dead(worker.slot)
            Slots(segment).release(worker.slot)
        segment.count_reload(succeeded=True)


if __name__ == "__main__":
    be_supervisor(Path(sys.argv[1]), sys.argv[2])
