"""Which of many outboxes a message goes to at once, and which are left to the caller."""

from typing import Any

from server.lane import Host, forward_to_all, host_of
from server.transport import TransportLimits
from tests.server.outbox_hosts import EagerHost, Sending

LIMITS = TransportLimits(window_messages=3, window_bytes=10)
EVENT = {"type": "websocket.send", "text": "x"}


def test_the_idle_get_it_and_the_others_are_returned() -> None:
    idle, busy, waiting, shut, later = (EagerHost(LIMITS) for _ in range(5))
    busy.own(EVENT, 1)
    for _ in range(2):
        waiting.own(EVENT, 1)
    shut.outbox.shut()
    hosts = [idle, busy, waiting, shut, later]
    others = forward_to_all([host.outbox for host in hosts], EVENT, Sending)
    assert others == [host.outbox for host in (busy, waiting, shut)]
    assert [len(host.started) for host in hosts] == [1, 1, 1, 0, 1]
    assert idle.is_sending
    assert not shut.is_sending


def test_a_send_that_finds_nobody_is_none() -> None:
    host = EagerHost(LIMITS)
    host._send = lambda event: None  # type: ignore[method-assign]
    host.outbox._host = Host(host._send)
    assert forward_to_all([host.outbox], EVENT, Sending) == [host.outbox]
    assert not host.is_sending


def test_a_send_that_raises_is_none_and_the_others_still_get_it() -> None:
    def fail(event: Any) -> Any:
        raise OSError("broken")

    first, faulty, last = (EagerHost(LIMITS) for _ in range(3))
    faulty.outbox._host = Host(fail)
    hosts = (first, faulty, last)
    assert forward_to_all([host.outbox for host in hosts], EVENT, Sending) == [faulty.outbox]
    assert [len(host.started) for host in hosts] == [1, 0, 1]


def test_one_that_was_shut_still_sends_what_waits() -> None:
    host = EagerHost(LIMITS)
    for _ in range(2):
        host.own(EVENT, 1)
    host.outbox.shut()
    assert not host.outbox.forward(EVENT, 1)
    host.end_send()
    assert len(host.started) == 2


class Peer:
    """Has a method `send`, and one of another name."""

    def send(self, event: Any) -> Any: ...

    def other(self, event: Any) -> Any: ...


def test_the_host_is_found_only_where_its_send_is_meant() -> None:
    peer = Peer()
    assert host_of(peer.send) is peer

    def wrapped(event: Any) -> Any: ...

    for send in (wrapped, peer.other):
        assert isinstance(host_of(send), Host)
        assert host_of(send).send == send
