"""Owns how the admin port answers: JSON, errors in one line; knows no page and no segment."""

from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

JSON_TYPE = "application/json"


def json_answer(value: Any, status_code: int = 200) -> Response:
    """Return a value as JSON."""
    return Response(msgspec.json.encode(value), status_code, media_type=JSON_TYPE)


def refusal(name: str, problem: str, status_code: int = 400) -> HTTPException:
    """Return what to raise about a parameter, a header or a field, by its name."""
    return HTTPException(status_code, f"{name}: {problem}")
