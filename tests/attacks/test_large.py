"""Messages that are too large, in one frame and in many, with and without an end.

The host (granian) refuses a frame over 16 MiB by its header, and a message over 64 MiB when it has
that much of it: both are closed with 1002. What is between those and `max_message_size` is read,
and closed with 1009; before it is whole, if the worker grows of it (docs/topics/limits.md).
"""

import threading
import time
from collections.abc import Iterable, Iterator

import pytest

from tests.attacks.arena import MEMORY_MIB, Arena
from tests.attacks.facts import MAX_MESSAGE
from tests.support.raw import Close, Op, RawClient, connect, frame

pytestmark = pytest.mark.e2e

MIB = 1 << 20
FRAME_MIB, MESSAGE_MIB = 16, 64  # what the host takes
UNMASKED = bytes(4)  # a mask of zeros leaves the payload as it is
FAULT = Close(1002, "invalid or oversized frame")


UNFINISHED = Close(1009, "an unfinished message is over the limit")


def too_big(size: int) -> Close:
    return Close(1009, f"message of {size} bytes, limit {MAX_MESSAGE}")


def send_all(client: RawClient, parts: Iterable[bytes]) -> None:
    """Send until the server does not want more; what it has said can still be read."""
    try:
        for part in parts:
            client.send(part)
    except ConnectionError:
        pass


def in_one(size_mib: int, opcode: Op = Op.BINARY) -> Iterator[bytes]:
    """Yield one frame of that size, in pieces."""
    yield frame(opcode, length=size_mib * MIB, mask=UNMASKED)
    for _ in range(size_mib):
        yield bytes(MIB)


