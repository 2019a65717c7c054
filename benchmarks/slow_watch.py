"""Owns what is seen of a server while members do not read: its memory, outboxes and actions."""

import asyncio
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.admin import Admin

_EVERY_SECONDS = 0.25
_ACTIONS = re.compile(r'^ws_slow_consumers_total\{policy="(\w+)",.*\} (\S+)$', re.MULTILINE)
_OUTBOXES = re.compile(r"^ws_outbox_bytes\{.*\} (\S+)$", re.MULTILINE)
_MEMORY = re.compile(r"^RssAnon:\s+(\d+) kB$", re.MULTILINE)


@dataclass(slots=True)
class Seen:
    """What was seen.

    Attributes:
        memory_kb: of the worker before.
        growth_kb: how much more it had at most.
        outbox_bytes: at most; the server brings it up to date about once a second.
        actions: how many of each policy.
        closed_after_s: when the first action was seen.
    """

    memory_kb: int
    growth_kb: int = 0
    outbox_bytes: float = 0.0
    actions: dict[str, int] = field(default_factory=dict)
    closed_after_s: float | None = None


class Watch:
    """Looks at a worker and its metrics four times a second."""

    def __init__(self, admin: Admin, worker_pid: int) -> None:
        self._admin = admin
        self._status = Path(f"/proc/{worker_pid}/status")
        self._seen = Seen(self._memory_kb())

    async def during(self, seconds: float) -> Seen:
        """Look for so long."""
        began = time.monotonic()
        for number in range(1, int(seconds / _EVERY_SECONDS) + 1):
            await asyncio.sleep(began + number * _EVERY_SECONDS - time.monotonic())
            page = await asyncio.to_thread(self._admin.get, "/metrics")
            self._look(page.decode(), time.monotonic() - began)
        return self._seen

    def _look(self, page: str, after_s: float) -> None:
        seen = self._seen
        seen.growth_kb = max(seen.growth_kb, self._memory_kb() - seen.memory_kb)
        waiting = sum(float(size) for size in _OUTBOXES.findall(page))
        seen.outbox_bytes = max(seen.outbox_bytes, waiting)
        seen.actions = {policy: int(float(count)) for policy, count in _ACTIONS.findall(page)}
        if seen.actions and seen.closed_after_s is None:
            seen.closed_after_s = after_s

    def _memory_kb(self) -> int:
        found = _MEMORY.search(self._status.read_text())
        return int(found[1]) if found else 0
