"""The client speaks TLS, and says what is wrong with a certificate."""

import socket
import ssl
from pathlib import Path

import pytest

from tests.loadtest.certificates import make_certificates
from tests.loadtest.peers import ends, failure, frame, probe, read_frame, server, shake
from tests.loadtest.running import Watched

pytestmark = pytest.mark.e2e


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
