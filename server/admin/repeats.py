"""Owns answers that are given again to a request that is sent again; knows no request's meaning.

In memory, so a server that starts anew knows none of them.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.responses import Response

from server.admin.answers import JSON_TYPE, refusal

HEADER = "idempotency-key"
REPEATED = "idempotency-replayed"
KEEP_S = 300.0
MAX_ENTRIES = 10_000
MAX_BYTES = 64 << 20
_MAX_KEY_CHARS = 255

Act = Callable[[], Coroutine[Any, Any, Response]]


@dataclass(slots=True)
class _Entry:
    """A request that was carried out, or is being.

    Attributes:
        fingerprint: of what was asked for.
        since_s: when it came, by the monotonic clock.
        size_bytes: of the answer; 0 before there is one.
    """

    fingerprint: bytes
    since_s: float
    task: asyncio.Task[Response]
    size_bytes: int = 0


class Repeats:
    """The requests of the last 5 minutes that had a key, as far as there is room; the oldest go.

    What ended with an error is forgotten at once, so that it can be tried again.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    async def once(self, key: str, fingerprint: bytes, act: Act) -> Response:
        """Carry out a request, or return the answer to the first one with its key.

        A first one that is under way is waited for. It goes on also if its client goes away.

        Args:
            fingerprint: a digest of the whole request.

        Raises:
            HTTPException: 422, the key belongs to another request, or is no good; or what `act`
                raises.
        """
        if not 0 < len(key) <= _MAX_KEY_CHARS:
            raise refusal(HEADER, f"has 1 to {_MAX_KEY_CHARS} characters, not {len(key)}", 422)
        self._make_room()
        entry = self._entries.get(key)
        if entry is None:
            task = asyncio.get_running_loop().create_task(act())
            entry = self._entries[key] = _Entry(fingerprint, time.monotonic(), task)
            task.add_done_callback(partial(self._settle, key, entry))
            return await asyncio.shield(task)
        if entry.fingerprint != fingerprint:
            raise refusal(HEADER, f"{key[:40]!r} was sent with another request: use a new one", 422)
        first = await asyncio.shield(entry.task)
        headers = {REPEATED: "true"}
        return Response(first.body, first.status_code, headers, media_type=JSON_TYPE)

    def _settle(self, key: str, entry: _Entry, task: asyncio.Task[Response]) -> None:
        if self._entries.get(key) is not entry:
            return
        if task.cancelled() or task.exception() is not None:
            del self._entries[key]
            return
        entry.size_bytes = len(task.result().body)
        self._bytes += entry.size_bytes

    def _make_room(self) -> None:
        """Forget what is too old, and the oldest of what is too much."""
        limit_s = time.monotonic() - KEEP_S
        while self._entries:
            key, oldest = next(iter(self._entries.items()))
            is_full = len(self._entries) >= MAX_ENTRIES or self._bytes > MAX_BYTES
            if oldest.since_s > limit_s and not is_full:
                return
            del self._entries[key]
            self._bytes -= oldest.size_bytes
