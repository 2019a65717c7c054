"""Owns what the connections of one app share in one worker process.

It does not know how a connection runs; `pipeline` does.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from server.admission import RETRY_LATER, Admission, Refusal
from server.exceptions import ServerUnavailable
from server.handshake import Scope
from server.injection import AppValues, Plan, Planner
from server.ledger import Ledger
from server.limits import AdmissionLimits
from server.policy import Policy
from server.providers import STORE
from server.rooms import Rooms
from server.routes import HTTPRoute
from server.transport import TransportLimits
from server.websocket_route import WebSocketRoute
from workers.bus import Bus
from workers.segment_bus import SegmentBus

if TYPE_CHECKING:
    from server.connection import Connection
    from server.websocket import WebSocket

log = logging.getLogger("switchboard.app")


class AppRuntime:
    """Limits, rooms, the ledger, provider values and counts of rare events.

    Attributes:
        running: every connection from its handshake until nothing of it is left, with its task.
        connections: those of them that are accepted, or whose view is about to do that.
        is_refusing: whether new connections are refused because this worker drains.
        stats: counts of rare events by name, for this process; keys come from a closed set.
        max_message_size: bytes, for routes that do not say.
        policy: what is asked of clients.
        admission: who is let in.
    """

    def __init__(
        self,
        max_message_size: int,
        connection_types: tuple[type, ...],
        make_ledger: Callable[[], Ledger],
    ) -> None:
        self.max_message_size = max_message_size
        self.limits = TransportLimits()
        self.stats: Counter[str] = Counter()
        self.running: dict[WebSocket, asyncio.Task[None] | None] = {}
        self.connections: set[WebSocket] = set()
        self.is_refusing = False
        self.rooms = Rooms(self)
        self.app_values = AppValues()
        self._make_ledger = make_ledger
        self._ledger: Ledger | None = None
        self.policy = Policy()
        self.admission = Admission(AdmissionLimits(), lambda: self.ledger)
        self._planner = Planner(STORE, connection_types)
        self._plans: dict[WebSocketRoute | HTTPRoute, Plan] = {}

    # -- books ---------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        """The books of this worker; private ones are made at the first use if none were given."""
        ledger = self._ledger
        if ledger is None:
            ledger = self._ledger = self._make_ledger()
        return ledger

    def adopt(self, ledger: Ledger) -> None:
        """Use the server's books; before the first connection.

        Raises:
            RuntimeError: others are in use already.
        """
        if self._ledger is not None:
            raise RuntimeError("adopt() after the app has begun to serve")
        self._ledger = ledger

    @property
    def is_adopted(self) -> bool:
        """Whether the books are a server's; unused ones are not."""
        return self._ledger is not None and self._ledger.segment.path is not None

    def make_bus(self) -> Bus:
        """Return the bus of this worker."""
        ledger = self.ledger
        return SegmentBus(ledger.segment, ledger.slot)

    # -- admission -----------------------------------------------------------------------------

    def refusal(self, scope: Scope) -> Refusal | None:
        """Return what is against any handshake now, or against the size of this one."""
        return self._unavailable() or self.admission.refusal(scope)

    def _unavailable(self) -> Refusal | None:
        if self.is_refusing:
            return Refusal(503, "The server is about to stop", headers=RETRY_LATER)
        if self.ledger.is_full:
            detail = f"The worker has {self.ledger.capacity} connections, its limit"
            return Refusal(503, detail, headers=RETRY_LATER)
        return None

    async def admit(self, ws: "Connection") -> None:
        """Enter a connection that is about to be accepted.

        Raises:
            ServerUnavailable: that is not possible now; its handshake has been refused.
        """
        refusal = self._unavailable()
        if refusal is not None:
            await ws.deny(refusal.status, {"detail": refusal.detail}, refusal.headers)
            raise ServerUnavailable(refusal.detail)
        self.ledger.enter(ws)

    # -- plans ---------------------------------------------------------------------------------

    def plan(self, route: WebSocketRoute | HTTPRoute) -> Plan:
        """Return the route's plan, made anew after a provider was declared or overridden."""
        plan = self._plans.get(route)
        if plan is None or plan.version != STORE.version:
            plan = self._plans[route] = self._planner.plan(route.view, route.pattern.names)
        return plan

    # -- rare events ---------------------------------------------------------------------------

    def count_slow_consumer(self, route: WebSocketRoute) -> None:
        """Count that a client is closed because it does not read."""
        self.stats["slow_consumer"] += 1
        self.ledger.slow(route, "disconnect")

    def warn_accept_headers_dropped(self) -> None:
        """Count, and say once, that the host cannot send headers with the 101 response."""
        self.stats["accept_headers_dropped"] += 1
        if self.stats["accept_headers_dropped"] == 1:
            log.warning(
                "accept(headers=...): granian cannot send headers with the 101 response; they"
                " were dropped. Set cookies on an HTTP route, send other data in a message"
            )
