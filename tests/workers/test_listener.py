"""The listening sockets, on real ones."""

import socket
from contextlib import closing

import pytest

from workers.listener import ListenerOptions, listen, reserve

OPTIONS = ListenerOptions(backlog=64, dead_peer_timeout_s=8)


def port_of(bound: socket.socket) -> int:
    port: int = bound.getsockname()[1]
    return port


def test_a_reserved_port_refuses_until_somebody_listens() -> None:
    with closing(reserve("127.0.0.1", 0)) as held:
        port = port_of(held)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1)
        with closing(listen("127.0.0.1", port, OPTIONS)):
            socket.create_connection(("127.0.0.1", port), 1).close()


def test_connections_are_spread_over_the_sockets_of_a_port() -> None:
    with (
        closing(listen("127.0.0.1", 0, OPTIONS)) as first,
        closing(listen("127.0.0.1", port_of(first), OPTIONS)) as second,
    ):
        peers = [socket.create_connection(first.getsockname(), 1) for _ in range(30)]
        taken = {}
        for name, listener in (("first", first), ("second", second)):
            listener.setblocking(False)
            taken[name] = 0
            try:
                while True:
                    listener.accept()[0].close()
                    taken[name] += 1
            except BlockingIOError:
                pass
        for peer in peers:
            peer.close()
    assert sum(taken.values()) == len(peers)
    assert all(taken.values())


def test_accepted_sockets_inherit_what_finds_dead_peers() -> None:
    with (
        closing(listen("127.0.0.1", 0, OPTIONS)) as listener,
        closing(socket.create_connection(listener.getsockname(), 1)),
        closing(listener.accept()[0]) as accepted,
    ):
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        tcp = {
            name: accepted.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))
            for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
        }
    assert tcp == {
        "TCP_KEEPIDLE": 4,
        "TCP_KEEPINTVL": 1,
        "TCP_KEEPCNT": 4,
        "TCP_USER_TIMEOUT": 8000,
    }


def test_an_ipv6_address_is_fine() -> None:
    try:
        held = reserve("::1", 0)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    held.close()
