"""Owns the proof that a server of our own is started, found, and never left behind."""

import os
import signal
from pathlib import Path

import pytest

from loadtest import probe, showcase
from loadtest.addresses import Target
from loadtest.showcase import ShowcaseError
from loadtest.watch import scrape

pytestmark = pytest.mark.e2e


def test_showcase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It says where it is, takes connections, is watched, and is gone afterwards."""
    # What would get in the way of a server of our own is not for it.
    monkeypatch.setenv("SWITCHBOARD_PORT", "1")
    monkeypatch.setenv("SWITCHBOARD_ADMIN_PORT", "1")
    monkeypatch.setenv("SWITCHBOARD_WORKERS", "1")
    with showcase.showcase(tmp_path / "log", connections=20_000) as own:
        target = Target(own.url)
        probe.try_connection(target, "/ws/echo")
        assert list(scrape(own.metrics).workers) == ["0"]
        assert own.ended() is None
        assert len(own.secret) >= 32
    assert own.ended() == "the server ended with exit code 0"
    assert probe.is_gone(target)


def test_a_server_that_was_killed(tmp_path: Path):
    """It is said how it ended."""
    with showcase.showcase(tmp_path / "log") as own:
        os.kill(own.process.pid, signal.SIGKILL)
        own.process.wait()
        assert own.ended() == "the server ended with SIGKILL"


def test_a_server_that_does_not_start(tmp_path: Path):
    """Its last line is told."""
    with (
        pytest.raises(ShowcaseError, match=r"ended with exit code 2: .*cannot import 'nothing'"),
        showcase.showcase(tmp_path / "log", app="nothing:app"),
    ):
        pass
