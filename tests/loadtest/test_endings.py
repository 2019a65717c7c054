"""However a run ends, its figures are written, and they say whether it was whole."""

import os
import signal
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import pytest

from loadtest.results import Sample
from tests.loadtest.running import Locust, Outcome, Watched, run, watched
from tests.support.processes import children, wait_until
from tests.support.servers import free_port

pytestmark = pytest.mark.e2e

ROOM = ["-u", "20", "-r", "20", "--interval", "0.3", "--room-size", "10"]


def await_connections(locust: Locust, samples_file: Path, after_s: float = 0.0) -> float:
    """Wait for a second, later than that, with 20 open connections; returns which it was."""

    def look() -> float | None:
        assert locust.process.poll() is None, locust.end()
        lines = samples_file.read_bytes().splitlines() if samples_file.exists() else []
        samples = [msgspec.json.decode(line, type=Sample) for line in lines]
        return next((s.at_s for s in samples if s.at_s > after_s and s.connections == 20), None)

    try:
        return wait_until(look, 30, message="20 connections")
    except AssertionError:
        os.killpg(locust.process.pid, signal.SIGKILL)
        seen = samples_file.read_text() if samples_file.exists() else "no samples"
        raise AssertionError(f"{locust.end()[1]}\n{seen}") from None


def start(server: Watched, folder: Path, *arguments: str) -> Locust:
    """Start a run that would take long, and wait until all its users are there."""
    samples_file = folder / "samples"
    more = ["-t", "60s", "--samples-file", str(samples_file), *arguments]
    locust = Locust(server.url, "room", folder, *ROOM, *more)
    await_connections(locust, samples_file)
    return locust


def check_whole_but_short(outcome: Outcome) -> None:
    """Assert that all was counted to the end, though that came early."""
    totals = outcome.run.totals
    assert not outcome.run.is_complete, outcome.output
    assert outcome.run.notes == ("The run was broken off",)
    assert outcome.code == 1
    assert outcome.run.duration_s < 50
    assert totals.closed == {"1000": 20} == {"1000": totals.opened}, outcome.output
    assert totals.expected == totals.delivered > 0
    assert totals.failures == {}
    assert "Traceback" not in outcome.output


@pytest.mark.parametrize("processes", [[], ["--processes", "2"]], ids=["alone", "master"])
def test_ctrl_c_ends_it_in_order(processes: list[str], showcase: Watched, tmp_path: Path) -> None:
    """A terminal interrupts all processes at once."""
    locust = start(showcase, tmp_path, *processes)
    os.killpg(locust.process.pid, signal.SIGINT)
    check_whole_but_short(locust.outcome())


def test_sigterm_to_the_master_does_too(showcase: Watched, tmp_path: Path) -> None:
    locust = start(showcase, tmp_path, "--processes", "2")
    locust.process.send_signal(signal.SIGTERM)
    check_whole_but_short(locust.outcome())


def test_a_worker_that_is_ended_alone_has_its_last_report_counted(
    showcase: Watched, tmp_path: Path
) -> None:
    """The other goes on, with the users of both."""
    locust = start(showcase, tmp_path, "--processes", "2")
    first, _ = children(locust.process.pid)
    os.kill(first, signal.SIGTERM)
    wait_until(lambda: first not in children(locust.process.pid), 20, message="it ends")
    samples_file = tmp_path / "samples"
    seen_s = await_connections(locust, samples_file)
    # In one second of these the others are there and those that left are not yet counted as gone.
    await_connections(locust, samples_file, after_s=seen_s + 3)
    locust.process.send_signal(signal.SIGINT)
    outcome = locust.outcome()
    totals = outcome.run.totals
    assert totals.closed == {"1000": totals.opened}, outcome.output
    assert totals.opened == 30  # 10 of them had gone
    assert totals.expected == totals.delivered
    assert totals.failures == {}


def test_a_worker_that_is_killed_makes_the_run_incomplete(
    showcase: Watched, tmp_path: Path
) -> None:
    """What it has reported counts."""
    locust = start(showcase, tmp_path, "--processes", "2")
    first, _ = children(locust.process.pid)
    os.kill(first, signal.SIGKILL)
    locust.process.send_signal(signal.SIGINT)
    outcome = locust.outcome()
    assert not outcome.run.is_complete
    assert "Without a last report ended: 1 of the processes" in outcome.run.notes
    assert outcome.run.totals.failures == {"a process of the generator died": 1}
    assert outcome.run.totals.opened == 20
    assert outcome.run.totals.closed == {"1000": 10}


