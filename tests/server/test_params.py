"""Tests of the way from a signature to arguments: conversion, sources, markers, annotations."""

import datetime
import enum
import functools
import math
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, Optional, TypedDict, TypeVar

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from server import Cookie, Depends, Header, ParameterError, Query
from server.params import (
    MAX_VALUE_BYTES,
    MISSING,
    check_convertible,
    convert,
    read_signature,
)
from tests.support import annotated
from tests.support.scopes import connection

UTC = datetime.UTC
ID = "c0ffee00-0000-4000-8000-000000000000"


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


def arguments(view, query="", headers=(), path: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return what `view` would be called with, beside its connection."""
    path = path or {}
    request = connection(query, headers)
    signature = read_signature(view, list(path))
    return {parameter.name: parameter.read(request, path) for parameter in signature.parameters}


def view_of(type_: Any, default: Any = MISSING) -> Callable[..., Any]:
    """Return a view whose one parameter is `value: type_`."""

    async def view(ws, value=default): ...

    view.__annotations__["value"] = type_
    return view


def refusal(view, query="", headers=(), path=None) -> ParameterError:
    with pytest.raises(ParameterError) as caught:
        arguments(view, query, headers, path)
    return caught.value


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


TYPES = [
    str,
    int,
    float,
    bool,
    Decimal,
    datetime.date,
    datetime.time,
    datetime.datetime,
    datetime.timedelta,
    uuid.UUID,
    bytes,
    Color,
    Literal["a", 1],
    int | None,
    int | float,
]
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


# -- path, query, header, cookie -------------------------------------------------------------------


def test_names_of_the_pattern_are_read_from_the_path():
    async def view(ws, item: int, rest: str): ...

    found = arguments(view, "item=2&rest=x", path={"item": "1", "rest": ""})
    assert found == {"item": 1, "rest": ""}


def test_path_wins_over_the_query_even_with_a_default():
    async def view(ws, item: int = 3): ...

    assert arguments(view, "item=2", path={"item": "1"}) == {"item": 1}


def test_path_parameter_that_the_view_does_not_take_is_left_out():
    async def view(ws): ...

    assert arguments(view, path={"item": "1"}) == {}


def test_other_names_are_read_from_the_query():
    async def view(ws, anonymous: bool = False, token: str | None = None, n: int = 0): ...

    assert arguments(view, "anonymous=on&token=x%20y&n=7") == {
        "anonymous": True,
        "token": "x y",
        "n": 7,
    }
    assert arguments(view) == {"anonymous": False, "token": None, "n": 0}


def test_unannotated_parameter_is_text():
    async def view(ws, a, b=5): ...

    assert arguments(view, "a=1") == {"a": "1", "b": 5}
    assert arguments(view, "a=1&b=2") == {"a": "1", "b": "2"}


def test_default_is_not_converted():
    marker = object()

    async def view(ws, a: int = marker): ...  # type: ignore[assignment]

    assert arguments(view) == {"a": marker}


def test_last_value_of_a_repeated_key_counts():
    async def view(ws, n: int): ...

    assert arguments(view, "n=x&n=2") == {"n": 2}


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("s=a+b", "a b"),
        ("s=%2B", "+"),
        ("s", ""),
        ("s=", ""),
        ("s=%C3%A9", "é"),
        ("s=%FF", "\ufffd"),
    ],
)
def test_query_text_is_decoded(query, value):
    async def view(ws, s: str): ...

    assert arguments(view, query) == {"s": value}


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (list[int], [1, 2]),
        (set[int], {1, 2}),
        (frozenset[int], frozenset({1, 2})),
        (tuple[int, ...], (1, 2)),
        (tuple[int, int], (1, 2)),
        (Sequence[int], [1, 2]),
        (list, ["1", "2"]),
        (list[int] | None, [1, 2]),
        (Optional[list[int]], [1, 2]),  # noqa: UP045 - another class than the last
        (Annotated[list[int], Query()], [1, 2]),
        (Annotated[list[int], Meta(max_length=2)] | None, [1, 2]),
    ],
)
def test_collection_takes_all_values_of_a_repeated_key(type_, value):
    assert arguments(view_of(type_), "value=1&value=2") == {"value": value}


def test_collection_without_a_value_is_missing():
    async def view(ws, n: list[int]): ...

    async def lenient(ws, n: list[int] = []): ...  # noqa: B006 - never changed

    assert refusal(view).status == 422
    assert arguments(lenient) == {"n": []}


def test_missing_value_is_refused_with_422():
    async def view(ws, n: int): ...

    error = refusal(view)
    assert (error.status, error.source, error.name) == (422, "query", "n")
    assert str(error) == "query parameter 'n': is required"


def test_none_is_a_default_like_any_other():
    async def required(ws, n: int | None): ...

    assert refusal(required).status == 422


def test_unconvertible_value_is_refused_with_400():
    async def view(ws, n: int): ...

    error = refusal(view, "n=x")
    assert (error.status, error.source, error.name) == (400, "query", "n")
    assert str(error) == "query parameter 'n': Expected `int`, got `str`"
    assert error.__suppress_context__


def test_unconvertible_path_value_names_the_path():
    async def view(ws, n: int): ...

    assert str(refusal(view, path={"n": "x"})) == "path parameter 'n': Expected `int`, got `str`"


@pytest.mark.parametrize("type_", [str, int, list[str], Any])
@pytest.mark.parametrize("character", ["a", "é", "💡"])
def test_value_is_limited_in_bytes_and_not_in_characters(type_, character):
    text = character * (MAX_VALUE_BYTES // len(character.encode())) + "a"
    error = refusal(view_of(type_), path={"value": text})
    assert error.status == 400
    assert error.problem == "is too long, the limit is 8192 bytes"


@pytest.mark.parametrize("character", ["a", "é", "💡"])
def test_value_of_exactly_the_limit_is_taken(character):
    async def view(ws, s: str): ...

    text = character * (MAX_VALUE_BYTES // len(character.encode()))
    assert arguments(view, path={"s": text}) == {"s": text}


def test_every_value_of_a_repeated_key_is_limited():
    async def view(ws, s: list[str]): ...

    assert "too long" in str(refusal(view, "s=a&s=" + "x" * 8193 + "&s=b"))


def test_half_a_surrogate_pair_is_no_crash():
    async def text(ws, s: str): ...

    async def number(ws, s: int): ...

    assert arguments(text, path={"s": "\ud800"}) == {"s": "\ud800"}
    assert refusal(number, path={"s": "\ud800"}).status == 400


def test_value_that_no_set_can_hold_is_refused():
    async def view(ws, d: set[Decimal]): ...

    assert refusal(view, "d=sNaN").status == 400


def test_header_name_has_hyphens_for_underscores():
    async def view(ws, api_key: Annotated[str, Header()], x: Annotated[int, Header()] = 0): ...

    assert arguments(view, headers={"Api-Key": "k", "X": "7"}) == {"api_key": "k", "x": 7}
    error = refusal(view, "api_key=q")
    assert (error.source, error.name, error.status) == ("header", "api-key", 422)


def test_repeated_header_gives_the_last_value_or_all():
    async def view(ws, x: Annotated[str, Header()], y: Annotated[list[int], Header("x")]): ...

    assert arguments(view, headers=[("x", "1"), ("x", "2")]) == {"x": "2", "y": [1, 2]}


def test_cookie_is_read_from_its_header():
    async def view(ws, sid: Annotated[str, Cookie()], n: Annotated[int, Cookie("num")] = 0): ...

    assert arguments(view, headers={"cookie": "sid=abc; num=5"}) == {"sid": "abc", "n": 5}
    error = refusal(view, "sid=q")
    assert (error.source, error.name, error.status) == ("cookie", "sid", 422)


# -- markers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("marker", "source", "wire_name"),
    [
        (Query(), "query", "a_b"),
        (Query, "query", "a_b"),
        (Query("q"), "query", "q"),
        (Query(alias="q"), "query", "q"),
        (Header(), "header", "a-b"),
        (Header, "header", "a-b"),
        (Header(alias="X_Y"), "header", "X_Y"),
        (Cookie(), "cookie", "a_b"),
        (Cookie, "cookie", "a_b"),
        (Cookie(alias="c"), "cookie", "c"),
    ],
)
def test_marker_is_read_wherever_it_stands(marker, source, wire_name):
    async def annotated(ws, a_b: Annotated[int, marker]): ...

    async def inside(ws, a_b: Annotated[int, marker] | None): ...

    async def nested(ws, a_b: Annotated[int, Meta(ge=0), marker] | None): ...

    async def default(ws, a_b: int = marker): ...

    async def path(ws, a_b: int = marker): ...

    for view in (annotated, inside, nested, default, path):
        names = ["a_b"] if view is path else []
        (parameter,) = read_signature(view, names).parameters
        assert (parameter.source, parameter.wire_name) == (source, wire_name)
        assert parameter.is_explicit
        assert parameter.default is MISSING


def test_parameter_without_a_marker_is_not_explicit():
    async def view(ws, a: int, b: Annotated[int, Meta(ge=0)]): ...

    a, b = read_signature(view, ["a"]).parameters
    assert (a.source, b.source) == ("path", "query")
    assert not a.is_explicit
    assert not b.is_explicit


def test_default_of_the_function_wins_over_the_markers():
    async def view(
        ws,
        a: Annotated[int, Query(default=1)],
        b: Annotated[int, Query(default=1)] = 2,
        c: int = Query(default=3),  # type: ignore[assignment]
        d: Annotated[int | None, Query(default=None)] = 4,
    ): ...

    assert arguments(view) == {"a": 1, "b": 2, "c": 3, "d": 4}


def test_constraints_stand_beside_markers():
    async def view(ws, n: Annotated[int, Meta(ge=1), Query("num")]): ...

    assert arguments(view, "num=1") == {"n": 1}
    assert "query parameter 'num': Expected `int` >= 1" in str(refusal(view, "num=0"))


def test_depends_is_no_request_value():
    def one(): ...

    def two(): ...

    async def view(ws, a: Annotated[int, Depends(one)], b=Depends(two), c: int = 0): ...

    signature = read_signature(view, ())
    assert signature.depends == {"a": one, "b": two}
    assert [parameter.name for parameter in signature.parameters] == ["c"]
    assert list(signature.annotations) == ["a", "b", "c"]


def test_depends_without_a_function_is_a_type_error():
    async def annotated(ws, a: Annotated[int, Depends]): ...

    async def default(ws, a=Depends): ...

    for view in (annotated, default):
        with pytest.raises(TypeError, match=r"'a': write Depends\(function\)"):
            read_signature(view, ())


# -- Structs ---------------------------------------------------------------------------------------


class Filters(Struct, rename="camel"):
    page_size: Annotated[int, Meta(ge=1)]
    tags: list[str] = []
    ratio: float = math.inf
    deep: bool = False
    color: Color | None = None
    since: datetime.date | None = None


def test_struct_collects_its_fields_from_the_query():
    async def view(ws, filters: Filters): ...

    query = "pageSize=3&tags=a&tags=b&ratio=0.5&deep=on&color=red&since=2020-01-31&other=x"
    assert arguments(view, query) == {
        "filters": Filters(3, ["a", "b"], 0.5, True, Color.RED, datetime.date(2020, 1, 31))
    }


def test_struct_keeps_its_own_defaults():
    async def view(ws, filters: Filters): ...

    assert arguments(view, "pageSize=3") == {"filters": Filters(3)}


@pytest.mark.parametrize(
    ("query", "name", "status", "problem"),
    [
        ("", "pageSize", 422, "is required"),
        ("page_size=3", "pageSize", 422, "is required"),
        ("pageSize=x", "pageSize", 400, "Expected `int`"),
        ("pageSize=0", "pageSize", 400, ">= 1"),
        ("pageSize=1&deep=yes", "deep", 400, "true, false, on, off, 1, 0"),
        ("pageSize=1&ratio=nan", "ratio", 400, "finite"),
        ("pageSize=1&color=pink", "color", 400, "Invalid enum value"),
        ("pageSize=1&tags=" + "x" * 8193, "tags", 400, "too long"),
    ],
)
def test_field_is_refused_like_a_parameter_of_its_own(query, name, status, problem):
    async def view(ws, filters: Filters): ...

    error = refusal(view, query)
    assert (error.source, error.name, error.status) == ("query", name, status)
    assert problem in error.problem


def test_struct_with_a_default_is_left_out_as_a_whole():
    async def view(ws, filters: Filters | None = None): ...

    assert arguments(view, "other=1") == {"filters": None}
    assert arguments(view, "pageSize=3") == {"filters": Filters(3)}
    assert refusal(view, "deep=on").name == "pageSize"


def test_optional_struct_without_a_default_is_required():
    async def view(ws, filters: Filters | None): ...

    assert refusal(view).status == 422


def test_struct_that_refuses_itself_is_refused():
    class Range(Struct):
        low: int = 0
        high: int = 0

        def __post_init__(self):
            if self.low > self.high:
                raise ValueError("low is over high")

    async def view(ws, range_: Range): ...

    assert arguments(view) == {"range_": Range()}
    error = refusal(view, "low=2&high=1")
    assert str(error) == "query parameter 'range_': low is over high"
    assert error.status == 400


def test_generic_and_keyword_only_structs_are_read():
    T = TypeVar("T")

    class Page(Struct, Generic[T], kw_only=True, frozen=True):
        first: T
        tag: str = ""

    async def view(ws, page: Page[int]): ...

    assert arguments(view, "first=7") == {"page": Page(first=7)}
    assert refusal(view, "first=x").name == "first"


# -- signatures ------------------------------------------------------------------------------------


def test_first_parameter_is_the_connection_whatever_its_name():
    async def view(anything: "NoSuchName", n: int): ...  # type: ignore[name-defined]  # noqa: F821

    assert [p.name for p in read_signature(view, ()).parameters] == ["n"]


def test_providers_have_no_connection_in_front():
    def provider(n: int): ...

    signature = read_signature(provider, (), skip_first=False)
    assert [p.name for p in signature.parameters] == ["n"]


def test_keyword_only_parameters_are_read():
    async def view(ws, *, n: int = 1, m: int): ...

    assert arguments(view, "m=2") == {"n": 1, "m": 2}


def test_variadic_parameters_stay_empty():
    async def view(ws, *args: int, n: int = 1, **kwargs: int): ...

    assert arguments(view, "args=1&kwargs=2&other=3") == {"n": 1}


def test_variadic_parameters_may_take_the_connection():
    async def view(*args, n: int = 1): ...

    assert arguments(view, "n=2") == {"n": 2}


def test_positional_only_connection_is_fine():
    async def view(ws, /, n: int): ...

    assert arguments(view, "n=2") == {"n": 2}


def test_positional_only_parameter_cannot_be_passed():
    async def view(ws, n: int, /): ...

    with pytest.raises(TypeError, match=r"view\(\): 'n' is positional-only"):
        read_signature(view, ())


def test_text_annotations_are_evaluated():
    async def view(ws, a: "int", b: "Annotated[list[int], Query('x')]", c: "uuid.UUID"): ...

    assert arguments(view, f"a=1&x=2&x=3&c={ID}") == {"a": 1, "b": [2, 3], "c": uuid.UUID(ID)}


def test_annotations_of_a_module_that_postpones_them_are_evaluated():
    signature = read_signature(annotated.view, ["item"])
    assert [(p.name, p.source, p.wire_name, p.type) for p in signature.parameters] == [
        ("item", "path", "item", uuid.UUID),
        ("limit", "query", "limit", int | None),
        ("tags", "query", "tag", Annotated[list[str], Query("tag")]),
        ("agent", "header", "agent", Annotated[str, Header]),
    ]
    assert signature.depends == {"user": annotated.current_user}


def test_name_that_only_type_checkers_import_is_a_type_error():
    with pytest.raises(TypeError, match=r"only_for_type_checkers\(\).*'Decimal' of 'price'"):
        read_signature(annotated.only_for_type_checkers, ())


def test_local_name_that_the_function_uses_is_found():
    view = annotated.make_closure()
    assert read_signature(view, ()).annotations == {"number": int}


def test_local_name_that_the_function_does_not_use_is_a_type_error():
    view = annotated.make_closure_over_nothing()
    with pytest.raises(TypeError, match="define that name at module level"):
        read_signature(view, ())


def test_local_name_that_is_assigned_later_does_no_harm():
    local = int

    async def view(ws, n: "local"):  # type: ignore[valid-type]
        return local, later

    signature = read_signature(view, ())
    later = 1
    assert signature.annotations == {"n": int}
    assert later


def test_unevaluable_annotation_of_any_kind_is_a_type_error():
    for annotation in ("1 +", "1 / 0", "int[0]"):
        with pytest.raises(TypeError, match=r"cannot evaluate the annotation .* of 'value'"):
            read_signature(view_of(annotation), ())


def test_wrapped_function_is_read_in_its_own_module():
    @functools.wraps(annotated.view)
    async def wrapper(*args, **kwargs): ...

    names = [p.name for p in read_signature(wrapper, ["item"]).parameters]
    assert names == ["item", "limit", "tags", "agent"]


def test_partial_is_read_without_what_it_binds():
    view = functools.partial(annotated.view, user="bob")
    signature = read_signature(view, ["item"])
    assert [p.name for p in signature.parameters] == ["item", "limit", "tags", "agent"]
    assert [p.type for p in signature.parameters][:2] == [uuid.UUID, int | None]


def test_bound_method_has_its_connection_after_self():
    class Chat:
        async def view(self, ws, n: "int"): ...

    assert arguments(Chat().view, "n=2") == {"n": 2}


def test_callable_object_is_read_by_its_call():
    class Dependency:
        def __call__(self, n: int): ...

    signature = read_signature(Dependency(), (), skip_first=False)
    assert [p.name for p in signature.parameters] == ["n"]


def test_unannotated_function_has_any_for_every_annotation():
    async def view(ws, a, b=1): ...

    assert read_signature(view, ()).annotations == {"a": Any, "b": Any}


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
