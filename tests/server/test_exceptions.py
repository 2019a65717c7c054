"""Tests of the exceptions that handler code can meet."""

import pickle

import msgspec
import pytest

from server import exceptions
from server.close_codes import CloseCode, is_sendable
from server.exceptions import (
    ExpectedAsync,
    InvalidMessage,
    MessageTooBig,
    ParameterError,
    ProviderDeclarationError,
    ProviderDoesNotExist,
    ProviderError,
    RecursiveProviderError,
    RouteError,
    SettingsError,
    UnexpectedFrame,
    UnknownScope,
    WebSocketClose,
    WebSocketDisconnect,
    WebSocketException,
)


@pytest.mark.parametrize(
    ("error", "code", "reason", "text"),
    [
        (WebSocketException(), 1011, "", "1011"),
        (WebSocketException(4000), 4000, "", "4000"),
        (WebSocketException(4000, "full"), 4000, "full", "4000 full"),
        (WebSocketException(CloseCode.GOING_AWAY), 1001, "", "1001"),
        (WebSocketClose(), 1000, "", "1000"),
        (WebSocketClose(code=4001, reason="bye"), 4001, "bye", "4001 bye"),
        (WebSocketDisconnect(), 1000, "", "1000"),
        (WebSocketDisconnect(1006), 1006, "", "1006"),
        (WebSocketDisconnect(1005, "gone"), 1005, "gone", "1005 gone"),
    ],
)
def test_close_exception_carries_code_and_reason(error, code, reason, text):
    assert (error.code, error.reason, str(error)) == (code, reason, text)
    assert type(error.code) is int
    assert error.args == (code, reason)


@pytest.mark.parametrize("kind", [WebSocketException, WebSocketClose])
@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2000, 5000])
def test_code_that_may_not_be_sent_is_refused_where_it_is_raised(kind, code):
    with pytest.raises(ValueError, match="may not be sent"):
        kind(code)


@pytest.mark.parametrize("kind", [WebSocketException, WebSocketClose])
def test_reason_that_does_not_fit_is_refused_where_it_is_raised(kind):
    with pytest.raises(ValueError, match="the limit is 123"):
        kind(4000, "é" * 62)


def test_text_in_the_place_of_the_code_is_a_type_error():
    with pytest.raises(TypeError, match="close code must be an int"):
        WebSocketException("room is full")  # type: ignore[arg-type]


@pytest.mark.parametrize("code", [0, 1004, 1005, 1006, 1015, 65535])
def test_disconnect_takes_any_code_and_any_reason(code):
    assert WebSocketDisconnect(code, "x" * 200).code == code


@pytest.mark.parametrize(
    "error", [WebSocketClose(4001, "a"), WebSocketDisconnect(1006), WebSocketException(1008, "b")]
)
def test_close_exceptions_survive_pickling(error):
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (type(copy), copy.code, copy.reason) == (type(error), error.code, error.reason)


def test_wrong_frame_kind_is_1003_and_a_type_error():
    error = UnexpectedFrame("text", "binary")
    assert isinstance(error, WebSocketException)
    assert isinstance(error, TypeError)
    assert (error.code, error.reason) == (1003, "expected a text frame, got binary")


def test_message_too_big_is_1009_and_names_both_sizes():
    error = MessageTooBig(10**12, 1048576)
    assert isinstance(error, WebSocketException)
    assert (error.code, error.reason) == (
        1009,
        "message of 1000000000000 bytes, limit 1048576",
    )


def test_invalid_message_is_1007_and_msgspecs_own_error():
    error = InvalidMessage("Expected `int`, got `str` - at `$.user.age`")
    assert isinstance(error, WebSocketException)
    assert isinstance(error, msgspec.ValidationError)
    assert isinstance(error, ValueError)
    assert (error.code, error.reason) == (1007, "Expected `int`, got `str` - at `$.user.age`")


def test_invalid_message_shortens_what_a_frame_cannot_hold():
    error = InvalidMessage("Invalid enum value '" + "é" * 100 + "'")
    assert len(error.reason.encode()) <= 123
    assert error.reason.startswith("Invalid enum value 'é")


def test_parameter_error_says_which_parameter_and_why():
    error = ParameterError("query", "limit", "Expected `int`")
    assert str(error) == "query parameter 'limit': Expected `int`"
    assert (error.source, error.name, error.problem) == ("query", "limit", "Expected `int`")
    assert error.status == 400
    assert ParameterError("query", "limit", "is required", status=422).status == 422


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (WebSocketDisconnect, (WebSocketException,)),
        (WebSocketClose, (WebSocketException,)),
        (ExpectedAsync, (TypeError,)),
        (RouteError, (ValueError,)),
        (ProviderDoesNotExist, (ProviderError,)),
        (UnknownScope, (ProviderError,)),
        (ProviderDeclarationError, (ProviderError,)),
        (RecursiveProviderError, (ProviderError,)),
        (SettingsError, (Exception,)),
    ],
)
def test_exceptions_are_what_their_table_says(kind, bases):
    assert issubclass(kind, bases)


def test_disconnect_is_no_close_of_our_own():
    assert not issubclass(WebSocketDisconnect, WebSocketClose)
    assert not issubclass(WebSocketDisconnect, OSError)


def test_the_table_in_the_module_names_every_exception():
    kinds = [
        name
        for name, value in vars(exceptions).items()
        if isinstance(value, type) and value.__module__ == exceptions.__name__
    ]
    documented = {line.split()[0] for line in (exceptions.__doc__ or "").splitlines()[2:]}
    assert documented == set(kinds)


@pytest.mark.parametrize("kind", [WebSocketException, WebSocketClose])
def test_default_code_may_be_sent(kind):
    assert is_sendable(kind().code)
