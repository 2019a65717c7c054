"""Peers that vanish, stop sending or stop reading, against real servers."""

import threading
import time

import pytest

from tests.support.processes import is_held, own_bytes, wait_until
from tests.support.raw import Close, RawClient, connect, unique_tag
from tests.wire.conftest import WireServer

pytestmark = pytest.mark.e2e

MIB = 1 << 20
GONE = (1005, 1006)  # granian says 1005 where a host could say 1006
SMALL_BUFFER = 4096


def echo_s(client: RawClient) -> float:
    """Return how long an echo takes."""
    started = time.monotonic()
    client.send_text("meanwhile")
    assert client.read_text() == "meanwhile"
    return time.monotonic() - started


@pytest.mark.parametrize("leave", [RawClient.reset, RawClient.drop, RawClient.half_close])
def test_a_peer_vanishes_while_the_view_waits(server: WireServer, leave) -> None:
    tag = unique_tag()
    with connect(server.port, f"/echo?tag={tag}") as client:
        client.send_text("hello")
        assert client.read_text() == "hello"
        leave(client)
        end = server.end(tag)
    assert end["code"] in GONE
    assert end["received"] == 1


@pytest.mark.parametrize("leave", [RawClient.reset, RawClient.drop, RawClient.half_close])
def test_a_peer_vanishes_while_the_view_sends(server: WireServer, leave) -> None:
    tag = unique_tag()
    with connect(server.port, f"/flood?tag={tag}") as client:
        client.read_bytes()
        leave(client)
        end = server.end(tag)
    # A host may not see the half-close of a peer that does not read either.
    assert end["code"] in (GONE if leave is not RawClient.half_close else (*GONE, 1013))


@pytest.mark.parametrize("leave", [RawClient.reset, RawClient.drop, RawClient.half_close])
def test_a_peer_vanishes_while_the_view_is_busy(server: WireServer, leave) -> None:
    """The view learns of it at its next send or receive, and its end is no error."""
    tag = unique_tag()
    with connect(server.port, f"/busy?tag={tag}") as client:
        assert client.read_text() == "busy"
        leave(client)
        server.ask(f"/wake/{tag}")


def test_a_peer_vanishes_in_the_middle_of_a_frame(server: WireServer) -> None:
    tag = unique_tag()
    with connect(server.port, f"/echo?tag={tag}") as client:
        client.send(b"\x81\xfe\x00")
    assert server.end(tag)["code"] in GONE


def test_a_half_closed_peer_is_let_go(server: WireServer) -> None:
    """No more can come from it, so the server ends its side as well."""
    with connect(server.port, "/echo") as client:
        client.half_close()
        client.wait_end()


def test_many_peers_vanish_at_once(server: WireServer) -> None:
    clients = [connect(server.port, "/echo") for _ in range(100)]
    wait_until(lambda: server.ask("/stats")["open"] == 100)
    for number, client in enumerate(clients):
        client.reset() if number % 2 else client.drop()


# -- fast and slow readers ---------------------------------------------------------------------


def test_a_view_that_only_sends_starves_nobody(server: WireServer) -> None:
    with (
        connect(server.port, f"/flood?tag={unique_tag()}") as fast,
        connect(server.port, "/echo") as other,
    ):
        reader = threading.Thread(target=fast.wait_end)
        reader.start()
        assert max(echo_s(other) for _ in range(100)) < 0.5
        fast.half_close()
        reader.join()


def test_a_peer_that_never_reads_is_closed(server: WireServer) -> None:
    """The view's sends block on a bounded window, then the connection ends with 1013; others and
    the worker's memory are unharmed meanwhile.
    """
    tag = unique_tag()
    before = own_bytes(server.worker)
    peak, slowest_echo = 0, 0.0
    with (
        connect(server.port, f"/flood?tag={tag}", receive_buffer=SMALL_BUFFER),
        connect(server.port, "/echo") as other,
    ):
        while not (answer := server.ask(f"/end/{tag}"))["end"]:
            slowest_echo = max(slowest_echo, echo_s(other))
            peak = max(peak, own_bytes(server.worker))
    assert answer["end"]["code"] == 1013
    assert answer["sent"] < 16 * MIB  # window, and what two kernels buffer
    assert peak < before + 32 * MIB
    assert slowest_echo < 0.5


def test_the_descriptor_of_a_peer_that_never_reads_is_released(granian: WireServer) -> None:
    """Design fact 17. (uvicorn keeps its side until the peer does something.)"""
    tag = unique_tag()
    with connect(granian.port, f"/flood?tag={tag}", receive_buffer=SMALL_BUFFER) as client:
        assert is_held(granian.port, client.port)
        assert granian.end(tag)["code"] == 1013
        wait_until(lambda: not is_held(granian.port, client.port), message="released")


def test_a_peer_that_reads_again_learns_why(server: WireServer) -> None:
    """From the time-out on it has `close_timeout_s` to come back and read the close frame."""
    tag = unique_tag()
    count = server.ask("/stats").get("slow_consumer", 0)
    with connect(server.port, f"/flood?tag={tag}", receive_buffer=SMALL_BUFFER) as client:
        wait_until(lambda: server.ask("/stats").get("slow_consumer", 0) > count)
        assert client.next_close() == Close(1013, "slow consumer")
    assert server.end(tag)["code"] == 1013


def test_a_slow_peer_that_reads_is_not_closed(server: WireServer) -> None:
    """Reading a little now and then keeps it alive well past the time-out."""
    tag = unique_tag()
    with connect(server.port, f"/flood?tag={tag}", receive_buffer=SMALL_BUFFER) as client:
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            client.read_bytes()
            time.sleep(0.02)
        assert server.ask(f"/end/{tag}")["end"] is None
