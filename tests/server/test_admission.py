"""How many may come: claims in the books of two workers, whose they are, and when they end."""

from collections import Counter
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from server import TooManyConnections
from server import admission as admission_module
from server.admission import Admission, Refusal, size_refusal
from server.ledger import Ledger
from server.limits import AdmissionLimits
from server.rates import Bucket
from server.recorded import Recorded
from tests.server.gate_support import Clock
from tests.support.scopes import websocket_scope
from workers.layout import Sizes, TallyKind
from workers.segment import Segment
from workers.slots import Slots

ADA, EVE = "192.0.2.1", "198.51.100.9"
USERS = ["ada", "eve", ""]
RETRY = {"Retry-After": "1"}


class Server:
    """The books of two workers, and what each of them lets in."""

    def __init__(self, limits: AdmissionLimits, *, rows: int = 16) -> None:
        sizes = Sizes(workers=2, slots=2, rows_per_slot=rows, routes=2)
        segment = Segment.private(sizes, routes=["/"], codes=[1000], statuses=[403])
        slots = Slots(segment)
        self.ledgers = [Ledger(segment, slots.assign(index, 1), 1) for index in range(2)]
        self.workers = [Admission(limits, partial(self.ledgers.__getitem__, n)) for n in range(2)]

    def handshake(self, worker: int, host: str | None = ADA) -> Recorded:
        scope = websocket_scope(client=None if host is None else (host, 1))
        return Recorded(scope, None, self.ledgers[worker])  # type: ignore[arg-type]

    def enter(self, worker: int, host: str | None = ADA) -> Recorded | Refusal:
        """Have one come to a worker; returns it, or why it may not."""
        ws = self.handshake(worker, host)
        return self.workers[worker].enter(ws) or ws

    def tally(self, kind: TallyKind, key: str) -> int:
        return self.ledgers[0].tallies.count(kind, key)

    @property
    def total(self) -> int:
        return self.ledgers[1].connections()


def entered(one: Recorded | Refusal) -> Recorded:
    assert isinstance(one, Recorded), one
    return one


# -- of all workers together -----------------------------------------------------------------------


@pytest.mark.parametrize("last", [0, 1])
def test_places_are_those_of_all_workers(last: int) -> None:
    server = Server(AdmissionLimits(connections=3))
    first = entered(server.enter(0))
    entered(server.enter(0, EVE))
    assert server.workers[last].refusal(websocket_scope()) is None
    entered(server.enter(1))

    full = Refusal(503, "The server has 3 connections, its limit", "connections", RETRY)
    assert server.enter(last) == full
    assert server.workers[last].refusal(websocket_scope()) == full
    assert server.total == 3
    server.workers[0].leave(first)
    entered(server.enter(last))
    assert server.total == 3


@pytest.mark.parametrize("last", [0, 1])
def test_places_of_an_address_are_those_on_all_workers(last: int) -> None:
    server = Server(AdmissionLimits(connections_per_ip=2))
    first = entered(server.enter(0))
    entered(server.enter(1))

    assert server.enter(last) == Refusal(
        429, "There are 2 connections of your address, its limit", "connections_per_ip", RETRY
    )
    entered(server.enter(last, EVE))
    assert (server.tally(TallyKind.IP, ADA), server.total) == (2, 3)
    server.workers[0].leave(first)
    entered(server.enter(last))


@pytest.mark.parametrize("last", [0, 1])
def test_places_of_a_user_are_those_on_all_workers(last: int) -> None:
    server = Server(AdmissionLimits(connections_per_user=2))
    ones = [entered(server.enter(worker)) for worker in (0, 1, last)]
    server.workers[0].enter_user(ones[0], "ada")
    server.workers[1].enter_user(ones[1], "ada")

    with pytest.raises(TooManyConnections, match="there are 2 connections of this user"):
        server.workers[last].enter_user(ones[2], "ada")
    server.workers[last].enter_user(ones[2], "eve")
    assert server.tally(TallyKind.USER, "ada") == 2
    server.workers[0].leave(ones[0])
    server.workers[last].enter_user(ones[2], "ada")
    assert (server.tally(TallyKind.USER, "ada"), server.tally(TallyKind.USER, "eve")) == (2, 0)


def test_an_address_is_no_user() -> None:
    server = Server(AdmissionLimits(connections_per_ip=1, connections_per_user=1))
    one = entered(server.enter(0, ADA))
    server.workers[0].enter_user(one, EVE)
    other = entered(server.enter(1, EVE))
    server.workers[1].enter_user(other, ADA)
    assert server.tally(TallyKind.IP, EVE) == server.tally(TallyKind.USER, EVE) == 1


