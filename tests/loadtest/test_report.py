"""Owns the proof that all files of a report are written, and that they say what the run says."""

import csv
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from loadtest import report, slo
from loadtest.report import charts, svg
from loadtest.report.svg import Chart, Line
from loadtest.report.tables import headline
from loadtest.results import Run
from tests.loadtest import runs

LIMITS = slo.load_limits(slo.DEFAULT_FILE, "room")
VOID = {"meta", "path", "rect"}


class Checker(HTMLParser):
    """Reads a page; every element has to be closed by its own end."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def _write(run: Run, folder: Path) -> slo.Verdict:
    verdict = slo.judge(run, LIMITS)
    report.write(run, verdict, folder)
    return verdict


def test_files(tmp_path: Path):
    """All five are there, and the run can be read back from its folder or its file."""
    run = runs.run()
    _write(run, tmp_path)

    names = ["report.html", "report.md", "run.json", "samples.csv", "totals.csv"]
    assert sorted(file.name for file in tmp_path.iterdir()) == names
    assert report.read(tmp_path) == report.read(tmp_path / "run.json") == run


def test_page_stands_alone(tmp_path: Path):
    """It is whole, and fetches nothing."""
    _write(runs.run(), tmp_path)
    checker = Checker()
    text = (tmp_path / "report.html").read_text()
    checker.feed(text)

    assert checker.open == checker.addresses == []
    assert "@import" not in text
    assert "url(" not in text
    assert text.count("<svg") == 9


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_verdict_is_told(tmp_path: Path, name: str):
    """The sentences are in it, and nothing from outside becomes markup."""
    totals = runs.totals(rtt=runs.latency(241), failures={"<b>odd|</b>": 1})
    verdict = _write(runs.run(of=totals, notes=("Note this.",)), tmp_path)
    text = (tmp_path / name).read_text()

    assert len(verdict.broken) == 2
    assert "rtt p99 was 241 ms, the limit is 100 ms" in text
    assert "Note this." in text
    assert "<b>" not in text


def test_samples_csv(tmp_path: Path):
    """A row for each second; a worker that was not there has empty cells."""
    run = runs.run(seconds=3)
    run.samples[1].server.pop()
    _write(run, tmp_path)
    with (tmp_path / "samples.csv").open() as file:
        rows = list(csv.DictReader(file))

    assert [row["connections"] for row in rows] == ["0", "50", "100"]
    assert [row["rtt_p99_ms"] != "" for row in rows] == [True] * 3
    assert [row["worker_1_resident_mib"] for row in rows] == ["40.0", "", "41.0"]


def test_totals_csv(tmp_path: Path):
    """Every total has a row, and so has each of the server's series."""
    _write(runs.run(of=runs.totals(closed={"1000": 499, "1011": 1})), tmp_path)
    with (tmp_path / "totals.csv").open() as file:
        rows = {(row["group"], row["name"]): row["value"] for row in csv.DictReader(file)}

    assert rows["totals", "sent"] == "10000"
    assert rows["closed", "1011"] == "1"
    assert rows["delivery", "p99_ms"] == "12"
    assert rows["server", 'ws_messages_sent_total{route="/ws/echo"}'] == "30000"


@pytest.mark.parametrize(
    "run",
    [
        runs.run(samples=[]),
        runs.run(seconds=1),
        runs.run(workers=0, server_deltas={}),
        runs.run(of=runs.totals(opened=0, closed={}, expected=0, delivered=0)),
    ],
    ids=["no second", "one second", "no admin port", "nothing"],
)
def test_little_to_show(tmp_path: Path, run: Run):
    """A report is written of whatever there is."""
    _write(run, tmp_path)
    Checker().feed((tmp_path / "report.html").read_text())


def test_folders_of_the_same_second(tmp_path: Path):
    """No report is written over another."""
    assert len({report.new_folder(tmp_path / "reports") for _ in range(3)}) == 3


