"""Owns the reading of query parameters, each error of which names the parameter; knows no page."""

from starlette.datastructures import QueryParams

from server.admin.answers import refusal

_MAX_DIGITS = 18


def check_names(query: QueryParams, known: tuple[str, ...]) -> None:
    """Refuse parameters of other names.

    Raises:
        HTTPException: 400.
    """
    for name in query:
        if name not in known:
            raise refusal(name, f"there is no such parameter: use {', '.join(known)}")


def number(
    query: QueryParams, name: str, lowest: int, highest: int | None, remedy: str
) -> int | None:
    """Return a whole number; None if it is not given.

    Raises:
        HTTPException: 400, it is none, or out of its range; ends with the remedy.
    """
    text = query.get(name)
    if text is None:
        return None
    is_number = text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
    value = int(text) if is_number else -1
    if lowest <= value and (highest is None or value <= highest):
        return value
    bounds = f"{lowest} to {highest}" if highest is not None else f"{lowest} or more"
    raise refusal(name, f"must be a whole number, {bounds}, not {text[:20]!r}: {remedy}")
