"""nginx, HAProxy and Caddy with the files of examples/deploy, in front of a real server."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from server.settings import Settings
from tests.deploy.support import PROGRAMS, commands, config, program, serving, text_of
from tests.support.processes import wait_until
from tests.support.servers import free_port, granian

pytestmark = pytest.mark.e2e
IDLE_S = 70 if os.environ.get("SWITCHBOARD_SOAK") == "1" else 2
CLIENT = "127.0.0.5"  # not the proxy's address, so that the two can be told apart


def _connect(port: int) -> ClientConnection | None:
    try:
        return connect(
            f"ws://127.0.0.1:{port}/echo",
            source_address=(CLIENT, 0),
            additional_headers={"X-Forwarded-For": "198.51.100.7"},
            proxy=None,
            legacy=True,
        )
    except (OSError, InvalidHandshake):
        return None


def _code_of_the_end(client: ClientConnection) -> int:
    with pytest.raises(ConnectionClosed) as closed:
        client.recv(timeout=15)
    received = closed.value.rcvd
    return received.code if received is not None else 1006


def _asks_after_s(listen: int) -> float:
    """Return after how much silence the proxy asks whether its client is still there."""
    command = [program("ss"), "-Htno", "state", "established", f"sport = :{listen}"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    timer = re.search(r"timer:\(keepalive,([\d.]+)(ms|sec)", shown)
    assert timer, f"no keepalive: {shown}"
    return float(timer[1]) / (1000 if timer[2] == "ms" else 1)


def assert_accepted(check: list[str]) -> None:
    checked = subprocess.run(check, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.config
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_proxy_takes_its_file(name: str, tmp_path: Path) -> None:
    check, _ = commands(name, config(name, tmp_path, free_port(), free_port(), free_port()))
    assert_accepted(check)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_proxy_passes_messages_addresses_and_close_codes(name: str, tmp_path: Path) -> None:
    program(name)
    listen, admin = free_port(), free_port()
    arguments = ("--trusted-proxies", "127.0.0.1", "--drain-s", "1", "--admin-port", str(admin))
    with granian("tests.deploy.app:app", *arguments) as server:
        check, serve = commands(name, config(name, tmp_path, listen, server.port, admin))
        assert_accepted(check)
        with serving(serve, tmp_path):
            client = wait_until(lambda: _connect(listen), message=f"{name} let a client in")
            assert client.recv(timeout=5) == CLIENT
            assert _asks_after_s(listen) <= 30
            client.send("hello")
            assert client.recv(timeout=5) == "hello"
            server.process.send_signal(signal.SIGHUP)
            assert _code_of_the_end(client) == 1012
            again = wait_until(lambda: _connect(listen), message="back after a reload")
            assert again.recv(timeout=5) == CLIENT
            server.wait_for_output("reloaded")
            server.process.send_signal(signal.SIGTERM)
            assert _code_of_the_end(again) == 1001
            assert server.process.wait(15) == 0


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.timeout(IDLE_S + 60)
def test_a_long_silence_ends_nothing(name: str, tmp_path: Path) -> None:
    """`make soak` is silent for longer than the proxies are patient by default, which is 60 s."""
    program(name)
    listen, admin = free_port(), free_port()
    with granian("tests.deploy.app:app", "--admin-port", str(admin)) as server:
        _, serve = commands(name, config(name, tmp_path, listen, server.port, admin))
        with serving(serve, tmp_path):
            client = wait_until(lambda: _connect(listen), message=f"{name} let a client in")
            client.recv(timeout=5)
            with pytest.raises(TimeoutError):
                client.recv(timeout=IDLE_S)
            client.send("still here")
            assert client.recv(timeout=5) == "still here"
            client.close()


def test_silence_does_not_end_a_connection_in_a_proxy() -> None:
    """It is the server's to judge; vanished clients are the proxy's, who is the server's peer."""
    for file, directive in (
        ("nginx.conf", "proxy_read_timeout"),
        ("haproxy.cfg", "timeout tunnel"),
    ):
        found = re.search(rf"^\s*{directive} (\d+)d;?$", text_of(file), re.MULTILINE)
        assert found, f"{file} has no {directive} in days"
        assert int(found[1]) * 86_400 > 60 * Settings().dead_peer_timeout_s
    assert "\n        listen 80 so_keepalive=30s:7s:4;" in text_of("nginx.conf")
    haproxy = text_of("haproxy.cfg")
    for line in ("option clitcpka", "clitcpka-idle 30s", "clitcpka-intvl 7s", "clitcpka-cnt 4"):
        assert f"\n    {line}\n" in haproxy


@pytest.mark.parametrize("file", PROGRAMS.values())
def test_a_proxy_leads_nobody_to_the_admin_port(file: str) -> None:
    settings = Settings()
    lines = [line.split("#")[0] for line in text_of(file).splitlines()]
    assert any(f"127.0.0.1:{settings.port}" in line for line in lines)
    assert not any(f":{settings.admin_port}" in line for line in lines)
