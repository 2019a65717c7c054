"""Tests of the close codes and of what may stand in a close frame."""

from enum import IntEnum

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import server
from server.close_codes import (
    MAX_REASON_BYTES,
    WEBSOCKET_CLOSE_CODES,
    CloseCode,
    check_close,
    is_sendable,
    truncate_reason,
)

SENDABLE = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}


@given(st.integers(0, 5000) | st.integers())
@example(999)
@example(1000)
@example(1003)
@example(1004)
@example(1005)
@example(1006)
@example(1007)
@example(1014)
@example(1015)
@example(2999)
@example(3000)
@example(4999)
@example(5000)
def test_only_codes_of_the_contract_may_be_sent(code):
    assert is_sendable(code) is (code in SENDABLE)
    if code in SENDABLE:
        check_close(code, "")
    else:
        with pytest.raises(ValueError, match=f"close code {code} may not be sent"):
            check_close(code, "")


def test_every_code_from_0_to_5000_is_judged_by_the_contract():
    assert {code for code in range(5001) if is_sendable(code)} == SENDABLE


@pytest.mark.parametrize("code", ["1000", 1000.0, None, True, False, b"1000"])
def test_code_that_is_no_int_is_a_type_error(code):
    with pytest.raises(TypeError, match="close code must be an int"):
        check_close(code, "")


@pytest.mark.parametrize("reason", [None, b"bye", 1])
def test_reason_that_is_no_str_is_a_type_error(reason):
    with pytest.raises(TypeError, match="close reason must be a str"):
        check_close(1000, reason)


def test_enum_members_are_codes_too():
    own = IntEnum("own", {"KICKED": 4001})
    check_close(CloseCode.GOING_AWAY, "")
    check_close(own.KICKED, "")


@pytest.mark.parametrize("code", [CloseCode.NO_STATUS_RECEIVED, CloseCode.ABNORMAL_CLOSURE])
def test_reserved_member_is_refused_under_its_number(code):
    with pytest.raises(ValueError, match=f"close code {int(code)} may not"):
        check_close(code, "")


@pytest.mark.parametrize("reason", ["", "a" * 123, "é" * 61, "é" * 61 + "a", "€" * 41, "💡" * 30])
def test_reason_up_to_123_bytes_is_allowed(reason):
    check_close(1000, reason)


@pytest.mark.parametrize("reason", ["a" * 124, "é" * 62, "€" * 42, "💡" * 31, "\ud800" * 42])
def test_reason_is_limited_in_bytes_and_not_in_characters(reason):
    with pytest.raises(ValueError, match="the limit is 123"):
        check_close(1000, reason)


def test_reason_that_is_no_unicode_text_is_a_value_error():
    with pytest.raises(ValueError, match="not valid UTF-8"):
        check_close(1000, "half \ud800")


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example("a" * 123)
@example("a" * 124)
@example("é" * 62)
@example("a" + "💡" * 40)
def test_truncated_reason_fits_and_splits_no_character(reason):
    cut = truncate_reason(reason)
    check_close(1000, cut)
    if len(reason.encode()) <= MAX_REASON_BYTES:
        assert cut == reason
    else:
        assert cut.endswith("...")
        assert reason.startswith(cut[:-3])
        # No character more would have fitted.
        assert len((reason[: len(cut) - 2] + "...").encode()) > MAX_REASON_BYTES


@given(st.text(st.characters(), max_size=200))
@example("\ud800" * 200)
def test_truncated_reason_may_be_sent_whatever_it_was(reason):
    check_close(1000, truncate_reason(reason))


@given(st.integers(100, 140), st.sampled_from(["a", "é", "€", "💡"]))
def test_truncating_twice_changes_nothing(length, character):
    once = truncate_reason(character * length)
    assert truncate_reason(once) == once


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("NORMAL_CLOSURE", 1000),
        ("NORMAL", 1000),
        ("GOING_AWAY", 1001),
        ("PROTOCOL_ERROR", 1002),
        ("UNSUPPORTED_DATA", 1003),
        ("NO_STATUS_RECEIVED", 1005),
        ("ABNORMAL_CLOSURE", 1006),
        ("INVALID_FRAME_PAYLOAD_DATA", 1007),
        ("POLICY_VIOLATION", 1008),
        ("MESSAGE_TOO_BIG", 1009),
        ("MANDATORY_EXTENSION", 1010),
        ("INTERNAL_ERROR", 1011),
        ("SERVICE_RESTART", 1012),
        ("TRY_AGAIN_LATER", 1013),
        ("BAD_GATEWAY", 1014),
        ("TLS_HANDSHAKE", 1015),
    ],
)
def test_both_guides_names_stand_for_their_codes(name, code):
    assert CloseCode[name] == code


@pytest.mark.parametrize("name", [name for name in server.__all__ if name.startswith("WS_")])
def test_ws_constant_is_the_code_in_its_name(name):
    assert getattr(server, name) == int(name.split("_")[1])


def test_there_is_a_ws_constant_for_every_registered_code():
    constants = {int(name.split("_")[1]) for name in server.__all__ if name.startswith("WS_")}
    assert constants == set(CloseCode)


def test_table_of_meanings_has_the_twelve_codes_of_the_guide():
    assert set(WEBSOCKET_CLOSE_CODES) == {*range(1000, 1004), *range(1005, 1012), 1015}
    assert all(WEBSOCKET_CLOSE_CODES.values())
