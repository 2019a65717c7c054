"""Tests of the conversion of text: what it becomes, what is refused, types it cannot become."""

import datetime
import math
import uuid
from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, Optional, TypedDict

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Meta

from server import Cookie, Header, Query
from server.params import MISSING, check_convertible, convert, read_signature
from tests.server.read_arguments import ID, TYPES, Color, Filters, Level, view_of

UTC = datetime.UTC


# -- conversion ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "type_", "value"),
    [
        # text
        ("", str, ""),
        (" x ", str, " x "),
        ("null", str, "null"),
        ("é💡", Any, "é💡"),
        ("x", Annotated[str, Meta(max_length=1)], "x"),
        # int
        ("42", int, 42),
        ("-1", int, -1),
        ("0", int, 0),
        ("-0", int, 0),
        ("1e3", int, 1000),
        ("1.0", int, 1),
        ("9" * 25, int, int("9" * 25)),
        ("5", Annotated[int, Meta(ge=5, le=5)], 5),
        # float
        ("1.5", float, 1.5),
        ("1", float, 1.0),
        ("-2e-3", float, -0.002),
        # Decimal
        ("1.50", Decimal, Decimal("1.50")),
        ("-1E+2", Decimal, Decimal("-1E+2")),
        # dates
        ("2020-01-31", datetime.date, datetime.date(2020, 1, 31)),
        ("10:20:30", datetime.time, datetime.time(10, 20, 30)),
        (
            "2020-01-31T10:20:30Z",
            datetime.datetime,
            datetime.datetime(2020, 1, 31, 10, 20, 30, tzinfo=datetime.UTC),
        ),
        ("0", datetime.datetime, datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)),
        ("PT90S", datetime.timedelta, datetime.timedelta(seconds=90)),
        # others
        (ID, uuid.UUID, uuid.UUID(ID)),
        ("red", Color, Color.RED),
        ("1", Level, Level.LOW),
        ("a", Literal["a", 1], "a"),
        ("1", Literal["a", 1], 1),
        ("aGk=", bytes, b"hi"),
        # optional
        ("7", Optional[int], 7),  # noqa: UP045 - another class than the next
        ("7", int | None, 7),
        ("null", int | None, None),
        ("null", str | None, "null"),
        ("on", bool | None, True),
        ("1.5", int | float, 1.5),
        ("1", int | float, 1),
    ],
)
def test_text_converts(text, type_, value):
    result = convert(text, type_)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("text", "type_", "message"),
    [
        # int
        ("4.2", int, "Expected `int`"),
        (" 7", int, "Expected `int`"),
        ("7 ", int, "Expected `int`"),
        ("+7", int, "Expected `int`"),
        ("007", int, "Expected `int`"),
        ("1_000", int, "Expected `int`"),
        ("0x1", int, "Expected `int`"),
        ("\u0661", int, "Expected `int`"),
        ("", int, "Expected `int`"),
        ("inf", int, "Expected `int`"),
        ("true", int, "Expected `int`"),
        ("null", int, "Expected `int`"),
        ("9" * 5000, int, "out of range"),
        ("4", Annotated[int, Meta(ge=5)], ">= 5"),
        # float
        ("nan", float, "finite"),
        ("NaN", float, "finite"),
        ("inf", float, "finite"),
        ("-inf", float, "finite"),
        ("Infinity", float, "finite"),
        ("1e400", float, "out of range"),
        ("", float, "Expected `float`"),
        ("1,5", float, "Expected `float`"),
        ("nan", float | None, "finite"),
        ("nan", int | float, "finite"),
        ("inf", Annotated[float, Meta(ge=0)], "finite"),
        # Decimal
        ("NaN", Decimal, "finite"),
        ("sNaN", Decimal, "finite"),
        ("-Infinity", Decimal, "finite"),
        ("x", Decimal, "Invalid decimal"),
        ("1e99999999999999999999", Decimal, "Invalid decimal"),
        # dates
        ("2020-02-30", datetime.date, "Invalid"),
        ("2020-01-31T00:00:00", datetime.date, "Invalid"),
        ("10:20", datetime.time, "Invalid"),
        ("2020-01-31", datetime.datetime, "Invalid"),
        ("1e300", datetime.datetime, "out of range"),
        ("nan", datetime.datetime, "Invalid"),
        ("inf", datetime.timedelta, "out of range"),
        # others
        ("c0ffee", uuid.UUID, "Invalid UUID"),
        ("RED", Color, "Invalid enum value 'RED'"),
        ("2", Level, "Invalid enum value 2"),
        ("b", Literal["a", 1], "Invalid enum value 'b'"),
        ("a", bytes, "base64"),
        ("none", int | None, "Expected"),
        ("", int | None, "Expected"),
        ("xy", Annotated[str, Meta(max_length=1)], "length <= 1"),
        ("x", Annotated[str, Meta(pattern="^[0-9]$")], "matching regex"),
    ],
)
def test_text_that_does_not_convert_says_what_was_expected(text, type_, message):
    with pytest.raises(msgspec.ValidationError, match=message):
        convert(text, type_)


@pytest.mark.parametrize("type_", [bool, bool | None, Annotated[bool, "x"]])
@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["true", "True", "TRUE", "tRuE", "on", "ON", "1"], True),
        (["false", "False", "FALSE", "off", "Off", "0"], False),
    ],
)
def test_words_for_booleans(type_, words, value):
    assert all(convert(word, type_) is value for word in words)


