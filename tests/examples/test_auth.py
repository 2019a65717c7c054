"""`examples.auth` on several workers: every way in, every way to be refused, and out again."""

import json
import secrets
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.error import HTTPError

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.examples.support import serving
from tests.support.cli import Project
from tests.support.servers import Server

pytestmark = pytest.mark.e2e

KEYS = [secrets.token_urlsafe(32) for _ in range(2)]


def environment(folder: Path) -> dict[str, str]:
    return {
        "SWITCHBOARD_JWT_SECRET": secrets.token_urlsafe(32),
        "SWITCHBOARD_SESSION_SECRET": secrets.token_urlsafe(32),
        "SWITCHBOARD_API_KEYS": ",".join(KEYS),
        "REVOKED_TOKENS": str(folder / "revoked.sqlite3"),
    }


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = environment(tmp_path_factory.mktemp("auth"))
    with serving("examples.auth:app", workers=2, env=env) as server:
        yield server


def post(server: Server, path: str, **headers: str) -> tuple[int, str, dict[str, str]]:
    """Return the status, the body and the cookies of an answer."""
    url = f"http://127.0.0.1:{server.port}{path}"
    request = urllib.request.Request(url, method="POST", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - our own server
            jar = SimpleCookie(answer.headers.get("set-cookie", ""))
            cookies = {name: morsel.value for name, morsel in jar.items()}
            return answer.status, answer.read().decode(), cookies
    except HTTPError as error:
        return error.code, error.read().decode(), {}


def token(server: Server, name: str) -> str:
    status, body, _ = post(server, f"/token/{name}")
    assert status == 200
    return str(json.loads(body)["token"])


def end_of(ws: ClientConnection) -> tuple[int, str] | None:
    """Wait for the server to close; returns the code and the reason."""
    with pytest.raises(ConnectionClosed) as closed:
        ws.recv(timeout=5)
    frame = closed.value.rcvd
    return None if frame is None else (frame.code, frame.reason)


def refused(server: Server, path: str, **headers: str) -> int:
    with pytest.raises(InvalidStatus) as error:
        connect(f"{server.url}{path}", additional_headers=headers)
    return error.value.response.status_code


def test_tokens(server: Server) -> None:
    """In each of the places that need no option."""
    ada = token(server, "ada")
    url = f"{server.url}/ws/protected"
    bearer = [Subprotocol("bearer"), Subprotocol(ada)]
    with connect(f"{url}?token={ada}") as ws:
        assert ws.recv(timeout=5) == "Welcome, user ada"
        ws.send("hello")
        assert ws.recv(timeout=5) == "hello"
    with connect(url, subprotocols=bearer) as ws:
        assert ws.subprotocol == "bearer"
        assert ws.recv(timeout=5) == "Welcome, user ada"
    with connect(url, additional_headers={"authorization": f"Bearer {ada}"}) as ws:
        assert ws.recv(timeout=5) == "Welcome, user ada"
    assert refused(server, "/ws/protected") == 401
    assert refused(server, f"/ws/protected?token={ada[:-2]}") == 401


def test_administrators(server: Server) -> None:
    ada, admin = token(server, "ada"), token(server, "admin")
    with connect(f"{server.url}/ws/admin?token={admin}") as ws:
        ws.send("{}")
        assert json.loads(ws.recv(timeout=5))["connections"] >= 1
    assert refused(server, f"/ws/admin?token={ada}") == 403
    assert refused(server, "/ws/admin") == 401


def test_api_keys(server: Server) -> None:
    names = set()
    for key in KEYS:
        with connect(f"{server.url}/ws/machines", additional_headers={"x-api-key": key}) as ws:
            names.add(ws.recv(timeout=5))
    assert len(names) == 2
    assert all(str(name).startswith("Welcome, apikey:") for name in names)
    assert not any(key in str(name) for key in KEYS for name in names)
    assert refused(server, "/ws/machines") == 401
    assert refused(server, "/ws/machines", **{"x-api-key": f"{KEYS[0][:-1]}-"}) == 401
    assert refused(server, f"/ws/machines?token={token(server, 'ada')}") == 401


def test_logging_out_ends_the_token_on_all_workers(server: Server) -> None:
    eve, other = token(server, "eve"), token(server, "ben")
    url = f"{server.url}/ws/protected"
    with ExitStack() as stack:
        # Of both workers, most likely.
        sockets = [stack.enter_context(connect(f"{url}?token={eve}")) for _ in range(6)]
        ben = stack.enter_context(connect(f"{url}?token={other}"))
        assert [ws.recv(timeout=5) for ws in sockets] == ["Welcome, user eve"] * 6
        assert post(server, "/logout")[0] == 401
        assert post(server, "/logout", authorization=f"Bearer {eve}")[0] == 204
        assert [end_of(ws) for ws in sockets] == [(4503, "logged out")] * 6
        for _ in range(8):
            assert refused(server, f"/ws/protected?token={eve}") == 401
        assert post(server, "/logout", authorization=f"Bearer {eve}")[0] == 401
        assert ben.recv(timeout=5) == "Welcome, user ben"
        ben.send("still here")
        assert ben.recv(timeout=5) == "still here"
    with connect(f"{url}?token={token(server, 'eve')}") as ws:  # a new one is good
        assert ws.recv(timeout=5) == "Welcome, user eve"


def test_a_session_is_shared(server: Server) -> None:
    assert refused(server, "/ws/session") == 401
    assert refused(server, "/ws/session", cookie="session=forged") == 401
    status, _, cookies = post(server, "/login/joe")
    assert status == 204
    cookie = f"session={cookies['session']}"
    with connect(f"{server.url}/ws/session", additional_headers={"cookie": cookie}) as ws:
        assert ws.recv(timeout=5) == "Welcome back, joe"
        assert post(server, "/logout-session", cookie=cookie)[0] == 204
        assert end_of(ws) == (4503, "logged out")


def test_pages_of_strangers_do_not_get_in(server: Server) -> None:
    """Whatever they bring."""
    _, _, cookies = post(server, "/login/joe")
    headers = {"cookie": f"session={cookies['session']}"}
    assert refused(server, "/ws/session", origin="https://evil.example", **headers) == 403
    path = f"/ws/protected?token={token(server, 'ada')}"
    assert refused(server, path, origin="https://evil.example") == 403


@pytest.mark.parametrize("name", ["a%20b", "a%0Ab", "x" * 17, "%C3%A9"])
def test_names_that_are_none(server: Server, name: str) -> None:
    assert post(server, f"/token/{name}")[0] == 400
    assert post(server, f"/login/{name}")[0] == 400


def test_the_page(server: Server) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=5) as answer:
        assert b"Who may come in" in answer.read()


