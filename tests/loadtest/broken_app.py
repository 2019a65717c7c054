"""Owns the showcase, but broken on purpose: every so many messages to clients one meets a fault.

`FAULT` in the environment says which, how often, and from how many seconds after the first
connection on, as in `drop 100 1.5`. GET /faults tells how many
there were. It wraps the app from outside, so each route is broken in the same way.
"""

import asyncio
import json
import os
import time
from collections.abc import MutableMapping
from typing import Any

from examples.showcase import app as showcase

KIND, EVERY, AFTER_S = [*os.environ.get("FAULT", "none 1").split(), "0"][:3]
DELAY_S = 0.2
Event = MutableMapping[str, Any]


class Faults:
    """What has been done to messages so far; all that is counted is a message with a mark."""

    def __init__(self) -> None:
        self.seen = 0
        self.done = 0
        self.begin_s = 0.0

    def is_due(self, event: Event) -> bool:
        """Whether this event is a message that a fault is to meet."""
        data = event.get("text") or event.get("bytes") or ""
        if (
            event["type"] != "websocket.send"
            or ("@" if isinstance(data, str) else b"@") not in data
        ):
            return False
        if time.monotonic() < self.begin_s:
            return False
        self.seen += 1
        is_due = self.seen % int(EVERY) == 0
        self.done += is_due
        return is_due


FAULTS = Faults()


class Broken:
    """One connection's way to its client.

    Attributes:
        held: a message that is sent after the next one.
    """

    def __init__(self, send: Any) -> None:
        self._send = send
        self.held: Event | None = None

    async def send(self, event: Event) -> None:
        if self.held is None and FAULTS.is_due(event):
            await self._break(event)
            return
        await self._send(event)
        if self.held is not None and event["type"] == "websocket.send":
            held, self.held = self.held, None
            await self._send(held)

    async def _break(self, event: Event) -> None:
        if KIND == "twice":
            await self._send(event)
            await self._send(event)
        elif KIND == "delay":
            await asyncio.sleep(DELAY_S)
            await self._send(event)
        elif KIND == "swap":
            self.held = event
        elif KIND == "close":
            await self._send({"type": "websocket.close", "code": 1011, "reason": "broken"})
        else:
            assert KIND == "drop"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Serve the showcase."""
    if scope["type"] == "websocket":
        FAULTS.begin_s = FAULTS.begin_s or time.monotonic() + float(AFTER_S)
        await showcase(scope, receive, Broken(send).send)
    elif scope["type"] == "http" and scope["path"] == "/faults":
        body = json.dumps({"seen": FAULTS.seen, "done": FAULTS.done}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
    else:
        await showcase(scope, receive, send)
