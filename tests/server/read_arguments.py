"""Owns how tests read a view's arguments from a request, and the types that they ask for."""

import datetime
import enum
import math
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct

from server import ParameterError
from server.params import MISSING, read_signature
from tests.support.scopes import connection

ID = "c0ffee00-0000-4000-8000-000000000000"


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1


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


class Filters(Struct, rename="camel"):
    page_size: Annotated[int, Meta(ge=1)]
    tags: list[str] = []
    ratio: float = math.inf
    deep: bool = False
    color: Color | None = None
    since: datetime.date | None = None


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
