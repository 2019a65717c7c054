"""Owns the traffic of echoes: every connection keeps one text of its own under way."""

import asyncio
from contextlib import suppress
from time import perf_counter

from picows import WSFrame, WSMsgType, WSTransport

from benchmarks.traffic import Client, Load, close, connect

_LAST_ECHO_SECONDS = 3.0
_SAMPLE_EVERY = 16


class _EchoClient(Client):
    """One connection with one message under way: a reply that is equal sends the next one."""

    def __init__(self, load: Load, payload: bytes, first_sample: int) -> None:
        super().__init__(load)
        self.payload = payload
        self.count = 0
        self.at_rest = asyncio.Event()
        self._sample_at = first_sample
        self._sent_at = 0.0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        # The hot path of the whole generator: it must cost less than any server's echo.
        if frame.get_payload_as_bytes() != self.payload:
            self.other_frame(frame)
            return
        self.count = count = self.count + 1
        if count >= self._sample_at:
            self._sample(frame)
            if self.is_ending:
                self.at_rest.set()
                return
        transport.send(WSMsgType.TEXT, self.payload)

    def _sample(self, frame: WSFrame) -> None:
        """Every so often two calls in a row: note the time of a send, then that of its echo."""
        now = perf_counter()
        if self._sent_at:
            self.load.latencies.append(now - self._sent_at)
            self._sent_at = 0.0
            self._sample_at = self.count + _SAMPLE_EVERY - 1
            if frame.msg_type is not WSMsgType.TEXT:
                self.load.fail(f"an echo came back as {frame.msg_type.name}")
        else:
            self._sent_at = now
            self._sample_at = self.count + 1

    def stop(self) -> int:
        """Send nothing after the next echo; returns the count that this echo makes."""
        self.is_ending = True
        self._sample_at = 0
        return self.count + 1


class EchoLoad(Load):
    """Every connection sends a text of its own and sends it again when it comes back."""

    def __init__(self, url: str, connections: int, size: int) -> None:
        super().__init__()
        self._url = url
        self._clients = [
            _EchoClient(self, self.payload(number, size), number % _SAMPLE_EVERY)
            for number in range(connections)
        ]

    def payload(self, number: int, size: int) -> bytes:
        """What a connection sends."""
        return f"{number:08d}".encode().ljust(size, b".")

    async def open(self) -> None:
        await connect(self._clients, self._url)

    def start(self) -> None:
        for client in self._clients:
            client.send(client.payload)

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
        await close(self._clients)


class JSONLoad(EchoLoad):
    """The same with an object for a text, as msgspec writes it: it comes back byte for byte."""

    def payload(self, number: int, size: int) -> bytes:
        head, tail = f'{{"id":{10_000_000 + number},"text":"'.encode(), b'"}'
        return head + b"." * (size - len(head) - len(tail)) + tail


async def probe(url: str, size: int) -> None:
    """Connect once and have one echo, or raise: this is what readiness means."""
    load = EchoLoad(url, 1, size)
    await load.open()
    load.start()
    await load.stop()
    if load.errors:
        raise ConnectionError(load.first_error)
