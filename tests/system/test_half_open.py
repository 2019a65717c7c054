"""Peers that vanish without a FIN: packets are really dropped, between two network namespaces."""

import json
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from server.control import running_server
from server.health import status
from tests.support.cli import Project, environment
from tests.support.namespaces import CLIENT_ADDRESS, SERVER_ADDRESS, Cable, NotPermitted, cable
from tests.support.processes import wait_until
from tests.support.raw import TIMEOUT_S, Op, connect, frame, handshake_request
from tests.support.servers import Server, free_port, running
from workers.counters import totals
from workers.directories import DEFAULT_BASE
from workers.layout import CLIENT, INITIATORS
from workers.registry import read_rows
from workers.segment import Segment

pytestmark = pytest.mark.e2e

DEAD_PEER_TIMEOUT_S = 4
LATE_S = 2.0  # the kernel's probes are whole seconds apart, and the machine may be busy
GONE = (1005, 1006)  # granian's word for a peer that was lost; a send found it gone
READY = "stop    Ctrl-C"
RESET = struct.pack("ii", 1, 0)
APP = """\
import asyncio
from server import App

app = App()


@app.websocket_route("/idle")
@app.websocket_route("/local")
async def echo(ws):
    async for message in ws:
        await ws.send(message)


@app.websocket_route("/feed")
async def feed(ws):
    while True:
        await ws.send_text("news")
        await asyncio.sleep(0.1)


@app.websocket_route("/flood")
async def flood(ws):
    await ws.receive_text()
    while True:
        await ws.send_bytes(bytes(65536))
"""


class Peer:
    """A client in the network at the other end of the cable."""

    def __init__(self, cord: Cable, port: int, path: str) -> None:
        with cord.client.entered():
            self._socket = socket.create_connection((SERVER_ADDRESS, port), TIMEOUT_S)
        self.send(handshake_request(path))
        self.read_until(b"\r\n\r\n")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def read_until(self, end: bytes) -> None:
        data = b""
        while end not in data:
            chunk = self._socket.recv(65536)
            assert chunk, data
            data += chunk

    def drop(self) -> None:
        """Forget the connection, without a word: nothing could be sent."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._socket.close()


@pytest.fixture
def cord() -> Iterator[Cable]:
    """A cable, with the test in the network of the server."""
    with ExitStack() as stack:
        try:
            cord = stack.enter_context(cable())
        except NotPermitted as reason:
            pytest.skip(str(reason))
        stack.enter_context(cord.server.entered())
        yield cord


@pytest.fixture
def served(cord: Cable, project: Project) -> Iterator[tuple[Server, Segment]]:
    """A server in that network, and what it shares with its worker."""
    project.write("app.py", APP)
    port = free_port()
    flags = ("--host", "0.0.0.0", "--workers", "1")  # noqa: S104 - of a network with one other host
    limits = ("--dead-peer-timeout-s", str(DEAD_PEER_TIMEOUT_S))
    command = project.command("serve", "app", "--port", str(port), *flags, *limits)
    with running(command, port, env=environment(), cwd=project.folder) as server:
        server.wait_for_output(READY)
        with running_server(DEFAULT_BASE, server.process.pid) as segment:
            yield server, segment


def routes(segment: Segment) -> set[str]:
    return {row.route for row in read_rows(segment)}


def ends(segment: Segment, route: str) -> dict[tuple[int, int], int]:
    """Return how often connections of a route were closed, by code and initiator."""
    counts = totals(segment)[segment.route_index(route)].closed
    return {
        (segment.codes[at // INITIATORS], at % INITIATORS): count
        for at, count in enumerate(counts)
        if count
    }


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def sockets_to_the_client(pid: int) -> list[str]:
    """Return what the kernel has of connections through the cable, in the network of `pid`."""
    address = socket.inet_aton(CLIENT_ADDRESS)[::-1].hex().upper()
    with open(f"/proc/{pid}/net/tcp") as lines:
        return [line for line in lines if line.split()[2].startswith(f"{address}:")]


@pytest.mark.parametrize("cut", [Cable.unplug, Cable.swallow])
def test_peers_that_vanish_are_let_go_of_in_time(
    cord: Cable, served: tuple[Server, Segment], project: Project, cut: Callable[[Cable], None]
) -> None:
    """Whether nothing is sent to them, something now and then, or all that they would take."""
    server, segment = served
    worker = status(segment)["workers"][0]["pid"]
    with connect(server.port, "/local") as bystander, ExitStack() as stack:
        files = open_files(worker)
        peers = [Peer(cord, server.port, path) for path in ("/idle", "/feed", "/flood")]
        for peer in peers:
            stack.callback(peer.drop)
        idle, feed, flood = peers
        feed.read_until(b"news")
        idle.send(frame(Op.TEXT, b"here"))
        idle.read_until(b"here")
        flood.send(frame(Op.TEXT, b"go"))
        flood.read_until(bytes(65536))
        assert open_files(worker) == files + 3

        cut(cord)
        cut_at = time.monotonic()
        gone_after_s: dict[str, float] = {}

        def are_gone() -> bool:
            for route in {"/idle", "/feed", "/flood"} - routes(segment) - gone_after_s.keys():
                gone_after_s[route] = time.monotonic() - cut_at
            return len(gone_after_s) == 3

        wait_until(are_gone, DEAD_PEER_TIMEOUT_S + LATE_S, message="the rows vanish")

        # Sooner than that, something else has ended them.
        assert min(gone_after_s.values()) > DEAD_PEER_TIMEOUT_S / 2, gone_after_s
        for route in gone_after_s:
            ((code, initiator),) = ends(segment, route)
            assert (code in GONE, initiator) == (True, CLIENT), route
        wait_until(lambda: open_files(worker) == files, 1, message="the descriptors are released")
        wait_until(lambda: not sockets_to_the_client(worker), 1, message="the kernel forgets them")

        bystander.send_text("still there")
        assert bystander.read_text() == "still there"
        mine = ("--pid", str(server.process.pid))
        listed = json.loads(project.run("connections", "--json", *mine).stdout)
        assert [row["route"] for row in listed["connections"]] == ["/local"]
