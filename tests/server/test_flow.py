"""Messages and bytes a second of one connection: what its budget lets through, and when again."""

from functools import partial
from typing import Any

import pytest

from server import flow as flow_module
from server.flow import Flow, flow_of
from server.limits import ConnectionLimits
from server.rates import Bucket
from tests.server.gate_support import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(flow_module, "Bucket", partial(Bucket, clock=clock))
    return clock


def test_without_limits_there_is_none() -> None:
    assert flow_of(ConnectionLimits()) is None
    assert flow_of(ConnectionLimits(on_rate="drop", rooms=1, lifetime_s=1)) is None
    assert flow_of(ConnectionLimits(messages_per_s=1)) is not None
    assert flow_of(ConnectionLimits(bytes_per_s=1)) is not None


def test_twice_as_many_as_a_second_has_may_come_at_once(clock: Clock) -> None:
    flow = Flow(ConnectionLimits(messages_per_s=5))
    assert [flow.take(0) for _ in range(11)] == [None] * 10 + ["message_rate"]
    clock.now_s += 0.21
    assert [flow.take(0) for _ in range(2)] == [None, "message_rate"]
    clock.now_s += 100
    assert [flow.take(0) for _ in range(11)].count(None) == 10


def test_one_may_always_come_after_a_pause(clock: Clock) -> None:
    flow = Flow(ConnectionLimits(messages_per_s=0.25))
    assert [flow.take(0) for _ in range(2)] == [None, "message_rate"]
    clock.now_s += 4.01
    assert flow.take(0) is None


def test_bytes_are_counted_as_they_are(clock: Clock) -> None:
    flow = Flow(ConnectionLimits(bytes_per_s=100))
    assert [flow.take(50) for _ in range(5)] == [None] * 4 + ["byte_rate"]
    assert flow.take(0) is None  # which takes nothing
    clock.now_s += 0.51
    assert [flow.take(50) for _ in range(2)] == [None, "byte_rate"]


def test_a_message_larger_than_that_goes_when_nothing_was_used_and_is_paid_off(
    clock: Clock,
) -> None:
    flow = Flow(ConnectionLimits(bytes_per_s=100))
    assert flow.take(1000) is None
    clock.now_s += 8
    assert flow.take(1) == "byte_rate"
    clock.now_s += 0.1
    assert flow.take(1) is None
    assert flow.take(1000) == "byte_rate"


def test_both_limits_count_and_each_has_its_name(clock: Clock) -> None:
    flow = Flow(ConnectionLimits(messages_per_s=1, bytes_per_s=100))
    assert [flow.take(150), flow.take(150)] == [None, "byte_rate"]
    assert flow.take(1) == "message_rate"
    assert flow.describe("message_rate") == ("messages", 1)
    assert flow.describe("byte_rate") == ("bytes", 100)


@pytest.mark.parametrize("on_rate", ["drop", "disconnect"])
def test_what_becomes_of_too_much_is_the_limits_to_say(on_rate: Any) -> None:
    assert Flow(ConnectionLimits(messages_per_s=1, on_rate=on_rate)).drops is (on_rate == "drop")
