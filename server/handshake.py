"""Owns what the client asked for: the read-only view of the connection's ASGI scope.

It does not know whether the connection was accepted, nor any message.
"""

import re
from collections.abc import Iterable, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from starlette.datastructures import URL, Address, Headers, QueryParams
from starlette.requests import HTTPConnection

from server.cookies import read_cookies
from server.frozen import freeze

Scope = MutableMapping[str, Any]
HeaderPairs = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 section 5.6.2
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z!$%&'()*+,;=\-._~]+)(?::[0-9]*)?")  # RFC 3986
_KEY = re.compile(rb"[+/0-9A-Za-z]{22}==")  # 16 bytes
_PRINTABLE = bytes(range(0x21, 0x7F))
_OWNED_BY_HANDSHAKE = frozenset(
    (
        b"connection",
        b"upgrade",
        b"sec-websocket-accept",
        b"sec-websocket-extensions",
        b"sec-websocket-protocol",
    )
)


class Handshake:
    """The request side of a WebSocket: URL, headers, parameters, client."""

    __slots__ = ("_context", "_http", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._http: HTTPConnection | None = None
        self._context: dict[str, Any] | None = None

    @property
    def http(self) -> HTTPConnection:
        """The handshake request as Starlette sees it."""
        if self._http is None:
            # ASGI lets a host leave it out, Starlette does not.
            self.scope["query_string"] = self.query_string
            self._http = HTTPConnection(self.scope)
        return self._http

    @property
    def url(self) -> URL:
        """The full URL; compares equal to its text."""
        try:
            return self.http.url
        except UnicodeDecodeError:
            # Bytes that the client should have escaped, and that need not be UTF-8.
            query = quote(self.query_string, safe=_PRINTABLE).encode()
            return URL(scope={**self.scope, "query_string": query})

    @property
    def path(self) -> str:
        """The decoded path."""
        return str(self.scope["path"])

    @property
    def query_string(self) -> bytes:
        """The query string as it came, without the question mark."""
        return bytes(self.scope.get("query_string") or b"")

    @property
    def query_params(self) -> QueryParams:
        """Immutable multidict: `[key]` is the last value, `getlist(key)` all."""
        return self.http.query_params

    query_parameters = query_params

    @property
    def path_params(self) -> Mapping[str, str]:
        """The path's parameters as text; the view's arguments are the converted ones."""
        return MappingProxyType(self.scope.get("path_params", {}))

    @property
    def headers(self) -> Headers:
        """Immutable, case-insensitive, multi-valued (`getlist`)."""
        return self.http.headers

    @property
    def cookies(self) -> Mapping[str, str]:
        """The cookies of the handshake."""
        return read_cookies(self.headers.getlist("cookie"))

    @property
    def client(self) -> Address | None:
        """The peer's host and port, or None if the host does not tell."""
        client = self.scope.get("client")
        # granian gives the port as text; over a Unix socket there may be none.
        return Address(str(client[0]), int(client[1] or 0)) if client else None

    @property
    def subprotocols(self) -> list[str]:
        """The subprotocols the client offers, in its order of preference."""
        return list(self.scope.get("subprotocols") or ())

    @property
    def session(self) -> Mapping[str, Any]:
        """The session, read-only however deep: a WebSocket has no response to set a cookie with.

        Raises:
            RuntimeError: the app has no sessions.
        """
        if "session" not in self.scope:
            raise RuntimeError("sessions are not enabled: call app.add_sessions()")
        session: Mapping[str, Any] = freeze(self.scope["session"])
        return session

    @property
    def context(self) -> dict[str, Any]:
        """Free storage of this connection; authentication puts its findings here."""
        if self._context is None:
            self._context = {}
        return self._context

    @property
    def has_denial_response(self) -> bool:
        """Whether the host can refuse with any HTTP status (`websocket.http.response`)."""
        return "websocket.http.response" in (self.scope.get("extensions") or ())

    def check_subprotocol(self, subprotocol: str | None) -> None:
        """Refuse a subprotocol that the client did not offer (RFC 6455 section 4.2.2).

        Raises:
            ValueError: not offered, or not an HTTP token.
        """
        if subprotocol is None:
            return
        offered = self.subprotocols
        if subprotocol not in offered:
            raise ValueError(
                f"subprotocol {subprotocol!r} was not offered by the client; it offered"
                f" {', '.join(offered) or 'none'}"
            )
        # granian ends the worker process on a value that cannot stand in a header.
        if not _TOKEN.fullmatch(subprotocol):
            raise ValueError(f"subprotocol {subprotocol!r} is not an HTTP token")

    def choose_subprotocol(self, supported: Iterable[str]) -> str | None:
        """Return the first of the client's subprotocols that is supported, or None."""
        known = frozenset(supported)
        for offered in self.subprotocols:
            if offered in known and _TOKEN.fullmatch(offered):
                return offered
        return None


def route_path(scope: Scope) -> str:
    """Return the path below `root_path`, which is what routes match.

    The ASGI specification has `path` include `root_path`; hosts and mounts that strip it are
    understood as well.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path") or ""
    if root and (path == root or path.startswith(root + "/")):
        return path[len(root) :] or "/"
    return path


def handshake_problem(scope: Scope) -> str | None:
    """Say what a host let pass although RFC 6455 section 4.2.1 forbids it, or None.

    granian looks at no Host, no key and no HTTP version. (Nor at the method, which no ASGI scope
    of a WebSocket has.) What a scope lacks is not missed: test clients leave much out.
    """
    if scope.get("http_version") in ("1", "1.0"):
        return "a WebSocket handshake needs HTTP/1.1"
    hosts = 0
    for name, value in scope["headers"]:
        if name == b"host":
            hosts += 1
            if hosts > 1 or not _HOST.fullmatch(value):
                return "the handshake needs one valid Host header"
        elif name == b"sec-websocket-key" and not _KEY.fullmatch(value):
            return "Sec-WebSocket-Key must be 16 bytes in base64"
    return None


def check_status(status: object) -> None:
    """Refuse what is no status of an answer: granian ends the process at one that is over 999.

    Raises:
        ValueError: it is outside of 200-599.
    """
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"{status!r} is no HTTP status that can be answered with (200-599)")


def accept_headers(headers: HeaderPairs | None) -> list[tuple[bytes, bytes]]:
    """Return headers in ASGI's form.

    Raises:
        ValueError: a name that belongs to the handshake, or text no header may carry.
        TypeError: a name or value that is neither str nor bytes.
    """
    pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
    result = []
    for name, value in pairs:
        raw_name = _latin1(name).lower()
        raw_value = _latin1(value)
        if raw_name in _OWNED_BY_HANDSHAKE:
            raise ValueError(f"header {raw_name.decode()!r} belongs to the handshake itself")
        if not _TOKEN.fullmatch(raw_name.decode("latin-1")):
            raise ValueError(f"{name!r} is not a header name")
        if any((byte < 32 and byte != 9) or byte == 127 for byte in raw_value):
            raise ValueError(f"header {raw_name.decode()!r} has a control character in its value")
        result.append((raw_name, raw_value))
    return result


def _latin1(text: object) -> bytes:
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise TypeError(f"header text must be str or bytes, not {type(text).__name__}")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"header text {text!r} is not latin-1") from None
