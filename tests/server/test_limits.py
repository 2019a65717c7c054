"""Limits: which numbers can be some, what overrides what, and that what is taken can be counted."""

from dataclasses import asdict, fields
from typing import Any

import pytest

from server import App
from server.admission import Admission
from server.flow import flow_of
from server.ledger import Ledger
from server.limits import FASTEST, SLOWEST, AdmissionLimits, ConnectionLimits, override
from tests.support.scopes import websocket_scope
from workers.layout import Sizes
from workers.segment import Segment
from workers.slots import Slots

KINDS: list[Any] = [AdmissionLimits, ConnectionLimits]
NUMBERS = [(kind, f.name) for kind in KINDS for f in fields(kind) if f.name != "on_rate"]
RATES = [(kind, name) for kind, name in NUMBERS if name.endswith("_per_s")]
NEEDED = ("header_bytes", "url_bytes")


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
@pytest.mark.parametrize("value", [0, -1, float("nan"), -float("inf"), True, False, "5", [5]])
def test_what_is_no_number_above_0_is_no_limit(kind: Any, name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"limit {name}=") as caught:
        kind(**{name: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
def test_none_is_no_limit_where_there_need_not_be_one(kind: Any, name: str) -> None:
    if name in NEEDED:
        with pytest.raises(ValueError, match=f"limit {name}=None: it is a number above 0$"):
            kind(**{name: None})
    else:
        assert getattr(kind(**{name: None}), name) is None


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
def test_any_number_above_0_is_one(kind: Any, name: str) -> None:
    values = [SLOWEST, 0.5, 1, FASTEST] if (kind, name) in RATES else [1, 10**12]
    for value in values:
        assert getattr(kind(**{name: value}), name) == value


@pytest.mark.parametrize(("kind", "name"), RATES)
@pytest.mark.parametrize("value", [SLOWEST / 2, FASTEST * 2, float("inf")])
def test_a_rate_is_one_that_can_be_counted(kind: Any, name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"limit {name}=.*: it is a number from 1e-06 to 1e"):
        kind(**{name: value})


@pytest.mark.parametrize("rate", [SLOWEST, 0.3, 1, FASTEST / 2, FASTEST])
@pytest.mark.parametrize("workers", [1, 256])
def test_each_rate_that_is_taken_can_be_counted(rate: float, workers: int) -> None:
    """No handshake and no connection fails for it."""
    for limits in (ConnectionLimits(messages_per_s=rate), ConnectionLimits(bytes_per_s=rate)):
        flow = flow_of(limits)
        assert flow is not None
        assert flow.take(1) is None
    sizes = Sizes(workers=workers, slots=1, rows_per_slot=16, routes=1)
    segment = Segment.private(sizes, routes=["/"], codes=[1000], statuses=[403])
    ledger = Ledger(segment, Slots(segment).assign(0, 1), 1)
    admission = Admission(AdmissionLimits(handshakes_per_s=rate), lambda: ledger)
    assert admission.refusal(websocket_scope()) is None


@pytest.mark.parametrize("word", ["", "close", "DROP", None, 1])
def test_another_word_for_what_becomes_of_too_much(word: Any) -> None:
    with pytest.raises(ValueError, match="on_rate is 'disconnect' or 'drop', not"):
        ConnectionLimits(on_rate=word)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_given_takes_the_place_of_what_is_there(kind: Any) -> None:
    own = kind()
    assert override(own, {}) == own
    assert override(own, dict.fromkeys(asdict(own))) == own
    name = next(iter(asdict(own)))
    assert asdict(override(own, {name: 7})) == asdict(own) | {name: 7}
    with pytest.raises(ValueError, match=f"limit {name}=0"):
        override(own, {name: 0})


def test_an_app_takes_the_same_numbers() -> None:
    with pytest.raises(ValueError, match="limit connections=0: it is a number above 0"):
        App(max_connections=0)
    limits = AdmissionLimits(connections=5, connections_per_ip=2)
    assert App(admission=limits).runtime.admission.limits == limits
    both = App(admission=limits, max_connections=3).runtime.admission.limits
    assert both == AdmissionLimits(connections=3, connections_per_ip=2)
