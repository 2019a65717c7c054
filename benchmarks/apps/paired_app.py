"""Owns the least that a room of two workers takes on granian: a datagram from one to the other.

Bare ASGI. No server could be made of it: nothing bounds what waits for a slow member or worker, a
worker that starts later knows nothing of the others' members, and there is no order between
publishers, no journal and no count.
"""

import asyncio
import os
import socket
from contextlib import suppress
from pathlib import Path

from benchmarks.apps.granian_app import Event, Receive, Send, echo

_MAX_BYTES = 64 * 1024
_MESSAGE, _OCCUPIED, _EMPTY = b"m", b"+", b"-"  # the first byte of a datagram


class Room:
    """The members in this process, and the other processes that have some."""

    def __init__(self) -> None:
        self._members: set[Send] = set()
        self._others: set[bytes] = set()  # where those with members listen
        # The workers of a server have one parent, and the directory of its logs.
        self._directory = Path(f"paired-{os.getppid()}")
        self._directory.mkdir(exist_ok=True)
        self._own = os.fsencode(self._directory / str(os.getpid()))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(self._own)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    def _read(self) -> None:
        data = self._socket.recv(_MAX_BYTES)
        kind, rest = data[:1], data[1:]
        if kind == _MESSAGE:
            self._deliver(rest.decode())
        elif kind == _OCCUPIED:
            self._others.add(rest)
        else:
            self._others.discard(rest)

    def _deliver(self, text: str) -> None:
        event = {"type": "websocket.send", "text": text}
        for send in tuple(self._members):
            send(event)  # granian has started it

    def publish(self, text: str) -> None:
        """Send a text to all members, of this process and of the others."""
        for other in self._others:
            self._socket.sendto(_MESSAGE + text.encode(), other)
        self._deliver(text)

    def enter(self, send: Send) -> None:
        """Make a connection a member."""
        if not self._members:
            self._tell(_OCCUPIED)
        self._members.add(send)

    def leave(self, send: Send) -> None:
        """End that."""
        self._members.discard(send)
        if not self._members:
            self._tell(_EMPTY)

    def _tell(self, kind: bytes) -> None:
        for path in self._directory.iterdir():
            if (other := os.fsencode(path)) != self._own:
                with suppress(ConnectionRefusedError):  # it has ended
                    self._socket.sendto(kind + self._own, other)


_rooms: list[Room] = []  # this worker's one, once it has started


async def app(scope: Event, receive: Receive, send: Send) -> None:
    """Serve WebSockets on /placed/{role}/{name}, all in one room; refuse whatever else comes."""
    if scope["type"] == "lifespan":
        await receive()
        _rooms.append(Room())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket" and scope["path"] == "/echo":
        await echo(receive, send)  # so that the server can be found ready
    elif scope["type"] == "websocket" and scope["path"].startswith("/placed/"):
        await _placed(_rooms[0], scope["path"].split("/")[2] == "member", receive, send)


async def _placed(room: Room, is_member: bool, receive: Receive, send: Send) -> None:
    """Tell the process, then publish every text; a publisher does not join."""
    await receive()
    await send({"type": "websocket.accept"})
    if is_member:
        room.enter(send)
    await send({"type": "websocket.send", "text": str(os.getpid())})
    while (event := await receive())["type"] == "websocket.receive":
        room.publish(event["text"])
    if is_member:
        room.leave(send)
