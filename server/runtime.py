"""Owns what the connections of one app share in one worker process.

It does not know how a connection runs; `pipeline` does.
"""

import logging
from collections import Counter
from typing import TYPE_CHECKING

from server.injection import AppValues, Plan, Planner
from server.providers import STORE
from server.rooms import Rooms
from server.routes import HTTPRoute, WebSocketRoute
from server.transport import TransportLimits

if TYPE_CHECKING:
    from server.websocket import WebSocket

log = logging.getLogger("switchboard.app")


class AppRuntime:
    """Limits, rooms, provider values and counts of rare events.

    Attributes:
        connections: every accepted connection that has not ended.
        stats: counts of rare events by name, for this process; keys come from a closed set.
        max_message_size: bytes, for routes that do not say.
    """

    def __init__(self, max_message_size: int, connection_types: tuple[type, ...]) -> None:
        self.max_message_size = max_message_size
        self.limits = TransportLimits()
        self.stats: Counter[str] = Counter()
        self.connections: set[WebSocket] = set()
        self.rooms = Rooms(self)
        self.app_values = AppValues()
        self._planner = Planner(STORE, connection_types)
        self._plans: dict[WebSocketRoute | HTTPRoute, Plan] = {}

    def plan(self, route: WebSocketRoute | HTTPRoute) -> Plan:
        """Return the route's plan, made anew after a provider was declared or overridden."""
        plan = self._plans.get(route)
        if plan is None or plan.version != STORE.version:
            plan = self._plans[route] = self._planner.plan(route.view, route.pattern.names)
        return plan

    def warn_accept_headers_dropped(self) -> None:
        """Count, and say once, that the host cannot send headers with the 101 response."""
        self.stats["accept_headers_dropped"] += 1
        if self.stats["accept_headers_dropped"] == 1:
            log.warning(
                "accept(headers=...): granian cannot send headers with the 101 response; they"
                " were dropped. Set cookies on an HTTP route, send other data in a message"
            )
