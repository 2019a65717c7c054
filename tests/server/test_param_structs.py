"""Tests of Structs as parameters: fields from the query, defaults, refusals."""

import datetime
from typing import Generic, TypeVar

import pytest
from msgspec import Struct

from tests.server.read_arguments import Color, Filters, arguments, refusal


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
