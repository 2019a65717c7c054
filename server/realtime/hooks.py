"""Owns what an app may decide about realtime clients; knows no frame.

A hook is a function or a coroutine function. It refuses by returning what is false, or by raising
PermissionError, whose text the client gets. **Where there is no hook, everybody may.**
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from server.realtime.errors import Refused

if TYPE_CHECKING:
    from server.websocket import WebSocket

Hook = Callable[..., Any]


@dataclass(frozen=True)
class Hooks:
    """The hooks of an endpoint; see `App.realtime`."""

    authorize: Hook | None = None
    can_join: Hook | None = None
    can_publish: Hook | None = None
    can_see_presence: Hook | None = None

    async def user_of(self, ws: "WebSocket", data: Any) -> str | None:
        """Return whose connection it is; None if that is nobody's matter.

        Raises:
            Refused: unauthorized.
            TypeError: the hook returned something else.
        """
        if self.authorize is None:
            return None
        user = await _call("unauthorized", self.authorize, ws, data)
        if user is False:
            raise Refused("unauthorized")
        if user is not None and not isinstance(user, str):
            raise TypeError(
                f"authorize returns a user id (str), None or False, not {type(user).__name__}"
            )
        return user


async def check(hook: Hook | None, *arguments: Any) -> None:
    """Let a hook decide.

    Raises:
        Refused: forbidden.
    """
    if hook is not None and not await _call("forbidden", hook, *arguments):
        raise Refused("forbidden")


async def _call(code: str, hook: Hook, *arguments: Any) -> Any:
    try:
        result = hook(*arguments)
        return await result if inspect.isawaitable(result) else result
    except PermissionError as error:
        raise Refused(code, str(error)) from None
