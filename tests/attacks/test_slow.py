"""Peers that take their time: of a handshake, a frame, a message, or for ever. All at once.

The host gives up half a handshake after 5 s, without a word. A connection lasts as long as its
limits let it, however slowly its bytes come: what is no whole message is none.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from tests.attacks.arena import Arena, Attack
from tests.attacks.facts import IDLE_S, LIFETIME_S
from tests.attacks.keys import token
from tests.server.auth.tokens import now
from tests.support.processes import wait_until
from tests.support.raw import Close, Ended, Op, RawClient, frame, handshake_request

pytestmark = pytest.mark.e2e

HANDSHAKE_S = 5.0
LATE_S = 2.0  # that anything may be on a busy machine
HALF_OPEN = 200
IDLE, OVER, EXPIRED = (
    Close(4001, "Not Heard Of"),
    Close(4004, "Lifetime Over"),
    Close(4003, "Token Expired"),
)


@dataclass
class Slow:
    """One of the slow peers, in a thread of its own.

    Attributes:
        act: talks to the server, and returns what came of it.
        seen: that; or what went wrong.
        took_s: how long it was.
    """

    act: Callable[[Attack], object]
    seen: object = None
    took_s: float = 0.0
    thread: threading.Thread = field(init=False)

    def start(self, attack: Attack) -> None:
        self.thread = threading.Thread(target=self._run, args=(attack,))
        self.thread.start()

    def _run(self, attack: Attack) -> None:
        started_s = time.monotonic()
        try:
            self.seen = self.act(attack)
        except Exception as error:
            self.seen = error
        self.took_s = time.monotonic() - started_s


def ends(client: RawClient) -> str:
    """Wait until the server lets go, and say how; it may not say anything before."""
    data = b""
    try:
        while True:
            data += client._receive(time.monotonic() + HANDSHAKE_S + LATE_S)
    except Ended as ended:
        assert data == b""
        return str(ended)


def trickle(client: RawClient, pieces: list[bytes], pause_s: float) -> None:
    """Send one piece after the other, until the end or until the server has ended."""
    for piece in pieces:
        try:
            client.send(piece)
        except OSError:
            return
        time.sleep(pause_s)


def bytes_of(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def in_background(client: RawClient, pieces: list[bytes], pause_s: float) -> None:
    threading.Thread(target=trickle, args=(client, pieces, pause_s), daemon=True).start()


# -- handshakes --------------------------------------------------------------------------------

REQUEST = handshake_request("/echo")


def nothing_at_all(attack: Attack) -> str:
    return ends(attack.client())


def all_but_the_last_line(attack: Attack) -> str:
    client = attack.client()
    client.send(REQUEST[:-2])
    return ends(client)


def a_byte_a_second(attack: Attack) -> str:
    client = attack.client()
    in_background(client, bytes_of(REQUEST)[:8], 1.0)
    return ends(client)


def a_header_now_and_then(attack: Attack) -> str:
    client = attack.client()
    lines = [b"X-%d: a\r\n" % number for number in range(20)]
    in_background(client, [REQUEST[:-2], *lines], 0.4)
    return ends(client)


def nothing_after_a_refusal(attack: Attack) -> str:
    client, response = attack.handshake("/secret")
    assert response.status == 401
    return ends(client)


def bytes_one_by_one(attack: Attack) -> str:
    client = attack.client()
    client.send_slowly(REQUEST)
    attack.note("/echo", client.read_response().status)
    client.send_slowly(frame(Op.TEXT, b"slow"))
    return client.read_text()


def pieces_over_three_seconds(attack: Attack) -> str:
    client = attack.client()
    size = len(REQUEST) // 6
    trickle(client, [REQUEST[at : at + size] for at in range(0, len(REQUEST), size)], 0.5)
    attack.note("/echo", client.read_response().status)
    client.send_text("slow")
    return client.read_text()


def half_open(attack: Attack) -> str:
    """So many that go no further; meanwhile others get in, and then all are let go of."""
    clients = [attack.client() for _ in range(HALF_OPEN)]
    for number, client in enumerate(clients):
        client.send(REQUEST[: number % len(REQUEST)])
    attack.connect("/echo")
    (ended,) = {ends(client) for client in clients}
    return ended


# -- messages ----------------------------------------------------------------------------------


def a_frame_byte_by_byte(attack: Attack) -> str:
    client = attack.connect("/echo")
    trickle(client, bytes_of(frame(Op.TEXT, b"slow")), 0.4)
    return client.read_text()


def closed_by(pieces: list[bytes], pause_s: float) -> Callable[[Attack], object]:
    """Return a peer that sends those on a route for which silence has an end."""

    def act(attack: Attack) -> Close | None:
        client = attack.connect("/idle")
        in_background(client, pieces, pause_s)
        return client.next_close(IDLE_S + LATE_S)

    return act


def a_message_now_and_then(attack: Attack) -> str:
    client = attack.connect("/idle")
    trickle(client, [frame(Op.TEXT, b"x")] * 6, IDLE_S / 3)
    return "".join(client.read_text() for _ in range(6))


def too_long(attack: Attack) -> Close | None:
    client = attack.connect("/lifetime")
    in_background(client, [frame(Op.TEXT, b"x")] * 40, 0.1)
    return client.next_close(LIFETIME_S + LATE_S)


def with_a_token_that_expires(attack: Attack) -> Close | None:
    made = token({"exp": now(3)})
    client = attack.connect("/short", [f"Authorization: Bearer {made}"])
    assert json.loads(client.read_text())[0] == "ada"
    in_background(client, [frame(Op.TEXT, b"x")] * 40, 0.1)
    return client.next_close(3 + LATE_S)


PART = frame(Op.TEXT, b"a", fin=False)
MORE = frame(Op.CONTINUATION, b"a", fin=False)
TABLE: dict[str, tuple[Callable[[Attack], object], object, float]] = {
    # what it does: it, what it sees, after how many seconds at the earliest
    "nothing at all": (nothing_at_all, "end", HANDSHAKE_S),
    "all but the last line": (all_but_the_last_line, "end", HANDSHAKE_S),
    "a byte a second": (a_byte_a_second, "end", HANDSHAKE_S),
    "a header now and then": (a_header_now_and_then, "end", HANDSHAKE_S),
    "nothing after a refusal": (nothing_after_a_refusal, "end", HANDSHAKE_S),
    "many half-open handshakes": (half_open, "end", HANDSHAKE_S),
    "bytes one by one": (bytes_one_by_one, "slow", 0),
    "pieces over three seconds": (pieces_over_three_seconds, "slow", 3),
    "a frame byte by byte": (a_frame_byte_by_byte, "slow", 4),
    "a byte a second of a frame": (closed_by(bytes_of(PART), 1.0), IDLE, IDLE_S),
    "fragments without an end": (closed_by([PART] + [MORE] * 40, 0.1), IDLE, IDLE_S),
    "pings alone": (closed_by([frame(Op.PING)] * 40, 0.1), IDLE, IDLE_S),
    "silence": (closed_by([], 0), IDLE, IDLE_S),
    "a message now and then": (a_message_now_and_then, "xxxxxx", 2 * IDLE_S),
    "messages for too long": (too_long, OVER, LIFETIME_S),
    "a token that expires": (with_a_token_that_expires, EXPIRED, 2),
}


def test_slow_peers(arena: Arena) -> None:
    """Each sees what the docs say, in time; in the end no descriptor is left."""
    with arena.attack(memory_mib=64) as attack:
        files = arena.books().files
        peers = {name: Slow(act) for name, (act, _, _) in TABLE.items()}
        for peer in peers.values():
            peer.start(attack)
        for peer in peers.values():
            peer.thread.join()
        seen = {name: peer.seen for name, peer in peers.items()}
        # A byte that comes when the server ends a handshake has the kernel answer with a reset.
        slowest = "a byte a second"
        seen[slowest] = "end" if seen[slowest] == "reset" else seen[slowest]
        assert seen == {name: expected for name, (_, expected, _) in TABLE.items()}
        for name, (_, _, least_s) in TABLE.items():
            # Deadlines are looked at four times a second, and silence is known to a second.
            assert least_s - 1 < peers[name].took_s < least_s + LATE_S, name
        for limit, count in (("idle", 4), ("lifetime", 1)):
            attack.limits(f"/{limit}", limit, count)
    wait_until(lambda: arena.books().files <= files, message="all descriptors are released")
