"""Owns what there is to record of a connection: whose it is, what came in, how it ended.

It knows the books only as those that are told; `ledger` writes them.
"""

import time
from typing import TYPE_CHECKING

from starlette.datastructures import Address

from server.handshake import Handshake, Scope
from workers.counters import RouteCounters
from workers.layout import ROW, WORD_BYTES

if TYPE_CHECKING:
    from server.ledger import Ledger
    from server.websocket_route import WebSocketRoute

USER_BYTES = WORD_BYTES * next(field.words for field in ROW if field.name == "user")


class Entry:
    """What the ledger keeps of a connection that was entered.

    Attributes:
        id: as in the registry.
        row: its number; None when the connection has left.
        counters: of its route.
        received_ns: when messages were last seen to have come, in unix nanoseconds.
        heard_s: the same by the monotonic clock, which nobody sets.
        messages_in, messages_out, bytes_in, bytes_out: what has been written.
        waiting: messages and bytes in the outbox, when last seen.
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "counters",
        "entered_s",
        "heard_s",
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
        self.entered_s = self.heard_s = time.monotonic()
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

    def silent_s(self) -> float:
        """Return how long ago a message came, or the connection began; up to a second too little.

        Messages cost nothing for it: the ledger notices them within a second.
        """
        entry = self.entry
        if entry is None or self.messages_received != entry.messages_in:
            return 0.0
        return time.monotonic() - entry.heard_s

    @property
    def peer(self) -> Address | None:
        """The other end of the TCP connection: a proxy's, where one that is trusted stands."""
        given = self.scope.get("switchboard.peer")
        return self.client if given is None else Address(str(given[0]), int(given[1] or 0))

    def peer_text(self) -> str:
        """Return the client's address: `192.0.2.1:5000`, `[2001:db8::1]:5000`, empty if unknown.

        What a proxy tells has no port.
        """
        client = self.client
        if client is None:
            return ""
        if client.port == 0:
            return client.host
        host = f"[{client.host}]" if ":" in client.host else client.host
        return f"{host}:{client.port}"
