"""Owns what handler code and the shell see of all workers' connections: list, count, disconnect.

It reads the segment's rows and rings the workers' doorbells; how a worker closes is not its matter.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from server.close_codes import CloseCode, check_close
from server.recorded import USER_BYTES
from workers.doorbell import Disconnect, chunks, deliver
from workers.layout import OTHER, SlotState
from workers.registry import Row, count_rows, parse_id, read_rows
from workers.segment import OTHER_NAME, Segment
from workers.slots import Slots

__all__ = ["Connections", "DisconnectFailed", "Row"]

DELIVERY_TIMEOUT_S = 5.0
_RETRY_S = 0.05
Rows = list[Row]


class DisconnectFailed(Exception):
    """Workers did not take the request in time; all others did.

    Attributes:
        workers: the indexes of those that did not.
        asked: the number of connections that were asked to close all the same.
    """

    def __init__(self, workers: list[int], asked: int) -> None:
        names = ", ".join(map(str, workers))
        subject = f"worker {names}" if len(workers) == 1 else f"workers {names}"
        super().__init__(
            f"{subject} did not take the request within {DELIVERY_TIMEOUT_S:g} s (connections asked"
            f" to close: {asked}); see `python -m server status`, then try again"
        )
        self.workers = workers
        self.asked = asked


class Connections:
    """The accepted connections of all workers, as their rows stand at the moment of the call.

    Args:
        local_slot: the slot of this process, if it is a worker.
        local: closes connections of this process; given with `local_slot`, it is called instead of
            ringing the own doorbell.

    Iterating yields the rows; `len()` counts them.
    """

    def __init__(
        self,
        segment: Segment,
        *,
        local_slot: int | None = None,
        local: Callable[[Disconnect], None] | None = None,
    ) -> None:
        self._segment = segment
        self._local_slot = local_slot if local is not None else None
        self._local = local

    def count(
        self, *, route: str | None = None, user: str | None = None, worker: int | None = None
    ) -> int:
        """Count connections; each filter that is given must match.

        Args:
            route: a pattern, such as "/chat/{channel}".
            user: a user id; "" matches connections without one.
            worker: a worker's index, from 0.
        """
        if route is None and user is None and worker is None:
            return count_rows(self._segment)
        return sum(1 for _ in self._read(route=route, user=user, worker=worker))

    def list(
        self,
        *,
        route: str | None = None,
        user: str | None = None,
        worker: int | None = None,
        limit: int | None = None,
    ) -> Rows:
        """Return connections, filtered as by `count`.

        Args:
            limit: at most so many.
        """
        return [*islice(self._read(route=route, user=user, worker=worker), limit)]

    def get(self, id: str) -> Row | None:
        """Return the connection with that id, or None if it has ended.

        Raises:
            ValueError: not an id.
        """
        return next(self._read(id=id), None)

    def __iter__(self) -> Iterator[Row]:
        return self._read()

    def __len__(self) -> int:
        return self.count()

    async def disconnect(
        self,
        *,
        user: str | None = None,
        id: str | None = None,
        route: str | None = None,
        worker: int | None = None,
        everyone: bool = False,
        code: int = CloseCode.POLICY_VIOLATION,
        reason: str = "",
    ) -> int:
        """Ask the connections that match all given filters to close, on whatever worker they are.

        It returns when the workers have the request, not when the connections are closed. The
        connection that asks is one of them if it matches.

        Args:
            everyone: stands in for a filter: every connection.
            code: 1000-1003, 1007-1014 or 3000-4999.
            reason: at most 123 bytes of UTF-8.

        Returns:
            The number of connections asked to close; those that close already are not counted.

        Raises:
            TypeError, ValueError: such a code or reason may not be sent; or there is no filter; or
                `user` is empty or over 64 bytes; or `id` is no id.
            DisconnectFailed: workers did not take the request within 5 s; all others did.
        """
        check_close(code, reason)
        _check_filters({"user": user, "id": id, "route": route, "worker": worker}, everyone)
        rows = await self._open_rows(route=route, user=user, worker=worker, id=id)
        outcomes = await asyncio.gather(
            *(self._ask(slot, of_slot, int(code), reason) for slot, of_slot in rows.items())
        )
        asked = sum(number for number, _ in outcomes)
        failed = {
            of_slot[0].worker
            for of_slot, (_, in_time) in zip(rows.values(), outcomes, strict=True)
            if not in_time
        }
        if failed:
            raise DisconnectFailed(sorted(failed), asked)
        return asked

    async def _open_rows(self, *, worker: int | None, **filters: Any) -> dict[int, Rows]:
        """Return the rows that match and do not close yet, by their slot."""
        found: dict[int, Rows] = {}
        for index in range(self._segment.sizes.workers) if worker is None else [worker]:
            for row in self._read(worker=index, **filters):
                if not row.is_closing:
                    found.setdefault(row.slot, []).append(row)
            await asyncio.sleep(0)  # there may be many, and this may be a worker's loop
        return found

    async def _ask(self, slot: int, rows: Rows, code: int, reason: str) -> tuple[int, bool]:
        """Return how many of a slot's connections were asked, and whether that was in time."""
        ids = [row.id for row in rows]
        if self._local is not None and slot == self._local_slot:
            self._local(Disconnect(ids, code, reason))
            return len(ids), True
        generation, _ = parse_id(ids[0])
        deadline = time.monotonic() + DELIVERY_TIMEOUT_S
        asked = 0
        for chunk in chunks(ids):
            while not await self._deliver(slot, Disconnect(chunk, code, reason), deadline):
                if self._has_ended(slot, generation):  # and so have its connections
                    return asked, True
                if time.monotonic() >= deadline:
                    return asked, False
                await asyncio.sleep(_RETRY_S)
            asked += len(chunk)
        return asked, True

    async def _deliver(self, slot: int, message: Disconnect, deadline: float) -> bool:
        assert self._segment.path is not None, "a private segment has one slot, the local one"
        timeout_s = max(0.0, deadline - time.monotonic())
        return await deliver(self._segment.path.parent, slot, message, timeout_s)

    def _has_ended(self, slot: int, generation: int) -> bool:
        now = Slots(self._segment).info(slot)
        return now.generation != generation or now.state in (SlotState.DEAD, SlotState.FREE)

    def _read(self, **filters: Any) -> Iterator[Row]:
        return read_rows(self._segment, **filters)


