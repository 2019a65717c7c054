"""Owns the app's side of the ASGI lifespan protocol; does not know what starts and what stops."""

import traceback
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

from server.transport import Receive, Send


async def run_lifespan(
    life: AbstractAsyncContextManager[Any], receive: Receive, send: Send
) -> None:
    """Enter and leave `life` when the host says so, and tell it of failures.

    Raises:
        Exception: what `life` raised.
    """
    await receive()
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(life)
        except Exception:
            # The host says it; the supervisor only once, however often it tries again.
            message = traceback.format_exc()
            await send({"type": "lifespan.startup.failed", "message": message})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        try:
            await stack.aclose()
        except Exception:
            message = traceback.format_exc()
            await send({"type": "lifespan.shutdown.failed", "message": message})
            raise
    await send({"type": "lifespan.shutdown.complete"})
