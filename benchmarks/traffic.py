"""Owns what all traffic has in common: the life of a load, and of one of its connections."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

SMALLEST_SIZE = 32  # room for what tells messages apart, and never the payload of a server's ping

CONNECTING_AT_ONCE = 64
CONNECT_SECONDS = 20.0
_CLOSE_SECONDS = 3.0
_LOOK_AGAIN_SECONDS = 0.01
# A port is bound to an address: with several of these, some 28,000 ports are for each.
_SOURCES = [f"127.0.0.{number}" for number in range(1, 9)]


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

    async def settle(self) -> None:  # noqa: B027 - most have nothing to wait for
        """Wait, at the end of the measured time, for what has to be done within it: nothing."""

    @abstractmethod
    def counts(self) -> list[int]:
        """Messages delivered so far, for each connection."""

    @abstractmethod
    async def stop(self) -> None:
        """Send no more, wait for what is under way, close everything."""


MakeLoad = Callable[[str, int, int], Load]  # (url, connections, size)


class Client(WSListener):
    """One connection: it reports an end that nobody asked for, and what it cannot make sense of."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.is_ending = False
        self._transport: WSTransport | None = None

    @property
    def transport(self) -> WSTransport:
        """Its transport, once it is connected."""
        assert self._transport is not None
        return self._transport

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if not self.is_ending:
            self.load.fail("the server dropped a connection")

    def other_frame(self, frame: WSFrame) -> None:
        """Take a frame that is not the message which was due."""
        if frame.msg_type in (WSMsgType.PING, WSMsgType.PONG):
            return  # picows has answered
        if frame.msg_type is WSMsgType.CLOSE:
            if not self.is_ending:
                self.load.fail(f"the server closed with {frame.get_close_code()}")
        else:
            self.load.fail(f"not the message that was due: {frame.get_payload_as_bytes()[:40]!r}")

    def send(self, payload: bytes) -> None:
        """Send a text."""
        self.transport.send(WSMsgType.TEXT, payload)

    async def close(self) -> None:
        """Close, and wait for the end, but not for long."""
        self.is_ending = True
        self.transport.send_close()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self.transport.wait_disconnected()
        except TimeoutError:
            self.transport.disconnect(graceful=False)


def source(number: int) -> str:
    """The address from which a connection comes."""
    return _SOURCES[number % len(_SOURCES)]


async def connect(clients: Sequence[Client], urls: str | Sequence[str]) -> None:
    """Connect all of them to one URL, or each to its own."""
    slots = asyncio.Semaphore(CONNECTING_AT_ONCE)

    async def one(number: int, client: Client) -> None:
        async with slots:
            await ws_connect(
                lambda: client,
                urls if isinstance(urls, str) else urls[number],
                websocket_handshake_timeout=CONNECT_SECONDS,
                local_addr=(source(number), 0),
            )

    await asyncio.gather(*(one(number, client) for number, client in enumerate(clients)))


async def close(clients: Iterable[Client]) -> None:
    """Close all of them at once."""
    await asyncio.gather(*(client.close() for client in clients))


async def until(is_so: Callable[[], bool], seconds: float) -> bool:
    """Wait until something is so; returns whether it is, after `seconds` at most."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while not (is_reached := is_so()) and loop.time() < end:  # noqa: ASYNC110 - no hot path sets
        await asyncio.sleep(_LOOK_AGAIN_SECONDS)  # an event for it
    return is_reached
