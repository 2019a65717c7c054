"""Owns the search for clients that make the host hold more of one message than they may send.

granian takes messages of up to 64 MiB from the network before the app sees anything of them, and
has no option for less (docs/topics/host.md). So a few hundred clients could fill the memory with
messages that they never finish. What a socket has received, and what of it is still unread, the
kernel knows; the difference to what the app has got is what the host holds. To ask for it costs
some microseconds a connection, so it is done only when the memory of the process has grown.
"""

import asyncio
import fcntl
import logging
import os
import socket
import struct
import sys
import termios
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from server.close_codes import CloseCode
from server.draining import Closer
from server.lingering import Sockets
from server.states import WebSocketState

if TYPE_CHECKING:
    from server.connection import Connection
    from server.runtime import AppRuntime

log = logging.getLogger("switchboard.connection")

INTERVAL_S = 0.1
GROWTH_BYTES = 32 << 20  # that is nothing to worry about
CONNECTION_BYTES = 200_000  # what the host takes for each, with its read buffer
SLACK_BYTES = 512 << 10  # the host's read buffer, and what has come since the app looked
HANDSHAKE_BYTES = 128 << 10  # at most
# What the kernel counts and the app does not: headers, of fragments too, and pings. A client that
# is more wasteful than this may be taken for one that hoards, after a long time.
MESSAGE_BYTES = 64
FRAGMENTS_SHARE = 32  # of the payload, one part in so many
PING_BYTES_PER_S = 256
_RECEIVED = struct.Struct("=Q")
_RECEIVED_AT = 128  # tcpi_bytes_received in struct tcp_info (linux/tcp.h)
_LOOKS_A_TURN = 200


@asynccontextmanager
async def watching(runtime: "AppRuntime") -> AsyncIterator[None]:
    """Look out for such clients until the block ends; only Linux tells what it takes."""
    if not sys.platform.startswith("linux"):
        yield
        return
    watch = asyncio.create_task(_watch(runtime, resident_bytes))
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.wait([watch])


async def _watch(runtime: "AppRuntime", memory: Callable[[], int]) -> None:
    calm, connections = memory(), len(runtime.running)
    while True:
        await asyncio.sleep(INTERVAL_S)
        now, running = memory(), len(runtime.running)
        expected = calm + max(0, running - connections) * CONNECTION_BYTES
        if now < calm:
            calm, connections = now, running
        elif now > expected + GROWTH_BYTES:
            try:
                found = await close_hoarders(runtime)
            except Exception:
                log.exception("looking for unfinished messages failed")
                found = 0
            if not found:
                calm, connections = now, running


async def close_hoarders(runtime: "AppRuntime") -> int:
    """Close with 1009 who has sent more of an unfinished message than the limit; how many."""
    sockets = Sockets()
    await sockets.look()
    closer = Closer(CloseCode.MESSAGE_TOO_BIG, "an unfinished message is over the limit")
    found = 0
    for count, ws in enumerate([*runtime.running]):
        if count % _LOOKS_A_TURN == 0:
            await asyncio.sleep(0)
        if ws.state is not WebSocketState.CONNECTED:
            continue
        held = _held_bytes(ws, sockets)
        if held > ws.max_message_size + SLACK_BYTES:
            found += 1
            ws.limited("message_size")
            closer.close([ws])
    await closer.finish()
    return found


def _held_bytes(ws: "Connection", sockets: Sockets) -> int:
    """Return how much of what a client has sent the host holds, at least."""
    descriptor = sockets.duplicate(ws.peer)
    if descriptor is None:
        return 0
    with descriptor:
        received = received_bytes(descriptor)
        unread = unread_bytes(descriptor)
    return received - unread - _expected_bytes(ws)


def _expected_bytes(ws: "Connection") -> int:
    assert ws.entry is not None, "it was accepted"
    payload = ws.bytes_received + ws.bytes_received // FRAGMENTS_SHARE
    pings = int((time.monotonic() - ws.entry.entered_s) * PING_BYTES_PER_S)
    return HANDSHAKE_BYTES + payload + ws.messages_received * MESSAGE_BYTES + pings


def received_bytes(connection: socket.socket) -> int:
    """Return how many bytes the peer has sent that have come; 0 if the kernel does not tell."""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        return int(_RECEIVED.unpack_from(info, _RECEIVED_AT)[0])
    except (OSError, struct.error):
        return 0


def unread_bytes(connection: socket.socket) -> int:
    """Return how many of them nobody has read yet."""
    try:
        answer = fcntl.ioctl(connection, termios.FIONREAD, b"\0" * 4)
    except OSError:
        return 0
    return int.from_bytes(answer, sys.byteorder)


def resident_bytes() -> int:
    """Return the memory of this process that is in RAM."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
