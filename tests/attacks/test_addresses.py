"""Addresses: floods of connections from one, and headers that pretend another."""

import threading
from collections import Counter
from collections.abc import Callable

import pytest

from tests.attacks.arena import Arena, Attack, detail
from tests.attacks.keys import token_of
from tests.support.processes import wait_until
from tests.support.raw import Close, RawClient, Response

pytestmark = pytest.mark.e2e

PER_ADDRESS, PER_USER, IN_ALL = 8, 3, 20
FULL_ADDRESS = f"There are {PER_ADDRESS} connections of your address, its limit"
FULL_USER = f"there are {PER_USER} connections of this user, the limit"
FULL_SERVER = f"The server has {IN_ALL} connections, its limit"
TRUSTED = "127.0.0.1"


@pytest.fixture
def limited(start: Callable[[str], Arena]) -> Arena:
    """A server with limits for an address and for a user, behind a proxy at 127.0.0.1."""
    return start("addresses")


@pytest.fixture
def small(start: Callable[[str], Arena]) -> Arena:
    """A server that takes few connections in all."""
    return start("full")


def refused(response: Response, status: int, says: str) -> None:
    assert (response.status, detail(response)) == (status, says)
    assert response.headers["retry-after"] == "1"


def fill(attack: Attack, count: int, make: Callable[[int], RawClient]) -> list[RawClient]:
    """Connect so many, one after the other, and see that each is answered."""
    clients = [make(number) for number in range(count)]
    for client in clients:
        client.read_text()
    return clients


def at_once(count: int, act: Callable[[int], None]) -> None:
    """Do it in so many threads, which begin together."""
    barrier = threading.Barrier(count)

    def begin(number: int) -> None:
        barrier.wait()
        act(number)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# -- floods ------------------------------------------------------------------------------------


def test_connections_of_one_address(limited: Arena) -> None:
    """One after the other as many as may be, over both workers; then none, and others get in."""
    with limited.attack() as attack:
        clients = fill(attack, PER_ADDRESS, lambda _: attack.connect("/who", source="127.0.0.2"))
        for _ in range(30):
            _, response = attack.handshake("/who", source="127.0.0.2")
            refused(response, 429, FULL_ADDRESS)
        attack.limits("/who", "connections_per_ip", 30)
        assert attack.connect("/who", source="127.0.0.3").read_text() == "127.0.0.3"

        # A place that is given back is there for the next one, and only for one.
        clients[0].close()
        wait_until(lambda: limited.books().open["/who"] == PER_ADDRESS)
        attack.connect("/who", source="127.0.0.2")
        _, response = attack.handshake("/who", source="127.0.0.2")
        refused(response, 429, FULL_ADDRESS)
        attack.limits("/who", "connections_per_ip")


def test_a_flood_of_connections_from_one_address(limited: Arena) -> None:
    """All at once there are never more than may be; what two have refused each other is left."""
    with limited.attack() as attack:
        answers: Counter[int] = Counter()
        lock = threading.Lock()

        def knock(number: int) -> None:
            client = RawClient(limited.port, source="127.0.0.4")
            response = client.handshake("/who")
            with lock:
                answers[response.status] += 1
                attack.note("/who", response.status)
                attack.keep(client)

        at_once(60, knock)
        assert answers[101] <= PER_ADDRESS
        assert answers[101] + answers[429] == 60
        assert limited.books().open["/who"] == answers[101]
        fill(
            attack,
            PER_ADDRESS - answers[101],
            lambda _: attack.connect("/who", source="127.0.0.4"),
        )
        _, response = attack.handshake("/who", source="127.0.0.4")
        refused(response, 429, FULL_ADDRESS)
        attack.limits("/who", "connections_per_ip", answers[429] + 1)
        assert limited.books().open["/who"] == PER_ADDRESS


def test_refused_handshakes_take_no_place(limited: Arena) -> None:
    with limited.attack() as attack:
        for _ in range(5 * PER_ADDRESS):
            _, response = attack.handshake("/secret", source="127.0.0.5")
            assert (response.status, detail(response)) == (401, "Authentication required")
            _, response = attack.handshake("/nowhere", source="127.0.0.5", route="unmatched")
            assert response.status == 403
        fill(attack, PER_ADDRESS, lambda _: attack.connect("/who", source="127.0.0.5"))


def test_connections_of_one_user(limited: Arena) -> None:
    """From whatever address, and over both workers."""
    with limited.attack() as attack:
        bearer = [f"Authorization: Bearer {token_of('bob')}"]
        fill(
            attack,
            PER_USER,
            lambda number: attack.connect("/secret", bearer, source=f"127.0.1.{number + 1}"),
        )
        for number in range(20):
            _, response = attack.handshake("/secret", bearer, source=f"127.0.2.{number + 1}")
            refused(response, 429, FULL_USER)
        attack.limits("/secret", "connections_per_user", 20)
        other = [f"Authorization: Bearer {token_of('eve')}"]
        attack.connect("/secret", other, source="127.0.1.1")


def test_connections_of_a_user_that_is_known_later(limited: Arena) -> None:
    """Who is accepted before it brings its token is closed with 1008."""
    with limited.attack() as attack:
        for number in range(PER_USER + 2):
            client = attack.connect("/late", source=f"127.0.3.{number + 1}")
            client.send_text(token_of("joe"))
            if number < PER_USER:
                client.read_text()
            else:
                assert client.next_close() == Close(1008, FULL_USER)
                attack.limits("/late", "connections_per_user")


