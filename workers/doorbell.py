"""Owns the short messages between processes: one datagram socket for each slot.

Knows not what becomes of a message: a handler is given, and called in the worker's loop.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from workers.directories import socket_path

MAX_BYTES = 32 * 1024

_RETRY_S = 0.002
_IDS_BYTES = MAX_BYTES - 1024  # the rest is for the reason and the frame
_ID_FRAME_BYTES = 3  # msgpack: at most this stands before a string of up to 64 KiB

log = logging.getLogger("switchboard.doorbell")


class Wake(msgspec.Struct, tag="wake", frozen=True):
    """There is something new in the segment for you."""


class Disconnect(msgspec.Struct, tag="disconnect", frozen=True):
    """Close these connections of yours, by their ids; of one that is gone you know nothing."""

    ids: list[str]
    code: int
    reason: str


Message = Wake | Disconnect
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode
_WAKE = _encode(Wake())


class Doorbell:
    """Where a worker hears the others; made by the worker that has the slot.

    Raises:
        OSError: the socket cannot be made.
    """

    def __init__(self, directory: Path, slot: int) -> None:
        self._path = socket_path(directory, slot)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handler: Callable[[Message], None] | None = None
        self._buffer = memoryview(bytearray(MAX_BYTES + 1))
        self._path.unlink(missing_ok=True)  # the slot's last worker may have been killed
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.bind(str(self._path))
        except BaseException:
            self._socket.close()
            raise

    def listen(self, loop: asyncio.AbstractEventLoop, handler: Callable[[Message], None]) -> None:
        """Have each message handled in the loop, from now on until `close`."""
        self._loop = loop
        self._handler = handler
        loop.add_reader(self._socket.fileno(), self._read)

    def _read(self) -> None:
        """Take one message; if there are more, the loop calls again after what else it has."""
        assert self._handler is not None
        try:
            size_bytes = self._socket.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return
        try:
            message = _decode(self._buffer[:size_bytes])
        except msgspec.DecodeError as error:
            log.warning("dropped a datagram of %d bytes: %s", size_bytes, error)
            return
        self._handler(message)

    def close(self) -> None:
        """Stop listening and remove the socket; may be called again."""
        if self._socket.fileno() < 0:
            return
        if self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self._path.unlink(missing_ok=True)


class Bell:
    """Wakes slots, without waiting, over one socket.

    A slot whose queue is full has something to read, and so wakes anyway; one where nobody listens
    has ended, or looks into the journal when it starts to listen.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._paths: dict[int, str] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def wake(self, slot: int) -> None:
        """Say that there is something new in the segment."""
        path = self._paths.get(slot)
        if path is None:
            path = self._paths[slot] = str(socket_path(self._directory, slot))
        try:
            self._socket.sendto(_WAKE, path)
        except OSError:  # see above; also a kernel that lacks memory: they look from time to time
            pass

    def close(self) -> None:
        """Let go of the socket; may be called again."""
        self._socket.close()


def _send(path: str, data: bytes) -> bool:
    """Send without waiting; False if nobody listens. Raises BlockingIOError: the queue is full."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(data, path)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def _encoded(message: Message) -> bytes:
    data = _encode(message)
    if len(data) > MAX_BYTES:
        raise ValueError(f"a message of {len(data)} bytes is too large for a doorbell: use chunks")
    return data


def ring(directory: Path, slot: int, message: Message) -> bool:
    """Send without waiting; False if the queue is full or nobody listens.

    Raises:
        ValueError: the message is larger than MAX_BYTES.
    """
    try:
        return _send(str(socket_path(directory, slot)), _encoded(message))
    except BlockingIOError:
        return False


async def deliver(directory: Path, slot: int, message: Message, timeout_s: float) -> bool:
    """Send, waiting while the queue is full; False if that took too long or nobody listens.

    Raises:
        ValueError: the message is larger than MAX_BYTES.
    """
    path, data = str(socket_path(directory, slot)), _encoded(message)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return _send(path, data)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
        await asyncio.sleep(_RETRY_S)


def deliver_now(directory: Path, slot: int, message: Message, timeout_s: float) -> bool:
    """Do what `deliver` does in a process without a loop, which is held up meanwhile."""
    path, data = str(socket_path(directory, slot)), _encoded(message)
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return _send(path, data)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
        time.sleep(_RETRY_S)


def chunks(ids: Sequence[str]) -> Iterator[list[str]]:
    """Yield the ids in lists of which each fits into one message."""
    chunk: list[str] = []
    size_bytes = 0
    for id in ids:
        id_bytes = len(id.encode()) + _ID_FRAME_BYTES
        if chunk and size_bytes + id_bytes > _IDS_BYTES:
            yield chunk
            chunk, size_bytes = [], 0
        chunk.append(id)
        size_bytes += id_bytes
    if chunk:
        yield chunk