def _check_filters(filters: dict[str, Any], everyone: bool) -> None:
    given = [name for name, value in filters.items() if value is not None]
    if not given and not everyone:
        raise ValueError(
            "disconnect() without a filter: give user, id, route or worker, or everyone=True"
        )
    if given and everyone:
        raise ValueError(f"disconnect() of everyone takes no filter, but {given[0]} was given")
    if filters["user"] == "":
        # A missing value of a form must not sign out all who never signed in.
        raise ValueError("disconnect() with an empty user: give a user id, or another filter")
    if filters["user"] is not None and len(filters["user"].encode()) > USER_BYTES:
        raise ValueError(  # the row holds its beginning, which other users may share
            f"disconnect() of a user id over {USER_BYTES} bytes: use the id of the connection"
        )


def has_route(segment: Segment, route: str) -> bool:
    """Tell whether connections are listed under this route pattern."""
    return route == OTHER_NAME or segment.route_index(route) != OTHER


def describe(row: Row) -> dict[str, Any]:
    """Return a connection in plain values, for JSON; times in seconds, `connected_at` Unix time."""
    now_ns = time.time_ns()
    return {
        "id": row.id,
        "route": row.route,
        "path": row.path,
        "client": row.client,
        "user": row.user,
        "worker": row.worker,
        "connected_at": row.connected_ns / 1e9,
        "age_s": _seconds(now_ns - row.connected_ns),
        "idle_s": _seconds(now_ns - row.received_ns),
        "messages_received": row.messages_in,
        "messages_sent": row.messages_out,
        "bytes_received": row.bytes_in,
        "bytes_sent": row.bytes_out,
        "is_closing": row.is_closing,
    }


def _seconds(span_ns: int) -> float:
    return round(max(0, span_ns) / 1e9, 3)
