"""Owns the few bytes of HTTP and WebSocket that clients write and read which use no library."""

from urllib.parse import urlsplit

ACCEPTED = b"HTTP/1.1 101 "
HEAD_END = b"\r\n\r\n"
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
CLOSE_1000 = b"\x88\x82\0\0\0\0\x03\xe8"  # the mask of a client's frame changes nothing here
CLOSED_1000 = b"\x88\x02\x03\xe8"  # the server's answer
_FINAL = 0x80
_MASKED = 0x80
_SIZE_IN_2_BYTES = 126
_SIZE_IN_8_BYTES = 127


def request(url: str) -> bytes:
    """The head of a handshake."""
    target = urlsplit(url)
    lines = (
        f"GET {target.path} HTTP/1.1",
        f"Host: {target.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    )
    return "\r\n".join(lines).encode() + HEAD_END


def server_frame(opcode: int, payload: bytes) -> bytes:
    """A frame as servers write it: whole, and without a mask."""
    size = len(payload)
    head = bytes([_FINAL | opcode])
    if size < _SIZE_IN_2_BYTES:
        return head + bytes([size]) + payload
    if size < 1 << 16:
        return head + bytes([_SIZE_IN_2_BYTES]) + size.to_bytes(2, "big") + payload
    return head + bytes([_SIZE_IN_8_BYTES]) + size.to_bytes(8, "big") + payload


def pong(payload: bytes) -> bytes:
    """A client's answer to a ping; the mask changes nothing."""
    return bytes([_FINAL | PONG, _MASKED | len(payload), 0, 0, 0, 0]) + payload


def first_frame(data: bytes) -> tuple[int, bytes, int] | None:
    """Opcode, payload and length of the frame that `data` begins with; None if it is not whole."""
    if len(data) < 2:
        return None
    size, start = data[1], 2
    if size >= _SIZE_IN_2_BYTES:
        start = 4 if size == _SIZE_IN_2_BYTES else 10
        size = int.from_bytes(data[2:start], "big")
    if len(data) < start + size:
        return None
    return data[0] & 0xF, data[start : start + size], start + size
