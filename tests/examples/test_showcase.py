"""The showcase's protected route: with the key that `make serve` makes up, and with none."""

import json
import os
import secrets
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.examples.support import serving
from tests.support.processes import children, wait_until
from tests.support.servers import ROOT, Server

pytestmark = pytest.mark.e2e
OF_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "APP", "WORKERS", "HOST", "PORT", "ARGS")
NO_SECRET = {"SWITCHBOARD_JWT_SECRET": "", "SWITCHBOARD_JWT_SECRET_FILE": ""}


@pytest.fixture
def served() -> Iterator[Server]:
    env = {"SWITCHBOARD_JWT_SECRET": secrets.token_hex(32)}
    with serving("examples.showcase:app", workers=2, env=env) as server:
        yield server


def token(server: Server) -> tuple[int, dict[str, str]]:
    url = f"http://127.0.0.1:{server.port}/token"
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, method="POST"), timeout=5
        ) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)


def welcome(server: Server, text: str) -> str | bytes:
    with connect(f"{server.url}/ws/protected?token={text}") as ws:
        return ws.recv(timeout=5)


def status_of(server: Server, query: str = "") -> int:
    with pytest.raises(InvalidStatus) as refused:
        connect(f"{server.url}/ws/protected{query}")
    return refused.value.response.status_code


def test_a_token_is_good_on_all_workers_and_after_a_crash(served: Server) -> None:
    status, answer = token(served)
    assert status == 200
    for _ in range(8):
        assert welcome(served, answer["token"]) == "Welcome, user ada"
    assert status_of(served) == 401
    assert status_of(served, "?token=a.b.c") == 401
    before = set(children(served.process.pid))
    os.kill(min(before), 9)
    wait_until(lambda: len(set(children(served.process.pid)) - before) == 1, 20)
    for _ in range(8):
        assert welcome(served, answer["token"]) == "Welcome, user ada"


def test_without_a_key_nobody_gets_in_and_the_page_is_told_why() -> None:
    with serving("examples.showcase:app", workers=1, env=NO_SECRET) as server:
        status, answer = token(server)
        assert status == 503
        assert "start the server with SWITCHBOARD_JWT_SECRET" in answer["detail"]
        assert status_of(server) == 401
        assert status_of(server, "?token=a.b.c") == 401
        with connect(f"{server.url}/ws/echo") as ws:
            ws.send("the others do")
            assert ws.recv(timeout=5) == "the others do"


@pytest.mark.parametrize(
    ("arguments", "env", "makes_one"),
    [
        ((), {}, True),
        (("APP=",), {}, True),
        (("APP=hello:app",), {}, False),
        ((), {"SWITCHBOARD_JWT_SECRET_FILE": "key"}, False),
        ((), {"SWITCHBOARD_JWT_SECRET": "of the user, and with $(dollars)"}, False),
    ],
)
def test_make_serve_makes_up_a_key_for_the_showcase(
    tmp_path: Path, arguments: tuple[str, ...], env: dict[str, str], makes_one: bool
) -> None:
    """And for no other app, nor in the place of one that is there."""
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "the key is $SWITCHBOARD_JWT_SECRET."\n')
    python.chmod(0o755)
    lock = (ROOT / "requirements.lock").read_bytes()
    (tmp_path / ".installed-requirements.lock").write_bytes(lock)  # so that nothing is set up
    clean = {name: value for name, value in os.environ.items() if name not in OF_MAKE}
    keys = []
    for _ in range(2):
        done = subprocess.run(
            ["make", "serve", f"VENV={tmp_path}", *arguments],
            cwd=ROOT,
            env={**clean, **NO_SECRET, **env},
            capture_output=True,
            text=True,
            check=True,
        )
        keys.append(done.stdout.partition("the key is ")[2].strip().removesuffix("."))
    if makes_one:
        assert [len(key) for key in keys] == [64, 64]
        assert keys[0] != keys[1]
        assert all(int(key, 16) for key in keys)
    else:
        assert keys == [env.get("SWITCHBOARD_JWT_SECRET", "")] * 2
