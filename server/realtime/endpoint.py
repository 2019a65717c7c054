"""Owns the options of a realtime endpoint, and the start of its connections."""

from collections.abc import Callable, Sequence
from typing import TypedDict

from server.auth.guards import GuardLike
from server.auth.identity import Backend
from server.limits import ConnectionLimits
from server.realtime.hooks import Hooks
from server.realtime.session import Session
from server.realtime.wire import WIRES
from server.websocket import WebSocket
from server.websocket_route import OriginList

TIMEOUT_PINGS = 3
"""Pings that a client may be late: browsers let the timers of hidden pages run once a minute."""

HasPresence = bool | Callable[[str], bool]


class RealtimeOptions(TypedDict, total=False):
    """Options that the endpoint's route has in common with others; see `RouteOptions`."""

    auth: Sequence[Backend] | None
    guards: Sequence[GuardLike] | None
    allowed_origins: OriginList | None
    limits: ConnectionLimits | None
    max_message_size: int | None
    name: str | None


class Endpoint:
    """Serves the protocol of docs/protocol.md; see `App.realtime` for the options.

    Raises:
        ValueError: an option that is not positive.
    """

    def __init__(
        self,
        hooks: Hooks,
        *,
        presence: HasPresence,
        max_rooms: int,
        connect_timeout_s: float,
        ping_interval_s: float,
    ) -> None:
        for name, value in (
            ("max_rooms", max_rooms),
            ("connect_timeout_s", connect_timeout_s),
            ("ping_interval_s", ping_interval_s),
        ):
            if not value > 0:
                raise ValueError(f"realtime({name}={value}): it is more than 0")
        self.hooks = hooks
        self._presence = presence
        self.max_rooms = max_rooms
        self.connect_timeout_s = float(connect_timeout_s)
        self.ping_interval_s = float(ping_interval_s)
        self.timeout_s = TIMEOUT_PINGS * self.ping_interval_s

    def has_presence(self, room: str) -> bool:
        """Whether the members of a room may be seen at all."""
        presence = self._presence
        return presence if isinstance(presence, bool) else bool(presence(room))

    def message_bytes(self, ws: WebSocket) -> int:
        """Return the size over which a frame closes the connection."""
        return ws.route.max_message_size or ws._app.max_message_size

    async def serve(self, ws: WebSocket) -> None:
        """Serve one connection; the view of the route."""
        # In `connections` it could get broadcasts before anybody knows who it is.
        ws._app.connections.discard(ws)
        subprotocol = ws.choose_subprotocol(WIRES)
        if subprotocol is None:
            offers = ", ".join(WIRES)
            body = {"detail": f"Offer a WebSocket subprotocol: {offers}", "subprotocols": [*WIRES]}
            await ws.deny(400, body)
            return
        await ws.accept(subprotocol)
        wire = WIRES[subprotocol]
        ws.encoding = wire
        await Session(self, ws, wire).run()
