"""Owns what one worker writes about its connections: rows, counters, and the line at their end.

It reads what a connection counts and knows of its end; it does not know how one runs. No message
writes to shared memory: a sweep brings the counts there within a second. The order of what is
written is that of docs/topics/shared-memory.md.
"""

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from server import logs
from server.close_codes import OWN_CODES, CloseCode
from server.limits import LIMITS
from server.metrics.catalog import INITIATORS, POLICIES, UNMATCHED
from server.recorded import Entry, Recorded
from workers.counters import CounterTable, RouteCounters
from workers.layout import CLIENT, SERVER, WORD_BYTES, Labels, Sizes
from workers.registry import SlotRows
from workers.segment import Segment
from workers.slots import ConnectionCounts, Slots, say_waiting
from workers.tallies import OwnTallies

if TYPE_CHECKING:
    from server.connection import Connection
    from server.websocket_route import WebSocketRoute

STATUSES = (
    *(
        400,
        401,
        402,
        403,
        404,
        405,
        406,
        408,
        409,
        410,
        412,
        413,
        414,
        415,
        421,
        422,
        423,
        425,
        426,
    ),
    *(428, 429, 431, 451, 500, 501, 502, 503, 504),
)
"""The HTTP statuses that refusals are counted by; all others are `other`."""

PRIVATE_ROWS = 16_384
PRIVATE_RING_BYTES = 64 << 20  # what is not written to takes no memory
_ROUND_S = 0.9
_TICKS_A_ROUND = 50
_VISITS_A_TICK = 500  # when that is enough to see all connections in a round


def labels(routes: Iterable[str], close_codes: Iterable[int]) -> Labels:
    """Return the labels for an app.

    Args:
        routes: the patterns of its WebSocket routes.
        close_codes: those it declares beside the registered ones.
    """
    known = [*(code.value for code in CloseCode), *OWN_CODES]
    # A route may be called like what is counted under a mount.
    return Labels([*dict.fromkeys((UNMATCHED, *routes))], [*known, *close_codes], [*STATUSES])


def private_ledger(names: Labels) -> "Ledger":
    """Return the ledger of a process that no supervisor has started: in memory of its own."""
    sizes = Sizes(
        workers=1,
        slots=1,
        rows_per_slot=PRIVATE_ROWS,
        routes=1 + len(names.routes),
        rooms=PRIVATE_ROWS,
        memberships_per_slot=4 * PRIVATE_ROWS,
        ring_words=PRIVATE_RING_BYTES // WORD_BYTES,
    )
    segment = Segment.private(
        sizes, routes=names.routes, codes=names.codes, statuses=names.statuses
    )
    return Ledger(segment, Slots(segment).assign(0, 1), 1)


