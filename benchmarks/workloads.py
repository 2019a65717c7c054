"""Owns what the connections do in a measurement, and what a result has to reach."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

OURS = "switchboard"
SMALLEST_SIZE = 16  # room for the connection's number, and never the payload of a server's ping

_CONNECTING_AT_ONCE = 64
_CONNECT_SECONDS = 20.0
_LAST_ECHO_SECONDS = 3.0
_CLOSE_SECONDS = 3.0
_SAMPLE_EVERY = 16


@dataclass(frozen=True, slots=True)
class Target:
    """Our CPU per message may be at most this many times the peer's; None: for information."""

    peer: str
    at_most: float | None


class Load(ABC):
    """The traffic of one run, as the load generator drives it: open, start, stop."""

    def __init__(self) -> None:
        self.errors = 0
        self.first_error = ""
        self.latencies: list[float] = []  # seconds, sampled

    def fail(self, reason: str) -> None:
        """Count one error; a run with an error is thrown away."""
        self.errors += 1
        self.first_error = self.first_error or reason

    @abstractmethod
    async def open(self) -> None:
        """Connect everything."""

    @abstractmethod
    def start(self) -> None:
        """Send the first messages."""

    @abstractmethod
    def counts(self) -> list[int]:
        """Messages delivered so far, for each connection."""

    @abstractmethod
    async def stop(self) -> None:
        """Send no more, wait for what is under way, close everything."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of traffic: where it connects, how it is made, and what it has to reach."""

    name: str
    title: str
    path: str
    targets: tuple[Target, ...]
    load: Callable[[str, int, int], Load]  # (url, connections, size)


class _EchoClient(WSListener):
    """One connection with one message under way: a reply that is equal sends the next one."""

    def __init__(self, load: Load, payload: bytes, first_sample: int) -> None:
        self.payload = payload
        self.count = 0
        self.sending = True
        self.at_rest = asyncio.Event()
        self._load = load
        self._transport: WSTransport | None = None
        self._sample_at = first_sample
        self._sent_at = 0.0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        # The hot path of the whole generator: it must cost less than any server's echo.
        if frame.get_payload_as_bytes() != self.payload:
            self._other_frame(frame)
            return
        self.count = count = self.count + 1
        if count >= self._sample_at:
            self._sample(frame)
            if not self.sending:
                self.at_rest.set()
                return
        transport.send(WSMsgType.TEXT, self.payload)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self.sending:
            self._load.fail("the server dropped a connection")

    def _sample(self, frame: WSFrame) -> None:
        """Every so often two calls in a row: note the time of a send, then that of its echo."""
        now = perf_counter()
        if self._sent_at:
            self._load.latencies.append(now - self._sent_at)
            self._sent_at = 0.0
            self._sample_at = self.count + _SAMPLE_EVERY - 1
            if frame.msg_type is not WSMsgType.TEXT:
                self._load.fail(f"an echo came back as {frame.msg_type.name}")
        else:
            self._sent_at = now
            self._sample_at = self.count + 1

    def _other_frame(self, frame: WSFrame) -> None:
        if frame.msg_type in (WSMsgType.PING, WSMsgType.PONG):
            return  # picows has answered
        if frame.msg_type is WSMsgType.CLOSE:
            if self.sending:
                self._load.fail(f"the server closed with {frame.get_close_code()}")
        else:
            self._load.fail(f"an echo differs: {frame.get_payload_as_bytes()[:40]!r}")

    def start(self) -> None:
        assert self._transport is not None
        self._transport.send(WSMsgType.TEXT, self.payload)

    def stop(self) -> int:
        """Send nothing after the next echo; returns the count that this echo makes."""
        self.sending = False
        self._sample_at = 0
        return self.count + 1

    async def close(self) -> None:
        assert self._transport is not None
        self._transport.send_close()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._transport.wait_disconnected()
        except TimeoutError:
            self._transport.disconnect(graceful=False)


class EchoLoad(Load):
    """Every connection sends a text of its own and sends it again when it comes back."""

    def __init__(self, url: str, connections: int, size: int) -> None:
        super().__init__()
        self._url = url
        self._clients = [
            _EchoClient(self, f"{number:08d}".encode().ljust(size, b"."), number % _SAMPLE_EVERY)
            for number in range(connections)
        ]

    async def open(self) -> None:
        slots = asyncio.Semaphore(_CONNECTING_AT_ONCE)

        async def connect(client: _EchoClient) -> None:
            async with slots:
                await ws_connect(
                    lambda: client, self._url, websocket_handshake_timeout=_CONNECT_SECONDS
                )

        await asyncio.gather(*(connect(client) for client in self._clients))

    def start(self) -> None:
        for client in self._clients:
            client.start()

    def counts(self) -> list[int]:
        return [client.count for client in self._clients]

    async def stop(self) -> None:
        expected = [client.stop() for client in self._clients]
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_ECHO_SECONDS):
                for client in self._clients:
                    await client.at_rest.wait()
        for count, last in zip(self.counts(), expected, strict=True):
            if count != last:
                self.fail("a message never came back" if count < last else "an echo came twice")
        await asyncio.gather(*(client.close() for client in self._clients))


ECHO = Workload(
    name="echo",
    title="every connection keeps one text message under way and checks what comes back",
    path="/echo",
    targets=(
        Target("granian-bare", 1.0),
        Target("starlette-uvicorn", 0.75),
        Target("django-bolt", 0.2),
        Target("picows", None),
    ),
    load=EchoLoad,
)
WORKLOADS = {workload.name: workload for workload in (ECHO,)}


async def probe(workload: Workload, url: str) -> None:
    """Connect once and have one message delivered, or raise: this is what readiness means."""
    load = workload.load(url, 1, SMALLEST_SIZE)
    await load.open()
    load.start()
    await load.stop()
    if load.errors:
        raise ConnectionError(load.first_error)
