"""Owns the orderly end of TCP connections that the host would cut off; knows no WebSocket.

granian lets go of a socket as soon as its close frame is written. To a peer that is still sending,
the kernel then answers with a reset; if the peer meets that before it has read the close frame, it
sees a lost connection (1006). RFC 6455 section 7.1.1 has the server read on until the peer is done.
So a second descriptor of the socket is held meanwhile. The host does not tell which one it has, so
it is looked for by the peer's address: 2 ms for a thousand, too much for each close, but not for
a drain.
"""

import asyncio
import os
import socket

_FILES = "/dev/fd"
_LOOKS_A_TURN = 100  # then the loop goes on with what else it has
_CHUNK_BYTES = 1 << 16


class Sockets:
    """The connected sockets of this process by their peers' addresses, as far as looked for."""

    def __init__(self) -> None:
        self._descriptors: dict[tuple[str, int], int] = {}

    async def look(self) -> None:
        """Look for them (again); the loop is not held up."""
        try:
            names = os.listdir(_FILES)
        except OSError:
            return
        for count, name in enumerate(names):
            if count % _LOOKS_A_TURN == 0:
                await asyncio.sleep(0)
            try:
                found = socket.socket(fileno=int(name))
            except OSError:  # no socket, or closed meanwhile
                continue
            peer = _peer(found)
            if peer is not None:
                self._descriptors[peer] = found.fileno()
            found.detach()

    def duplicate(self, peer: tuple[str, int] | None) -> socket.socket | None:
        """Return a second descriptor of the socket with that peer; None if it is not known."""
        descriptor = self._descriptors.get(peer) if peer is not None else None
        if descriptor is None:
            return None
        try:
            found = socket.socket(fileno=os.dup(descriptor))
        except OSError:
            return None
        if _peer(found) == peer:
            return found
        found.close()  # the number has been used again meanwhile
        return None


def _peer(connection: socket.socket) -> tuple[str, int] | None:
    try:
        address = connection.getpeername()
    except OSError:
        return None
    return address[:2] if isinstance(address, tuple) else None


async def end_in_order(connection: socket.socket, timeout_s: float) -> None:
    """Send nothing more, and drop what comes until the peer ends its side, or for so long."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def discard() -> None:
        try:
            data = connection.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data and not ended.done():
            ended.set_result(None)

    try:
        connection.setblocking(False)
        connection.shutdown(socket.SHUT_WR)
    except OSError:  # the peer is gone
        return
    descriptor = connection.fileno()
    loop.add_reader(descriptor, discard)
    try:
        async with asyncio.timeout(timeout_s):
            await ended
    except TimeoutError:
        return
    finally:
        loop.remove_reader(descriptor)
