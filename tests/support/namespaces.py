"""Owns two networks of their own with a cable between them, and the ways to cut it; Linux, root.

A network namespace here has no name and no file: it lives as long as this process holds its
descriptor, so nothing is left behind even if the tests are killed. The kernel keeps the namespace
per thread: `entered` moves the calling thread there and back. Sockets and processes that are made
meanwhile belong to it for good.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

SERVER_ADDRESS = "10.0.0.1"  # nobody outside of the two networks can see them
CLIENT_ADDRESS = "10.0.0.2"
_SERVER_END, _CLIENT_END = "server-end", "client-end"
_CLONE_NEWNET = 0x40000000  # linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)


class NotPermitted(Exception):
    """This process may not make networks, or this machine cannot; with the reason in one line."""


class Namespace:
    """A network with nothing but its loopback, which is down.

    Raises:
        NotPermitted: it cannot be made.
    """

    def __init__(self) -> None:
        with _here() as here:
            if _libc.unshare(_CLONE_NEWNET) != 0:
                raise NotPermitted(f"no network namespace can be made: {_error()} (root can)")
            try:
                self.descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            finally:
                _move(here)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Move the calling thread here while the block runs."""
        with _here() as here:
            _move(self.descriptor)
            try:
                yield
            finally:
                _move(here)

    def ip(self, *arguments: str) -> None:
        """Run ip(8) here."""
        if shutil.which("ip") is None:
            raise NotPermitted("no network can be set up: there is no `ip` (Debian: iproute2)")
        with self.entered():
            done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NotPermitted(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

    def close(self) -> None:
        """Let go of it; it ends with the last process and socket that belong to it."""
        os.close(self.descriptor)


@contextmanager
def _here() -> Iterator[int]:
    descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _move(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise NotPermitted(f"no network namespace can be entered: {_error()}")


def _error() -> str:
    return os.strerror(ctypes.get_errno())


@dataclass(frozen=True)
class Cable:
    """Two networks and the cable between them."""

    server: Namespace
    client: Namespace

    def unplug(self) -> None:
        """Take down the client's end: the server's network has no carrier any more."""
        self.client.ip("link", "set", _CLIENT_END, "down")

    def swallow(self) -> None:
        """Let the client's network drop all that it has to answer; the link stays up."""
        self.client.ip("route", "add", "blackhole", f"{SERVER_ADDRESS}/32")

    def remove(self) -> None:
        """Take the cable away; what is still connected through it never hears of that."""
        self.server.ip("link", "delete", _SERVER_END)


@contextmanager
def cable() -> Iterator[Cable]:
    """Make two networks and a cable between them.

    Raises:
        NotPermitted: they cannot be made.
    """
    with ExitStack() as stack:
        server = Namespace()
        stack.callback(server.close)
        client = Namespace()
        stack.callback(client.close)
        # The path is looked at by another process, `ip`.
        other = f"/proc/{os.getpid()}/fd/{client.descriptor}"
        ends = ("type", "veth", "peer", "name", _CLIENT_END, "netns", other)
        server.ip("link", "add", _SERVER_END, *ends)
        made = Cable(server, client)
        stack.callback(made.remove)
        for network, end, address in (
            (server, _SERVER_END, SERVER_ADDRESS),
            (client, _CLIENT_END, CLIENT_ADDRESS),
        ):
            network.ip("address", "add", f"{address}/30", "dev", end)
            network.ip("link", "set", end, "up")
            network.ip("link", "set", "lo", "up")
        yield made