def test_none_is_no_limit() -> None:
    server = Server(AdmissionLimits(connections=None))
    ones = [entered(server.enter(0)) for _ in range(100)]
    for one in ones:
        server.workers[0].enter_user(one, "ada")
    assert server.total == 100  # it is known all the same, to whom it matters later
    assert server.tally(TallyKind.IP, ADA) == server.tally(TallyKind.USER, "ada") == 0
    for one in ones:
        server.workers[0].leave(one)
    assert server.total == 0


def test_two_that_claim_the_last_place_at_once_do_not_both_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each sees what the other has claimed, whatever comes between its claim and its look."""
    server = Server(AdmissionLimits(connections=1, connections_per_ip=1))
    answers: list[Any] = []
    say = server.ledgers[0].say_connections

    def say_and_let_the_other_come(number: int) -> None:
        say(number)
        if number and not answers:
            answers.append(server.enter(1))

    monkeypatch.setattr(server.ledgers[0], "say_connections", say_and_let_the_other_come)
    answers.append(server.enter(0))
    assert [getattr(answer, "status", "in") for answer in answers] in ([503, "in"], [503, 503])
    assert server.total == sum(isinstance(answer, Recorded) for answer in answers)


# -- whose they are --------------------------------------------------------------------------------


def test_who_has_no_address_has_no_limit_by_it() -> None:
    server = Server(AdmissionLimits(connections=3, connections_per_ip=1))
    ones = [entered(server.enter(worker, None)) for worker in (0, 0, 1)]
    assert isinstance(server.enter(1, None), Refusal)
    for one, worker in zip(ones, (0, 0, 1), strict=True):
        server.workers[worker].leave(one)
    assert server.total == 0


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("2001:db8::1", "2001:DB8:0:0:0:0:0:1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("testclient", "testclient", True),
        ("testclient", "other", False),
    ],
)
def test_an_address_stands_for_who_has_it(one: str, other: str, is_same: bool) -> None:
    """Of IPv6 that is a network."""
    server = Server(AdmissionLimits(connections_per_ip=1))
    entered(server.enter(0, one))
    assert isinstance(server.enter(1, other), Refusal) is is_same


def test_a_connection_that_becomes_another_users_gives_the_place_of_the_first_back() -> None:
    server = Server(AdmissionLimits(connections_per_user=1))
    worker, one = server.workers[0], entered(server.enter(0))
    for user in ("ada", "ada", "eve", "eve"):
        worker.enter_user(one, user)
        assert server.tally(TallyKind.USER, user) == 1
    assert server.tally(TallyKind.USER, "ada") == 0


def test_one_that_may_not_become_another_users_stays_whose_it_was() -> None:
    server = Server(AdmissionLimits(connections_per_user=1))
    worker, one, other = server.workers[0], *(entered(server.enter(0)) for _ in range(2))
    worker.enter_user(one, "ada")
    worker.enter_user(other, "eve")
    with pytest.raises(TooManyConnections):
        worker.enter_user(one, "eve")
    assert (server.tally(TallyKind.USER, "ada"), server.tally(TallyKind.USER, "eve")) == (1, 1)
    worker.leave(one)
    assert server.tally(TallyKind.USER, "ada") == 0


def test_an_empty_user_is_nobody() -> None:
    server = Server(AdmissionLimits(connections_per_user=1))
    worker, ones = server.workers[0], [entered(server.enter(0)) for _ in range(3)]
    for one in ones:
        worker.enter_user(one, "")
    worker.enter_user(ones[0], "ada")
    worker.enter_user(ones[0], "")
    worker.enter_user(ones[1], "ada")
    assert server.tally(TallyKind.USER, "") == 0


# -- handshakes a second ---------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(admission_module, "Bucket", partial(Bucket, clock=clock))
    return clock


def test_each_worker_takes_its_share_of_the_handshakes(clock: Clock) -> None:
    server = Server(AdmissionLimits(handshakes_per_s=10))
    scope = websocket_scope()
    for worker in server.workers:
        answers = [worker.refusal(scope) for _ in range(6)]
        assert answers[:5] == [None] * 5
        detail = "The server takes 10 handshakes a second, its limit"
        assert answers[5] == Refusal(503, detail, "handshake_rate", RETRY)
    clock.now_s += 0.21
    for worker in server.workers:
        assert [worker.refusal(scope) is None for _ in range(2)] == [True, False]


def test_a_share_of_less_than_one_lets_one_in_now_and_then(clock: Clock) -> None:
    worker = Server(AdmissionLimits(handshakes_per_s=0.5)).workers[0]
    scope = websocket_scope()
    assert [worker.refusal(scope) is None for _ in range(2)] == [True, False]
    clock.now_s += 4.01
    assert [worker.refusal(scope) is None for _ in range(2)] == [True, False]


# -- sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "size"),
    [
        (websocket_scope("/abc"), 4),
        (websocket_scope("/abc", query="d=e"), 7),
        (websocket_scope("/é", raw_path=b"/%C3%A9"), 7),
        (websocket_scope("/abc", raw_path=None), 4),
        (websocket_scope("/abc", query_string=None), 4),
    ],
)
def test_a_url_may_be_as_long_as_the_limit(scope: dict[str, Any], size: int) -> None:
    assert size_refusal(AdmissionLimits(url_bytes=size), scope) is None
    detail = f"Path and query are {size} bytes, the limit is {size - 1}"
    refusal = size_refusal(AdmissionLimits(url_bytes=size - 1), scope)
    assert refusal == Refusal(414, detail, "url_size")


def test_headers_may_be_as_long_as_the_limit() -> None:
    scope = websocket_scope(headers=[("host", "a"), ("x-a", "bc"), ("x-a", "")])
    assert size_refusal(AdmissionLimits(header_bytes=13), scope) is None
    refusal = size_refusal(AdmissionLimits(header_bytes=12), scope)
    detail = "The headers are 13 bytes, the limit is 12"
    assert refusal == Refusal(431, detail, "header_size")
    assert size_refusal(AdmissionLimits(header_bytes=1), websocket_scope()) is None


# -- any order of what may happen ------------------------------------------------------------------


class Coming(RuleBasedStateMachine):
    """Connections come to two workers, turn out to be users', and leave; nothing is lost."""

    here = Bundle("here")

    def __init__(self) -> None:
        super().__init__()
        self.addresses: Counter[str | None] = Counter()
        self.users: Counter[str] = Counter()
        self.user_of: dict[Recorded, str] = {}

    @initialize(limits=st.tuples(*[st.none() | st.integers(1, 4)] * 3))
    def begin(self, limits: tuple[int | None, ...]) -> None:
        self.limits = limits
        connections, per_ip, per_user = limits
        admission = AdmissionLimits(
            connections=connections, connections_per_ip=per_ip, connections_per_user=per_user
        )
        self.server = Server(admission, rows=4096)  # in which keys never meet, in effect

    @rule(target=here, worker=st.integers(0, 1), host=st.sampled_from([ADA, EVE, None]))
    def come(self, worker: int, host: str | None) -> Any:
        most, per_ip, _ = self.limits
        is_full = most is not None and self.addresses.total() >= most
        has_most = per_ip is not None and host is not None and self.addresses[host] >= per_ip
        one = self.server.enter(worker, host)
        assert isinstance(one, Refusal) is (is_full or has_most)
        if isinstance(one, Refusal):
            assert one.status == (503 if is_full else 429)
            return multiple()
        self.addresses[host] += 1
        self.user_of[one] = ""
        return worker, host, one

    @rule(comer=here, user=st.sampled_from(USERS))
    def turn_out(self, comer: tuple[int, str | None, Recorded], user: str) -> None:
        worker, _, one = comer
        limit, before = self.limits[2], self.user_of[one]
        has_most = limit is not None and user not in ("", before) and self.users[user] >= limit
        try:
            self.server.workers[worker].enter_user(one, user)
        except TooManyConnections:
            assert has_most
        else:
            assert not has_most
            self.users[before] -= 1
            self.users[user] += 1
            self.user_of[one] = user

    @rule(comer=consumes(here))
    def leave(self, comer: tuple[int, str | None, Recorded]) -> None:
        worker, host, one = comer
        self.server.workers[worker].leave(one)
        self.addresses[host] -= 1
        self.users[self.user_of.pop(one)] -= 1

    @invariant()
    def the_books_say_so(self) -> None:
        if not hasattr(self, "server"):
            return
        server, (_, per_ip, per_user) = self.server, self.limits
        assert server.total == self.addresses.total()
        for host in (ADA, EVE):
            assert server.tally(TallyKind.IP, host) == (self.addresses[host] if per_ip else 0)
        for user in ("ada", "eve"):
            assert server.tally(TallyKind.USER, user) == (self.users[user] if per_user else 0)
        for worker in server.workers:
            kept = {*worker._addresses, *worker._users}
            assert kept <= self.user_of.keys()


TestComing = Coming.TestCase
TestComing.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
