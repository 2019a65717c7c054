"""Owns the decision on a handshake's Origin header; knows no route and no connection.

A browser lets every page open a WebSocket to every server, with the cookies of that server's users
(cross-site WebSocket hijacking, CWE-1385). What it also sends is where the page is from (RFC 6454),
and no page can change that.
"""

import re
from collections.abc import Iterable, Sequence
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

import idna

MAX_ORIGIN_BYTES = 512  # a name has 253 at most, and few schemes are longer than `https`
_SHOWN_BYTES = 80
_SHAPE = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://(.+)")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?")
_NAME = re.compile(r"[0-9a-z_\-]+(?:\.[0-9a-z_\-]+)*\.?")
_FORM = "an origin is scheme://host or scheme://host:port, such as 'https://example.com'"
# A page is of http or https; that a socket's own schemes stand here is a client's mistake.
_SCHEMES = {"ws": "http", "wss": "https"}
_PLAIN = re.compile(rb"[0-9a-z](?:[0-9a-z.\-]*[0-9a-z])?(?::[0-9]{1,4})?")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origins:
    """Whose pages may open WebSockets, beside those of the host that the handshake is for.

    Args:
        allowed: origins such as "https://example.com" or "https://example.com:8443"; compiled
            patterns, which have to match the whole normalised origin (lower case, punycode, no
            default port, `https` for `wss`); "null" for pages without an origin (sandboxed frames,
            files); "*" for every page, "null" included.

    Raises:
        ValueError: an element is none of these, or a lone string was given.
    """

    def __init__(self, allowed: Sequence[str | re.Pattern[str]] = ()) -> None:
        if isinstance(allowed, str):
            raise ValueError(f"allowed origins must be a list, such as [{allowed!r}]")
        named = {one if one in ("*", "null") else _checked(one) for one in _strings(allowed)}
        self._allows_all = "*" in named
        self._named = frozenset(named)
        self._patterns = tuple(one for one in allowed if isinstance(one, re.Pattern))

    def problem(self, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Say why a handshake with these headers is refused, or None.

        One without an Origin is not from a browser and passes. One whose origin has the host and
        port of the Host header passes: it is from a page of this very server. The scheme does not
        count there, because a proxy in front may have taken the TLS off.

        Args:
            headers: as the ASGI scope has them, names in lower case.
        """
        origin: bytes | None = None
        host: bytes | None = None
        for name, value in headers:
            if name == b"origin":
                if origin is not None:
                    return "more than one Origin header"
                origin = value
            elif name == b"host":
                host = value if host is None else b""  # two name none
        if origin is None or self._allows_all or self._allows(origin, host):
            return None
        return f"Origin not allowed: {_shown(origin)}"

    def _allows(self, raw: bytes, host: bytes | None) -> bool:
        # Most are of this very host, and spelled alike.
        if host and raw in (b"https://" + host, b"http://" + host) and _PLAIN.fullmatch(host):
            return True
        if raw == b"null":
            return "null" in self._named
        origin = parse_origin(raw)
        if origin is None:
            return False
        text = str(origin)
        return (
            _is_same(origin, host)
            or text in self._named
            or any(pattern.fullmatch(text) for pattern in self._patterns)
        )


class Origin(NamedTuple):
    """A normalised origin; `str` of it is what is compared.

    Attributes:
        scheme: lower case; `http` and `https` for `ws` and `wss`.
        authority: host in lower case and punycode, and the port unless it is the scheme's own.
    """

    scheme: str
    authority: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def parse_origin(raw: bytes) -> Origin | None:
    """Return the origin that a header's value is, or None if it is not exactly one.

    A path (`/` is one), user names, spaces and lists make it none. A dot at the end of a host
    stays: to a browser `example.com.` is another host, with other cookies.
    """
    if len(raw) > MAX_ORIGIN_BYTES:
        return None
    try:
        found = _SHAPE.fullmatch(raw.decode())
    except UnicodeDecodeError:
        return None
    if found is None:
        return None
    scheme = found[1].lower()
    scheme = _SCHEMES.get(scheme, scheme)
    authority = _authority(found[2], scheme)
    return None if authority is None else Origin(scheme, authority)


def _authority(text: str, scheme: str) -> str | None:
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        return None
    host = _host(found[1])
    if host is None or found[2] is None:
        return host
    port = int(found[2])
    if not 0 < port < 65536:
        return None
    return host if port == _DEFAULT_PORTS.get(scheme) else f"{host}:{port}"


def _host(text: str) -> str | None:
    """Return a host as browsers write it, or None if it is none."""
    if text.startswith("["):
        try:
            return f"[{IPv6Address(text[1:-1]).compressed}]"
        except AddressValueError:
            return None
    if not text.isascii():
        # Python's own codec takes `ß` for `ss`, another host than the one browsers go to.
        try:
            text = idna.encode(text, uts46=True, std3_rules=True).decode()
        except UnicodeError:
            return None
    text = text.lower()
    return text if _NAME.fullmatch(text) else None


def _is_same(origin: Origin, host: bytes | None) -> bool:
    """Whether the page is from the host that the handshake is for."""
    if host is None or len(host) > MAX_ORIGIN_BYTES or origin.scheme not in _DEFAULT_PORTS:
        return False
    try:
        text = host.decode()
    except UnicodeDecodeError:
        return False
    # RFC 3986 lets a port be empty. Browsers write no origin so.
    return _authority(text.removesuffix(":"), origin.scheme) == origin.authority


def _strings(allowed: Sequence[object]) -> list[str]:
    """Return the elements that are text.

    Raises:
        ValueError: one is neither that nor a pattern for text.
    """
    strings = []
    for one in allowed:
        if isinstance(one, str):
            strings.append(one)
        elif not isinstance(one, re.Pattern) or not isinstance(one.pattern, str):
            raise ValueError(f"allowed origin {one!r} is neither text nor a pattern of text")
    return strings


def _checked(text: str) -> str:
    """Return an allowed origin normalised.

    Raises:
        ValueError: it is none.
    """
    where = f"allowed origin {text!r}"
    _, has_scheme, rest = text.partition("://")
    if "*" in text:
        raise ValueError(
            f"{where}: '*' stands alone, for all; for some hosts give a pattern, such as"
            r" re.compile(r'https://[a-z0-9-]+\.example\.com')"
        )
    if not has_scheme:
        raise ValueError(f"{where} has no scheme: {_FORM}")
    if "/" in rest:
        raise ValueError(f"{where} has a path, or a slash at its end: {_FORM}")
    origin = parse_origin(text.encode(errors="replace"))
    if origin is None:
        raise ValueError(f"{where} is no origin: {_FORM}; what IDNA lacks is written in punycode")
    return str(origin)


def _shown(raw: bytes) -> str:
    """Return the start of a header's value as harmless text."""
    text = ascii(raw[:_SHOWN_BYTES].decode("latin-1"))
    return text if len(raw) <= _SHOWN_BYTES else f"{text}..."