@pytest.mark.parametrize("type_", [bool, bool | None])
@pytest.mark.parametrize(
    "word",
    ["", "yes", "no", "y", "n", "t", "f", "2", "-1", "1.0", " true", "null", "none", "\u017f"],
)
def test_everything_else_is_no_boolean(type_, word):
    with pytest.raises(msgspec.ValidationError, match="true, false, on, off, 1, 0"):
        convert(word, type_)


@pytest.mark.parametrize(
    ("texts", "type_", "value"),
    [
        (["1", "2"], list[int], [1, 2]),
        (["1", "1"], set[int], {1}),
        (["1"], frozenset[int], frozenset({1})),
        (["1", "2"], tuple[int, ...], (1, 2)),
        (["1", "x"], tuple[int, str], (1, "x")),
        (["1"], list, ["1"]),
        (["1"], tuple, ("1",)),
        (["1"], Sequence[int], [1]),
        (["1"], Collection[int], [1]),
        (["1"], AbstractSet[int], {1}),
        (["on", "0"], list[bool], [True, False]),
        (["on"], set[bool], {True}),
        (["on", "on"], tuple[str, bool], ("on", True)),
        (["off", "on"], tuple[bool, ...], (False, True)),
        (["off"], list[bool | None], [False]),
        (["red"], list[Color], [Color.RED]),
        (["1"], Annotated[list[int], Meta(max_length=1)], [1]),
        (["1"], list[int] | None, [1]),
        (["1"], list[Annotated[int, Meta(ge=1)]], [1]),
    ],
)
def test_texts_convert_to_collections(texts, type_, value):
    result = convert(texts, type_)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("texts", "type_", "message"),
    [
        (["1", "x"], list[int], r"\$\[1\]"),
        (["1", "nan"], list[float], "finite"),
        (["nan"], set[float], "finite"),
        (["1", "inf"], tuple[int, float], "finite"),
        (["NaN"], frozenset[Decimal], "finite"),
        (["yes"], list[bool], "true, false, on, off, 1, 0"),
        (["1", "yes"], tuple[int, bool], "true, false, on, off, 1, 0"),
        (["1", "2", "3"], tuple[int, int], "length 2"),
        (["1"], tuple[int, bool], "length 2"),
        (["1", "2"], Annotated[list[int], Meta(max_length=1)], "length <= 1"),
        (["1"], tuple[()], "length 0"),
    ],
)
def test_texts_that_do_not_convert_say_what_was_expected(texts, type_, message):
    with pytest.raises(msgspec.ValidationError, match=message):
        convert(texts, type_)


NUMBERS = st.from_regex(r"[-+]?[0-9]*\.?[0-9]*([eE][-+]?[0-9]+)?", fullmatch=True)


@given(st.text() | NUMBERS, st.sampled_from(TYPES))
@example("9" * 5000, int)
@example("1e99999999999999999999", Decimal)
def test_any_text_converts_or_is_a_validation_error(text, type_):
    try:
        value = convert(text, type_)
    except msgspec.ValidationError:
        return
    assert not isinstance(value, float) or math.isfinite(value)
    assert not isinstance(value, Decimal) or value.is_finite()


# A set of Decimals has a test of its own.
@given(
    st.lists(st.text() | NUMBERS, max_size=3),
    st.sampled_from([type_ for type_ in TYPES if type_ is not Decimal]),
)
def test_any_texts_convert_or_are_a_validation_error(texts, type_):
    for origin in (list, set, tuple):
        try:
            convert(texts, origin[type_])
        except msgspec.ValidationError:
            pass


# -- types that text cannot become -----------------------------------------------------------------


class Custom:
    """Stands for a database, a user: what a provider makes."""


@dataclass
class Data:
    n: int


class Pair(NamedTuple):
    n: int


class Dict(TypedDict):
    n: int


def check(type_, default: Any = MISSING) -> None:
    view = view_of(type_, default)
    (parameter,) = read_signature(view, ()).parameters
    check_convertible(view, parameter)


@pytest.mark.parametrize(
    "type_",
    [
        *TYPES,
        Any,
        Filters,
        Filters | None,
        list,
        list[int],
        set[int] | None,
        tuple[int, str],
        tuple[int, ...],
        Sequence[int],
        list[int | None],
        list[Annotated[int, Meta(description="has a description")]],
        Annotated[int, Meta(description="has a description")],
        Annotated[int, Query()],
        list[int] | int,
        Optional[Annotated[int, Header()]],  # noqa: UP045
    ],
)
def test_type_that_text_can_become_is_accepted(type_):
    check(type_)


@pytest.mark.parametrize(
    "type_",
    [
        Custom,
        Custom | None,
        object,
        dict,
        dict[str, int],
        Data,
        Pair,
        Dict,
        None,
        list[Custom],
        list[list[int]],
        list[Filters],
        tuple[int, Custom],
        list["int"],
        Optional["int"],
        set[int] | list[int],
        5,
        len,
    ],
)
def test_type_that_no_text_becomes_is_a_type_error(type_):
    with pytest.raises(TypeError, match=r"view\(\): parameter 'value' has type .* no query value"):
        check(type_)


@pytest.mark.parametrize("marker", [Header(), Cookie()])
def test_struct_is_read_from_the_query_alone(marker):
    with pytest.raises(TypeError, match=r"which no (header|cookie) value converts to"):
        check(Filters, marker)
