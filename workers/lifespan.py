"""Owns the ASGI lifespan of one app (ASGI spec, "Lifespan Protocol"); knows no host.

granian has one, which logs an app's failure by itself: here it is the caller's to say, once.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger("switchboard.worker")


class StartupFailed(Exception):
    """The app's startup failed; the message is the app's, which may be a traceback."""


class Lifespan:
    """Runs the lifespan call of `app` from `startup` to `shutdown`.

    Attributes:
        state: what the app has put into its lifespan state; each request gets a copy.
    """

    def __init__(self, app: Callable[..., Any]) -> None:
        self._app = app
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._call: asyncio.Task[None] | None = None
        self.state: dict[str, Any] = {}

    async def startup(self) -> None:
        """Have the app start; an app that knows no lifespan is fine.

        Raises:
            StartupFailed: it says that it could not.
        """
        self._call = asyncio.get_running_loop().create_task(self._run())
        answer = await self._ask("startup")
        if answer.get("type") == "lifespan.startup.failed":
            await self._end()
            raise StartupFailed(answer.get("message") or "the app gave no reason")

    async def shutdown(self) -> None:
        """Have the app shut down."""
        if self._call is None or self._call.done():
            return
        answer = await self._ask("shutdown")
        if answer.get("type") == "lifespan.shutdown.failed":
            log.error("the app's shutdown failed: %s", answer.get("message") or "no reason given")
        await self._end()

    async def _end(self) -> None:
        """Let the call end; apps raise what they have told already."""
        if self._call is not None:
            await asyncio.gather(self._call, return_exceptions=True)

    async def _run(self) -> None:
        spec = {"version": "3.0", "spec_version": "2.3"}
        scope = {"type": "lifespan", "asgi": spec, "state": self.state}
        await self._app(scope, self._events.get, self._answers.put)

    async def _ask(self, event: str) -> dict[str, Any]:
        """Send an event; returns the answer, or an empty one if the call ends without."""
        assert self._call is not None
        self._events.put_nowait({"type": f"lifespan.{event}"})
        answer = asyncio.get_running_loop().create_task(self._answers.get())
        await asyncio.wait([answer, self._call], return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        # The ASGI spec: an exception says that the app does not support the lifespan protocol.
        error = self._call.exception()
        if error is not None:
            log.info("the app has no lifespan: %s: %s", type(error).__name__, error)
        return {}
