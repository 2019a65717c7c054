"""The orderly end of a TCP connection whose first descriptor is closed by somebody else."""

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest

from server.lingering import Sockets, end_in_order

WAIT_S = 10.0


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A server's side and its peer's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    peer.settimeout(WAIT_S)
    with ours, peer:
        yield ours, peer


async def found(peer: socket.socket) -> socket.socket:
    sockets = Sockets()
    await sockets.look()
    duplicate = sockets.duplicate(peer.getsockname())
    assert duplicate is not None
    return duplicate


def send_much(peer: socket.socket) -> None:
    for _ in range(64):
        peer.sendall(bytes(1 << 16))


async def test_a_peer_in_the_middle_of_sending_reads_the_last_words(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, peer = pair
    peer.sendall(b"never read")
    with await found(peer) as duplicate:
        ours.sendall(b"last words")
        ours.close()
        ending = asyncio.create_task(end_in_order(duplicate, WAIT_S))
        await asyncio.to_thread(send_much, peer)
        assert peer.recv(100) == b"last words"
        assert peer.recv(100) == b""
        assert not ending.done()
        peer.close()
        async with asyncio.timeout(WAIT_S):
            await ending


async def test_without_it_the_peer_meets_a_reset(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """What the others are for."""
    ours, peer = pair
    peer.sendall(b"never read")
    ours.sendall(b"last words")
    ours.close()
    with pytest.raises(ConnectionError):
        await asyncio.to_thread(send_much, peer)


async def test_a_peer_that_does_not_end_is_waited_for_with_a_bound(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    _, peer = pair
    with await found(peer) as duplicate:
        async with asyncio.timeout(WAIT_S):
            await end_in_order(duplicate, 0.05)


async def test_a_peer_that_is_gone_is_not_waited_for(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    _, peer = pair
    with await found(peer) as duplicate:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
        peer.close()
        async with asyncio.timeout(WAIT_S):
            await end_in_order(duplicate, 60)


async def test_a_descriptor_that_was_used_again_is_not_taken_for_the_old_one(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, peer = pair
    sockets = Sockets()
    await sockets.look()
    number, address = ours.fileno(), peer.getsockname()
    ours.close()
    other, another = socket.socketpair()
    with other, another:
        is_moved = other.fileno() != number
        if is_moved:
            os.dup2(other.fileno(), number)
        assert sockets.duplicate(address) is None
        assert sockets.duplicate(("192.0.2.1", 1)) is None
        assert sockets.duplicate(None) is None
        if is_moved:
            os.close(number)
