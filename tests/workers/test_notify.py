"""What systemd is told, on a real socket."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from workers.notify import notify, reloading


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield manager


def test_assignments_are_lines_of_one_datagram(manager: socket.socket) -> None:
    notify("READY=1", "STATUS=2 of 2 workers ready")
    assert manager.recv(1000) == b"READY=1\nSTATUS=2 of 2 workers ready"


def test_a_reload_is_dated(manager: socket.socket) -> None:
    reloading()
    first, second = manager.recv(1000).decode().splitlines()
    assert first == "RELOADING=1"
    assert int(second.removeprefix("MONOTONIC_USEC=")) > 0


def test_an_abstract_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("")  # the kernel chooses an abstract name (unix(7))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + manager.getsockname()[1:].decode())
        notify("READY=1")
        assert manager.recv(1000) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative/path", "/nowhere/at/all"])
def test_no_manager_is_no_error(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")