class Ledger:
    """The books of one worker; it is the one writer of its slot's rows and counters.

    Attributes:
        segment, slot: where they are.
        worker_index: of this worker.
        tallies: how many connections an address, or a user, has.
    """

    def __init__(
        self, segment: Segment, slot: int, generation: int, *, worker_index: int = 0
    ) -> None:
        self.segment = segment
        self.slot = slot
        self.worker_index = worker_index
        self.tallies = OwnTallies(segment, slot)
        self._counts = ConnectionCounts(segment)
        self._rows = SlotRows(segment, slot, generation)
        self._table = CounterTable(segment, slot)
        self._counters: dict[WebSocketRoute | None, RouteCounters] = {}
        self._entered: dict[str, Connection] = {}
        self._to_visit: deque[str] = deque()  # ids, so that nobody is kept alive by it
        self._waiting = [0, 0]  # messages and bytes in all outboxes, as last seen
        self._loop: asyncio.AbstractEventLoop | None = None

    def connections(self) -> int:
        """Return how many handshakes and connections all workers have."""
        return self._counts.total()

    def say_connections(self, number: int) -> None:
        """Say how many of them this worker has."""
        self._counts.say(self.slot, number)

    @property
    def is_full(self) -> bool:
        """Whether the next `enter` would fail."""
        return self._rows.used >= self._rows.capacity

    @property
    def capacity(self) -> int:
        """How many connections this worker can have."""
        return self._rows.capacity

    # -- the life of a connection --------------------------------------------------------------

    def enter(self, ws: "Connection") -> None:
        """Enter a connection; right before it is accepted.

        Raises:
            RegistryFull: there is no row for it; nothing was counted.
        """
        index = self.segment.route_index(ws.route.pattern.text)
        row = self._rows.claim(index, ws.peer_text(), ws.path, ws.user_id or "")
        counters = self._of(ws.route)
        counters.opened()
        entry = ws.entry = Entry(self._rows.id_of(row), row, counters)
        self._entered[entry.id] = ws
        self._to_visit.append(entry.id)
        self._start_sweep()

    def closing(self, ws: Recorded) -> None:
        """Show that an entered connection has been closed by one side; its view may still run."""
        if ws.entry is not None and ws.entry.row is not None:
            self._rows.set_closing(ws.entry.row)

    def leave(self, ws: "Connection") -> None:
        """Take a connection out, if it was entered and is still in."""
        entry = ws.entry
        if entry is None or entry.row is None:
            return
        row, entry.row = entry.row, None
        del self._entered[entry.id]
        self._write_traffic([(ws, entry, row)])
        if entry.waiting != (0, 0):
            self._note_waiting(entry, (0, 0))
        # Without a code its end was not even begun: the peer sees a lost connection.
        code = CloseCode.ABNORMAL_CLOSURE if ws.close_code is None else ws.close_code
        initiator = CLIENT if ws.is_closed_by_peer else SERVER
        duration_s = time.monotonic() - entry.entered_s
        entry.counters.closed(self.segment.code_index(code), initiator, duration_s)
        self._rows.free(row)
        logs.connection_closed(
            id=entry.id,
            route=ws.route.pattern.text,
            path=ws.path,
            client=ws.peer_text(),
            user=ws.user_id,
            code=code,
            initiator=INITIATORS[initiator],
            reason=ws.close_reason,
            duration_s=duration_s,
            messages_received=ws.messages_received,
            messages_sent=ws.messages_sent,
            bytes_received=ws.bytes_received,
            bytes_sent=ws.bytes_sent,
        )

    def show_user(self, ws: Recorded) -> None:
        """Show whose connection it is, if it was entered."""
        if ws.entry is not None and ws.entry.row is not None:
            self._rows.set_user(ws.entry.row, ws.user_id or "")

    def find(self, ids: Sequence[str]) -> list["Connection"]:
        """Return the connections with these ids; an id that is not here is passed over."""
        return [self._entered[id] for id in ids if id in self._entered]

    # -- single events -------------------------------------------------------------------------

    def refuse(self, route: "WebSocketRoute | None", status: int) -> None:
        """Count a handshake that is answered with an HTTP status; None: no route took it."""
        self._of(route).refused(self.segment.status_index(status))

    def error(self, route: "WebSocketRoute") -> None:
        """Count an exception that left a view unexpected."""
        self._of(route).error()

    def slow(self, route: "WebSocketRoute", policy: str) -> None:
        """Count what was done about a slow client; one of `POLICIES`."""
        self._of(route).slow(POLICIES.index(policy))

    def limited(self, route: "WebSocketRoute | None", limit: str) -> None:
        """Count what a limit, one of `LIMITS`, has stopped; None: no route took it."""
        self._of(route).limited(LIMITS.index(limit))

    def _of(self, route: "WebSocketRoute | None") -> RouteCounters:
        counters = self._counters.get(route)
        if counters is None:
            name = UNMATCHED if route is None else route.pattern.text
            counters = self._table.route(self.segment.route_index(name))
            self._counters[route] = counters
        return counters

    # -- the sweep -----------------------------------------------------------------------------

    def sweep(self, visits: int) -> None:
        """Write what the next connections have received and sent since they were last visited."""
        changed: list[tuple[Connection, Entry, int]] = []
        to_visit, entered = self._to_visit, self._entered
        for _ in range(min(visits, len(to_visit))):
            id = to_visit.popleft()
            ws = entered.get(id)
            if ws is None:
                continue
            to_visit.append(id)
            entry = ws.entry
            assert entry is not None
            if (waiting := ws.waiting) != entry.waiting:
                self._note_waiting(entry, waiting)
            sent = ws.messages_sent - waiting[0]
            if ws.messages_received != entry.messages_in or sent != entry.messages_out:
                assert entry.row is not None
                changed.append((ws, entry, entry.row))
        self._write_traffic(changed)

    def _note_waiting(self, entry: Entry, waiting: tuple[int, int]) -> None:
        self._waiting[0] += waiting[0] - entry.waiting[0]
        self._waiting[1] += waiting[1] - entry.waiting[1]
        entry.waiting = waiting
        say_waiting(self.segment, self.slot, *self._waiting)

    def _write_traffic(self, changed: Iterable[tuple["Connection", Entry, int]]) -> None:
        """Write to rows, and once for each route what its connections add up to."""
        now_ns, now_s = time.time_ns(), time.monotonic()
        sums: dict[RouteCounters, list[int]] = {}
        for ws, entry, row in changed:
            total = sums.get(entry.counters)
            if total is None:
                total = sums[entry.counters] = [0, 0, 0, 0]
            # What waits may yet be dropped, and a counter never goes down.
            waiting, waiting_bytes = ws.waiting
            received, sent = ws.messages_received, ws.messages_sent - waiting
            bytes_in, bytes_out = ws.bytes_received, ws.bytes_sent - waiting_bytes
            if received != entry.messages_in:
                entry.received_ns, entry.heard_s = now_ns, now_s
                total[0] += received - entry.messages_in
                total[1] += bytes_in - entry.bytes_in
            total[2] += sent - entry.messages_out
            total[3] += bytes_out - entry.bytes_out
            entry.messages_in, entry.messages_out = received, sent
            entry.bytes_in, entry.bytes_out = bytes_in, bytes_out
            self._rows.update(row, entry.received_ns, received, sent, bytes_in, bytes_out)
        for counters, total in sums.items():
            counters.traffic(*total)

    def _start_sweep(self) -> None:
        """See to it that this loop sweeps; an earlier loop has ended (test clients), or will."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            loop.call_later(_ROUND_S, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not loop:
            return
        if not self._entered:
            self._loop = None
            self._to_visit.clear()
            return
        waiting = len(self._to_visit)
        ticks = min(_TICKS_A_ROUND, -(-waiting // _VISITS_A_TICK))
        self.sweep(-(-waiting // ticks))
        loop.call_later(_ROUND_S / ticks, self._tick, loop)
