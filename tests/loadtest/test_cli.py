"""Owns the proof of what the command line says and returns, up to where a run would begin."""

from pathlib import Path

import msgspec
import pytest

from loadtest import __main__ as start
from loadtest import cli, machine, slo
from loadtest.scenarios import SCENARIOS
from tests.loadtest import runs
from tests.support import servers


def _fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that cannot be run; returns the one line that says why."""
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    line = captured.err.removesuffix("\n")
    assert "\n" not in line
    return line.removeprefix("loadtest: error: ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "rom"], "there is no scenario 'rom'; did you mean room or storm?"),
        (["capacity", "broad"], "did you mean broadcast?"),
        (["run", "xyz"], "there is no scenario 'xyz'; there are echo, idle, room, "),
        (["run", "--users", "0"], "--users 0: there has to be one at least"),
        (["run", "--users", "many"], 'Invalid value for --users: unable to convert "many"'),
        (["run", "--duration", "5k"], "--duration 5k: give it as in 90, 90s, 5m or 1h"),
        (["run", "--processes", "0"], "--processes 0: give 1 or more, or -1 for one per core"),
        (["run", "--shape", "round"], "there is no shape 'round'; there are none, ramp, "),
        (["run", "--spawn-rate", "0"], "--spawn-rate 0: nobody would ever come"),
        (["run", "--user", "5"], "Unknown option: --user. Did you mean --users?"),
        (["run", "--slo", "/nowhere/slo.toml"], "cannot read /nowhere/slo.toml: No such file"),
        (["run", "--host", "ftp://x"], "'ftp://x' is no address; give it as in ws://127.0.0.1"),
        (["report", "/nowhere"], "cannot read /nowhere: No such file or directory"),
        (["run", "--processes", "2", "--remote-workers", "2"], "exclude each other"),
        (["rnu"], 'Unknown command "rnu". Did you mean "run"?'),
    ],
)
def test_what_cannot_be_run(capsys: pytest.CaptureFixture[str], arguments: list[str], says: str):
    """One line says why, and nothing was started."""
    assert says in _fails(capsys, *arguments)


@pytest.fixture
def few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow a process 1,000 files."""
    monkeypatch.setattr(machine, "raise_file_limit", lambda: 1000)


@pytest.mark.usefixtures("few_files")
def test_file_limit_is_too_low(capsys: pytest.CaptureFixture[str]):
    """It is said before anything begins, and how to raise it."""
    text = _fails(capsys, "run", "idle", "--users", "2000")
    assert "1000 are allowed: raise that as root (ulimit -Hn 2100), or use --processes 3" in text


def test_host_is_down(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Nobody listens, and no report is left behind."""
    url = f"ws://127.0.0.1:{servers.free_port()}"
    text = _fails(capsys, "run", "echo", "--host", url, "--reports", str(tmp_path))

    assert text == f"{url}: nobody listens there; is the server running?"
    assert list(tmp_path.iterdir()) == []


def test_admin_port_is_no_address(capsys: pytest.CaptureFixture[str]):
    """It is not tried."""
    text = _fails(capsys, "run", "--host", "ws://127.0.0.1:1", "--admin", "ftp://x")
    assert text == "--admin ftp://x is no address; give it as in http://127.0.0.1:9464"


def test_something_is_not_installed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """It is named, and how to install it."""
    monkeypatch.setattr(start, "_NEEDED", ("msgspec", "locust_that_nobody_has"))

    assert start.main() == 2
    assert capsys.readouterr().err == (
        "loadtest: error: not installed: locust_that_nobody_has; run `make loadtest`, which "
        "installs it, or install the group loadtest of pyproject.toml\n"
    )


def test_scenarios(capsys: pytest.CaptureFixture[str]):
    """Each has its help, and what it does if nobody says otherwise."""
    assert cli.main(["scenarios"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("echo       send a message, wait for its answer")
    assert " users for 60 s on /ws/echo\n" in text
    assert "shapes: none, ramp, steps, spike, soak" in text


@pytest.mark.parametrize("is_good", [True, False])
def test_report(capsys: pytest.CaptureFixture[str], tmp_path: Path, is_good: bool):
    """A run that is there is judged again, and its report is written again."""
    run = runs.run(of=runs.totals(rtt=runs.latency(9 if is_good else 241)))
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(run))

    assert cli.main(["report", str(tmp_path / "run.json")]) == (0 if is_good else 1)
    text = capsys.readouterr().out
    assert (tmp_path / "report.html").exists()
    assert "connections held 500, messages/s 4,000, " in text
    assert ("all limits were kept" in text) == is_good
    assert ("BROKEN: rtt p99 was 241 ms, the limit is 100 ms" in text) != is_good
    assert text.splitlines()[-1] == f"report: {tmp_path}/report.html"


def test_report_with_other_limits(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """A run is good by one file and bad by another."""
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(runs.run()))
    strict = tmp_path / "slo.toml"
    strict.write_text(slo.DEFAULT_FILE.read_text().replace("rtt_p99_ms = 100", "rtt_p99_ms = 1"))

    assert cli.main(["report", str(tmp_path), "--slo", str(strict)]) == 1
    assert "BROKEN: rtt p99 was 8 ms, the limit is 1 ms" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2 min", 120), ("1h", 3600)]
)
def test_duration(text: str, seconds: float):
    """It can be written in several ways."""
    assert cli._seconds(text) == seconds


def test_how_fast_users_come():
    """As the scenario says, but all of them within 20 s; unless it was asked for."""
    rate = cli._rate_of(SCENARIOS["idle"], cli.Options())
    assert (rate(1000), rate(10_000)) == (200, 500)
    assert cli._rate_of(SCENARIOS["idle"], cli.Options(spawn_rate=7))(10_000) == 7


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        (cli.Options(), []),
        (cli.Options(tls_insecure=True), ["--tls-insecure"]),
        (cli.Options(tls_authorities="/ca.pem"), ["--tls-authorities", "/ca.pem"]),
        (cli.Options(remote_workers=4), ["--master", "--expect-workers", "4"]),
    ],
)
def test_what_the_generator_is_told(options: cli.Options, flags: list[str]):
    """Options of ours that are its own, and what was given for it."""
    plan = cli._plan(SCENARIOS["idle"], options, 60.0, ["--rate", "5"])
    assert list(plan.more) == [*flags, "--rate", "5"]


@pytest.mark.usefixtures("few_files")
def test_files_of_remote_workers():
    """Users are spread over them, so each needs fewer files."""
    assert cli._problem(cli.Options(), None, 2000) is not None
    assert cli._problem(cli.Options(processes=3), None, 2000) is None
    assert cli._problem(cli.Options(remote_workers=3), None, 2000) is None


@pytest.mark.usefixtures("few_files")
def test_ceiling():
    """The search goes as far as this machine's files allow, and says so."""
    assert cli._ceiling(cli.Options(), None, 100, 30_000) == (900, "file limit")
    assert cli._ceiling(cli.Options(), None, 100, 800) == (800, "none")
