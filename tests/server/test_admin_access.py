"""The key of the admin port: where it comes from, what is no key, and that nothing shows it."""

import os
from pathlib import Path

import pytest

from server.admin import read_key
from server.cli import main
from server.exceptions import SettingsError
from server.serving import options
from server.settings import Settings, as_toml
from tests.support.cli import Project

KEY = "sesame-0123456789-open"
VARIABLE = "SWITCHBOARD_ADMIN_KEY"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_there_need_be_none() -> None:
    assert read_key(Settings()) is None


def test_it_is_a_setting_or_in_a_file(tmp_path: Path) -> None:
    assert read_key(Settings(admin_key=KEY)) == KEY
    path = tmp_path / "key"
    path.write_text(f"  {KEY}\n\n")
    assert read_key(Settings(admin_key_file=str(path))) == KEY


def test_no_child_inherits_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    assert read_key(Settings(admin_key=KEY)) == KEY
    assert VARIABLE not in os.environ


def test_workers_are_not_told() -> None:
    told = options("app", Settings(admin_key=KEY, admin_key_file="/key"))["settings"]
    assert (told["admin_key"], told["admin_key_file"]) == ("", "")


@pytest.mark.parametrize(
    "key",
    ["short", "x" * 15, "with spaces in it, many", "ümläüte-ünd-söwas", "line\nline-0123456789"],
)
def test_what_is_no_key_is_refused_and_not_said(tmp_path: Path, key: str) -> None:
    path = tmp_path / "key"
    path.write_text(key)
    for settings in (Settings(admin_key=key), Settings(admin_key_file=str(path))):
        with pytest.raises(SettingsError, match="a key has at least 16 characters") as caught:
            read_key(settings)
        assert key not in str(caught.value)


def test_a_file_that_cannot_be_read_or_is_empty(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(SettingsError, match=f"admin_key_file {empty}: a key has at least"):
        read_key(Settings(admin_key_file=str(empty)))
    with pytest.raises(SettingsError, match=r"admin_key_file /no/such: No such file or directory"):
        read_key(Settings(admin_key_file="/no/such"))
    with pytest.raises(SettingsError, match=f"admin_key_file {tmp_path}: Is a directory"):
        read_key(Settings(admin_key_file=str(tmp_path)))


def test_two_keys_are_one_too_many(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not both"):
        read_key(Settings(admin_key=KEY, admin_key_file="key"))


def test_settings_do_not_show_it() -> None:
    settings = Settings(admin_key=KEY)
    assert KEY not in repr(settings)
    assert KEY not in as_toml(settings)
    assert "\n# admin_key is set\n" in as_toml(settings)
    assert '\nadmin_key = ""\n' in as_toml(Settings())


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_flag_would_show_it_to_all(
    project: Project,
    command: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(project.folder)
    for flags in (["--admin-key", KEY], [f"--admin-key={KEY}"]):
        assert main([command, "good", *flags]) == 2
        line = capsys.readouterr().err
        assert "name a file with --admin-key-file" in line
        assert KEY not in line


@pytest.mark.parametrize("text", [f'admin_key = ["{KEY}"]', f'[admin_key]\nkey = "{KEY}"'])
def test_a_file_with_a_mistake_is_not_quoted(
    project: Project,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(project.folder)
    project.write("switchboard.toml", text)
    assert main(["check", "good"]) == 2
    line = capsys.readouterr().err
    assert "setting 'admin_key' is no ta" in line or "setting 'admin_key' is no text" in line
    assert KEY not in line


@pytest.mark.e2e
def test_check_and_help_do_not_show_it(project: Project) -> None:
    """Wherever it comes from; and what is wrong with a key is said before a port is claimed."""
    project.write("key", KEY)
    for env, flags in (({VARIABLE: KEY}, ()), ({}, ("--admin-key-file", "key"))):
        done = project.run("check", "good", "--port", "0", *flags, env=env)
        assert done.returncode == 0, done
        assert KEY not in done.stdout + done.stderr
    shown = project.run("serve", "--help", env={VARIABLE: KEY})
    assert "--admin-key STR" in shown.stdout
    assert KEY not in shown.stdout + shown.stderr
    assert "at least 16 characters" in project.error("check", "good", env={VARIABLE: "short"})
