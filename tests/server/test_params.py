"""Tests of where arguments are read from: path, query, header, cookie, and what markers change."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any, Optional

import pytest
from msgspec import Meta

from server import Cookie, Depends, Header, Query
from server.params import MAX_VALUE_BYTES, MISSING, read_signature
from tests.server.read_arguments import arguments, refusal, view_of

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
