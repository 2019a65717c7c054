"""Owns members of a room that only listen: many sockets, read for a fraction of a server's work.

A server that does nothing but to deliver is faster than a client that wakes up for each message and
has a library read it: the kernel takes as long to read one as to send it. Nobody waits for these
members, so several messages are read with one call, and compared as they are.
"""

import asyncio
import os
import select
import socket
from urllib.parse import urlsplit

from benchmarks import wire
from benchmarks.feed import Feed
from benchmarks.traffic import CONNECT_SECONDS, CONNECTING_AT_ONCE, Load, source

_READ_AT_ONCE = 512  # sockets
_READ_BYTES = 4 << 10
_READ_AGAIN_SECONDS = 0.05


class Listener:
    """One of them: how many messages it has, and what it has of the next frame."""

    __slots__ = ("count", "rest", "socket")

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.count = 0
        self.rest = b""


class Listeners:
    """All of them. Each wants every message of the feed, from the first one on that it has seen."""

    def __init__(self, load: Load, feed: Feed) -> None:
        self.members: list[Listener] = []
        self._load = load
        self._feed = feed
        self._by_fd: dict[int, Listener] = {}
        self._poller = select.epoll()
        self._timer: asyncio.TimerHandle | None = None

    async def open(self, url: str, number: int) -> None:
        """Connect so many."""
        slots = asyncio.Semaphore(CONNECTING_AT_ONCE)
        self._read_again()

        async def one(at: int) -> None:
            async with slots, asyncio.timeout(CONNECT_SECONDS):
                await self._connect(url, at)

        await asyncio.gather(*(one(at) for at in range(number)))

    async def _connect(self, url: str, at: int) -> None:
        loop, target = asyncio.get_running_loop(), urlsplit(url)
        sock = socket.socket()
        sock.setblocking(False)
        sock.bind((source(at), 0))
        await loop.sock_connect(sock, (target.hostname, target.port))
        await loop.sock_sendall(sock, wire.request(url))
        received = b""
        while wire.HEAD_END not in received:
            data = await loop.sock_recv(sock, _READ_BYTES)
            if not data:
                raise ConnectionError(f"no handshake: {received[:40]!r}")
            received += data
        if not received.startswith(wire.ACCEPTED):
            raise ConnectionError(f"no handshake: {received[:40]!r}")
        member = self._by_fd[sock.fileno()] = Listener(sock)
        self.members.append(member)
        self._take(member, received.partition(wire.HEAD_END)[2])
        self._poller.register(sock, select.EPOLLIN)

    def _read_again(self) -> None:
        """Read every now and then, for when nobody calls `read`."""
        self.read()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(_READ_AGAIN_SECONDS, self._read_again)

    def read(self) -> None:
        """Read all that has come."""
        while self._read_some() == _READ_AT_ONCE:
            pass

    def _read_some(self) -> int:
        # The hot path: it must cost less than any server's delivery.
        members, recent, remembers = self._by_fd, self._feed.recent_frames, self._feed.remembers
        ready = self._poller.poll(0, _READ_AT_ONCE)
        for fd, _ in ready:
            member = members[fd]
            try:
                data = os.read(fd, _READ_BYTES)
            except OSError:
                data = b""
            count, at = member.count, 0
            if not member.rest:
                while data.startswith(due := recent[count % remembers], at) and due:
                    count, at = count + 1, at + len(due)
                member.count = count
            if not data:
                self._load.fail("the server dropped a connection")
                self._poller.unregister(fd)
            elif at < len(data):
                self._take(member, data[at:])
        return len(ready)

    def _take(self, member: Listener, data: bytes) -> None:
        """Take whatever is not exactly the message that was due."""
        data = member.rest + data
        while frame := wire.first_frame(data):
            opcode, payload, length = frame
            self._take_frame(member, opcode, payload)
            data = data[length:]
        member.rest = data

    def _take_frame(self, member: Listener, opcode: int, payload: bytes) -> None:
        if opcode == wire.TEXT and (count := self._feed.count_after(member.count, payload)):
            member.count = count
        elif opcode == wire.PING:
            member.socket.send(wire.pong(payload))
        elif opcode == wire.CLOSE:
            self._load.fail(f"the server closed with {int.from_bytes(payload[:2], 'big')}")
        else:
            self._load.fail(f"not the message that was due: {payload[:40]!r}")

    def close(self) -> None:
        """Send close frames and go."""
        if self._timer is not None:
            self._timer.cancel()
        self._poller.close()
        for member in self.members:
            try:
                member.socket.send(wire.CLOSE_1000)
            except OSError:
                pass
            member.socket.close()
