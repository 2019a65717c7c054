"""Settings through the command line: sources, precedence, and what is said of bad values."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.cli import main
from server.settings import ConnectionSettings, Settings, as_toml
from server.transport import TransportLimits
from tests.support.cli import Project

pytestmark = pytest.mark.e2e


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def error(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Run the command in this process, which is what time allows for the many cases below."""

    def error(*arguments: str) -> str:
        monkeypatch.chdir(project.folder)
        assert main(arguments) == 2
        out, err = capsys.readouterr()
        (line,) = err.splitlines()
        assert out == ""
        return line

    return error


def in_force(project: Project, *flags: str, env: dict[str, str] | None = None) -> Any:
    """Return the settings that `check` says are in force."""
    done = project.run("check", "good", "--port", "0", *flags, env=env)
    assert (done.returncode, done.stderr) == (0, ""), done
    settings, _, verdict = done.stdout.rpartition("\nok: ")
    assert verdict
    return tomllib.loads(settings)


# -- sources -----------------------------------------------------------------------------------


def test_the_defaults(project: Project) -> None:
    settings = in_force(project)
    assert settings == tomllib.loads(as_toml(Settings(port=0, admin_port=0)))
    assert TransportLimits(**settings["connection"]) == TransportLimits()


def test_a_flag_beats_a_variable_beats_the_file_beats_the_default(project: Project) -> None:
    project.write(
        "switchboard.toml",
        "workers = 11\nbacklog = 211\nstop_timeout_s = 31\n[connection]\nwindow_messages = 41\n",
    )
    env = {
        "SWITCHBOARD_WORKERS": "12",
        "SWITCHBOARD_BACKLOG": "212",
        "SWITCHBOARD_CONNECTION_SEND_TIMEOUT_S": "2.5",
    }
    settings = in_force(project, "--workers", "13", "--connection.close-timeout-s", "3", env=env)
    assert settings["workers"] == 13
    assert settings["backlog"] == 212
    assert settings["stop_timeout_s"] == 31
    assert settings["log_level"] == "info"
    assert settings["connection"] == {
        "window_messages": 41,
        "window_bytes": TransportLimits.window_bytes,
        "send_timeout_s": 2.5,
        "close_timeout_s": 3.0,
    }


def test_config_names_another_file(project: Project) -> None:
    project.write("switchboard.toml", "workers = 11\n")
    project.write("other.toml", "workers = 12\n")
    assert in_force(project, "--config", "other.toml")["workers"] == 12
    assert in_force(project, "--config=other.toml")["workers"] == 12


def test_what_check_prints_can_be_the_file(project: Project) -> None:
    settings = in_force(project, "--log-level", "debug", "--connection.window-bytes", "4096")
    project.write("switchboard.toml", as_toml(_settings(settings)))
    assert in_force(project) == settings


def _settings(tree: Any) -> Settings:
    return Settings(**{**tree, "connection": ConnectionSettings(**tree["connection"])})


# -- bad values --------------------------------------------------------------------------------


def test_bad_values_for_real(project: Project) -> None:
    """Each source once in a process of its own: exit code 2, one line, which names the source."""
    bad = 'unable to convert "eighty" into int. (see --help)'
    line = project.error("serve", "good", "--port", "eighty")
    assert line == f"Invalid value for --port: {bad}"
    line = project.error("serve", "good", env={"SWITCHBOARD_PORT": "eighty"})
    assert line == f"Invalid value for SWITCHBOARD_PORT from env: {bad}"
    path = project.write("switchboard.toml", 'port = "eighty"')
    assert project.error("serve", "good") == f"Invalid value for [port] from {path}: {bad}"


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--port", "eighty"], 'Invalid value for --port: unable to convert "eighty" into int.'),
        (["--port", "80.5"], 'Invalid value for --port: unable to convert "80.5" into int.'),
        (["--port", "65536"], 'Invalid value "65536" for --port. Must be <= 65535.'),
        (["--workers", "0"], 'Invalid value "0" for --workers. Must be >= 1.'),
        (["--log-level", "loud"], 'Invalid value "loud" for --log-level. Choose from: "debug"'),
        (["--connection.send-timeout-s", "nan"], "--connection.send-timeout-s"),
        (["--connection.send-timeout-s", "0"], "Must be > 0."),
        (["--port"], "parameter --port requires an argument."),
        (["--prot", "1"], "Unknown option: --prot. Did you mean --port?"),
        (["--config"], "--config needs a file"),
        (["--config", "nosuch.toml"], "--config nosuch.toml: no such file"),
        (["--config", "."], "--config .: no such file"),
    ],
)
def test_a_bad_flag(error: Callable[..., str], flags: list[str], problem: str) -> None:
    assert problem in error("check", "good", *flags)


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("PORT", "eighty", 'from env: unable to convert "eighty" into int.'),
        ("BACKLOG", "1", "provided by env. Must be >= 128."),
        ("LOG_LEVEL", "loud", "from env"),
        ("CONNECTION_CLOSE_TIMEOUT_S", "-1", "provided by env. Must be > 0."),
    ],
)
def test_a_bad_variable(
    error: Callable[..., str], monkeypatch: pytest.MonkeyPatch, name: str, value: str, problem: str
) -> None:
    monkeypatch.setenv(f"SWITCHBOARD_{name}", value)
    line = error("check", "good")
    assert f"SWITCHBOARD_{name}" in line
    assert problem in line


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('port = "eighty"', "unable to convert"),
        ("port = 80.5", 'unable to convert "80.5" into int'),
        ("port = 65536", "Must be <= 65535."),
        ("[connection]\nsend_timeout_s = -1", "[connection][send_timeout_s]"),
        ("worker = 1", "there is no setting 'worker'; did you mean 'workers'?"),
        ("[connection]\nnosuch = 1", "[connection]: there is no setting 'nosuch'; it may have win"),
        ("[nosuch]\nport = 1", "there is no setting 'nosuch'; it may have workers, host"),
        ("[serve]\nport = 1", "there is no setting 'serve'; it may have workers, host"),
        ("connection = 3", "setting 'connection' is a table"),
        ("[port]\nport = 1", "setting 'port' is no table"),
        ("port = \n", "(at line 1, column 8)"),
        ("port = 1\nport = 2\n", "(at line 2, column 9)"),
        (b"host = '\xff'", "can't decode byte 0xff"),
    ],
)
def test_a_bad_file(
    project: Project, error: Callable[..., str], text: str | bytes, problem: str
) -> None:
    """The line names the file, also the one that nobody asked for."""
    path = project.write("switchboard.toml", text)
    line = error("check", "good")
    assert str(path) in line
    assert problem in line