def test_nothing_goes_wrong_in_the_servers_log(server: Server) -> None:
    with connect(f"{server.url}/ws/protected?token={(used := token(server, 'ada'))}") as ws:
        ws.recv(timeout=5)
    assert "Traceback" not in server.output()
    assert used not in server.output()


def test_what_is_missing_is_said_in_one_line(tmp_path: Path) -> None:
    project, env = Project(tmp_path), environment(tmp_path)
    names = ("SWITCHBOARD_JWT_SECRET", "SWITCHBOARD_API_KEYS", "SWITCHBOARD_SESSION_SECRET")
    for name in names:
        rest = {key: value for key, value in env.items() if key != name}
        assert f"{name}" in project.error("check", "examples.auth:app", env=rest)
    done = project.run("check", "examples.auth:app", "--port", "0", env=env)
    assert done.returncode == 0


def test_the_check_for_production_has_nothing_against_it(tmp_path: Path) -> None:
    """But for who runs the tests."""
    done = Project(tmp_path).run(
        "check",
        "--production",
        "examples.auth:app",
        "--json",
        "--port",
        "0",
        "--admission.connections",
        "500",
        env=environment(tmp_path),
    )
    failed = {each["item"] for each in json.loads(done.stdout) if each["level"] == "FAIL"}
    assert failed <= {"root"}
