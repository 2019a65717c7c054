"""Owns views whose annotations are all text, because of the import below; knows no test."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from server.params import Depends, Header, Query

if TYPE_CHECKING:
    from decimal import Decimal


def current_user() -> str:
    return "ann"


async def view(
    ws: NeverDefined,  # type: ignore[name-defined]  # noqa: F821 - the connection's own is not read
    item: UUID,
    limit: int | None = None,
    tags: Annotated[list[str], Query("tag")] = [],  # noqa: B006 - read once
    agent: Annotated[str, Header] = "",
    user: Annotated[str, Depends(current_user)] = "",
) -> NeverDefined:  # type: ignore[name-defined]  # noqa: F821 - nor is what it returns
    """Has one parameter of each kind."""


async def only_for_type_checkers(ws: Any, price: Decimal) -> None:
    """Is annotated with a name that does not exist at run time."""


def make_view() -> Callable[..., Any]:
    """Return a closure that is annotated with a local name it also uses."""
    Local = int  # noqa: N806 - a type

    async def closure(ws: Any, number: Local, later: int = 0) -> Any:
        return Local, assigned_later

    assigned = read_while_unassigned(closure)
    assigned_later = 1
    return assigned, closure, assigned_later  # type: ignore[return-value]


def make_view_with_unused_local() -> Callable[..., Any]:
    """Return a closure that is annotated with a local name it does not use."""
    Local = int  # noqa: N806 - a type

    async def closure(ws: Any, number: Local) -> None: ...

    return closure
