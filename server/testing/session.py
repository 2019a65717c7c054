"""Owns one in-process WebSocket session: it plays the host and the peer for an ASGI app."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import unquote, urlsplit

from server.codecs import JSON, encode_json_text, json_bytes
from server.exceptions import WebSocketDisconnect
from server.pipeline import TESTING_EXTENSION

DEFAULT_TIMEOUT_S = 5.0
_END: Any = object()


class ConnectionClosed(WebSocketDisconnect):
    """The app closed the connection; `code` and `reason` are what it sent."""


class HandshakeRejected(WebSocketDisconnect):
    """The app did not accept.

    Attributes:
        code: of the app's close event, or the HTTP status.
        status_code: what a client sees on the wire.
        headers, body: of the HTTP answer.
    """

    def __init__(
        self,
        code: int,
        status_code: int = 403,
        headers: Iterable[tuple[bytes, bytes]] = (),
        body: bytes = b"",
    ) -> None:
        super().__init__(code, body.decode("utf-8", "replace"))
        self.status_code = status_code
        self.headers = {name.decode(): value.decode() for name, value in headers}
        self.body = body


def make_scope(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    query_string: str | bytes = "",
    subprotocols: Iterable[str] | None = None,
    denial_response: bool = True,
) -> dict[str, Any]:
    """Return the ASGI scope of a handshake for `url`, a path or a full ws:// URL."""
    parts = urlsplit(url)
    path = parts.path if parts.path.startswith("/") else "/" + parts.path
    query = query_string.encode() if isinstance(query_string, str) else query_string
    query = query or parts.query.encode()
    offered = list(subprotocols or ())
    host = parts.netloc or "testserver"
    merged = {"host": host, "connection": "upgrade", "upgrade": "websocket"}
    merged |= {"sec-websocket-key": "c3dpdGNoYm9hcmQtdGVzdA==", "sec-websocket-version": "13"}
    if offered:
        merged["sec-websocket-protocol"] = ", ".join(offered)
    merged |= {name.lower(): value for name, value in (headers or {}).items()}
    extensions: dict[str, Any] = {TESTING_EXTENSION: {}}
    if denial_response:
        extensions["websocket.http.response"] = {}
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": parts.scheme or "ws",
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query,
        "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in merged.items()],
        "client": ("testclient", 50000),
        "server": (host.partition(":")[0], 80),
        "subprotocols": offered,
        "state": {},
        "extensions": extensions,
    }


