"""Owns a server of one connection that does as it likes, and what a client saw of it."""

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
from typing import Any

from tests.loadtest.running import environment
from tests.support.servers import ROOT

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
