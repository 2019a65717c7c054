"""Owns the traffic of connections that do nothing: what is left of them is memory."""

import asyncio

from picows import WSFrame, WSMsgType, WSTransport

from benchmarks.traffic import Client, Load, close, connect, until

_LAST_SECONDS = 5.0
_FIRST = 200  # they pay for what a server sets up once, and stay


class _IdleClient(Client):
    """A connection that has one echo, so that its handler is known to wait for the next text."""

    def __init__(self, load: Load, payload: bytes) -> None:
        super().__init__(load)
        self.count = 0
        self.payload = payload

    def on_ws_connected(self, transport: WSTransport) -> None:
        super().on_ws_connected(transport)
        transport.send(WSMsgType.TEXT, self.payload)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.get_payload_as_bytes() == self.payload:
            self.count += 1
        else:
            self.other_frame(frame)


class IdleLoad(Load):
    """Connections that are opened at the start, have one echo each, and stay."""

    def __init__(self, url: str, connections: int, size: int) -> None:
        super().__init__()
        self._url = url
        payload = b"." * size
        self._first = [_IdleClient(self, payload) for _ in range(_FIRST)]
        self._clients = [_IdleClient(self, payload) for _ in range(connections)]
        self._connecting: asyncio.Task[None] | None = None

    async def open(self) -> None:
        await connect(self._first, self._url)
        await asyncio.sleep(1)

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._connecting = loop.create_task(connect(self._clients, self._url))

    async def settle(self) -> None:
        assert self._connecting is not None
        await self._connecting
        await until(lambda: all(self.counts()), _LAST_SECONDS)

    def counts(self) -> list[int]:
        return [client.count for client in self._clients]

    async def stop(self) -> None:
        await close([*self._first, *self._clients])
