"""Owns the clients of the protocol, in this process and over the wire, and what tests cover."""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import msgspec
import websockets
from websockets.asyncio.client import ClientConnection

from server import App
from server.testing import ConnectionClosed, HandshakeRejected, WebSocketTestClient

WAIT_S = 10.0
JSON, MSGPACK = "switchboard.v1", "switchboard.v1.msgpack"
COVERED: set[str] = set()
F = TypeVar("F", bound=Callable[..., Any])


def covers(*what: str) -> Callable[[F], F]:
    """Say what of the protocol's tables a test covers, such as "error forbidden"."""

    def note(test: F) -> F:
        COVERED.update(what)
        return test

    return note


class Closed(Exception):
    """The server has closed the connection."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Refused(Exception):
    """The server has answered the handshake with an HTTP status."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = body


def unpack(payload: str | bytes) -> Any:
    """Decode MessagePack, which does not come in text frames."""
    assert isinstance(payload, bytes)
    return msgspec.msgpack.decode(payload)


class Link(Protocol):
    """A WebSocket of some kind."""

    async def send(self, payload: str | bytes) -> None: ...

    async def receive(self) -> str | bytes:
        """Raises Closed."""

    async def close(self) -> None: ...


class InProcess:
    """A link to an app in this process."""

    def __init__(self, client: WebSocketTestClient) -> None:
        self._client = client

    @classmethod
    async def open(cls, app: Any, path: str, subprotocols: list[str]) -> "InProcess":
        client = WebSocketTestClient(
            app, path, subprotocols=subprotocols, raise_app_exceptions=False
        )
        try:
            await client.__aenter__()
        except HandshakeRejected as refused:
            raise Refused(refused.status_code, refused.body) from None
        return cls(client)

    async def send(self, payload: str | bytes) -> None:
        if isinstance(payload, str):
            await self._client.send_text(payload)
        else:
            await self._client.send_bytes(payload)

    async def receive(self) -> str | bytes:
        try:
            event = await self._client.receive(WAIT_S)
        except ConnectionClosed as closed:
            raise Closed(closed.code, closed.reason) from None
        if event["type"] == "websocket.close":
            raise Closed(event["code"], event["reason"])
        text: str | bytes | None = event.get("text")
        return event["bytes"] if text is None else text

    async def close(self) -> None:
        await self._client.__aexit__(None, None, None)


class Wire:
    """A link to a server."""

    def __init__(self, client: ClientConnection) -> None:
        self._client = client

    @classmethod
    async def open(cls, url: str, path: str, subprotocols: list[str], **options: Any) -> "Wire":
        offered = [websockets.Subprotocol(one) for one in subprotocols] or None
        try:
            client = await websockets.connect(
                url + path, subprotocols=offered, compression=None, **options
            )
        except websockets.InvalidStatus as refused:
            raise Refused(
                refused.response.status_code, bytes(refused.response.body or b"")
            ) from None
        return cls(client)

    async def send(self, payload: str | bytes) -> None:
        await self._client.send(payload)

    async def receive(self) -> str | bytes:
        try:
            async with asyncio.timeout(WAIT_S):
                return await self._client.recv()
        except websockets.ConnectionClosed as closed:
            end = closed.rcvd
            raise Closed(end.code if end else 1006, end.reason if end else "") from None

    async def close(self) -> None:
        await self._client.close()


class Peer:
    """A client that speaks the protocol.

    Attributes:
        link: to send what is no frame.
    """

    def __init__(self, link: Link, subprotocol: str) -> None:
        self.link = link
        self.subprotocol = subprotocol
        self.is_json = subprotocol == JSON
        self.client = ""
        self._id = 0
        self._waiting: list[dict[str, Any]] = []

    async def send(self, type_: str, **fields: Any) -> int:
        """Send a request; returns its id."""
        self._id += 1
        frame = {"type": type_, "id": self._id, **fields}
        await self.link.send(json.dumps(frame) if self.is_json else msgspec.msgpack.encode(frame))
        return int(frame["id"])

    async def receive(self) -> dict[str, Any]:
        """Return the next frame; one that was passed over first."""
        return self._waiting.pop(0) if self._waiting else await self._next()

    async def _next(self) -> dict[str, Any]:
        payload = await self.link.receive()
        assert isinstance(payload, str) is self.is_json
        is_text = isinstance(payload, str)
        frame: dict[str, Any] = json.loads(payload) if is_text else unpack(payload)
        return frame

    async def ask(self, type_: str, **fields: Any) -> dict[str, Any]:
        """Send a request and return its answer; other frames wait."""
        id = await self.send(type_, **fields)
        while True:
            frame = await self._next()
            if frame.get("id") == id:
                return frame
            self._waiting.append(frame)

    async def expect(self, **fields: Any) -> dict[str, Any]:
        """Receive a frame that has these fields."""
        frame = await self.receive()
        assert frame | fields == frame, f"{frame} is not {fields}"
        return frame

    async def nothing_more(self) -> None:
        """Assert that the server has sent nothing that was not received yet."""
        await self.ask("ping")
        assert self._waiting == []

    async def until_closed(self) -> Closed:
        """Receive to the end."""
        try:
            while True:
                await self.link.receive()
        except Closed as closed:
            return closed


class Host:
    """Something that serves an app of these tests, and the links to it.

    Args:
        open_link: opens a link to a path with some subprotocols.
        app: if it is in this process.
    """

    def __init__(
        self,
        open_link: Callable[[str, list[str]], Awaitable[Link]],
        subprotocol: str,
        app: App | None = None,
    ) -> None:
        self._open_link = open_link
        self.subprotocol = subprotocol
        self._app = app
        self._links: list[Link] = []

    @property
    def app(self) -> App:
        """The app in this process."""
        assert self._app is not None
        return self._app

    async def link(self, path: str, *subprotocols: str) -> Link:
        """Open a WebSocket."""
        link = await self._open_link(path, list(subprotocols))
        self._links.append(link)
        return link

    async def peer(self, path: str, subprotocol: str | None = None) -> Peer:
        """Open a WebSocket that speaks the protocol; it has not sent `connect`."""
        subprotocol = subprotocol or self.subprotocol
        return Peer(await self.link(path, subprotocol), subprotocol)

    async def connect(
        self, path: str = "/open", data: Any = None, *, subprotocol: str | None = None
    ) -> Peer:
        """Open one, and connect."""
        peer = await self.peer(path, subprotocol)
        answer = await peer.ask("connect", data=data)
        assert answer["type"] == "connected", answer
        peer.client = answer["client"]
        return peer

    async def member(self, room: str, path: str = "/open", data: Any = None) -> Peer:
        """Connect, and join a room."""
        peer = await self.connect(path, data)
        answer = await peer.ask("join", room=room)
        assert answer["type"] == "joined", answer
        return peer

    async def close(self) -> None:
        for link in self._links:
            await link.close()


def new_room() -> str:
    """Return a name that no other test uses."""
    return f"room-{uuid.uuid4().hex[:12]}"