def test_a_server_that_dies_ends_the_run(tmp_path: Path) -> None:
    """Nobody waits for the rest of an hour."""
    with watched("examples.showcase:app") as server:
        locust = start(server, tmp_path, "--processes", "2")
        for pid in [*children(server.server.process.pid), server.server.process.pid]:
            os.kill(pid, signal.SIGKILL)
        outcome = locust.outcome()
    run, totals = outcome.run, outcome.run.totals
    assert not run.is_complete
    assert run.notes == ("The server is gone: for 5 seconds nobody could connect",)
    assert outcome.code == 1
    assert totals.closed == {"1006": 20}
    assert totals.failures[f"nobody listens at 127.0.0.1:{server.server.port}"] > 0
    assert totals.expected == totals.delivered


@pytest.mark.parametrize(
    ("url", "arguments", "text"),
    [
        ("127.0.0.1:8000", [], "is no address; give it as in ws://127.0.0.1:8000"),
        ("ws://127.0.0.1:1", ["-u", "9999999"], "are allowed: raise that as root"),
        ("ws://127.0.0.1:1", ["-u", "9999999", "--processes", "2"], "or use --processes"),
        ("ws://127.0.0.1:1", ["--shape", "steps", "--step-seconds", "0"], "a step needs"),
        ("ws://127.0.0.1:1", ["--shape", "zigzag"], "invalid choice: 'zigzag'"),
    ],
)
def test_what_cannot_be_done_is_said_and_not_begun(
    url: str, arguments: list[str], text: str, tmp_path: Path
) -> None:
    locust = Locust(url, "echo", tmp_path, *arguments)
    code, output = locust.end()
    assert code == 2, output
    assert text in output
    assert not locust.run_file.exists()


def test_auth_needs_a_key(tmp_path: Path) -> None:
    code, output = Locust("ws://127.0.0.1:1", "auth", tmp_path).end()
    assert code == 2
    assert "LOADTEST_JWT_SECRET" in output


def test_a_shape_is_followed(showcase: Watched, tmp_path: Path) -> None:
    """Users who leave in the middle of a run end as cleanly as at its end."""
    samples_file = tmp_path / "samples"
    flags = ["--shape", "spike", "-u", "30", "-r", "30", "-t", "5s", "--room-size", "10"]
    more = ["--interval", "0.3", "--samples-file", str(samples_file)]
    outcome = run(showcase.url, "room", tmp_path, *flags, *more)
    totals, wanted = outcome.run.totals, [sample.wanted for sample in outcome.run.samples]
    assert (outcome.code, outcome.run.is_complete) == (0, True), outcome.output
    assert sorted({*wanted}) == [3, 30], wanted
    assert (wanted[1], wanted[-1]) == (3, 3)
    assert totals.opened == 30 == totals.closed["1000"]
    assert totals.expected == totals.delivered > 0
    assert totals.failures == {}
    lines = samples_file.read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=Sample) for line in lines] == outcome.run.samples


def test_users_who_leave_while_they_close_are_not_lost(showcase: Watched, tmp_path: Path) -> None:
    """Those of `churn` close most of the time, so some are told to go just then."""
    flags = ["--shape", "spike", "-u", "60", "-r", "60", "-t", "5s", "--interval", "0.01"]
    outcome = run(showcase.url, "churn", tmp_path, *flags, "--messages", "1")
    totals = outcome.run.totals
    assert outcome.code == 0, outcome.output
    assert totals.closed == {"1000": totals.opened}, outcome.output
    assert totals.failures == {}


def test_the_page_of_locust_can_start_and_stop_runs(showcase: Watched, tmp_path: Path) -> None:
    """Each run is a run of its own, with the options of the page."""
    port = free_port()
    page = ["--web-host", "127.0.0.1", "--web-port", str(port), "--processes", "2"]
    locust = Locust(showcase.url, "room", tmp_path, *page, is_headless=False)

    def ask(path: str, form: Mapping[str, object] | None = None) -> bytes:
        data = urlencode(form).encode() if form is not None else None
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=30) as answer:
            body: bytes = answer.read()
            return body

    def has_workers() -> bool:
        """Whether both are there: without any the page says yes, and nothing begins."""
        try:
            return len(msgspec.json.decode(ask("/stats/requests")).get("workers", ())) == 2
        except OSError:
            return False

    try:
        wait_until(has_workers, 20, message="the page, and two workers")
        form = {"user_count": 10, "spawn_rate": 10, "host": showcase.url, "interval": 0.3}
        assert b"true" in ask("/swarm", form)
        time.sleep(2.5)
        ask("/stop", {})
        first = wait_until(locust.read, message="the figures")
        assert (first.options["interval"], first.is_complete) == ("0.3", True)
        assert first.totals.closed == {"1000": 10} == {"1000": first.totals.opened}
        assert first.totals.expected == first.totals.delivered > 0
    finally:
        os.killpg(locust.process.pid, signal.SIGINT)
        locust.end()