def test_a_folder_has_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The generator has another working directory."""
    monkeypatch.chdir(tmp_path)
    assert report.new_folder(Path("reports")).parent == tmp_path / "reports"


def test_a_folder_with_nothing_in_it(tmp_path: Path):
    """Who could not begin leaves nothing behind."""
    with report.folder_of_now(tmp_path) as nothing:
        assert nothing.exists()
    assert not nothing.exists()

    with report.folder_of_now(tmp_path) as something:
        (something / "file").write_text("x")
    assert something.exists()


@pytest.mark.parametrize(
    ("text", "says"), [(None, "cannot read .*: No such file"), ("{}", "is no run of a load test")]
)
def test_no_run(tmp_path: Path, text: str | None, says: str):
    """It is said what is wrong with the file."""
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(report.ReportError, match=says):
        report.read(tmp_path)


def test_many_workers_are_three_lines():
    """Nobody can tell 40 lines apart."""
    by_title = {chart.title: chart for chart in charts.charts(runs.run(workers=40))}
    names = [line.name for line in by_title["Server: processor"].lines]
    assert names == ["highest of 40 workers", "middle", "lowest"]


def test_failures_have_a_chart_only_if_there_are_any():
    """A line along the bottom tells nothing."""
    samples = [runs.sample(at_s, failures=at_s // 20) for at_s in range(30)]
    fine, bad = charts.charts(runs.run()), charts.charts(runs.run(samples=samples))
    assert {c.title for c in bad} - {c.title for c in fine} == {"Failures a second"}


def test_headline():
    """Connections that are held are told; where they come and go, how many there were."""
    held = dict(headline(runs.run()))
    opened = dict(headline(runs.run(of=runs.totals(opened=5000))))

    assert held["connections held"] == "500"
    assert held["rtt p99"] == "8 ms"
    assert "connections held" not in opened
    assert opened["connections opened"] == "5,000"


def _chart(values: list[float | None], **changes: object) -> Chart:
    seconds = [float(at_s) for at_s in range(len(values))]
    return Chart(title="t", unit="u", seconds=seconds, lines=[Line("a", values, 0)], **changes)  # type: ignore[arg-type]


def _points(drawing: str) -> list[tuple[float, float]]:
    path = re.search(r'class="line c0" d="([^"]*)"', drawing)
    assert path is not None
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path[1])]


def test_scale_of_a_chart():
    """The ends of the axes are the ends of the drawing; more is further up."""
    first, middle, last = _points(svg.draw(_chart([0, 50, 100])))
    assert list(first) == [svg.LEFT, svg.HEIGHT - svg.BOTTOM]
    assert list(last) == [svg.WIDTH - svg.RIGHT, svg.TOP]
    assert list(middle) == [(first[0] + last[0]) / 2, (first[1] + last[1]) / 2]


def test_logarithmic_chart():
    """Ten times as much is the same step up, wherever it is."""
    points = _points(svg.draw(_chart([0.1, 1, 10, 100], is_log=True)))
    steps = [before[1] - after[1] for before, after in pairwise(points)]
    assert max(steps) - min(steps) < 0.3


def test_gaps():
    """Where there is nothing, no line is drawn; a value on its own is a dot."""
    drawing = svg.draw(_chart([1, 2, None, 3, None]))
    path = re.search(r'd="(M[^"]*h0)"', drawing)
    assert path is not None
    assert path[1].count("M") == 2


def test_a_long_run_is_thinned():
    """A day has no more points than can be seen, and the worst of them are kept."""
    values: list[float | None] = [1.0] * 86_400
    values[50_000] = 999.0
    drawing = svg.draw(_chart(values, fold=max))

    assert len(_points(drawing)) <= svg.MOST_POINTS
    assert "a 999 u" in drawing
    assert len(drawing) < 100_000


@pytest.mark.parametrize(
    ("most", "last"), [(0, 1), (0.03, 0.03), (1, 1), (7, 8), (99, 100), (1234, 1500), (9.9, 10)]
)
def test_ticks(most: float, last: float):
    """They are round, few, and reach above the highest value."""
    ticks = svg._ticks(most)
    assert ticks[-1] == pytest.approx(last)
    assert 2 <= len(ticks) <= 6
