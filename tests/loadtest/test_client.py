"""The client keeps to RFC 6455, and says how a connection ended, whatever the server does."""

import base64
import hashlib
import json
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.loadtest.certificates import make_certificates
from tests.loadtest.running import Watched, environment
from tests.support.servers import ROOT, free_port

pytestmark = pytest.mark.e2e

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
Serve = Callable[[socket.socket], None]


def probe(url: str, path: str = "/", **asked: Any) -> dict[str, Any]:
    """Have a client do something; returns what happened to it."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.loadtest.client_probe",
            json.dumps({"url": url, "path": path, **asked}),
        ],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@contextmanager
def server(serve: Serve, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve one connection in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            try:
                accepted, _ = listening.accept()
                accepted.settimeout(10)
                with tls.wrap_socket(accepted, server_side=True) if tls else accepted as wrapped:
                    serve(wrapped)
            except OSError:
                pass  # the client has seen enough

        thread = threading.Thread(target=run)
        thread.start()
        scheme = "wss" if tls else "ws"
        try:
            yield f"{scheme}://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            thread.join(10)


def read_head(connection: socket.socket) -> str:
    head = b""
    while b"\r\n\r\n" not in head:
        data = connection.recv(4096)
        if not data:
            raise OSError
        head += data
    return head.decode()


def shake(connection: socket.socket, *headers: str, more: bytes = b"") -> None:
    """Accept a WebSocket, with `more` in the same packet."""
    head = read_head(connection)
    (key,) = [line.split(": ")[1] for line in head.split("\r\n") if "WebSocket-Key" in line]
    accept = base64.b64encode(hashlib.sha1(f"{key}{GUID}".encode()).digest()).decode()  # noqa: S324 - RFC 6455
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept}",
        *headers,
    ]
    connection.sendall("\r\n".join([*lines, "", ""]).encode() + more)


def frame(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


def read_exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise OSError
        data += more
    return data


def read_frame(connection: socket.socket) -> tuple[int, bytes]:
    """Read a frame of a client, which has to be masked."""
    first, second = read_exactly(connection, 2)
    assert second & 0x80
    size = second & 0x7F
    if size > 125:
        size = int.from_bytes(read_exactly(connection, 2 if size == 126 else 8), "big")
    key = read_exactly(connection, 4)
    data = read_exactly(connection, size)
    keys = (key * (size // 4 + 1))[:size]
    unmasked = int.from_bytes(data, "big") ^ int.from_bytes(keys, "big")
    return first, unmasked.to_bytes(size, "big")


def ends(told: dict[str, Any]) -> tuple[int, str, str]:
    """Return the one end of a connection that was open."""
    assert (told["opened"], told["failed"]) == (1, []), told
    ((code, reason, by),) = told["ends"]
    return code, reason, by


def failure(told: dict[str, Any]) -> tuple[str, int | None, str | None]:
    """Return why there was no connection."""
    assert (told["opened"], told["ends"]) == (0, []), told
    ((text, status, limit),) = told["failed"]
    return text, status, limit


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


# -- TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def context(folder: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "server.pem")
    return made


def echo(connection: socket.socket) -> None:
    shake(connection)
    while True:
        first, payload = read_frame(connection)
        connection.sendall(frame(first, payload))
        if first == 0x88:
            return


def test_wss_with_a_certificate_that_is_trusted(certificates: Path) -> None:
    steps = [["send", "hello"], ["send", "x", 200_000], ["wait", 2], ["close"]]
    with server(echo, context(certificates)) as url:
        told = probe(url, authorities=str(certificates / "authority.pem"), do=steps)
    assert [len(message) for message in told["messages"]] == [5, 200_000]
    assert ends(told) == (1000, "", "client")


def test_wss_with_any_certificate_if_asked(certificates: Path) -> None:
    with server(echo, context(certificates)) as url:
        told = probe(url, verified=False, do=[["send", "hello"], ["wait", 1], ["close"]])
    assert told["messages"] == ["hello"]


def test_wss_with_a_certificate_that_is_not_trusted(certificates: Path) -> None:
    with server(echo, context(certificates)) as url:
        text, _, _ = failure(probe(url))
    assert text == "the certificate is not good: unable to get local issuer certificate"


def test_wss_with_a_certificate_of_another_host(certificates: Path) -> None:
    with server(echo, context(certificates)) as url:
        named = url.replace("127.0.0.1", "localhost")
        text, _, _ = failure(probe(named, authorities=str(certificates / "authority.pem")))
    assert text.startswith("the certificate is not good: Hostname mismatch")


def test_wss_to_a_server_without_tls(showcase: Watched) -> None:
    text, _, _ = failure(probe(showcase.url.replace("ws:", "wss:"), "/ws/echo"))
    assert text == "the server speaks no TLS: is it ws://?"


def test_ws_to_a_server_with_tls(certificates: Path) -> None:
    with server(echo, context(certificates)) as url:
        text, _, _ = failure(probe(url.replace("wss:", "ws:")))
    assert text in (
        "the answer is no HTTP",  # an alert
        "the server ended the connection before it answered the handshake",
    )


def test_a_file_without_authorities(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("")
    told = probe("wss://127.0.0.1:1", authorities=str(tmp_path / "empty.pem"))
    assert "has no certificates of authorities" in told["error"]
