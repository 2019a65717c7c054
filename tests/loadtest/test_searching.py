"""Owns the proof that each try of a search is a run with a report, and that all are summed up."""

import io
import sys
from pathlib import Path

import msgspec
import pytest

from loadtest import slo
from loadtest.addresses import Target
from loadtest.generator import Plan
from loadtest.searching import SUMMARY, Search
from loadtest.trial import Served
from tests.loadtest import fake_generator, runs

LIMITS = slo.load_limits(slo.DEFAULT_FILE, "room")
PLAN = Plan(scenario="room", url="ws://127.0.0.1:1", users=500, spawn_rate=50, hold_s=3)
SERVER = Served(target=Target(PLAN.url), metrics="", secret="", ended=lambda: None)


def _slow_beyond(carries: int, folder: Path, notes: tuple[str, ...] = ()) -> list[str]:
    """Return a generator that measures what a server measures that carries so many."""
    users = int(folder.name.partition("-")[2])
    samples = [
        runs.sample(at_s, wanted=users, connections=users, server=[], generator_cpu=0.3)
        for at_s in range(3)
    ]
    totals = runs.totals(rtt=runs.latency(9 if users <= carries else 241))
    run = runs.run(samples=samples, of=totals, notes=notes)
    (folder / "wanted.json").write_bytes(msgspec.json.encode(run))
    return [sys.executable, "-m", fake_generator.__name__, str(folder), f"{folder}/wanted.json"]


def _search(folder: Path, output: io.StringIO, carries: int) -> Search:
    return Search(
        PLAN,
        SERVER,
        LIMITS,
        folder,
        rate=lambda users: users / 10,
        output=output,
        generate=lambda _, folder: _slow_beyond(carries, folder),
    )


def test_search(tmp_path: Path):
    """It says what is carried; each step has a folder, and a row in the summary."""
    output = io.StringIO()
    found = _search(tmp_path, output, 900).run(most=10_000)

    assert found.is_carried
    assert found.text.startswith("this machine carries 840 connections at ")
    assert found.text.endswith(
        " within p99 12 ms; first limit reached: nothing of the machine's, "
        "but rtt p99 was 241 ms, the limit is 100 ms"
    )
    folders = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert folders[:3] == ["01-500", "02-1000", "03-710"]
    assert all((tmp_path / name / "report.html").exists() for name in folders)
    summary = (tmp_path / SUMMARY).read_text()
    assert found.text in summary
    assert summary.count("\n| ") == len(folders) + 2
    assert "  carried\n" in output.getvalue()
    assert "  rtt p99 was 241 ms, the limit is 100 ms\n" in output.getvalue()


def test_others_were_busy(tmp_path: Path):
    """A step that may have broken because of them is tried once more, and only once."""
    output = io.StringIO()
    note = "other programs used 1.2 of this machine's 2 cores"
    search = _search(tmp_path, output, 400)
    search._generate = lambda _, folder: _slow_beyond(400, folder, notes=(note,))
    search.run(most=500)

    assert [step.users for step in search.steps][:2] == [500, 500]
    assert (
        output.getvalue().count("once more, because other programs were busy")
        == sum(not step.is_carried for step in search.steps) / 2
    )


def test_nothing_is_carried(tmp_path: Path):
    """That is said, too."""
    found = _search(tmp_path, io.StringIO(), 0).run(most=500)
    assert not found.is_carried
    assert found.text.startswith("not even ")


def test_interrupted(tmp_path: Path):
    """The summary tells of the steps that there were."""
    search = _search(tmp_path, io.StringIO(), 900)

    def generate(_: Plan, folder: Path) -> list[str]:
        if len(search.steps) == 2:
            raise KeyboardInterrupt
        return _slow_beyond(900, folder)

    search._generate = generate
    with pytest.raises(KeyboardInterrupt):
        search.run(most=10_000)
    summary = (tmp_path / SUMMARY).read_text()
    assert "**it was interrupted**" in summary
    assert summary.count("\n| ") == 4
