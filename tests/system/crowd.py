"""Owns a crowd of WebSocket clients in the loop of a test, each of which knows how it fared.

A client keeps to RFC 6455: it answers pings and close frames, and leaves it to the server to end
the TCP connection. What the server sends is read by wsproto, so a server that breaks the protocol
fails the test. Frames and handshakes are those of `tests.support.raw`.
"""

import asyncio
import resource
import socket
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar, cast

from wsproto.frame_protocol import Frame, FrameProtocol, Opcode

from tests.support.raw import (
    ACCEPT_OF_KEY,
    Op,
    Response,
    close_payload,
    frame,
    handshake_request,
    payload_bytes,
)

LOST = 1006
NO_CODE = 1005
HANDSHAKE_TIMEOUT_S = 30.0
_NO_MASK = bytes(4)
_RESET = struct.pack("ii", 1, 0)

T = TypeVar("T")


@dataclass(frozen=True)
class End:
    """How a connection ended for a client.

    Attributes:
        code: of the close frame that came; 1005: the frame had none; 1006: no frame came.
        at_s: when, as `time.monotonic()` tells it.
    """

    code: int
    reason: str
    at_s: float


class Client(asyncio.Protocol):
    """One connection to the server.

    Attributes:
        path: what it asked for.
        answer: to the handshake, None if the connection ended before.
        end: the close frame or the loss that came first; None while it is open.
        sent_code: of the close frame that it sent first (1005: without one), else None.
        has_reset: whether it vanished by itself.
        messages: the data that came.
        on_message: called with each of them.
    """

    def __init__(self, path: str) -> None:
        loop = asyncio.get_running_loop()
        self.path = path
        self.answer: Response | None = None
        self.end: End | None = None
        self.sent_code: int | None = None
        self.has_reset = False
        self.messages: list[str | bytes] = []
        self.on_message: Callable[[str | bytes], object] | None = None
        self.answered: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.opened_s = 0.0
        self._head = b""
        self._frames = FrameProtocol(client=True, extensions=[])
        self._partial: list[str | bytes] = []
        self._transport: asyncio.Transport | None = None

    @property
    def is_connected(self) -> bool:
        """Whether there is a TCP connection."""
        return self._transport is not None

    @property
    def is_open(self) -> bool:
        """Whether it was accepted, and no close frame came or went."""
        return (
            self.opened_s > 0 and self.end is None and self.sent_code is None and not self.has_reset
        )

    # -- what a test does ----------------------------------------------------------------------

    def send(self, message: str | bytes) -> None:
        """Send a message."""
        if isinstance(message, str):
            self._write(frame(Op.TEXT, message.encode(), mask=_NO_MASK))
        else:
            self._write(frame(Op.BINARY, message, mask=_NO_MASK))

    def say_close(self, code: int | None = 1000, reason: str = "") -> None:
        """Send a close frame, without a code if that is None; `ended` tells of the answer."""
        payload = b"" if code is None else close_payload(code, reason.encode())
        self.sent_code = NO_CODE if code is None else code
        self._write(frame(Op.CLOSE, payload, mask=_NO_MASK))

    def reset(self) -> None:
        """Vanish with a RST."""
        if self._transport is not None:
            self.has_reset = True
            handle: socket.socket = self._transport.get_extra_info("socket")
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()

    def drop(self) -> None:
        """End the TCP connection, if it has not ended."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # -- what the loop calls -------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(handshake_request(self.path))

    def data_received(self, data: bytes) -> None:
        if self.opened_s == 0:
            data = self._take_answer(data)
        self._frames.receive_bytes(data)
        for got in self._frames.received_frames():
            self._take(got)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._finish(LOST, "")
        for future in (self.answered, self.gone):
            if not future.done():
                future.set_result(None)

    def _take_answer(self, data: bytes) -> bytes:
        """Read the answer to the handshake; returns what came behind a 101."""
        self._head += data
        head, found, rest = self._head.partition(b"\r\n\r\n")
        if not found:
            return b""
        status, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        code = int(status.split()[1])
        if code != 101 and len(rest) < int(headers.get("content-length", 0)):
            return b""
        self.answer = Response(code, headers, b"" if code == 101 else rest)
        self.answered.set_result(None)
        if code == 101:
            assert headers["sec-websocket-accept"] == ACCEPT_OF_KEY, headers
            self.opened_s = time.monotonic()
            return rest
        self.drop()
        return b""

    def _take(self, got: Frame) -> None:
        if got.opcode is Opcode.CLOSE:
            assert isinstance(got.payload, tuple)
            code, reason = got.payload
            if self.sent_code is None:
                answer = b"" if int(code) == NO_CODE else close_payload(int(code))
                self._write(frame(Op.CLOSE, answer, mask=_NO_MASK))
            self._finish(int(code), reason)
        elif got.opcode is Opcode.PING:
            self._write(frame(Op.PONG, payload_bytes(got), mask=_NO_MASK))
        elif got.opcode in (Opcode.TEXT, Opcode.BINARY):
            self._take_data(got)

    def _take_data(self, got: Frame) -> None:
        assert isinstance(got.payload, str | bytes | bytearray)
        part = got.payload if isinstance(got.payload, str) else bytes(got.payload)
        self._partial.append(part)
        if got.message_finished:
            empty = part[:0]
            message = empty.join(self._partial)  # type: ignore[arg-type]
            self._partial.clear()
            self.messages.append(message)
            if self.on_message is not None:
                self.on_message(message)

    def _finish(self, code: int, reason: str) -> None:
        if self.end is None:
            self.end = End(code, reason, time.monotonic())
            self.ended.set_result(None)


class Crowd:
    """Clients of one server. Leaving the context drops what is still connected.

    Attributes:
        clients: all that were accepted.
        refused: answers to handshakes other than 101.
        unanswered: handshakes whose connection could not be made, or ended without an answer.
        seen: all that have tried, in order.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.seen: list[Client] = []
        self.clients: list[Client] = []
        self.refused: list[Response] = []
        self.unanswered: list[Client] = []
        _raise_file_limit()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        connected = [client for client in self.seen if client.is_connected]
        for client in connected:
            client.drop()
        if connected:
            await asyncio.wait([client.gone for client in connected], timeout=HANDSHAKE_TIMEOUT_S)

    @property
    def open(self) -> list[Client]:
        """Those that are connected: accepted, and no close frame came or went."""
        return [client for client in self.clients if client.is_open]

    @property
    def closed(self) -> list[End]:
        """The ends of those that were accepted and are closed."""
        return [client.end for client in self.clients if client.end is not None]

    def lost(self) -> list[Client]:
        """Those that were accepted and ended without a close frame, and did not vanish."""
        return [
            client
            for client in self.clients
            if client.end is not None and client.end.code == LOST and not client.has_reset
        ]

    async def connect(self, count: int, path: str, *, at_once: int = 100) -> list[Client]:
        """Make so many handshakes; returns those that were answered with 101."""
        return await self.connect_each([path] * count, at_once=at_once)

    async def connect_each(self, paths: Sequence[str], *, at_once: int = 100) -> list[Client]:
        """Make a handshake for each path, `at_once` under way at a time."""
        gate = asyncio.Semaphore(at_once)
        tried = await asyncio.gather(*(self._try(path, gate) for path in paths))
        return [client for client in tried if client.opened_s > 0]

    async def _try(self, path: str, gate: asyncio.Semaphore) -> Client:
        async with gate:
            client = Client(path)
            self.seen.append(client)
            try:
                await asyncio.get_running_loop().create_connection(
                    lambda: client, "127.0.0.1", self.port
                )
            except OSError:  # refused, or reset while it was made
                client.connection_lost(None)
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                await client.answered
        if client.opened_s > 0:
            self.clients.append(client)
        elif client.answer is None:
            self.unanswered.append(client)
        else:
            self.refused.append(client.answer)
        return client

    async def close(self, clients: Sequence[Client], code: int | None = 1000) -> None:
        """Close these by the rules, and wait for the server's answers."""
        for client in clients:
            client.say_close(code)
        await self.wait_ended(clients)

    async def wait_ended(self, clients: Sequence[Client], timeout_s: float = 10.0) -> None:
        """Wait until each of these has a close frame or is lost."""
        pending = [client.ended for client in clients if client.end is None]
        if pending:
            _, late = await asyncio.wait(pending, timeout=timeout_s)
            assert not late, f"{len(late)} of {len(clients)} clients saw no end"


async def until(
    condition: Callable[[], T | None], timeout_s: float = 10.0, *, message: str = "in time"
) -> T:
    """Poll until `condition` returns something true, and return that; the crowd goes on."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        assert time.monotonic() < deadline, f"it did not happen: {message}"
        await asyncio.sleep(0.01)
    return result


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