def test_connections_in_all(small: Arena) -> None:
    """From any number of addresses; the bystanders are counted as well."""
    free = IN_ALL - len(small.bystanders)
    with small.attack() as attack:
        fill(attack, free, lambda n: attack.connect("/who", source=f"127.0.4.{n + 1}"))
        for number in range(30):
            _, response = attack.handshake("/who", source=f"127.0.5.{number + 1}")
            refused(response, 503, FULL_SERVER)
        attack.limits("/who", "connections", 30)
    with small.attack() as attack:
        attack.connect("/who")


def test_a_flood_of_connections_in_all(small: Arena) -> None:
    free = IN_ALL - len(small.bystanders)
    with small.attack() as attack:
        answers: Counter[int] = Counter()
        lock = threading.Lock()

        def knock(number: int) -> None:
            client = RawClient(small.port, source=f"127.0.6.{number + 1}")
            response = client.handshake("/who")
            with lock:
                answers[response.status] += 1
                attack.note("/who", response.status)
                attack.keep(client)

        at_once(60, knock)
        assert answers[101] <= free
        assert answers[101] + answers[503] == 60
        attack.limits("/who", "connections", answers[503])
        assert small.books().open["/who"] == answers[101]


# -- headers that pretend ----------------------------------------------------------------------

ELSEWHERE = "198.51.100.7"
PRETEND = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "True-Client-IP", "Via")


def forwarded(*lines: str) -> list[str]:
    """Return it as one header, of several lines if there are several."""
    return ["\r\n".join(f"X-Forwarded-For: {line}" for line in lines)]


@pytest.mark.parametrize("header", PRETEND)
def test_nobody_is_believed_by_default(arena: Arena, header: str) -> None:
    with arena.attack() as attack:
        value = f"for={ELSEWHERE}" if header == "Forwarded" else ELSEWHERE
        client = attack.connect("/who", [f"{header}: {value}"], source="127.0.0.6")
        assert client.read_text() == "127.0.0.6"


def test_a_peer_that_is_no_proxy_cannot_change_its_address(limited: Arena) -> None:
    """Not even by naming the proxy that is one: its limit is that of its own address."""
    with limited.attack() as attack:
        for number in range(PER_ADDRESS):
            pretended = forwarded(f"198.51.100.{number}, {TRUSTED}")
            client = attack.connect("/who", pretended, source="127.0.0.7")
            assert client.read_text() == "127.0.0.7"
        for number in range(20):
            pretended = forwarded(f"203.0.113.{number}")
            _, response = attack.handshake("/who", pretended, source="127.0.0.7")
            refused(response, 429, FULL_ADDRESS)
        attack.limits("/who", "connections_per_ip", 20)
        attack.connect("/who", source="127.0.0.8")


def test_behind_a_proxy_what_a_client_adds_changes_nothing(limited: Arena) -> None:
    """The proxy appends the address that it sees: whatever stands before that is the client's."""
    with limited.attack() as attack:
        for number in range(PER_ADDRESS):
            client = attack.connect("/who", forwarded(f"10.0.0.{number}, {ELSEWHERE}"))
            assert client.read_text() == ELSEWHERE
        for invented in ("127.0.0.1", "unknown", "a" * 9000, "1.1.1.1," * 900, "::1"):
            _, response = attack.handshake("/who", forwarded(f"{invented}, {ELSEWHERE}"))
            refused(response, 429, FULL_ADDRESS)
        _, response = attack.handshake("/who", forwarded("10.0.0.1", ELSEWHERE))
        refused(response, 429, FULL_ADDRESS)
        attack.limits("/who", "connections_per_ip", 6)
        assert attack.connect("/who", forwarded("198.51.100.8")).read_text() == "198.51.100.8"


FORWARDED = {
    "the last": ((f"evil, {ELSEWHERE}",), ELSEWHERE),
    "past the proxy": ((f"{ELSEWHERE}, {TRUSTED}",), ELSEWHERE),
    "the last of the last line": (("203.0.113.9", ELSEWHERE), ELSEWHERE),
    "past the proxy in its own line": ((ELSEWHERE, TRUSTED), ELSEWHERE),
    "with a port": ((f"{ELSEWHERE}:80",), ELSEWHERE),
    "IPv6": (("2001:DB8:0::1",), "2001:db8::1"),
    "IPv6 with a port": (("[2001:db8::1]:80",), "2001:db8::1"),
    "IPv4 as IPv6": ((f"::ffff:{ELSEWHERE}",), ELSEWHERE),
    "the proxy as IPv6": ((f"{ELSEWHERE}, ::ffff:{TRUSTED}",), ELSEWHERE),
    "none": (("",), TRUSTED),
    "commas": ((",,,,",), TRUSTED),
    "a name": (("localhost",), TRUSTED),
    "unknown": ((f"{ELSEWHERE}, unknown",), TRUSTED),
    "too few bytes": (("198.51.100",), TRUSTED),
    "octal": (("0306.51.100.7",), TRUSTED),
    "one number": (("3325256711",), TRUSTED),
    "too large": (("198.51.100.256",), TRUSTED),
    "a zone": (("fe80::1%lo",), TRUSTED),
    "quotes": ((f'"{ELSEWHERE}"',), TRUSTED),
    "latin-1": ((f"{ELSEWHERE}\xa0",), TRUSTED),
    "a line of a log": ((f"{ELSEWHERE} level=error",), TRUSTED),
    "long": (("9" * 30_000,), TRUSTED),
    "many": (((f"{TRUSTED}," * 2000) + TRUSTED,), TRUSTED),
}


@pytest.mark.parametrize("name", FORWARDED)
def test_what_a_proxy_has_forwarded(limited: Arena, name: str) -> None:
    """The right-most address that is no proxy counts; what is none ends the search."""
    lines, client_is = FORWARDED[name]
    with limited.attack() as attack:
        assert attack.connect("/who", forwarded(*lines)).read_text() == client_is
