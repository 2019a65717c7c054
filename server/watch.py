"""Owns the deadlines of one connection: its silence, its age, and the end of its token.

It closes the connection itself when one has passed; what a token is, it does not know.
"""

import asyncio
import time
from math import inf
from typing import TYPE_CHECKING

from server.close_codes import LIFETIME_OVER, NOT_HEARD, OWN_CODES, TOKEN_EXPIRED
from server.deadlines import deadlines
from server.limits import ConnectionLimits

if TYPE_CHECKING:
    from server.owned import Owned


class Watch:
    """What one accepted connection is watched for.

    Attributes:
        expires_at_s: Unix time at which its token ends, or infinity.
    """

    __slots__ = ("_began_s", "_closing", "_idle_s", "_over_s", "_ws", "expires_at_s")

    def __init__(self, ws: "Owned", limits: ConnectionLimits) -> None:
        self._ws = ws
        self._idle_s = limits.idle_timeout_s or inf
        self._began_s = asyncio.get_running_loop().time()
        self._over_s = self._began_s + (limits.lifetime_s or inf)
        self.expires_at_s = inf
        self._closing: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Watch from now on; again after `expires_at_s` was changed."""
        if self.due_s() == inf:
            deadlines().forget(self)
        else:
            deadlines().watch(self)

    def end(self) -> None:
        """Watch no longer."""
        deadlines().forget(self)

    def due_s(self) -> float:
        """When the first of the deadlines is, in the loop's time."""
        return min(self._over_s, self._idle_until_s(), self._token_until_s())

    def _idle_until_s(self) -> float:
        if self._idle_s == inf or self._ws.entry is None:
            return inf
        heard_s = asyncio.get_running_loop().time() - self._ws.silent_s()
        return max(heard_s, self._began_s) + self._idle_s

    def _token_until_s(self) -> float:
        if self.expires_at_s == inf:
            return inf
        return asyncio.get_running_loop().time() + self.expires_at_s - time.time()

    def expire(self) -> None:
        """Close the connection with the code of the deadline that has passed."""
        if self._ws.close_code is not None:
            return  # it is closed already, only its view goes on
        now_s = asyncio.get_running_loop().time()
        if self._token_until_s() <= now_s:
            code = TOKEN_EXPIRED
        elif self._over_s <= now_s:
            code = LIFETIME_OVER
            self._ws.limited("lifetime")
        else:
            code = NOT_HEARD
            self._ws.limited("idle")
        closing = self._ws.kick(code, OWN_CODES[code])
        self._closing = asyncio.get_running_loop().create_task(closing)
