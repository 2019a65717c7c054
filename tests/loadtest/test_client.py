"""The client keeps to RFC 6455, and says how a connection ended, whatever the server does."""

import socket
import struct

import pytest

from tests.loadtest.peers import (
    ends,
    failure,
    frame,
    probe,
    read_exactly,
    read_frame,
    read_head,
    server,
    shake,
)
from tests.loadtest.running import Watched
from tests.support.servers import free_port

pytestmark = pytest.mark.e2e

# -- with a real server --------------------------------------------------------------------------


def test_sends_and_receives_messages_of_all_sizes(showcase: Watched) -> None:
    sizes = (1, 125, 126, 65_535, 65_536, 500_000)
    steps = [["send", "x", size] for size in sizes]
    told = probe(showcase.url, "/ws/echo", do=[*steps, ["wait", len(sizes)], ["close"]])
    assert [len(message) for message in told["messages"]] == list(sizes)
    assert ends(told) == (1000, "", "client")


def test_says_what_the_server_closed_with(showcase: Watched) -> None:
    told = probe(showcase.url, "/ws/close/4321", do=[["wait_for_end"]])
    assert ends(told) == (4321, "you asked for 4321", "server")


def test_says_the_status_of_a_refused_handshake(showcase: Watched) -> None:
    assert failure(probe(showcase.url, "/nowhere")) == ("refused with 403", 403, None)


def test_offers_subprotocols(showcase: Watched) -> None:
    told = probe(showcase.url, "/realtime", subprotocols=["nonsense", "switchboard.v1"])
    assert (told["opened"], told["subprotocol"]) == (1, "switchboard.v1")


def test_a_send_after_the_end_is_an_error(showcase: Watched) -> None:
    told = probe(showcase.url, "/ws/echo", do=[["close"], ["send", "late"]])
    assert told["messages"] == ["not open"]


def test_a_client_that_vanishes_is_counted_once(showcase: Watched) -> None:
    told = probe(showcase.url, "/ws/echo", do=[["drop"], ["drop"], ["close"]])
    assert ends(told) == (1006, "", "dropped")


def test_a_connect_whose_greenlet_is_killed_is_finished_by_close(showcase: Watched) -> None:
    """So what the server has counted as opened is counted here too."""
    told = probe(showcase.url, "/ws/echo", kill_after_s=0, do=[["close"]])
    assert ends(told) == (1000, "", "client")


# -- with servers that do as they like -----------------------------------------------------------


def test_answers_pings_and_puts_fragments_together() -> None:
    seen: list[tuple[int, bytes]] = []

    def serve(connection: socket.socket) -> None:
        shake(connection, more=frame(0x81, b"early"))
        connection.sendall(frame(0x89, b"there?"))
        seen.append(read_frame(connection))
        parts = (
            frame(0x01, b"in ") + frame(0x8A, b"") + frame(0x00, b"three ") + frame(0x80, b"parts")
        )
        for byte in parts:  # one at a time
            connection.sendall(bytes((byte,)))
        connection.sendall(frame(0x88, struct.pack("!H", 1001) + b"bye"))
        seen.append(read_frame(connection))

    with server(serve) as url:
        told = probe(url, do=[["wait_for_end"]])
    assert told["messages"] == ["early", "in three parts"]
    assert seen == [(0x8A, b"there?"), (0x88, struct.pack("!H", 1001))]
    assert ends(told) == (1001, "bye", "server")


def test_takes_what_comes_before_the_answer_to_its_close() -> None:
    def serve(connection: socket.socket) -> None:
        shake(connection)
        _, payload = read_frame(connection)
        connection.sendall(frame(0x81, b"one more") + frame(0x88, payload))

    with server(serve) as url:
        told = probe(url, do=[["close", 4000]])
    assert told["messages"] == ["one more"]
    assert ends(told) == (4000, "", "client")


def test_a_close_frame_without_a_code_is_1005() -> None:
    def serve(connection: socket.socket) -> None:
        shake(connection, more=frame(0x88, b""))
        assert read_frame(connection) == (0x88, b"")

    with server(serve) as url:
        assert ends(probe(url, do=[["wait_for_end"]])) == (1005, "", "server")


@pytest.mark.parametrize("is_reset", [False, True])
def test_a_lost_connection_is_1006(is_reset: bool) -> None:
    def serve(connection: socket.socket) -> None:
        shake(connection)
        if is_reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with server(serve) as url:
        code, reason, by = ends(probe(url, do=[["wait_for_end"]]))
    assert (code, by) == (1006, "lost")
    assert reason == ("Connection reset by peer" if is_reset else "")


