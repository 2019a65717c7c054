"""Owns a WebSocket client that may break every rule: frames on a plain blocking socket.

Legal frames are made by wsproto, illegal ones by hand (`frame`). What the server sends is always
read by wsproto, so a server that breaks the protocol itself fails the test with `ParseFailed`.
Every wait has a deadline and fails the test when it passes.
"""

import base64
import os
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from types import TracebackType
from typing import Any, Self

from wsproto.frame_protocol import Frame, FrameProtocol, Opcode

TIMEOUT_S = 10.0
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
ACCEPT_OF_KEY = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
_CHUNK = 1 << 16


class Op(IntEnum):
    """Opcodes; every other number is reserved."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class Ended(AssertionError):
    """The connection ended (end of file or reset) where a frame was due."""


@dataclass(frozen=True)
class Close:
    """A close frame; code 1005 stands for an empty one."""

    code: int
    reason: str = ""


@dataclass(frozen=True)
class Response:
    """The answer to a handshake; header names are in lower case."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    length: int | None = None,
    mask: bytes = b"\x12\x34\x56\x78",
) -> bytes:
    """Return a frame's bytes, legal or not.

    Args:
        rsv: the three reserved bits as a number, 4 is RSV1.
        length: what the header says, if it shall lie about the payload's size.
        mask: four zero bytes leave a large payload as it is.
    """
    size = len(payload) if length is None else length
    flag = 0x80 if masked else 0
    head = bytearray([(0x80 if fin else 0) | rsv << 4 | opcode])
    if size < 126:
        head.append(flag | size)
    elif size < 1 << 16:
        head += struct.pack("!BH", flag | 126, size)
    else:
        head += struct.pack("!BQ", flag | 127, size)
    if not masked:
        return bytes(head) + payload
    if any(mask):
        stream = int.from_bytes((mask * (len(payload) // 4 + 1))[: len(payload)])
        payload = (int.from_bytes(payload) ^ stream).to_bytes(len(payload))
    return bytes(head) + mask + payload


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return struct.pack("!H", code) + reason


def payload_bytes(got: Frame) -> bytes:
    """Return the payload of a binary frame, a ping or a pong."""
    assert isinstance(got.payload, bytes | bytearray), got
    return bytes(got.payload)


def fragments(opcode: int, parts: Iterable[bytes], between: Iterable[bytes] = ()) -> bytes:
    """Return one message in several frames, with whole frames `between` after the first part."""
    pieces = list(parts)
    frames = [
        frame(opcode if index == 0 else Op.CONTINUATION, part, fin=index == len(pieces) - 1)
        for index, part in enumerate(pieces)
    ]
    return b"".join([frames[0], *between, *frames[1:]])


class RawClient:
    """One TCP connection to 127.0.0.1, before and after the handshake.

    Args:
        receive_buffer: bytes of SO_RCVBUF, to be a peer whose window fills soon.
        source: the address it comes from; all of 127.0.0.0/8 are this machine's.
    """

    def __init__(
        self,
        port: int,
        *,
        timeout_s: float = TIMEOUT_S,
        receive_buffer: int | None = None,
        source: str | None = None,
    ) -> None:
        self.timeout_s = timeout_s
        self._socket = socket.socket()
        if source is not None:
            self._socket.bind((source, 0))
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(timeout_s)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server_port = port
        self.port: int = self._socket.getsockname()[1]
        self._out = FrameProtocol(client=True, extensions=[])
        self._in = FrameProtocol(client=True, extensions=[])
        self._frames: list[Frame] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.drop()

    # -- handshake -----------------------------------------------------------------------------

    def handshake(self, path: str, headers: Iterable[str] = (), *, then: bytes = b"") -> Response:
        """Ask for a WebSocket; returns the answer, 101 or not.

        Args:
            headers: further lines, such as "Origin: http://example.org".
            then: sent in the same segment as the request.
        """
        return self.request(handshake_request(path, headers) + then)

    def request(self, data: bytes) -> Response:
        """Send a request as it stands and return the answer."""
        self.send(data)
        return self.read_response()

    def read_response(self) -> Response:
        data = bytearray()
        while b"\r\n\r\n" not in data:
            data += self._receive(self._deadline())
        head, _, rest = bytes(data).partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        code = int(status.split()[1])
        if code == 101:
            self._in.receive_bytes(rest)
            return Response(code, headers)
        missing = int(headers.get("content-length", 0)) - len(rest)
        while missing > 0:
            chunk = self._receive(self._deadline())
            rest += chunk
            missing -= len(chunk)
        return Response(code, headers, rest)

    # -- send ----------------------------------------------------------------------------------

    def send(self, data: bytes, timeout_s: float | None = None) -> None:
        """Send bytes as they are.

        Raises:
            TimeoutError: the server has not read them in time.
        """
        self._socket.settimeout(self.timeout_s if timeout_s is None else timeout_s)
        self._socket.sendall(data)

    def send_slowly(self, data: bytes, size: int = 1) -> None:
        """Send in pieces, each in a segment of its own."""
        for start in range(0, len(data), size):
            self._socket.sendall(data[start : start + size])

    def send_frame(
        self,
        opcode: int,
        payload: bytes = b"",
        *,
        fin: bool = True,
        rsv: int = 0,
        masked: bool = True,
        length: int | None = None,
    ) -> None:
        """Send one frame, legal or not; see `frame`."""
        self.send(frame(opcode, payload, fin=fin, rsv=rsv, masked=masked, length=length))

    def send_text(self, text: str) -> None:
        self.send(bytes(self._out.send_data(text)))

    def send_bytes(self, data: bytes) -> None:
        self.send(bytes(self._out.send_data(data)))

    def ping(self, payload: bytes = b"") -> None:
        self.send(bytes(self._out.ping(payload)))

    # -- receive -------------------------------------------------------------------------------

    def read_frame(self, timeout_s: float | None = None) -> Frame:
        """Return the next whole frame.

        Raises:
            Ended: the connection ended first.
            TimeoutError: nothing came in time.
        """
        deadline = self._deadline(timeout_s)
        parts: list[Frame] = []
        while True:
            while not self._frames:
                self._frames.extend(self._in.received_frames())
                if not self._frames:
                    self._in.receive_bytes(self._receive(deadline))
            parts.append(self._frames.pop(0))  # wsproto hands out a long frame in pieces
            if parts[-1].frame_finished:
                break
        if len(parts) == 1:
            return parts[0]
        payload: Any = "" if isinstance(parts[0].payload, str) else b""
        payload = payload.join(part.payload for part in parts)
        return Frame(parts[0].opcode, payload, True, parts[-1].message_finished)

    def read_text(self, timeout_s: float | None = None) -> str:
        """Return the next frame's text."""
        got = self.read_frame(timeout_s)
        assert got.opcode is Opcode.TEXT, got
        return str(got.payload)

    def read_bytes(self, timeout_s: float | None = None) -> bytes:
        """Return the next frame's bytes."""
        got = self.read_frame(timeout_s)
        assert got.opcode is Opcode.BINARY, got
        return payload_bytes(got)

    def read_pong(self, timeout_s: float | None = None) -> bytes:
        """Return the next frame's payload, which must be a pong's."""
        got = self.read_frame(timeout_s)
        assert got.opcode is Opcode.PONG, got
        return payload_bytes(got)

    def next_close(self, timeout_s: float | None = None) -> Close | None:
        """Skip to the close frame; None if the connection ends without one."""
        deadline = self._deadline(timeout_s)
        while True:
            try:
                got = self.read_frame(deadline - time.monotonic())
            except Ended:
                return None
            if got.opcode is Opcode.CLOSE:
                assert isinstance(got.payload, tuple)
                code, reason = got.payload
                return Close(int(code), reason)

    def wait_end(self, timeout_s: float | None = None) -> str:
        """Read until the server lets go of the connection; returns "end" or "reset"."""
        deadline = self._deadline(timeout_s)
        while True:
            try:
                self._receive(deadline)
            except Ended as ended:
                return str(ended)

    # -- leave ---------------------------------------------------------------------------------

    def close(self, code: int | None = 1000, reason: str = "") -> Close | None:
        """Say goodbye by the rules; returns what the server answers."""
        self.send(bytes(self._out.close(code, reason or None)))
        return self.next_close()

    def half_close(self) -> None:
        """Send no more (FIN), but go on reading."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Vanish with a RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def drop(self) -> None:
        """Close the socket without a close frame."""
        self._socket.close()

    # -- waiting -------------------------------------------------------------------------------

    def _deadline(self, timeout_s: float | None = None) -> float:
        return time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)

    def _receive(self, deadline: float) -> bytes:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the server sent nothing in time")
        self._socket.settimeout(remaining)
        try:
            data = self._socket.recv(_CHUNK)
        except ConnectionError:
            raise Ended("reset") from None
        finally:
            self._socket.settimeout(self.timeout_s)
        if not data:
            raise Ended("end")
        return data


def handshake_request(
    path: str,
    headers: Iterable[str] = (),
    *,
    method: str = "GET",
    without: Iterable[str] = (),
) -> bytes:
    """Return a handshake's bytes.

    Args:
        headers: lines to add; one of a name that is there already takes its place.
        without: names, in lower case, of headers to leave out.
    """
    lines = {
        "host": "Host: 127.0.0.1",
        "upgrade": "Upgrade: websocket",
        "connection": "Connection: Upgrade",
        "sec-websocket-key": f"Sec-WebSocket-Key: {KEY}",
        "sec-websocket-version": "Sec-WebSocket-Version: 13",
    }
    lines |= {line.partition(":")[0].lower(): line for line in headers}
    for name in without:
        del lines[name]
    text = "\r\n".join([f"{method} {path} HTTP/1.1", *lines.values(), "", ""])
    return text.encode("latin-1")


def connect(
    port: int, path: str, headers: Iterable[str] = (), *, receive_buffer: int | None = None
) -> RawClient:
    """Return a client whose handshake on `path` has succeeded."""
    client = RawClient(port, receive_buffer=receive_buffer)
    response = client.handshake(path, headers)
    if response.status != 101:
        client.drop()
    assert response.status == 101, response
    assert response.headers["sec-websocket-accept"] == ACCEPT_OF_KEY
    return client


def get(port: int, path: str) -> Response:
    """Make a plain HTTP request."""
    with RawClient(port) as client:
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        return client.request(request.encode())


def unique_tag() -> str:
    """Return a name that no other test uses."""
    return base64.b32encode(os.urandom(10)).decode()
