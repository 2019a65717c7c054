"""Owns the listening sockets: one for each worker index, all on one port; knows no protocol.

The supervisor keeps them open, so a connection that the kernel has queued outlives the worker that
was to take it. What is set here is inherited by every accepted socket.
"""

import socket
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ListenerOptions:
    """How sockets are made.

    Attributes:
        backlog: handshakes that the kernel may queue for each socket.
        dead_peer_timeout_s: how long a peer that answers nothing, not even the kernel's probes, is
            kept; whole seconds are what the kernel counts in. None keeps it as the machine does.
    """

    backlog: int
    dead_peer_timeout_s: float | None = None


def reserve(host: str, port: int) -> socket.socket:
    """Return a socket that holds the port without taking connections.

    While no worker can serve, peers are refused at once and no other program gets the port.
    """
    return _bound(host, port)


def listen(host: str, port: int, options: ListenerOptions) -> socket.socket:
    """Return a listening socket that shares the port; the kernel spreads connections evenly."""
    listener = _bound(host, port)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if options.dead_peer_timeout_s is not None:
        _notice_dead_peers(listener, options.dead_peer_timeout_s)
    listener.listen(options.backlog)
    return listener


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((host, port))
    return bound


def _notice_dead_peers(listener: socket.socket, timeout_s: float) -> None:
    """Have the kernel end connections whose peer has vanished (tcp(7)).

    Idle ones by keepalive: silent for about half the time, then probes for the rest. Ones being
    sent to by TCP_USER_TIMEOUT, which bounds how long data may stay unacknowledged.
    """
    probes = 4
    interval_s = max(int(timeout_s / 2 / probes), 1)
    idle_s = max(int(timeout_s) - probes * interval_s, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle_s)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval_s)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, probes)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(timeout_s * 1000))
