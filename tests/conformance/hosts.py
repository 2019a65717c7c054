"""Owns the four ways to run the app under test: two test clients and two servers on the wire.

All give the same small interface, so that a case is written once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, Protocol, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed as WireClosed
from websockets.exceptions import InvalidStatus
from websockets.protocol import State
from websockets.typing import Subprotocol

from server.testing import ConnectionClosed, HandshakeRejected, TestClient, WebSocketTestClient
from tests.conformance.base import app
from tests.support.servers import Server

WAIT_S = 10.0
Payload = str | bytes


class PeerClosed(Exception):
    """The server closed."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class Refused(Exception):
    """The server refused the handshake."""

    def __init__(self, status: int, headers: Mapping[str, str], body: str) -> None:
        super().__init__(status, body)
        self.status = status
        self.headers = headers
        self.body = body


class Peer(Protocol):
    """A connected client."""

    subprotocol: str | None
    headers: dict[str, str]

    async def send(self, payload: Payload) -> None: ...

    async def receive(self) -> Payload:
        """Return the next message; raises PeerClosed."""

    async def leave(self, code: int | None, reason: str) -> None: ...

    async def vanish(self) -> None: ...

    async def end(self) -> list[str]:
        """Leave if still there; returns what the app raised, where a client can see that."""


Connect = Callable[[str, Mapping[str, str], Sequence[str]], Awaitable[Peer]]


class Host(Protocol):
    """A way to run the app.

    Attributes:
        authority: what clients send as Host.
    """

    name: str
    is_wire: bool
    authority: str

    def session(self, *, raises_at_entry: bool) -> AbstractContextManager[Connect]:
        """What one case connects with.

        Args:
            raises_at_entry: a test client raises what the app raised, not that it was refused.
        """

    def printed(self, text: str) -> str:
        """Wait until the server has printed `text`, and return all it has printed."""


class InProcessPeer:
    """A client of `server.testing`; `call` makes the sync one look like the async one."""

    def __init__(self, client: Any, call: Callable[..., Awaitable[Any]]) -> None:
        self._client = client
        self._call = call
        self.subprotocol = client.accepted_subprotocol
        self.headers = {name.decode(): value.decode() for name, value in client.accepted_headers}
        self._raised: list[str] = []

    async def send(self, payload: Payload) -> None:
        if isinstance(payload, str):
            await self._call(self._client.send_text, payload)
        else:
            await self._call(self._client.send_bytes, payload)

    async def receive(self) -> Payload:
        try:
            event = await self._call(self._client.receive, WAIT_S)
        except ConnectionClosed as closed:
            raise PeerClosed(closed.code, closed.reason) from None
        if event["type"] == "websocket.close":
            raise PeerClosed(event["code"], event.get("reason", ""))
        assert event["type"] == "websocket.send"
        payload = event.get("text")
        return cast("Payload", event["bytes"] if payload is None else payload)

    async def leave(self, code: int | None, reason: str) -> None:
        await self._call(self._client.close, 1005 if code is None else code, reason)

    async def vanish(self) -> None:
        await self._call(self._client.close, 1006)

    async def end(self) -> list[str]:
        try:
            await self._call(self._client.__aexit__, None, None, None)
        except BaseException as error:
            self._raised.append(f"{type(error).__name__}: {error}")
        return self._raised


class _SyncSession:
    """`TestClient`'s session, whose exit has another name than the async client's."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.__aexit__ = session.__exit__

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


class InProcessHost:
    """What both test clients have in common."""

    is_wire = False
    authority = "testserver"

    def printed(self, text: str) -> str:
        raise AssertionError("a test client prints nothing")


class SyncHost(InProcessHost):
    """`server.testing.TestClient`."""

    name = "sync"

    @contextmanager
    def session(self, *, raises_at_entry: bool) -> Iterator[Connect]:
        with TestClient(app) as client:

            async def call(function: Callable[..., Any], *args: Any) -> Any:
                return function(*args)

            async def connect(
                path: str, headers: Mapping[str, str], subprotocols: Sequence[str]
            ) -> Peer:
                session = client.websocket_connect(
                    path,
                    subprotocols,
                    headers=headers,
                    raise_app_exceptions=raises_at_entry,
                )
                try:
                    session.__enter__()
                except HandshakeRejected as refused:
                    raise _refused(refused) from None
                return InProcessPeer(_SyncSession(session), call)

            yield connect


class AsyncHost(InProcessHost):
    """`server.testing.WebSocketTestClient`."""

    name = "async"

    @contextmanager
    def session(self, *, raises_at_entry: bool) -> Iterator[Connect]:
        async def call(function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
            return await function(*args)

        async def connect(
            path: str, headers: Mapping[str, str], subprotocols: Sequence[str]
        ) -> Peer:
            client = WebSocketTestClient(
                app,
                path,
                headers,
                subprotocols=subprotocols,
                raise_app_exceptions=raises_at_entry,
            )
            try:
                await client.__aenter__()
            except HandshakeRejected as refused:
                raise _refused(refused) from None
            return InProcessPeer(client, call)

        yield connect


def _refused(refused: HandshakeRejected) -> Refused:
    return Refused(refused.status_code, refused.headers, refused.body.decode())


class WirePeer:
    """A client of the `websockets` library."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.subprotocol: str | None = connection.subprotocol
        assert connection.response is not None
        headers = connection.response.headers
        self.headers = {name.lower(): value for name, value in headers.raw_items()}

    async def send(self, payload: Payload) -> None:
        async with asyncio.timeout(WAIT_S):
            await self._connection.send(payload)

    async def receive(self) -> Payload:
        try:
            async with asyncio.timeout(WAIT_S):
                return await self._connection.recv()
        except WireClosed as closed:
            if closed.rcvd is None:
                raise PeerClosed(1006, "") from None
            raise PeerClosed(closed.rcvd.code, closed.rcvd.reason) from None

    async def leave(self, code: int | None, reason: str) -> None:
        # Not `close()`, which waits for the answer: granian gives it when the view ends or sends.
        self._connection.protocol.send_close(code, reason)
        self._connection.send_data()

    async def vanish(self) -> None:
        self._connection.transport.abort()
        async with asyncio.timeout(WAIT_S):
            await self._connection.wait_closed()

    async def end(self) -> list[str]:
        if self._connection.state is State.OPEN:
            await self.leave(1000, "")
        with suppress(PeerClosed):
            # Unread messages would keep the client from seeing the end.
            while True:
                await self.receive()
        return []


class WireHost:
    """A server process, and the `websockets` library's client."""

    is_wire = True

    def __init__(self, name: str, server: Server) -> None:
        self.name = name
        self.server = server
        self.authority = f"127.0.0.1:{server.port}"

    @contextmanager
    def session(self, *, raises_at_entry: bool) -> Iterator[Connect]:
        yield self._connect

    def printed(self, text: str) -> str:
        return self.server.wait_for_output(text, WAIT_S)

    async def _connect(
        self, path: str, headers: Mapping[str, str], subprotocols: Sequence[str]
    ) -> Peer:
        try:
            connection = await connect(
                self.server.url + path,
                additional_headers=headers,
                subprotocols=[Subprotocol(name) for name in subprotocols] or None,
                open_timeout=WAIT_S,
                proxy=None,
            )
        except InvalidStatus as refused:
            response = refused.response
            lower = {name.lower(): value for name, value in response.headers.raw_items()}
            body = bytes(response.body or b"").decode()
            raise Refused(response.status_code, lower, body) from None
        return WirePeer(connection)
