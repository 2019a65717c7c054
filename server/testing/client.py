"""Owns the synchronous test client: Starlette's for HTTP and lifespan, ours for WebSockets."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

from anyio.from_thread import BlockingPortal, start_blocking_portal

from server.testing.session import DEFAULT_TIMEOUT_S, WebSocketTestClient

try:
    from starlette.testclient import TestClient as StarletteTestClient
except (ImportError, RuntimeError) as error:  # pragma: no cover - depends on what is installed
    raise ImportError(
        "server.testing.TestClient needs an HTTP client: pip install httpx2"
    ) from error

_OF_THE_HANDSHAKE = ("connection", "host")


class TestClient(StarletteTestClient):
    """Runs an app without a server; use it as a context manager so that startup handlers run.

    HTTP requests are Starlette's (`client.get("/")`); WebSockets are `websocket_connect`.

    Example:
        with TestClient(app) as client:
            with client.websocket_connect("/ws/echo") as ws:
                ws.send_text("hello")
                assert ws.receive_text() == "Echo: hello"
    """

    __test__ = False

    def websocket_connect(  # type: ignore[override]
        self,
        url: str,
        subprotocols: Iterable[str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        raise_app_exceptions: bool = True,
        denial_response: bool = True,
    ) -> "WebSocketSession":
        """Return a context manager that connects at entry.

        Args:
            url: a path, with or without a query string.
            subprotocols: what the client offers.
            headers, cookies: added to the client's own.

        Raises:
            HandshakeRejected: at entry, when the app does not accept.
        """
        own = self.headers.items()
        merged = {name: value for name, value in own if name not in _OF_THE_HANDSHAKE}
        jar = {**dict(self.cookies), **(cookies or {})}
        if jar:
            merged["cookie"] = "; ".join(f"{name}={value}" for name, value in jar.items())
        client = WebSocketTestClient(
            self.app,
            url,
            {**merged, **(headers or {})},
            subprotocols=subprotocols,
            raise_app_exceptions=raise_app_exceptions,
            denial_response=denial_response,
        )
        return WebSocketSession(client, self.portal)


class WebSocketSession(AbstractContextManager["WebSocketSession"]):
    """One connection of `TestClient`; the methods of `WebSocketTestClient` without `await`."""

    def __init__(self, client: WebSocketTestClient, portal: BlockingPortal | None) -> None:
        self._client = client
        self._portal = portal
        self._stack = ExitStack()

    def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        assert self._portal is not None
        return self._portal.call(partial(function, *args))

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self._portal is None:
                # Outside `with TestClient(app)` each session has an event loop of its own.
                self._portal = stack.enter_context(start_blocking_portal())
            self._call(self._client.__aenter__)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._stack:
            self._call(self._client.__aexit__, kind, error, traceback)

    @property
    def accepted_subprotocol(self) -> str | None:
        """The subprotocol the app chose."""
        return self._client.accepted_subprotocol

    @property
    def accepted_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers the app accepted with."""
        return self._client.accepted_headers

    @property
    def closed(self) -> bool:
        """Whether either side has closed."""
        return self._client.closed

    @property
    def close_code(self) -> int | None:
        """The code the connection was closed with, by whichever side."""
        return self._client.close_code

    @property
    def close_reason(self) -> str:
        """The reason that the app gave."""
        return self._client.close_reason

    def send(self, event: dict[str, Any]) -> None:
        """Give the app a raw ASGI event."""
        self._call(self._client.send, event)

    def send_text(self, text: str) -> None:
        """Send a text message to the app."""
        self._call(self._client.send_text, text)

    def send_bytes(self, data: bytes) -> None:
        """Send a binary message to the app."""
        self._call(self._client.send_bytes, data)

    def send_json(self, message: Any, mode: Literal["text", "binary"] = "text") -> None:
        """Send a JSON message to the app, in a text or a binary frame."""
        self._call(self._client.send_json, message, mode)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Leave with any code."""
        self._call(self._client.close, code, reason)

    def receive(self, timeout: float = DEFAULT_TIMEOUT_S) -> dict[str, Any]:
        """Return the app's next event as it is; waits for `timeout` seconds at most."""
        return self._call(self._client.receive, timeout)  # type: ignore[no-any-return]

    def receive_text(self, timeout: float = DEFAULT_TIMEOUT_S) -> str:
        """Return the next message as text."""
        return self._call(self._client.receive_text, timeout)  # type: ignore[no-any-return]

    def receive_bytes(self, timeout: float = DEFAULT_TIMEOUT_S) -> bytes:
        """Return the next message as bytes."""
        return self._call(self._client.receive_bytes, timeout)  # type: ignore[no-any-return]

    def receive_json(self, timeout: float = DEFAULT_TIMEOUT_S) -> Any:
        """Return the next message decoded from JSON."""
        return self._call(self._client.receive_json, timeout)

    def iter_text(self, timeout: float = DEFAULT_TIMEOUT_S) -> Iterator[str]:
        """Iterate over messages as text until the app closes."""
        iterator = self._client.iter_text(timeout)
        while (message := self._call(_next_or_none, iterator)) is not None:
            yield message


async def _next_or_none(iterator: Any) -> Any:
    return await anext(iterator, None)
