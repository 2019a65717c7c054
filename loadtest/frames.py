"""Owns the bytes of a WebSocket client: its handshake, the frames it sends, those it gets.

It knows no socket. Opcodes and masking are websocket-client's. The rest is not, because of what it
costs: `WebSocket.recv` takes three calls of `recv` and 2 us for a message and makes no use of what
has come with it, its handshake reads the answer byte by byte, sends the cookies that any other
connection got, and goes through proxies that the environment names.
"""

import base64
import hashlib
import os
import struct
from collections.abc import Sequence
from random import getrandbits

from websocket import ABNF

TEXT = 0x80 | ABNF.OPCODE_TEXT
BINARY = 0x80 | ABNF.OPCODE_BINARY
CLOSE = 0x80 | ABNF.OPCODE_CLOSE
PING = 0x80 | ABNF.OPCODE_PING
PONG = 0x80 | ABNF.OPCODE_PONG
NO_CODE = 1005
HEAD_BYTES = 32_768
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class ProtocolError(Exception):
    """The server sent what it may not; the text says what."""


def frame(first: int, payload: bytes) -> bytes:
    """Make a frame.

    Args:
        first: its first byte, such as TEXT.
    """
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65_536:
        head = struct.pack("!BBH", first, 0xFE, size)
    else:
        head = struct.pack("!BBQ", first, 0xFF, size)
    key = getrandbits(32).to_bytes(4, "big")
    return b"".join((head, key, ABNF.mask(key, payload)))


def close_frame(code: int, reason: str = "") -> bytes:
    """Make a close frame; without a code if that is 1005."""
    payload = b"" if code == NO_CODE else struct.pack("!H", code) + reason.encode()
    return frame(CLOSE, payload)


def read_close(payload: bytes) -> tuple[int, str]:
    """Return the code and the reason of a close frame."""
    if not payload:
        return NO_CODE, ""
    if len(payload) == 1:
        raise ProtocolError("a close frame with half a code")
    return int.from_bytes(payload[:2], "big"), payload[2:].decode(errors="replace")


def make_key() -> str:
    """Make a Sec-WebSocket-Key."""
    return base64.b64encode(os.urandom(16)).decode()


def request(
    path: str, authority: str, key: str, subprotocols: Sequence[str], headers: Sequence[str]
) -> bytes:
    """Make the request of a handshake."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {authority}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
    ]
    if subprotocols:
        lines.append(f"Sec-WebSocket-Protocol: {', '.join(subprotocols)}")
    return "\r\n".join([*lines, *headers, "", ""]).encode()


class Answer:
    """The head of an answer to a handshake.

    Attributes:
        status: of HTTP.
        subprotocol: that the server chose, or None.
    """

    def __init__(self, head: bytes, key: str, subprotocols: Sequence[str]) -> None:
        """Read it.

        Raises:
            ProtocolError: it is no HTTP, or accepts what was not asked for.
        """
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
            raise ProtocolError("the answer is no HTTP")
        self.status = int(rest[:3])
        pairs = (line.partition(":") for line in lines)
        self.headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        self.subprotocol = self.headers.get("sec-websocket-protocol")
        if self.status == 101:
            self._check(key, subprotocols)

    def _check(self, key: str, subprotocols: Sequence[str]) -> None:
        digest = hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()
        if self.headers.get("upgrade", "").lower() != "websocket":
            raise ProtocolError("the answer is no WebSocket handshake: no `Upgrade: websocket`")
        if self.headers.get("sec-websocket-accept") != base64.b64encode(digest).decode():
            raise ProtocolError("the answer is to another handshake: wrong Sec-WebSocket-Accept")
        if self.subprotocol is not None and self.subprotocol not in subprotocols:
            raise ProtocolError(f"the subprotocol {self.subprotocol} was not asked for")
        if "sec-websocket-extensions" in self.headers:
            raise ProtocolError("an extension was not asked for")