def test_a_close_that_is_not_answered_is_1006_after_a_while() -> None:
    def serve(connection: socket.socket) -> None:
        shake(connection)
        while connection.recv(4096):
            pass

    with server(serve) as url:
        told = probe(url, do=[["close", 1000, 0.2]])
    assert ends(told) == (1006, "no answer to the close frame", "lost")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\x81\x81aaaaa", "a masked frame"),
        (frame(0xC1, b"x"), "a frame that begins with 0xc1"),
        (frame(0x80, b"x"), "a frame that begins with 0x80"),
        (frame(0x01, b"x") + frame(0x01, b"y"), "a frame that begins with 0x01"),
        (frame(0x88, b"x"), "a close frame with half a code"),
        (frame(0x81, b"raise"), "the generator failed"),
    ],
)
def test_a_server_that_breaks_the_protocol_is_told_so(sent: bytes, reason: str) -> None:
    def serve(connection: socket.socket) -> None:
        shake(connection, more=sent)
        assert read_frame(connection) == (0x88, struct.pack("!H", 1002))

    with server(serve) as url:
        assert ends(probe(url, do=[["wait_for_end"]])) == (1006, reason, "lost")


@pytest.mark.parametrize(
    ("answer", "text", "status"),
    [
        (b"HTTP/1.1 503 Full\r\nRetry-After: 1\r\n\r\n", "refused with 503", 503),
        (b"HTTP/1.1 301 Gone\r\nLocation: /\r\n\r\n", "refused with 301", 301),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is no HTTP", None),
        (
            b"",
            "the server ended the connection before it answered the handshake",
            None,
        ),
        (
            b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n",
            "the answer is to another handshake: wrong Sec-WebSocket-Accept",
            None,
        ),
        (
            b"HTTP/1.1 101 OK\r\n\r\n",
            "the answer is no WebSocket handshake: no `Upgrade: websocket`",
            None,
        ),
    ],
)
def test_a_handshake_that_fails_says_how(answer: bytes, text: str, status: int | None) -> None:
    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(answer)

    with server(serve) as url:
        assert failure(probe(url)) == (text, status, None)


def test_a_subprotocol_that_was_not_offered_is_refused() -> None:
    with server(lambda connection: shake(connection, "Sec-WebSocket-Protocol: other")) as url:
        text, _, _ = failure(probe(url, subprotocols=["mine"]))
    assert text == "the subprotocol other was not asked for"


def test_a_handshake_that_is_not_answered_fails_in_time() -> None:
    def serve(connection: socket.socket) -> None:
        read_head(connection)
        connection.recv(1)

    with server(serve) as url:
        text, _, _ = failure(probe(url, timeout_s=0.2))
    assert text == "no answer to the handshake in time"


def test_nobody_there() -> None:
    port = free_port()
    text, _, _ = failure(probe(f"ws://127.0.0.1:{port}"))
    assert text == f"nobody listens at 127.0.0.1:{port}"


def test_no_such_host() -> None:
    text, _, _ = failure(probe("ws://no-such-host.invalid"))
    assert text.startswith("the host no-such-host.invalid has no address")


def test_what_the_server_does_not_read_waits_here() -> None:
    """A greenlet that sends is not held up, and can see that it should stop."""

    def serve(connection: socket.socket) -> None:
        shake(connection)
        while (got := read_frame(connection))[0] != 0x88:
            assert got == (0x82, b"x" * 65_536)
        connection.sendall(frame(*got))

    with server(serve) as url:
        told = probe(url, do=[["fill"], ["close", 1000, 9]])
    assert told["is_full"]
    assert ends(told) == (1000, "", "client")


def test_a_client_that_pauses_reads_nothing() -> None:
    def serve(connection: socket.socket) -> None:
        shake(connection)
        assert read_frame(connection) == (0x81, b"paused")
        connection.sendall(3 * frame(0x81, b"x"))
        read_exactly(connection, 1)

    with server(serve) as url:
        told = probe(url, do=[["pause", 0.3], ["wait", 3]])
    assert (told["paused"], told["messages"]) == (0, ["x"] * 3)


def test_clients_of_one_machine_come_from_many_addresses(showcase: Watched) -> None:
    """Or ports would run out; see also `test_addresses`."""
    sources: list[str] = []

    def serve(connection: socket.socket) -> None:
        sources.append(connection.getpeername()[0])

    with server(serve) as url:
        probe(url)
    assert sources[0].startswith("127.0.0.")
    assert sources[0] != "127.0.0.1"
