"""Owns the proof that a run ends in order, whatever ends it, and that what there is comes back."""

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from loadtest import generator, session
from loadtest.generator import Generator, GeneratorError, Plan, command
from loadtest.progress import Progress
from loadtest.results import Run
from loadtest.session import Outcome, Session
from tests.loadtest import fake_generator, runs

PLAN = Plan(scenario="room", url="ws://127.0.0.1:8000", users=10, spawn_rate=5, hold_s=28)


def _arguments(run: Run, folder: Path, *flags: str) -> list[str]:
    file = folder / "wanted.json"
    file.write_bytes(msgspec.json.encode(run))
    module = fake_generator.__name__
    return [sys.executable, "-m", module, str(folder), str(file), *flags]


def _conduct(
    folder: Path,
    run: Run,
    *flags: str,
    ended: Sequence[str | None] = (),
    output: io.StringIO | None = None,
) -> Outcome:
    """Run the fake; the server says these things of its end, one after the other."""
    said = list(ended)

    def has_ended() -> str | None:
        if len(said) > 1:
            return said.pop(0)
        return said[0] if said else None

    progress = Progress(output or io.StringIO(), every_s=0)
    conducted = Session(PLAN, progress, None, has_ended)
    return conducted.conduct(_arguments(run, folder, *flags), folder)


def test_a_whole_run(tmp_path: Path):
    """All seconds are shown, and the run is what the generator says it is."""
    output = io.StringIO()
    outcome = _conduct(tmp_path, runs.run(seconds=30), output=output)

    assert outcome.run == runs.run(seconds=30)
    assert not outcome.was_interrupted
    assert 0 < outcome.least_free < 1
    lines = output.getvalue().splitlines()
    assert len(lines) == 30
    assert lines[10] == (
        "   10 s  500 of 500 connections, 4,000 messages/s, p99 8.16 ms, 0 failures, "
        "generator 62 %, 20 s left"
    )


def test_interrupted(tmp_path: Path):
    """Ctrl-C ends the generator in order; what it has counted is not lost."""
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    outcome = _conduct(tmp_path, runs.run(), "--hang")

    assert outcome.was_interrupted
    assert not outcome.run.is_complete
    assert outcome.run.notes == ("it was interrupted",)
    assert outcome.run.samples


def test_interrupted_twice(tmp_path: Path):
    """Who does not want to wait for the end does not have to."""

    def interrupt() -> None:
        for _ in range(2):
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    started_s = time.monotonic()
    with pytest.raises(GeneratorError, match="the generator left no result; exit code -9"):
        _conduct(tmp_path, runs.run(), "--deaf")
    assert time.monotonic() - started_s < 10


def test_a_generator_that_does_not_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It is ended by force."""
    monkeypatch.setattr(generator, "STOP_TIMEOUT_S", 0.2)
    monkeypatch.setattr(session, "LOST_S", 0)
    monkeypatch.setattr(session, "TICK_S", 2.0)  # by then it has begun, and heard of no signal
    with pytest.raises(GeneratorError, match="exit code -9"):
        _conduct(tmp_path, runs.run(), "--deaf", ended=[None, "gone"])


def test_the_server_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The run is broken off, and says why and when."""
    monkeypatch.setattr(session, "LOST_S", 0)
    monkeypatch.setattr(session, "TICK_S", 0.5)
    outcome = _conduct(
        tmp_path, runs.run(), "--hang", ended=[None, "the server ended with exit code 1"]
    )

    assert not outcome.run.is_complete
    assert not outcome.was_interrupted
    assert outcome.run.notes == ("the server ended with exit code 1, after 29 s",)


def test_a_server_that_comes_back(tmp_path: Path):
    """It was only away for a moment: the run goes on."""
    outcome = _conduct(tmp_path, runs.run(), ended=[None, "gone", None])
    assert outcome.run.is_complete


def test_no_result(tmp_path: Path):
    """The last thing that the generator said is told."""
    with pytest.raises(GeneratorError) as caught:
        _conduct(tmp_path, runs.run(seconds=2), "--no-result")
    assert str(caught.value) == (
        f"the generator left no result; exit code 7, see {tmp_path}/generator.log\n"
        "  this is the last line"
    )


def test_half_a_line(tmp_path: Path):
    """A sample that is being written is read when it is whole."""
    first, second = (msgspec.json.encode(runs.sample(at_s)) + b"\n" for at_s in (1, 2))
    made = Generator([sys.executable, "-c", ""], tmp_path)
    file = tmp_path / generator.SAMPLES

    assert made.samples() == []
    file.write_bytes(first + second[:20])
    assert [one.at_s for one in made.samples()] == [1]
    file.write_bytes(first + second)
    assert [one.at_s for one in made.samples()] == [2]
    assert made.samples() == []
    made.stop()


def test_command(tmp_path: Path):
    """The length is the time to come and the time to stay."""
    made = command(PLAN, tmp_path)

    assert made[made.index("--run-time") + 1] == "30s"
    assert made[made.index("--host") + 1] == "ws://127.0.0.1:8000"
    assert "--headless" in made
    assert "--processes" not in made


def test_command_with_more(tmp_path: Path):
    """A page instead of a length, several processes, a shape, and what else was asked for."""
    plan = msgspec.structs.replace(
        PLAN, has_ui=True, processes=-1, shape="spike", more=("--rate", "5")
    )
    made = command(plan, tmp_path)

    assert not {"--headless", "--run-time"} & set(made)
    assert made[made.index("--processes") + 1] == "-1"
    assert made[-2:] == ["--rate", "5"]
    assert plan.length_s == 28
