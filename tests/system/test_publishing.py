"""Publishing from outside into a real server: what clients get, and what nobody sees.

The key is looked for in all that the server prints and answers.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Client, Response

from tests.support.cli import Project
from tests.support.processes import children, wait_until
from tests.support.raw import Close, RawClient, connect
from tests.support.servers import Server
from tests.system.test_life import ADMIN, base, serving

pytestmark = pytest.mark.e2e
__all__ = ["base"]  # a fixture

KEY = "open-sesame-9876543210"
END = {"end": True}
APP = """\
import os
from server import App

app = App()


@app.websocket_route("/member/{user}", value_type="json")
async def member(ws, user: str):
    ws.user_id = user
    await ws.join("tea")
    await ws.send({"worker": os.getpid(), "key": os.environ.get("SWITCHBOARD_ADMIN_KEY")})
    async for _ in ws:
        pass
"""


@dataclass
class Served:
    """A server with two workers, its admin port, and a member of the room "tea" on each worker.

    Attributes:
        http: has the key.
    """

    server: Server
    base: Path
    http: Client
    members: list[RawClient]

    def post(self, path: str, body: Any, **headers: str) -> Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(path, json=body, headers=named)

    def ok(self, path: str, body: Any, **headers: str) -> Any:
        response = self.post(path, body, **headers)
        assert response.status_code == 200, response.text
        return response.json()

    def all_got(self) -> list[list[Any]]:
        """Return what each member has got, all of it: an end is published behind it."""
        self.ok("/publish", {"room": "tea", "data": END})
        return [read_until_end(member) for member in self.members]


def read_until_end(member: RawClient) -> list[Any]:
    got: list[Any] = []
    while True:
        message = json.loads(member.read_text())
        if message == END:
            return got
        got.append(message)


def member_of_each_worker(server: Server, stack: ExitStack) -> list[RawClient]:
    found: dict[int, RawClient] = {}

    def connect_another() -> bool:
        client = connect(server.port, f"/member/user-{len(found)}")
        stack.callback(client.drop)
        told = json.loads(client.read_text())
        assert told["key"] is None, "the app inherits no key"
        if found.setdefault(told["worker"], client) is not client:
            client.close()
        return len(found) == 2

    wait_until(connect_another, message="a member on each worker")
    return list(found.values())


@pytest.fixture
def served(project: Project, base: Path) -> Iterator[Served]:
    project.write("tea.py", APP)
    env = {"SWITCHBOARD_ADMIN_KEY": KEY}
    with serving(project, base, "--journal-mib", "1", app="tea", env=env) as server:
        address = ADMIN.search(server.output())
        assert address is not None
        url = f"http://127.0.0.1:{address[1]}"
        headers = {"authorization": f"Bearer {KEY}"}
        with ExitStack() as stack:
            http = stack.enter_context(Client(base_url=url, headers=headers, trust_env=False))
            yield Served(server, base, http, member_of_each_worker(server, stack))


def test_members_on_both_workers_get_it_once_and_in_order(served: Served) -> None:
    """Single messages, batches with bad ones among them, and requests that are sent again."""
    assert served.ok("/publish", {"room": "tea", "data": {"number": 0}})["offset"] == 1
    batch: list[Any] = [{"room": "tea", "data": {"number": number}} for number in range(1, 501)]
    batch[200:200] = [{"room": "tea"}, {"room": "", "data": 1}]
    results = served.ok("/publish", {"batch": batch})["results"]
    assert [at for at, result in enumerate(results) if "error" in result] == [200, 201]
    offsets = [result["offset"] for result in results if "offset" in result]
    assert offsets == [*range(2, 502)]

    again = {"room": "tea", "data": {"number": 501}}
    with ThreadPoolExecutor(10) as pool:
        answers = [
            *pool.map(lambda _: served.ok("/publish", again, idempotency_key="501"), range(40))
        ]
    assert [answer["offset"] for answer in answers] == [502] * 40
    assert served.post("/publish", batch[0], idempotency_key="501").status_code == 422

    expected = [{"number": number} for number in range(502)]
    assert served.all_got() == [expected, expected]


def test_a_shell_reaches_them_too(served: Served, project: Project) -> None:
    where = ("--runtime-dir", str(served.base))
    done = project.run("publish", "tea", '{"from": "a shell"}', *where)
    assert (done.returncode, done.stdout, done.stderr) == (0, "room tea: offset 1\n", "")
    message = "x" * (1 << 17)
    (project.folder / "large").write_text(message)
    assert "the limit is 130992" in project.error(
        "publish", "tea", "--file", "large", "--text", *where
    )
    assert served.all_got() == [[{"from": "a shell"}]] * 2
    listed = project.run("rooms", *where).stdout.splitlines()
    assert listed[1].split()[:3] == ["tea", "2", "2"]
    assert listed[-1] == "1 room, 2 memberships"


def test_presence_broadcast_and_disconnect_are_of_both_workers(served: Served) -> None:
    def presence() -> Any:
        return served.http.get("/presence", params={"room": "tea"}).json()

    wait_until(lambda: presence()["count"] == 2, message="those that were one too many have left")
    found = presence()
    assert {member["user"] for member in found["members"]} == {"user-0", "user-1"}
    assert {member["worker"] for member in found["members"]} == {0, 1}

    assert served.ok("/broadcast", {"data": 1}) == {}
    assert served.ok("/broadcast", {"data": 2, "route": "/member/{user}"}) == {}
    assert served.all_got() == [[1, 2], [1, 2]]

    body = {"user": "user-1", "code": 4001, "reason": "signed out"}
    assert served.ok("/disconnect", body) == {"asked": 1}
    assert served.members[1].next_close() == Close(4001, "signed out")

    wait_until(lambda: presence()["count"] == 1, message="the other is alone")
    served.members.pop()
    served.ok("/publish", {"room": "tea", "data": 3})
    assert served.all_got() == [[3]]


def test_what_was_published_is_there_after_a_worker_was_killed(served: Served) -> None:
    for number in range(3):
        served.ok("/publish", {"room": "tea", "data": number})
    for pid in children(served.server.process.pid):
        os.kill(pid, 9)
    found = served.http.get("/history", params={"room": "tea", "since": 1}).json()
    assert [message["data"] for message in found["messages"]] == [1, 2]
    assert found["offset"] == 3
    served.ok("/publish", {"room": "tea", "data": 3})


def test_nobody_sees_the_key(served: Served, project: Project) -> None:
    """Not in an answer, in a line of the log, in a metric, or in a list of processes."""
    http, wrong = served.http, {"authorization": f"Bearer {KEY[:-1]}"}
    seen = [
        http.post("/publish", json={"room": "tea", "data": 1}),
        http.post("/publish", json={"room": "tea"}),
        http.post("/publish", content=b"{", headers={"content-type": "application/json"}),
        http.post("/publish", json={}, headers=wrong),
        http.post("/publish", json={}, headers={"authorization": ""}),
        http.post("/publish", content=b"{}"),
        http.post("/publish", json={"room": "tea", "data": "x" * (1 << 17)}),
        http.get("/presence", params={"room": "tea"}),
        http.get("/history", params={"room": ""}),
        *(http.get(path) for path in ("/", "/metrics", "/status", "/connections", "/nothing")),
    ]
    statuses = [response.status_code for response in seen]
    assert statuses == [200, 422, 400, 401, 401, 415, 413, 200, 422, 200, 200, 200, 200, 404]
    told = [f"{response.headers} {response.text}" for response in seen]
    where = ("--runtime-dir", str(served.base))
    told += [
        project.run(command, "--json", *where).stdout
        for command in ("status", "connections", "rooms")
    ]
    listed = subprocess.run(
        ["ps", "axww", "-o", "args"], capture_output=True, text=True, check=True
    )
    told.append(listed.stdout)
    told += [  # what the workers were started with
        Path(f"/proc/{pid}/environ").read_bytes().decode("latin-1")
        for pid in children(served.server.process.pid)
    ]
    assert served.server.stop() == 0
    told.append(served.server.output())
    assert "Traceback" not in told[-1]
    for text in told:
        assert KEY not in text
        assert KEY[:-1] not in text
