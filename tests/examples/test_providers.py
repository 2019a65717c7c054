"""`examples.providers`: the guide's chat is right in one process, and says so about more."""

import json
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.examples.support import serving
from tests.support.servers import Server

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving("examples.providers:app", workers=1, env={}) as server:
        yield server


def said(text: str) -> dict[str, str]:
    return {"type": "message", "user": "ada", "text": text}


def join(server: Server) -> ClientConnection:
    return connect(f"{server.url}/chat", open_timeout=10, close_timeout=5)


def read(ws: ClientConnection) -> object:
    return json.loads(ws.recv(timeout=5))


def drain(ws: ClientConnection) -> None:
    while True:
        ws.recv(timeout=5)


def test_all_hear_all_and_who_comes_later_reads_it(server: Server) -> None:
    with join(server) as ada, join(server) as ben:
        ada.send(json.dumps(said("hello")))
        assert read(ada) == read(ben) == said("hello")
        with join(server) as late:
            assert read(late) == said("hello")


def test_one_who_leaves_while_others_talk_ends_it_for_nobody(server: Server) -> None:
    with join(server) as ada, join(server) as ben:
        for number in range(20):
            with join(server) as short:
                ada.send(json.dumps(said(f"to {number}")))
                short.socket.close()
        ben.send(json.dumps(said("still there")))
        heard = read(ada)
        while heard != said("still there"):
            heard = read(ada)


def test_history_has_a_bound(server: Server) -> None:
    with join(server) as ada:
        for number in range(150):
            ada.send(json.dumps(said(f"many {number}")))
        heard = read(ada)
        while heard != said("many 149"):
            heard = read(ada)
    with join(server) as late:
        assert [read(late) for _ in range(100)] == [said(f"many {n}") for n in range(50, 150)]


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ({"type": "message", "user": "", "text": "x"}, "user"),
        ({"type": "message", "user": "ada", "text": "x" * 501}, "text"),
        ({"type": "shout", "user": "ada", "text": "x"}, "type"),
        ({"type": "message", "user": "ada", "text": 1}, "text"),
    ],
)
def test_what_is_no_message_closes_with_the_reason(
    server: Server, sent: dict[str, object], reason: str
) -> None:
    with join(server) as ws:
        ws.send(json.dumps(sent))
        with pytest.raises(ConnectionClosed) as closed:
            drain(ws)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1007
    assert reason in closed.value.rcvd.reason
