"""Owns where clients connect to and from: the target's address, and sources so that ports suffice.

It opens no connection and knows no WebSocket frame.
"""

import itertools
import os
import random
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

_PORTS = {"ws": 80, "wss": 443}
_ALIASES = {"http": "ws", "https": "wss"}
_LAST_SOURCE = 250


class TargetError(Exception):
    """The address cannot be tested; the text says why."""


class Target:
    """A server, as `--host` names it.

    Attributes:
        url: without a slash at its end.
        authority: what goes into the Host header.
        tls: None for ws://.
    """

    def __init__(self, host: str, *, is_verified: bool = True, authorities: str = "") -> None:
        """Read the address.

        Args:
            host: ws://host:port or wss://host:port; http:// and https:// mean the same.
            is_verified: whether a certificate has to be good.
            authorities: a file with those that are trusted; empty: the system's.

        Raises:
            TargetError: that is no address.
        """
        try:
            parts = urlsplit(host)
            port = parts.port
        except ValueError as error:
            raise TargetError(f"{host} is no address: {error}") from None
        scheme = _ALIASES.get(parts.scheme, parts.scheme)
        if scheme not in _PORTS or not parts.hostname or port == 0:
            raise TargetError(f"{host!r} is no address; give it as in ws://127.0.0.1:8000")
        self.host = parts.hostname
        self.port = port or _PORTS[scheme]
        self.prefix = parts.path.rstrip("/")
        bare = f"[{self.host}]" if ":" in self.host else self.host
        self.authority = bare if self.port == _PORTS[scheme] else f"{bare}:{self.port}"
        self.url = f"{scheme}://{self.authority}{self.prefix}"
        self.tls = _tls(is_verified, authorities) if scheme == "wss" else None
        self._places: list[tuple[int, tuple[object, ...]]] = []
        self._next_place = 0
        self._sources: Iterator[str] | None = None

    def resolve(self) -> None:
        """Look the host up; once is enough.

        Raises:
            TargetError: it has no address.
        """
        if self._places:
            return
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError as error:
            reason = error.strerror or error
            raise TargetError(f"the host {self.host} has no address: {reason}") from None
        # IPv4 first: only there has loopback more than one source address.
        found.sort(key=lambda place: place[0] != socket.AF_INET)
        family = found[0][0]
        self._places = [(family, place[4]) for place in found if place[0] == family]
        if str(self._places[0][1][0]).startswith("127."):
            self._sources = _loopback_sources()

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine, so that clients can come from many addresses.

        Raises:
            TargetError: it has no address.
        """
        self.resolve()
        return self._sources is not None

    def place(self) -> tuple[int, tuple[object, ...]]:
        """Return the family and the address for the next connection, by turns."""
        self.resolve()
        self._next_place = (self._next_place + 1) % len(self._places)
        return self._places[self._next_place]

    def source(self) -> str | None:
        """Return the address that the next connection comes from; None: the kernel's choice.

        A pair of addresses has some 28,000 ports, so loopback needs more than one pair. Other hosts
        see this machine's own addresses, which we do not know.
        """
        return next(self._sources) if self._sources is not None else None


def _loopback_sources() -> Iterator[str]:
    addresses = [f"127.0.0.{last}" for last in range(2, _LAST_SOURCE + 1)]
    # Processes begin at different ones.
    first = random.Random(os.getpid()).randrange(len(addresses))
    return itertools.cycle(addresses[first:] + addresses[:first])


def _tls(is_verified: bool, authorities: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=authorities or None)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or error
        raise TargetError(f"{authorities} has no certificates of authorities: {reason}") from None
    if not is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
