"""Socket.IO with its own JavaScript client, against real workers: one room, one order, no Redis."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.support import node
from tests.support.cli import environment
from tests.support.node import Script
from tests.support.raw import get
from tests.support.servers import ROOT, Server, free_port, running

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

CLIENTS, EACH = 9, 60
ROUTE = "/socket.io/{}"


@contextmanager
def served(admin_port: int = 0) -> Iterator[Server]:
    """Serve the tests' app with three workers."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "server", "serve", "tests.contrib.app:app"),
        *("--workers", "3", "--port", str(port), "--drain-s", "5"),
    ]
    more = {**environment(), "SWITCHBOARD_ADMIN_PORT": str(admin_port)}
    with running(command, port, env=more) as server:
        server.wait_for_output("stop    Ctrl-C", 30)
        yield server


def script(name: str, server: Server, *arguments: object) -> AbstractContextManager[Script]:
    return node.script(Path(__file__).parent, name, server.url.replace("ws", "http"), *arguments)


def ends(server: Server) -> list[tuple[int, str]]:
    """Return with which code, and by whom, connections were closed."""
    lines = [json.loads(line) for line in server.output().splitlines() if line.startswith("{")]
    found = [line for line in lines if line["event"] == "connection closed"]
    return [(line["code"], line["initiator"]) for line in found]


def said() -> set[str]:
    return {f"{who}:{number}" for who in range(CLIENTS) for number in range(EACH)} | {"the end"}


def test_a_room_on_three_workers_is_one_room() -> None:
    with served() as server, script("crowd", server, CLIENTS, EACH) as crowd:
        assert len(set(crowd.until("all here")["pids"])) > 1
        crowd.order()
        heard = crowd.until("heard")["heard"]
        crowd.order()
    assert heard == [heard[0]] * CLIENTS
    assert sorted(heard[0]) == sorted(said())


def test_a_killed_worker_takes_nobody_else_along() -> None:
    """Its clients come back to another worker; the others hear all, and all hear one order."""
    with served() as server, script("crowd", server, CLIENTS, EACH) as crowd:
        pids = crowd.until("all here")["pids"]
        crowd.order()
        crowd.until("said")
        os.kill(victim := pids[0], signal.SIGKILL)
        result = crowd.until("heard")
        crowd.order()
    visits, heard = result["visits"], result["heard"]
    assert visits == [2 if pid == victim else 1 for pid in pids]
    assert victim not in [event["pid"] for event in crowd.events if event["event"] == "joined"][9:]
    stayed = [one for one, pid in zip(heard, pids, strict=True) if pid != victim]
    assert stayed == [stayed[0]] * len(stayed)
    assert set(stayed[0]) == said()
    # What was under way in the killed worker may have been said before its client knew.
    assert len(stayed[0]) <= len(said()) + pids.count(victim)
    for one in heard:
        assert one[-1] == "the end"
        assert is_part(one, stayed[0])


def is_part(one: list[str], whole: list[str]) -> bool:
    """Whether a list is another with some of it left out."""
    rest = iter(whole)
    return all(text in rest for text in one)


def test_what_a_server_does_reaches_clients_of_other_workers() -> None:
    with served() as server, script("across", server) as across:
        told = {}
        while "lose" not in told:
            event = across.next()
            told[event.pop("event")] = event
        across.process.wait(10)
        assert server.stop() == 0, server.output()
        codes = Counter(code for code, _ in ends(server))
    assert told["to"]["value"] == {"text": "hello", "list": [1, None]}
    assert told["bytes"] == {"size": 3, "data": [0, 1, 255]}
    assert told["call"]["value"] == "6 x 7 = 42"
    assert told["call bytes"]["value"] == [[0, 255], "and text"]
    assert told["callback"]["value"] == ["answered", "6 x 7 = 42"]
    assert told["skip"] == {"heard": ["behind"], "there": "skipped one"}
    assert told["enter"]["value"] == [0, 0]
    assert told["expel"]["heard"] == ["behind"]
    assert told["burst"]["heard"] == [*range(500), "behind"]
    assert told["close"]["heard"] == ["behind"]
    assert "cannot be published, the limit is" in told["too large"]["value"]
    assert told["refused"]["text"] == "refused, as asked"
    kick = told["kick"]
    assert kick["reason"] == "io server disconnect"
    assert kick["left"] == [kick["who"], "server disconnect"]
    assert told["shout"] == {"status": 200, "value": "from outside"}
    assert told["big"]["reason"] in ("transport close", "transport error")
    assert told["lose"]["connected"]
    assert codes[1009] == 1
    assert codes[1013] >= 1
    assert codes.keys() <= {1005, 1009, 1013}


def test_its_clients_are_connections_like_others() -> None:
    """They are counted, seen in the registry, told to go at a drain, and the server ends well."""
    admin = free_port()
    with served(admin) as server, script("crowd", server, CLIENTS, 1) as crowd:
        crowd.until("all here")
        crowd.order()
        crowd.until("heard")
        metrics = get(admin, "/metrics").body.decode()
        assert f'ws_connections_opened_total{{route="{ROUTE}"}} {CLIENTS}.0' in metrics
        rows = json.loads(get(admin, "/connections").body)["connections"]
        assert [row["route"] for row in rows] == [ROUTE] * CLIENTS
        assert server.stop() == 0, server.output()
        crowd.order()
        assert ends(server) == [(1001, "server")] * CLIENTS
        assert "Traceback" not in server.output()


def test_without_python_socketio_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['socketio'] = None; import server.contrib.socketio"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "pip install 'switchboard-server[socketio]'" in done.stderr.splitlines()[-1]
