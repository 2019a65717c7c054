"""What each policy does about messages to many that find an outbox full, on both kinds of host."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import App, WebSocket
from server.slow import POLICIES
from server.testing import WebSocketTestClient
from server.transport import TransportLimits
from tests.server.ledger_books import counters, until
from tests.server.outbox_hosts import CoroutineHost, EagerHost

HOSTS = (EagerHost, CoroutineHost)
Host = EagerHost | CoroutineHost


def event_of(name: str) -> dict[str, Any]:
    return {"type": "websocket.send", "text": name}


@pytest.fixture(params=HOSTS)
def host(request: Any) -> Iterator[Host]:
    """One with room for three messages and ten bytes, that is sending "first" already."""
    host = request.param(TransportLimits(window_messages=3, window_bytes=10))
    publish(host, "drop_newest", "first")
    assert host.is_sending
    yield host
    host.close()


def publish(
    host: Host, policy: str, name: str, size_bytes: int = 1, *, forwards: bool = False
) -> int:
    """Do as rooms do: `forward`, and what that leaves goes by the policy."""

    def hand_over() -> int:
        if forwards and host.outbox.forward(event_of(name), size_bytes):
            return 0
        return POLICIES[policy](host.outbox, event_of(name), size_bytes)

    lost = host.run(hand_over)
    if lost and policy != "disconnect":
        host.outbox.overflow()
    return lost


def own(host: Host, name: str, size_bytes: int = 1) -> None:
    host.own(event_of(name), size_bytes)


def delivered(host: Host) -> list[str]:
    """Have everything sent, and return it."""
    while host.is_sending:
        host.end_send()
    assert host.outbox.waiting == (0, 0)
    assert host.outbox.messages == len(host.started)
    return host.started[1:]


@pytest.mark.parametrize(
    ("policy", "lost", "remain"),
    [
        ("disconnect", [0, 0, 1, 1], ["own", "1", "2"]),
        ("drop_newest", [0, 0, 1, 1], ["own", "1", "2"]),
        ("drop_oldest", [0, 0, 1, 1], ["own", "3", "4"]),
        ("latest", [0, 1, 1, 1], ["own", "4"]),
    ],
)
def test_a_full_outbox(host: Host, policy: str, lost: list[int], remain: list[str]) -> None:
    own(host, "own")
    assert [publish(host, policy, name) for name in "1234"] == lost
    assert delivered(host) == remain


@pytest.mark.parametrize(
    ("policy", "lost", "remain"),
    [
        ("disconnect", 1, ["a", "b", "c"]),
        ("drop_newest", 1, ["a", "b", "c"]),
        ("drop_oldest", 1, ["a", "b", "c"]),
        ("latest", 0, ["a", "b", "c", "new"]),
    ],
)
def test_what_the_view_sent_is_never_dropped(
    host: Host, policy: str, lost: int, remain: list[str]
) -> None:
    for name in "abc":
        own(host, name)
    assert publish(host, policy, "new") == lost
    assert delivered(host) == remain


def test_as_many_are_dropped_as_the_new_one_needs(host: Host) -> None:
    publish(host, "drop_oldest", "1", 2)
    own(host, "own", 2)
    publish(host, "drop_oldest", "2", 6)

    assert publish(host, "drop_oldest", "3", 7) == 2

    assert host.outbox.waiting == (2, 9)
    assert host.outbox.size_bytes == 1 + 9
    assert delivered(host) == ["own", "3"]


@pytest.mark.parametrize("policy", POLICIES)
def test_one_larger_message_may_go_alone(host: Host, policy: str) -> None:
    assert publish(host, policy, "large", 1_000) == 0
    assert host.outbox.waiting == (1, 1_000)
    assert delivered(host) == ["large"]


def test_the_newest_waits_behind_what_the_view_sent_after_the_one_before(host: Host) -> None:
    publish(host, "latest", "1")
    own(host, "own")
    publish(host, "latest", "2")
    assert delivered(host) == ["own", "2"]


@pytest.mark.parametrize("policy", [name for name in POLICIES if name != "disconnect"])
def test_publishers_do_not_give_way_while_messages_are_dropped(host: Host, policy: str) -> None:
    """Not even where sizes are so different that the outbox is less than half full in between."""
    for _ in range(10):
        publish(host, policy, "large", 10)
        publish(host, policy, "small", 1)
        publish(host, policy, "large", 10)
        assert host.outbox.filling_since is None

    delivered(host)
    own(host, "under way")
    publish(host, "drop_newest", "large", 10)
    assert host.outbox.filling_since is not None  # it has caught up, so it is waited for again


# -- against a model -------------------------------------------------------------------------------


class Model:
    """What should be: a list of (name, size, is for many), and one under way."""

    def __init__(self, policy: str, messages: int, size_bytes: int) -> None:
        self.policy = policy
        self.bounds = (messages, size_bytes)
        self.started: list[str] = []
        self.started_bytes = 0
        self.is_sending = False
        self.waiting: list[tuple[str, int, bool]] = []

    @property
    def waiting_bytes(self) -> int:
        return sum(size for _, size, _ in self.waiting)

    def fits(self, size: int) -> bool:
        messages, size_bytes = self.bounds
        return not self.waiting or (
            len(self.waiting) < messages and self.waiting_bytes + size <= size_bytes
        )

    def add(self, name: str, size: int, is_for_many: bool) -> None:
        self.waiting.append((name, size, is_for_many))
        self.start()

    def start(self) -> None:
        if self.waiting and not self.is_sending:
            name, size, _ = self.waiting.pop(0)
            self.started.append(name)
            self.started_bytes += size
            self.is_sending = True

    def publish(self, name: str, size: int) -> int:
        droppable = [message for message in self.waiting if message[2]]
        lost = 0
        if self.policy == "latest":
            self.waiting = [message for message in self.waiting if not message[2]]
            self.add(name, size, True)
            return len(droppable)
        while not self.fits(size):
            lost += 1
            if self.policy != "drop_oldest" or not droppable:
                return lost
            self.waiting.remove(droppable.pop(0))
        self.add(name, size, True)
        return lost


STEPS = st.lists(
    st.tuples(st.sampled_from(["many", "many", "own", "sent"]), st.integers(0, 12)), max_size=60
)


@pytest.mark.parametrize("make_host", HOSTS)
@pytest.mark.parametrize("policy", POLICIES)
@given(
    messages=st.integers(1, 9), size_bytes=st.integers(1, 40), steps=STEPS, forwards=st.booleans()
)
def test_order_and_books_are_those_of_the_model(
    make_host: type[Host],
    policy: str,
    messages: int,
    size_bytes: int,
    steps: Any,
    forwards: bool,
) -> None:
    host = make_host(TransportLimits(messages, size_bytes), is_replacing=policy == "latest")
    model = Model(policy, messages, size_bytes)
    try:
        for number, (step, size) in enumerate(steps):
            name = str(number)
            if step == "many":
                lost = publish(host, policy, name, size, forwards=forwards)
                assert lost == model.publish(name, size)
            elif step == "own" and model.fits(size):
                own(host, name, size)
                model.add(name, size, False)
            elif step == "sent" and model.is_sending:
                host.end_send()
                model.is_sending = False
                model.start()
            outbox, waiting = host.outbox, (len(model.waiting), model.waiting_bytes)
            assert host.started == model.started
            assert outbox.waiting == waiting
            assert outbox.messages == len(model.started) + waiting[0] - host.uncounted
            if not host.uncounted:
                assert outbox.size_bytes == model.started_bytes + waiting[1]
            if not waiting[0]:
                assert outbox.filling_since is None
    finally:
        host.close()


# -- through a room --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "got"),
    [("drop_newest", "012"), ("drop_oldest", "789"), ("latest", "9")],
)
async def test_a_drop_is_counted_each_time_and_logged_once(
    caplog: pytest.LogCaptureFixture, policy: str, got: str
) -> None:
    app = App()

    @app.websocket_route("/", slow_consumer=policy, outbox_messages=3)
    async def view(ws: WebSocket) -> None:
        async for _ in ws:
            for number in range(10):
                assert ws.hand_over(event_of(str(number)), 1)

    async with WebSocketTestClient(app, "/") as client:
        await client.send_text("go")
        assert [await client.receive_text() for _ in got] == list(got)
        (ws,) = app.runtime.connections
        await until(lambda: not ws.waiting[0])
        assert (ws.messages_sent, ws.bytes_sent) == (len(got), len(got))
        assert ws.messages_dropped == 10 - len(got)

    slow = dict(zip(POLICIES, counters(app).slow, strict=False))
    assert slow == {**dict.fromkeys(POLICIES, 0), policy: 10 - len(got)}
    assert counters(app).messages_out == len(got)
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in warnings] == [
        f"/: slow consumer, messages are dropped ({policy})"
    ]


async def test_a_counter_of_messages_sent_never_goes_down() -> None:
    """What waits is not counted there yet: one large message may take the place of many."""
    app = App()

    @app.websocket_route("/", slow_consumer="drop_oldest", outbox_bytes=10)
    async def view(ws: WebSocket) -> None:
        async for _ in ws:
            seen = [0]
            for size in (1,) * 10 + (10,):
                ws.hand_over(event_of("x"), size)
                app.runtime.ledger.sweep(1)
                seen.append(counters(app).messages_out)
            await ws.send(str(seen == sorted(seen)))

    async with WebSocketTestClient(app, "/") as client:
        await client.send_text("go")
        assert [await client.receive_text() for _ in range(2)] == ["x", "True"]
    assert counters(app).messages_out == 2
