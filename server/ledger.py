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

from starlette.datastructures import Address

from server import logs
from server.close_codes import OWN_CODES, CloseCode
from server.handshake import Handshake, Scope
from server.limits import LIMITS
from server.metrics.catalog import INITIATORS, POLICIES, UNMATCHED
from workers.counters import CounterTable, RouteCounters
from workers.layout import CLIENT, ROW, SERVER, WORD_BYTES, Labels, Sizes
from workers.registry import SlotRows
from workers.segment import Segment
from workers.slots import ConnectionCounts, Slots, say_waiting
from workers.tallies import OwnTallies

if TYPE_CHECKING:
    from server.connection import Connection
    from server.websocket_route import WebSocketRoute

USER_BYTES = WORD_BYTES * next(field.words for field in ROW if field.name == "user")
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
    return Labels([UNMATCHED, *routes], [*known, *close_codes], [*STATUSES])


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


class Entry:
    """What the ledger keeps of a connection that was entered.

    Attributes:
        id: as in the registry.
        row: its number; None when the connection has left.
        counters: of its route.
        received_ns: when messages were last seen to have come, in unix nanoseconds.
        messages_in, messages_out, bytes_in, bytes_out: what has been written.
        waiting: messages and bytes in the outbox, when last seen.
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "counters",
        "entered_s",
        "id",
        "messages_in",
        "messages_out",
        "received_ns",
        "row",
        "waiting",
    )

    def __init__(self, id: str, row: int, counters: RouteCounters) -> None:
        self.id = id
        self.row: int | None = row
        self.counters = counters
        self.entered_s = time.monotonic()
        self.received_ns = time.time_ns()
        self.messages_in = self.messages_out = self.bytes_in = self.bytes_out = 0
        self.waiting = (0, 0)


class Recorded(Handshake):
    """What there is to record of a connection: whose it is, what came in, how it ended.

    Attributes:
        close_code: the code the connection ended with, None while it lives. 1005: the peer sent
            none or vanished (granian cannot tell); 1006: a send found it gone.
        close_reason: the text that came with it.
        is_closed_by_peer: whether the peer closed or was lost; told with `close_code`.
        messages_received, bytes_received: payloads so far.
        messages_dropped: sent to many and not to this one, because it reads too slowly.
        entry: the ledger's, from accept on.
    """

    __slots__ = (
        "_ledger",
        "_user_id",
        "bytes_received",
        "close_code",
        "close_reason",
        "entry",
        "is_closed_by_peer",
        "messages_dropped",
        "messages_received",
        "route",
    )

    def __init__(self, scope: Scope, route: "WebSocketRoute", ledger: "Ledger") -> None:
        super().__init__(scope)
        self.route = route
        self._ledger = ledger
        self.entry: Entry | None = None
        self._user_id: str | None = None
        self.close_code: int | None = None
        self.close_reason = ""
        self.is_closed_by_peer = False
        self.messages_received = 0
        self.bytes_received = 0
        self.messages_dropped = 0

    @property
    def id(self) -> str | None:
        """The id in the registry, such as "3-17"; None before the connection is accepted."""
        return self.entry.id if self.entry is not None else None

    @property
    def user_id(self) -> str | None:
        """Whose connection it is. What is set here, also before accept, the registry shows.

        Raises:
            TypeError: set to what is no str.
            ValueError: set to more than 64 bytes of UTF-8.
            TooManyConnections: this user has as many as may be.
        """
        return self._user_id

    @user_id.setter
    def user_id(self, user_id: str) -> None:
        if not isinstance(user_id, str):
            raise TypeError(f"user_id must be a str, not {type(user_id).__name__}")
        size = len(user_id.encode())
        if size > USER_BYTES:
            raise ValueError(f"user_id is {size} bytes of UTF-8, the limit is {USER_BYTES}")
        self._claim_user(user_id)
        self._user_id = user_id
        self._ledger.show_user(self)

    def _claim_user(self, user_id: str) -> None:
        """See whether the user may have one more; what has limits says how."""

    def limited(self, limit: str | None) -> None:
        """Count that a limit has stopped this connection, or something of it; None: it was none."""
        if limit is not None:
            self._ledger.limited(self.route, limit)

    def last_heard_ns(self) -> int:
        """Return when a message came last, or the connection began, within a second; Unix time."""
        return time.time_ns() if self.entry is None else self.entry.received_ns

    @property
    def peer(self) -> Address | None:
        """The other end of the TCP connection: a proxy's, where one that is trusted stands."""
        given = self.scope.get("switchboard.peer")
        return self.client if given is None else Address(str(given[0]), int(given[1] or 0))

    def peer_text(self) -> str:
        """Return the peer's address: `192.0.2.1:5000`, `[2001:db8::1]:5000`, empty if unknown."""
        client = self.client
        if client is None:
            return ""
        host = f"[{client.host}]" if ":" in client.host else client.host
        return f"{host}:{client.port}"


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
        now_ns = time.time_ns()
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
                entry.received_ns = now_ns
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
