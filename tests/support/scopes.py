"""Owns the ASGI scopes that unit tests start from; knows no host and no app."""

from collections.abc import Iterable, Mapping
from typing import Any

from starlette.requests import HTTPConnection


def websocket_scope(
    path: str = "/",
    query: str | bytes = b"",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    **more: Any,
) -> dict[str, Any]:
    """Return a handshake's scope as a host gives it; `more` replaces or adds keys."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "ws",
        "server": ("server.test", 80),
        "client": ("192.0.2.1", 54321),
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode() if isinstance(query, str) else query,
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in pairs],
        "subprotocols": [],
        "state": {},
        "extensions": {},
        **more,
    }


def connection(
    query: str | bytes = b"", headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()
) -> HTTPConnection:
    """Return the request side of a handshake as parameters read it."""
    return HTTPConnection(websocket_scope(query=query, headers=headers))
