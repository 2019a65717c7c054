"""Floods: of handshakes, of messages, of bytes, of pings, of peers that come and go."""

import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest
from wsproto.frame_protocol import Opcode

from tests.attacks.arena import Arena, Attack, detail
from tests.attacks.facts import BURST, BYTES_PER_S, MESSAGES_PER_S
from tests.attacks.keys import token, token_of
from tests.server.auth.tokens import OTHER_SECRET
from tests.support.processes import wait_until
from tests.support.raw import Close, Op, RawClient, Response, frame, handshake_request

pytestmark = pytest.mark.e2e

WORKERS = 2
HANDSHAKES_PER_S = 20
TOO_HASTY = f"The server takes {HANDSHAKES_PER_S} handshakes a second, its limit"
THREADS = 8
UNMASKED = bytes(4)  # a mask of zeros leaves the payload as it is
MIB = 1 << 20
FLOOD_S = 1.0


@pytest.fixture
def hasty(start: Callable[[str], Arena]) -> Arena:
    """A server that takes few handshakes a second."""
    return start("hasty")


def in_threads(act: Callable[[int], None], count: int = THREADS) -> None:
    threads = [threading.Thread(target=act, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Answers:
    """What many attackers at once are answered.

    Attributes:
        statuses: how often each.
    """

    def __init__(self, attack: Attack) -> None:
        self.statuses: Counter[int] = Counter()
        self._attack = attack
        self._lock = threading.Lock()

    def ask(self, path: str, headers: list[str], *, source: str | None = None) -> Response:
        """Make a handshake, and let go of it."""
        with RawClient(self._attack.arena.port, source=source) as client:
            response = client.handshake(path, headers)
            if response.status == 101:
                client.close()
        with self._lock:
            self.statuses[response.status] += 1
            self._attack.note(path, response.status)
        return response


# -- handshakes --------------------------------------------------------------------------------


def test_a_flood_of_handshakes(hasty: Arena) -> None:
    """As many get in as the rate lets, all others are told to come again, and then do."""
    share = HANDSHAKES_PER_S / WORKERS
    started_s = time.monotonic()
    with hasty.attack() as attack:
        answers = Answers(attack)

        def knock(_: int) -> None:
            for _ in range(50):
                response = answers.ask("/echo", [])
                if response.status != 101:
                    assert (response.status, detail(response)) == (503, TOO_HASTY)
                    assert response.headers["retry-after"] == "1"

        in_threads(knock)
        took_s = time.monotonic() - started_s
        assert answers.statuses.total() == answers.statuses[101] + answers.statuses[503]
        # What each worker has at once, what comes meanwhile, and the fraction that it began with.
        assert answers.statuses[101] <= WORKERS * (share + 1) + HANDSHAKES_PER_S * took_s
        assert answers.statuses[503] > 0
        attack.limits("/echo", "handshake_rate", answers.statuses[503])

        refused = 0
        while True:  # a refusal costs no place in the queue
            client, response = attack.handshake("/echo")
            if response.status == 101:
                client.close()
                break
            refused += 1
            time.sleep(1 / HANDSHAKES_PER_S)
        assert refused < 2 * HANDSHAKES_PER_S
        attack.limits("/echo", "handshake_rate", refused)


def test_a_flood_for_no_route_counts_as_well(hasty: Arena) -> None:
    with hasty.attack() as attack:
        statuses: Counter[int] = Counter()
        for _ in range(100):
            _, response = attack.handshake("/nowhere", route="unmatched")
            statuses[response.status] += 1
        assert set(statuses) == {403, 503}
        attack.limits("unmatched", "handshake_rate", statuses[503])


def test_a_flood_of_bad_tokens(arena: Arena) -> None:
    """A thousand, over connections of their own; each is answered, and nobody else waits."""
    bad = [f"Authorization: Bearer {token(key=OTHER_SECRET)}"]
    with arena.attack() as attack:
        answers = Answers(attack)

        def guess(_: int) -> None:
            for _ in range(125):
                response = answers.ask("/secret", bad)
                assert detail(response) == "Invalid token"

        in_threads(guess)
        assert answers.statuses == {401: 1000}


def test_a_view_with_a_limit_of_its_own(arena: Arena) -> None:
    """`@rate_limit` by address: each worker lets its burst in, and other addresses are others."""
    with arena.attack() as attack:
        answers = Answers(attack)
        for _ in range(60):
            response = answers.ask("/by-address", [], source="127.0.7.1")
            if response.status != 101:
                assert (response.status, detail(response)) == (429, "Rate limit exceeded")
                assert int(response.headers["retry-after"]) > 1
                assert response.headers["x-ratelimit-burst"] == str(BURST)
        spoofing = ["X-Forwarded-For: 198.51.100.7", "X-Real-IP: 198.51.100.7"]
        assert answers.ask("/by-address", spoofing, source="127.0.7.1").status == 429
        assert answers.statuses == {101: WORKERS * BURST, 429: 61 - WORKERS * BURST}
        attack.limits("/by-address", "rate_limit", answers.statuses[429])
        assert answers.ask("/by-address", [], source="127.0.7.2").status == 101


def test_a_view_with_a_limit_by_user(arena: Arena) -> None:
    """The address does not help, nor another token of the same user; a bad one costs nobody."""
    with arena.attack() as attack:
        answers = Answers(attack)
        for number in range(60):
            bearer = [f"Authorization: Bearer {token_of('mallory')}"]
            answers.ask("/by-user", bearer, source=f"127.0.8.{number + 1}")
        assert answers.statuses == {101: WORKERS * BURST, 429: 60 - WORKERS * BURST}
        attack.limits("/by-user", "rate_limit", answers.statuses[429])
        forged = [f"Authorization: Bearer {token({'sub': 'ada'}, OTHER_SECRET)}"]
        for _ in range(20):
            assert answers.ask("/by-user", forged).status == 401
        good = [f"Authorization: Bearer {token_of('ada')}"]
        assert answers.ask("/by-user", good).status == 101


def test_peers_that_come_and_go(arena: Arena) -> None:
    """A thousand, with nothing, part of a handshake, or all of it; none of them is left."""
    request = handshake_request("/echo")
    with arena.attack() as attack:
        files = arena.books().files

        def come(number: int) -> None:
            for turn in range(125):
                client = RawClient(arena.port)
                client.send((b"", request[:20], request[:-1], b"\x16\x03\x01")[turn % 4])
                client.reset() if number % 2 else client.drop()

        in_threads(come)
        wait_until(lambda: arena.books().files <= files, message="descriptors are released")
        attack.connect("/echo")


# -- messages ----------------------------------------------------------------------------------


def flood(client: RawClient, data: bytes) -> None:
    """Send as much as is taken: the server may stop reading, or cut the client off."""
    try:
        client.send(data, FLOOD_S)
    except (TimeoutError, ConnectionError):
        pass


def test_a_flood_of_messages(arena: Arena) -> None:
    """Twice as many as a second has may come at once; the next closes."""
    with arena.attack() as attack:
        client = attack.connect("/messages")
        client.send(frame(Op.TEXT, b"x") * 20)
        got = [client.read_text() for _ in range(2 * MESSAGES_PER_S)]
        assert got == ["x"] * 2 * MESSAGES_PER_S
        reason = f"too many messages: the limit is {MESSAGES_PER_S} a second"
        assert client.next_close() == Close(1008, reason)
        attack.limits("/messages", "message_rate")


def test_floods_of_messages_from_many(arena: Arena) -> None:
    """Of 100,000 each, which nobody reads: each is closed, and cut off if it does not stop."""
    data = frame(Op.TEXT, b"x" * 10, mask=UNMASKED) * 100_000
    with arena.attack() as attack:
        clients = [attack.connect("/messages") for _ in range(THREADS)]
        in_threads(lambda number: flood(clients[number], data))
        wait_until(lambda: arena.books().open["/messages"] == 0, message="all are closed")
        attack.limits("/messages", "message_rate", THREADS)


def test_a_flood_of_messages_that_are_dropped(arena: Arena) -> None:
    """The connection lives on; of 2,000 messages those are answered that the rate lets through."""
    sent, answered = 2000, 0
    key = ("/drops", "message_rate")
    with arena.attack() as attack:
        client = attack.connect("/drops")
        before = arena.books().limited[key]
        started_s = time.monotonic()
        client.send(frame(Op.TEXT, b"x") * sent)

        def all_are_handled() -> bool:
            nonlocal answered
            try:
                while client.read_text(0.02):
                    answered += 1
            except TimeoutError:
                pass
            return arena.books().limited[key] - before == sent - answered

        wait_until(all_are_handled)
        at_most = 2 * MESSAGES_PER_S + MESSAGES_PER_S * (time.monotonic() - started_s)
        assert 2 * MESSAGES_PER_S <= answered <= at_most
        attack.limits(*key, sent - answered)
        time.sleep(2 / MESSAGES_PER_S)  # the rate has it that one more may come then
        client.send_text("and then")
        assert client.read_text() == "and then"


def test_a_flood_of_bytes(arena: Arena) -> None:
    with arena.attack() as attack:
        client = attack.connect("/rate-of-bytes")
        for _ in range(2):
            client.send_text("x" * BYTES_PER_S)
            assert len(client.read_text()) == BYTES_PER_S
        client.send_text("x" * BYTES_PER_S)
        reason = f"too many bytes: the limit is {BYTES_PER_S} a second"
        assert client.next_close() == Close(1008, reason)
        attack.limits("/rate-of-bytes", "byte_rate")


def test_a_message_larger_than_the_rate(arena: Arena) -> None:
    """It may go when nothing was used, and is paid off afterwards."""
    key = ("/drops-bytes", "byte_rate")
    with arena.attack() as attack:
        client = attack.connect("/drops-bytes")
        before = arena.books().limited[key]
        client.send_text("x" * 10 * BYTES_PER_S)
        assert len(client.read_text()) == 10 * BYTES_PER_S
        client.send(frame(Op.TEXT, b"y") * 50)
        wait_until(lambda: arena.books().limited[key] - before == 50)
        attack.limits(*key, 50)
        client.ping(b"still there")
        assert client.read_pong() == b"still there"  # and nothing before it


PING = frame(Op.PING, b"x" * 125, mask=UNMASKED)


def test_a_flood_of_pings(arena: Arena) -> None:
    """Each of 100,000 is answered by the host; they are no messages, so no rate counts them."""
    with arena.attack() as attack:
        client = attack.connect("/messages")
        sending = threading.Thread(target=client.send, args=(PING * 100_000,))
        sending.start()
        for _ in range(100_000):
            assert client.read_frame().opcode is Opcode.PONG
        sending.join()
        client.send_text("and then")
        assert client.read_text() == "and then"


def test_a_flood_of_pings_whose_answers_nobody_reads(arena: Arena) -> None:
    """The host keeps every answer, with no bound; the worker that grows of it closes the client."""
    with arena.attack(memory_mib=160) as attack:
        client = attack.connect("/messages")
        data = PING * 8_000
        for _ in range(400):  # of a MiB
            try:
                client.send(data, FLOOD_S)
            except (TimeoutError, ConnectionError):
                break
        else:
            raise AssertionError("400 MiB of pings were taken")
        attack.limits("/messages", "message_size")


def test_a_flood_of_empty_messages_to_one_who_echoes(arena: Arena) -> None:
    """The attacker reads nothing: its answers wait in a window, and then nothing more is read."""
    with arena.attack() as attack:
        client = attack.connect("/echo")
        flood(client, frame(Op.TEXT, b"", mask=UNMASKED) * 100_000)
        client.reset()


def test_a_flood_of_large_messages_to_one_who_echoes(arena: Arena) -> None:
    """64 MiB from each of four who read nothing."""
    data = frame(Op.TEXT, b"x" * MIB, mask=UNMASKED) * 64
    with arena.attack(memory_mib=96) as attack:
        clients = [attack.connect("/echo") for _ in range(4)]
        in_threads(lambda number: flood(clients[number], data), len(clients))
        for client in clients:
            client.reset()
