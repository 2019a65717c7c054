"""Owns whom a proxy in front speaks for: client address and scheme; knows no route.

Every client can send X-Forwarded-For and X-Forwarded-Proto. So they count only if the peer is a
proxy that was named as trusted, and only as far back as each hop is one.
"""

import re
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from server.handshake import Scope

MAX_HOPS = 50
"""Elements of X-Forwarded-For that are looked at, from its end."""

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Headers = Iterable[tuple[bytes, bytes]]

# As HAProxy, Azure and others write them: with a port, and IPv6 then in brackets.
_WITH_PORT = re.compile(rb"(?:\[([0-9A-Fa-f]*:[0-9A-Fa-f:.]*)\]|([0-9.]+))(?::[0-9]{1,5})?")
_BARE_V6 = re.compile(rb"[0-9A-Fa-f:.]+")
_FOR_WEBSOCKET = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_FOR_HTTP = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_PEER = "switchboard.peer"


class TrustedProxies:
    """The proxies whose word counts; by default there are none.

    Args:
        networks: addresses such as "10.0.0.7" and networks such as "10.0.0.0/8" or "fd00::/8".

    Raises:
        ValueError: one is neither, or a lone string was given; the message names it.
    """

    def __init__(self, networks: Iterable[str] = ()) -> None:
        if isinstance(networks, str):
            raise ValueError(f"trusted proxies must be a list, such as [{networks!r}]")
        self._networks = tuple(_network(text) for text in networks)

    @property
    def networks(self) -> tuple[Network, ...]:
        """Where they are."""
        return self._networks

    def client_of(self, peer_host: str, headers: Headers) -> tuple[str, str | None]:
        """Return the client's address and the scheme it used, as far as that can be believed.

        X-Forwarded-For is read from its end, where the nearest proxy has added to it. The first
        address that is no trusted proxy is the client, or the farthest if all are. Anything that is
        no address ends the search: what is beyond it may be an attacker's invention.

        Args:
            peer_host: the other end of the connection.
            headers: as the ASGI scope has them, names in lower case.

        Returns:
            Addresses in their canonical form (a peer that has none stays as it is), and "http",
            "https", "ws", "wss", or None if nothing was told.
        """
        peer = _peer(peer_host)
        if peer is None:
            return peer_host, None
        if not self._trusts(peer):
            return str(peer), None
        headers = list(headers)
        return str(self._client(peer, headers)), _scheme(headers)

    def _client(self, client: Address, headers: Headers) -> Address:
        for element in _from_the_end(headers, b"x-forwarded-for"):
            address = _address(element)
            if address is None:
                break
            client = address
            if not self._trusts(client):
                break
        return client

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def one_client(host: str) -> str:
    """Return what stands for a client in counts: its address, or of IPv6 its network.

    A host, and often a home, has a /64 to itself (RFC 6177): it is no 2^64 clients.
    """
    address = _plain(host)
    if address is None:
        return host
    if address.version == 4:
        return str(address)  # also if it was written as IPv6
    return str(IPv6Network((int(address), 64), strict=False))


def rewrite(scope: Scope, proxies: TrustedProxies) -> None:
    """Put the client that a trusted proxy speaks for, and its scheme, into an ASGI scope.

    The peer then is in `scope["switchboard.peer"]`. Nothing is touched if nothing was told, or by
    a second call.
    """
    peer = scope.get("client")
    if not peer or _PEER in scope:
        return
    host = str(peer[0])
    address, scheme = proxies.client_of(host, scope["headers"])
    own = _peer(host)
    has_client = own is not None and address != str(own)
    if not has_client and scheme is None:
        return
    scope[_PEER] = peer
    if has_client:
        scope["client"] = (address, 0)
    if scheme is not None:
        schemes = _FOR_WEBSOCKET if scope["type"] == "websocket" else _FOR_HTTP
        scope["scheme"] = schemes[scheme]


def _network(text: str) -> Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ValueError(f"trusted proxy {text!r} is no address and no network: {error}") from None
    # Addresses are compared as IPv4 where they can be, so networks have to be, too.
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - 96))
    return network


def _plain(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _peer(host: str) -> Address | None:
    return _plain(host.partition("%")[0])  # a zone is this machine's own name for a link


def _address(element: bytes) -> Address | None:
    """Return the address that an element of X-Forwarded-For is, or None."""
    found = _WITH_PORT.fullmatch(element)
    if found is not None:
        text = found[1] or found[2]
    elif _BARE_V6.fullmatch(element):
        text = element
    else:
        return None
    return _plain(text.decode())


def _from_the_end(headers: Headers, name: bytes) -> Iterator[bytes]:
    """Yield the last elements of a list that may be spread over several header lines."""
    lines = [value for key, value in headers if key == name]
    left = MAX_HOPS
    for line in reversed(lines):
        elements = line.rsplit(b",", MAX_HOPS)
        for element in reversed(elements[-MAX_HOPS:]):
            if left == 0:
                return
            left -= 1
            yield element.strip(b" \t")


def _scheme(headers: Headers) -> str | None:
    """Return the scheme that the nearest proxy has told of; those before it may be invented."""
    for element in _from_the_end(headers, b"x-forwarded-proto"):
        scheme = element.lower().decode("latin-1")
        return scheme if scheme in _FOR_HTTP else None
    return None
