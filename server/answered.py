"""Owns whether the handshake of a connection has been answered, and the waiting for that."""

import asyncio
from typing import TYPE_CHECKING

from server.handshake import Scope
from server.owned import Owned
from server.states import Phase

if TYPE_CHECKING:
    from server.runtime import AppRuntime
    from server.websocket_route import WebSocketRoute


class Answered(Owned):
    """A connection from its handshake on, for which other tasks than its view's may wait."""

    __slots__ = ("_answer", "_is_accepting", "_phase")

    def __init__(self, scope: Scope, route: "WebSocketRoute", app: "AppRuntime") -> None:
        super().__init__(scope, route, app)
        self._phase = Phase.CONNECTING
        self._is_accepting = False
        self._answer: asyncio.Event | None = None  # somebody waits for it

    async def answered(self) -> None:
        """Wait until the handshake is accepted or refused, in whatever task."""
        while self._phase is Phase.CONNECTING:
            await self._next_answer()

    async def decided(self) -> None:
        """Wait until no task is accepting (`send_timeout_s`): only then refuse, or close."""
        while self._is_accepting:
            await self._next_answer()

    async def _next_answer(self) -> None:
        if self._answer is None:
            self._answer = asyncio.Event()
        await self._answer.wait()

    def _note_answer(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.set()