def in_frames(total: int, each: int, *, fin: bool = True) -> Iterator[bytes]:
    """Yield a message in frames of `each` bytes; without `fin`, one that does not end there."""
    yield frame(Op.BINARY, fin=False, mask=UNMASKED)
    more = frame(Op.CONTINUATION, bytes(each), fin=False, mask=UNMASKED)
    at_once = max(1, MIB // len(more))
    count = total // each
    while count > 0:
        yield more * min(at_once, count)
        count -= at_once
    if fin:
        yield frame(Op.CONTINUATION, mask=UNMASKED)


@pytest.mark.parametrize("size_mib", [100, FRAME_MIB + 1])
@pytest.mark.parametrize("opcode", [Op.TEXT, Op.BINARY])
def test_a_frame_over_what_the_host_takes(arena: Arena, size_mib: int, opcode: Op) -> None:
    """Its header is enough: nothing of the rest is kept."""
    with arena.attack() as attack:
        client = attack.connect("/bytes")
        send_all(client, in_one(size_mib, opcode))
        assert client.next_close() == FAULT


@pytest.mark.parametrize("length", [1 << 32, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_a_length_that_no_machine_can_hold(arena: Arena, length: int) -> None:
    with arena.attack() as attack:
        client = attack.connect("/bytes")
        client.send(frame(Op.BINARY, length=length))
        assert client.next_close() == FAULT


@pytest.mark.parametrize("size_mib", [2, FRAME_MIB])
def test_a_frame_over_the_limit_of_the_route(arena: Arena, size_mib: int) -> None:
    """It is read, in the buffer of the host and as a message, and then refused."""
    with arena.attack(memory_mib=MEMORY_MIB + 3 * size_mib) as attack:
        client = attack.connect("/bytes")
        send_all(client, in_one(size_mib))
        assert client.next_close() == too_big(size_mib * MIB)
        attack.limits("/bytes", "message_size")


@pytest.mark.parametrize("each", [1, 1024, MIB])
def test_two_mib_in_fragments(arena: Arena, each: int) -> None:
    """In two million of them, too: they cost their sender more than the server."""
    with arena.attack() as attack:
        client = attack.connect("/bytes")
        send_all(client, in_frames(2 * MIB, each))
        assert client.next_close() == too_big(2 * MIB)
        attack.limits("/bytes", "message_size")


def test_twenty_mib_in_fragments(arena: Arena) -> None:
    with arena.attack(memory_mib=MEMORY_MIB + 3 * 20) as attack:
        client = attack.connect("/bytes")
        send_all(client, in_frames(20 * MIB, MIB))
        assert client.next_close() in (too_big(20 * MIB), UNFINISHED)
        attack.limits("/bytes", "message_size")


@pytest.mark.parametrize("each", [1024, MIB, 10 * MIB])
def test_fragments_without_end(arena: Arena, each: int) -> None:
    """There is an end to what is kept of them: the host's, or sooner that of the worker."""
    with arena.attack(memory_mib=MEMORY_MIB + 2 * MESSAGE_MIB) as attack:
        client = attack.connect("/bytes")
        send_all(client, in_frames((MESSAGE_MIB + 6) * MIB, each, fin=False))
        close = client.next_close()
        assert close in (FAULT, UNFINISHED)
        if close == UNFINISHED:
            attack.limits("/bytes", "message_size")


def test_empty_fragments_without_end(arena: Arena) -> None:
    """Two million of them come to nothing."""
    with arena.attack() as attack:
        client = attack.connect("/bytes")
        more = frame(Op.CONTINUATION, fin=False, mask=UNMASKED) * 100_000
        client.send(frame(Op.BINARY, b"a", fin=False))
        for _ in range(20):
            client.send(more)
        client.send(frame(Op.CONTINUATION, b"b"))
        assert client.read_bytes() == b"ab"


def test_many_who_hoard(arena: Arena) -> None:
    """Ten send 40 MiB each of a message: the workers look ten times a second, and close who does.

    What came in between is the bound. Who has got through with all of it is closed at its end.
    """
    with arena.attack(memory_mib=256) as attack:
        clients = [attack.connect("/bytes") for _ in range(10)]
        closes: list[Close | None] = []

        def hoard(client: RawClient) -> None:
            for part in in_frames(40 * MIB, MIB):
                send_all(client, [part])
                time.sleep(0.02)
            closes.append(client.next_close())

        threads = [threading.Thread(target=hoard, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(closes) == len(clients)
        # One that goes on sending may be cut off before it reads.
        assert UNFINISHED in closes
        assert set(closes) <= {UNFINISHED, too_big(40 * MIB), None}
        attack.limits("/bytes", "message_size", len(clients))
        # One whose message ends while it is being closed has both said of it.
        attack.may_limit("/bytes", "message_size", len(clients))


def test_memory_of_what_was_not_finished_comes_back(arena: Arena) -> None:
    """Ten who leave, one after the other, in the middle of a message of 30 MiB."""
    with arena.attack(memory_mib=MEMORY_MIB + 2 * 30) as attack:
        for _ in range(10):
            client = attack.connect("/bytes")
            send_all(client, in_frames(30 * MIB, MIB, fin=False))
            client.reset()
        attack.may_limit("/bytes", "message_size", 10)


def test_large_messages_from_many_at_once(arena: Arena) -> None:
    """Each of ten sends 8 MiB; the memory for it is that of their messages."""
    with arena.attack(memory_mib=MEMORY_MIB + 3 * 80) as attack:
        clients = [attack.connect("/bytes") for _ in range(10)]
        parts = [in_one(8) for _ in clients]
        for _ in range(9):
            for client, part in zip(clients, parts, strict=True):
                send_all(client, [next(part)])
        for client in clients:
            assert client.next_close() in (too_big(8 * MIB), UNFINISHED)
        attack.limits("/bytes", "message_size", len(clients))


def test_control_frames_between_fragments(arena: Arena) -> None:
    """10,000 pings and pongs inside of a message: each ping is answered, and the message whole."""
    count = 10_000
    with arena.attack() as attack:
        client = attack.connect("/echo")
        client.send(frame(Op.TEXT, b"a", fin=False))
        between = frame(Op.PING, b"p") + frame(Op.PONG, b"q")
        client.send((between + frame(Op.CONTINUATION, b"b", fin=False)) * count)
        client.send(frame(Op.CONTINUATION, b"c"))
        for _ in range(count):
            assert client.read_pong() == b"p"
        assert client.read_text() == "a" + "b" * count + "c"


@pytest.mark.parametrize(
    "data",
    [
        frame(Op.TEXT, b"a", fin=False) + frame(Op.BINARY, b"b"),
        frame(Op.CONTINUATION, b"a"),
        frame(Op.PING, b"a" * 126),
        frame(Op.PING, length=1 << 40),
        frame(Op.CLOSE, length=1 << 30),
        frame(Op.PING, b"a", fin=False),
        frame(Op.TEXT, b"a", masked=False),
        frame(Op.TEXT, b"\xff" * MIB, mask=UNMASKED),
        frame(Op.TEXT, b"a", rsv=7),
        frame(15, b"a"),
        b"\xff" * 1000,
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=[
        "a message inside of another",
        "the end of nothing",
        "a ping of 126 bytes",
        "a ping of a TiB",
        "a close of a GiB",
        "a part of a ping",
        "no mask",
        "a MiB that is no UTF-8",
        "reserved bits",
        "a reserved opcode",
        "nothing but ones",
        "HTTP",
    ],
)
def test_frames_that_are_none(arena: Arena, data: bytes) -> None:
    with arena.attack() as attack:
        client = attack.connect("/echo")
        send_all(client, [data])
        assert client.next_close() == FAULT


def test_compression_is_not_offered(arena: Arena) -> None:
    """So no bomb can be unpacked; a frame that says it is compressed is a fault."""
    with arena.attack() as attack:
        offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
        client, response = attack.handshake("/echo", [offer])
        assert response.status == 101
        assert "sec-websocket-extensions" not in response.headers
        client.send_frame(Op.TEXT, b"\xaa\x00", rsv=4)
        assert client.next_close() == FAULT


def test_who_stands_by_is_where_the_attacker_is(arena: Arena) -> None:
    """Or else their answers would prove nothing: every worker has a bystander."""
    assert sorted(bystander.worker for bystander in arena.bystanders) == arena.workers
    with connect(arena.port, "/bystander") as client:
        assert int(client.read_text()) in arena.workers
