"""Owns where a client may put its token, and finds it there; knows nothing of what it means."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

from starlette.requests import cookie_parser

from server.auth.failure import MAX_TOKEN_BYTES, NOT_ASCII, TOO_LONG, AuthenticationFailed
from server.exceptions import SettingsError

Place = Literal["cookie", "header", "subprotocol", "query"]

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2: a "token"
_PRINTABLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where one backend looks for a token, in this order; None is nowhere.

    Attributes:
        cookie: the name of a cookie.
        header: the name of a header, lower case.
        schemes: that may stand before the token in the header, lower case; none is needed.
        subprotocol: offered in Sec-WebSocket-Protocol right before the token, such as "bearer".
        query_param: of the query string; of WebSockets only, which a browser gives no header.
        first_message_s: seconds in which the first message has to bring the token, if none of the
            others has one; None: no message is waited for.

    Raises:
        SettingsError: a name that no request can have, a time that never comes, or nowhere at all.
    """

    cookie: str | None = None
    header: str | None = "authorization"
    schemes: tuple[str, ...] = ("bearer",)
    subprotocol: str | None = None
    query_param: str | None = None
    first_message_s: float | None = None

    def __post_init__(self) -> None:
        for kind in ("cookie", "header", "subprotocol"):
            _check_name(kind, getattr(self, kind))
        if self.header is not None and self.header != self.header.lower():
            raise SettingsError(f"header={self.header!r}: write it in lower case")
        if self.query_param == "":
            raise SettingsError("query_param='': give a name, or None")
        seconds = self.first_message_s
        if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
            raise SettingsError(f"first_message_s={seconds!r}: give seconds over 0, or None")
        if not any((self.cookie, self.header, self.subprotocol, self.query_param, seconds)):
            raise SettingsError("there is no place left for a token: name a header, or another")


def _check_name(kind: str, name: object) -> None:
    if name is not None and not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise SettingsError(f"{kind}={name!r}: not a name that a request can have")


@dataclass(frozen=True)
class Found:
    """A token, and the place where it was."""

    place: Place
    token: str = field(repr=False)


def find_token(places: Places, scope: Mapping[str, Any], *, is_websocket: bool) -> Found | None:
    """Return the token of a request, from the first place that has one.

    The places after that one do not count, also if the token turns out to be no good.

    Args:
        places: to look at.
        scope: of ASGI, as the host gives it.
        is_websocket: so look at subprotocols and the query string too.

    Raises:
        AuthenticationFailed: the place has two, or what it has can be no token; see `check_token`.
    """
    for place, values in _candidates(places, scope, is_websocket):
        tokens = [value for value in values if value]
        if len(tokens) > 1:
            raise AuthenticationFailed(f"Token in the {place} twice")
        if tokens:
            check_token(tokens[0])
            return Found(place, tokens[0])
    return None


def check_token(token: object) -> None:
    """Refuse what can be no token of any backend.

    Raises:
        AuthenticationFailed: it is no text, empty, over 8,192 bytes, or not of printable ASCII
            characters without spaces.
    """
    if not isinstance(token, str):  # it may be out of a client's JSON
        raise AuthenticationFailed(NOT_ASCII)
    if len(token) > MAX_TOKEN_BYTES:
        raise AuthenticationFailed(TOO_LONG)
    if not _PRINTABLE.fullmatch(token):
        raise AuthenticationFailed(NOT_ASCII)


def without_token(subprotocols: Sequence[str], marker: str | None) -> list[str]:
    """Return the offered subprotocols but for the tokens in them, which are nobody's to see.

    The marker stays: a browser that has offered subprotocols wants one of them back.
    """
    kept: list[str] = []
    is_token = False
    for offered in subprotocols:
        if not is_token:
            kept.append(offered)
        is_token = not is_token and offered.strip(" \t") == marker
    return kept


def _candidates(
    places: Places, scope: Mapping[str, Any], is_websocket: bool
) -> Iterator[tuple[Place, Iterator[str]]]:
    if places.cookie is not None:
        yield "cookie", _cookies(scope, places.cookie)
    if places.header is not None:
        yield "header", _credentials(scope, places.header, places.schemes)
    if places.subprotocol is not None and is_websocket:
        yield "subprotocol", _after_marker(scope.get("subprotocols", ()), places.subprotocol)
    if places.query_param is not None and is_websocket:
        yield "query", _query_values(scope.get("query_string", b""), places.query_param)


def _headers(scope: Mapping[str, Any], name: str) -> Iterator[str]:
    wanted = name.encode()
    for key, value in scope.get("headers", ()):
        if key.lower() == wanted:
            yield value.decode("latin-1").strip(" \t")


def _cookies(scope: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield every value of the cookie: a second one may come from another path, or an attacker."""
    for header in _headers(scope, "cookie"):
        for pair in header.split(";"):
            yield cookie_parser(pair).get(name, "")


def _credentials(scope: Mapping[str, Any], name: str, schemes: Sequence[str]) -> Iterator[str]:
    for value in _headers(scope, name):
        scheme, has_scheme, token = value.partition(" ")
        if scheme.lower() in schemes:
            yield token.strip(" ")
        elif not has_scheme:
            yield value


def _after_marker(subprotocols: Sequence[str], marker: str) -> Iterator[str]:
    items = (item.strip(" \t") for item in subprotocols)
    for item in items:
        if item == marker:
            yield next(items, "")


def _query_values(query: bytes, name: str) -> Iterator[str]:
    wanted = name.encode()
    for pair in query.split(b"&"):
        key, _, value = pair.partition(b"=")
        if _unquote(key) == wanted:
            yield _unquote(value).decode("latin-1")  # any byte goes in; check_token has its say


def _unquote(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))