class WebSocketTestClient:
    """Talks to an app's WebSocket route in the test's own event loop.

    Args:
        app: any ASGI app.
        path: with or without a query string.
        headers: added to those every handshake has.
        query_string: replaces the one in `path`.
        subprotocols: what the client offers.
        raise_app_exceptions: raise what the view raised from the next call, or at exit.
        denial_response: whether this host can refuse with any HTTP status.

    Raises:
        HandshakeRejected: at entry, when the app does not accept.

    Example:
        async with WebSocketTestClient(app, "/ws/echo") as ws:
            await ws.send_text("hello")
            assert await ws.receive_text() == "Echo: hello"
    """

    __test__ = False

    def __init__(
        self,
        app: Any,
        path: str,
        headers: Mapping[str, str] | None = None,
        query_string: str | bytes = "",
        subprotocols: Iterable[str] | None = None,
        *,
        raise_app_exceptions: bool = True,
        denial_response: bool = True,
    ) -> None:
        self._app = app
        self.scope = make_scope(
            path,
            headers=headers,
            query_string=query_string,
            subprotocols=subprotocols,
            denial_response=denial_response,
        )
        self._raises = raise_app_exceptions
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[Any] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self.accepted = False
        self.accepted_subprotocol: str | None = None
        self.accepted_headers: list[tuple[bytes, bytes]] = []
        self.close_code: int | None = None
        self.close_reason = ""

    @property
    def closed(self) -> bool:
        """Whether either side has closed."""
        return self.close_code is not None

    # -- life ----------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._to_app.put_nowait({"type": "websocket.connect"})
        try:
            await self._handshake()
        except BaseException:
            await self._stop()
            raise
        return self

    async def _run(self) -> None:
        try:
            await self._app(self.scope, self._to_app.get, self._from_app.put)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._error = error
        finally:
            self._from_app.put_nowait(_END)

    async def _handshake(self) -> None:
        event = await self._next(DEFAULT_TIMEOUT_S)
        if event is _END:
            self.close_code = 403
            self._raise_app_error()
            raise HandshakeRejected(403)
        if event["type"] == "websocket.accept":
            self.accepted = True
            self.accepted_subprotocol = event.get("subprotocol")
            self.accepted_headers = list(event.get("headers") or ())
            return
        body = b""
        if event["type"] == "websocket.http.response.start":
            body = (await self._next(DEFAULT_TIMEOUT_S))["body"]
        self.close_code = code = event.get("status") or event.get("code", 1000)
        await self._stop()
        self._raise_app_error()
        raise HandshakeRejected(code, event.get("status", 403), event.get("headers", ()), body)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self.closed:
            await self.close()
        await self._stop()
        if error is None:
            self._raise_app_error()

    async def _stop(self) -> None:
        """Let the app end by itself, and cancel it if it does not in time."""
        assert self._task is not None
        await asyncio.wait([self._task], timeout=DEFAULT_TIMEOUT_S)
        self._task.cancel()
        await asyncio.wait([self._task])

    def _raise_app_error(self) -> None:
        error, self._error = self._error, None
        if error is not None and self._raises:
            raise error

    # -- send ----------------------------------------------------------------------------------

    async def send(self, event: dict[str, Any]) -> None:
        """Give the app a raw ASGI event.

        Raises:
            RuntimeError: the connection is closed.
        """
        if self.closed:
            raise RuntimeError(f"the connection is closed ({self.close_code})")
        self._to_app.put_nowait(event)

    async def send_text(self, text: str) -> None:
        """Send a text message to the app."""
        await self.send({"type": "websocket.receive", "text": text})

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message to the app."""
        await self.send({"type": "websocket.receive", "bytes": data})

    async def send_json(self, message: Any, mode: Literal["text", "binary"] = "text") -> None:
        """Send a JSON message to the app, in a text or a binary frame."""
        if mode == "text":
            await self.send_text(encode_json_text(message))
        else:
            await self.send_bytes(json_bytes(message))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Leave with any code: 1005 and 1006 play a peer that said nothing or vanished."""
        await self.send({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.close_code = code

    # -- receive -------------------------------------------------------------------------------

    async def receive(self, timeout: float = DEFAULT_TIMEOUT_S) -> dict[str, Any]:  # noqa: ASYNC109
        """Return the app's next event as it is, a close event included.

        Args:
            timeout: seconds.

        Raises:
            TimeoutError: the app sent nothing in time.
            ConnectionClosed: nothing more can come.
            Exception: what the app raised, after its events.
        """
        if self.closed and self._from_app.empty():
            raise ConnectionClosed(self.close_code or 1005, self.close_reason)
        event = await self._next(timeout)
        if event is _END:
            if not self.closed:
                self.close_code = 1005
            self._raise_app_error()
            raise ConnectionClosed(self.close_code or 1005, self.close_reason)
        if event["type"] == "websocket.close":
            self.close_code = event.get("code", 1000)
            self.close_reason = event.get("reason") or ""
        return dict(event)

    async def _next(self, timeout_s: float) -> Any:
        try:
            async with asyncio.timeout(timeout_s):
                return await self._from_app.get()
        except TimeoutError:
            raise TimeoutError(f"the app sent nothing for {timeout_s} s") from None

    async def _message(self, timeout_s: float) -> str | bytes:
        event = await self.receive(timeout_s)
        if event["type"] == "websocket.close":
            raise ConnectionClosed(self.close_code or 1005, self.close_reason)
        text = event.get("text")
        return text if text is not None else event["bytes"]  # type: ignore[no-any-return]

    async def receive_text(self, timeout: float = DEFAULT_TIMEOUT_S) -> str:  # noqa: ASYNC109
        """Return the next message as text; a binary one is decoded."""
        message = await self._message(timeout)
        return message if isinstance(message, str) else message.decode()

    async def receive_bytes(self, timeout: float = DEFAULT_TIMEOUT_S) -> bytes:  # noqa: ASYNC109
        """Return the next message as bytes; a text one is encoded."""
        message = await self._message(timeout)
        return message.encode() if isinstance(message, str) else message

    async def receive_json(self, timeout: float = DEFAULT_TIMEOUT_S) -> Any:  # noqa: ASYNC109
        """Return the next message decoded from JSON, whichever frame it came in."""
        return JSON.decode(await self._message(timeout))

    async def iter_text(self, timeout: float = DEFAULT_TIMEOUT_S) -> AsyncIterator[str]:  # noqa: ASYNC109
        """Iterate over messages as text until the app closes."""
        async for message in self._messages(timeout):
            yield message if isinstance(message, str) else message.decode()

    async def iter_bytes(self, timeout: float = DEFAULT_TIMEOUT_S) -> AsyncIterator[bytes]:  # noqa: ASYNC109
        """Iterate over messages as bytes until the app closes."""
        async for message in self._messages(timeout):
            yield message.encode() if isinstance(message, str) else message

    async def iter_json(self, timeout: float = DEFAULT_TIMEOUT_S) -> AsyncIterator[Any]:  # noqa: ASYNC109
        """Iterate over messages decoded from JSON until the app closes."""
        async for message in self._messages(timeout):
            yield JSON.decode(message)

    async def _messages(self, timeout_s: float) -> AsyncIterator[str | bytes]:
        while True:
            try:
                yield await self._message(timeout_s)
            except ConnectionClosed:
                return
