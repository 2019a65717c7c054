"""Owns the proof that what cannot be tested is said in one sentence that says what to do."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from loadtest import probe
from loadtest.addresses import Target, TargetError
from tests.support import servers


@contextmanager
def _answering(answer: bytes, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Answer the first request so, and end the connection; yields the port."""

    def serve() -> None:
        try:
            with closing(listener.accept()[0]) as peer:
                wrapped = context.wrap_socket(peer, server_side=True) if context else peer
                wrapped.recv(4096)
                wrapped.sendall(answer)
                wrapped.shutdown(socket.SHUT_WR)
                wrapped.recv(4096)
        except OSError:
            pass  # the client has gone

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def _why_not(url: str, path: str = "/ws/echo") -> str:
    with pytest.raises(TargetError) as caught:
        probe.try_connection(Target(url), path)
    return str(caught.value)


def test_host_is_down():
    """Nobody listens."""
    url = f"ws://127.0.0.1:{servers.free_port()}"
    assert _why_not(url) == f"{url}: nobody listens there; is the server running?"
    assert probe.is_gone(Target(url))


def test_no_such_host(monkeypatch: pytest.MonkeyPatch):
    """The name is not known, or can be none."""

    def fail(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert _why_not(f"ws://{'a' * 70}.invalid").endswith(": there is no host of that name")
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    assert _why_not("ws://nowhere.invalid").endswith(": there is no host of that name")


def test_no_answer(monkeypatch: pytest.MonkeyPatch):
    """It takes connections, and that is all."""
    monkeypatch.setattr(probe, "TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
        assert _why_not(url) == f"{url}/ws/echo has not answered within 0 s"
        assert not probe.is_gone(Target(url))


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (403, "was refused with HTTP 403: is the path right?"),
        (404, "was refused with HTTP 404: is the path right?"),
        (401, "was refused with HTTP 401: it wants to know who you are"),
        (503, "was refused with HTTP 503: a limit of the server, or it is draining"),
        (302, "leads elsewhere; give the address it leads to"),
        (200, "was refused with HTTP 200: is it a WebSocket server?"),
        (500, "was refused with HTTP 500"),
    ],
)
def test_refused(status: int, says: str):
    """The status is named, and what it can mean."""
    answer = f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\nLocation: /x\r\n\r\n".encode()
    with _answering(answer) as port:
        assert says in _why_not(f"ws://127.0.0.1:{port}")


def test_an_answer_of_the_route():
    """A status that the route is known to answer with says that it is there."""
    answer = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
    with _answering(answer) as port:
        probe.try_connection(Target(f"ws://127.0.0.1:{port}"), "/", fine={"401"})


def test_no_websocket():
    """It hangs up, as a TLS server may on what is no TLS."""
    with _answering(b"") as port:
        text = _why_not(f"ws://127.0.0.1:{port}")
    assert f"ws://127.0.0.1:{port} did not answer as a WebSocket server does (" in text
    assert text.endswith(f"; if it speaks TLS, try wss://127.0.0.1:{port}")


def test_no_tls():
    """wss:// where ws:// would do."""
    with _answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        assert _why_not(f"wss://127.0.0.1:{port}") == (
            f"wss://127.0.0.1:{port}: what listens there speaks no TLS; try ws://127.0.0.1:{port}"
        )


def test_certificate_that_nobody_trusts(tmp_path: Path):
    """It is said how to trust it."""
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key -out cert -subj /CN=localhost"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    with _answering(b"", context) as port:
        text = _why_not(f"wss://127.0.0.1:{port}")
    assert "the certificate is not trusted (self-signed certificate)" in text
    assert text.endswith("with --tls-authorities")
