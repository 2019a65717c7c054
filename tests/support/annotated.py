"""Owns views whose annotations are all text, because of the import below; knows no test."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from server.params import Depends, Header, Query

if TYPE_CHECKING:
    from decimal import Decimal

    from server import WebSocket


def current_user() -> str:
    return "ann"


async def view(
    ws: WebSocket,
    item: UUID,
    limit: int | None = None,
    tags: Annotated[list[str], Query("tag")] = [],  # noqa: B006 - never changed
    agent: Annotated[str, Header] = "",
    user: Annotated[str, Depends(current_user)] = "",
) -> Decimal:
    """Has one parameter of each kind; its first one and its result are not for evaluation."""
    raise NotImplementedError


async def only_for_type_checkers(ws: Any, price: Decimal) -> None:
    """Is annotated with a name that does not exist at run time."""


def make_closure() -> Callable[..., Any]:
    """Return a function that is annotated with a local name it also uses."""
    Local = int  # noqa: N806 - a type

    async def closure(ws: Any, number: Local) -> Any:  # type: ignore[valid-type]
        return Local

    return closure


def make_closure_over_nothing() -> Callable[..., Any]:
    """Return a function that is annotated with a local name it does not use."""
    Local = int  # noqa: N806 - a type

    async def closure(ws: Any, number: Local) -> None: ...  # type: ignore[valid-type]

    return closure
