"""Owns who is let in: handshakes and connections are counted here, against the server's limits.

A place is claimed first and counted after, so that no limit is ever exceeded, whatever the other
workers do meanwhile (docs/adr/0008-tallies-are-count-min-sketches.md). It knows no route and no
token.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from server.exceptions import TooManyConnections
from server.handshake import Scope
from server.limits import AdmissionLimits
from server.proxies import one_client
from server.rates import Bucket
from workers.layout import TallyKind

if TYPE_CHECKING:
    from server.ledger import Ledger
    from server.recorded import Recorded

RETRY_LATER = {"Retry-After": "1"}
_HANDSHAKE_BURST_S = 1.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a handshake is refused: with which status, and which limit it is, if it is one."""

    status: int
    detail: str
    limit: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Admission:
    """What one worker lets in.

    Args:
        ledger: returns the books of the worker; called once there are any.
    """

    def __init__(self, limits: AdmissionLimits, ledger: "Callable[[], Ledger]") -> None:
        self._limits = limits
        self._ledger = ledger
        self._handshakes: Bucket | None = None
        self._places = 0
        self._addresses: dict[Recorded, str] = {}
        self._users: dict[Recorded, str] = {}

    def configure(self, limits: AdmissionLimits) -> None:
        """Take other limits; before the first connection."""
        self._limits = limits

    @property
    def limits(self) -> AdmissionLimits:
        """Those in force."""
        return self._limits

    # -- before anything is known of a handshake -------------------------------------------------

    def refusal(self, scope: Scope) -> Refusal | None:
        """Return what is against a handshake, whoever sends it."""
        return self._too_fast() or self._too_many() or size_refusal(self._limits, scope)

    def _too_many(self) -> Refusal | None:
        limit = self._limits.connections
        if limit is None or self._ledger().connections() < limit:
            return None
        return self._full(limit)

    def _full(self, limit: int) -> Refusal:
        return Refusal(
            503, f"The server has {limit} connections, its limit", "connections", RETRY_LATER
        )

    def _too_fast(self) -> Refusal | None:
        rate = self._limits.handshakes_per_s
        if rate is None:
            return None
        if self._handshakes is None:
            share = rate / self._ledger().segment.sizes.workers
            self._handshakes = Bucket(share, max(1.0, share * _HANDSHAKE_BURST_S))
        if self._handshakes.take(1.0) <= 0:
            return None
        detail = f"The server takes {rate:g} handshakes a second, its limit"
        return Refusal(503, detail, "handshake_rate", RETRY_LATER)

    # -- a place for each ------------------------------------------------------------------------

    def enter(self, ws: "Recorded") -> Refusal | None:
        """Claim a place for a handshake, until `leave`; returns why there is none, if so."""
        self._set_places(self._places + 1)
        limit = self._limits.connections
        if limit is not None and self._ledger().connections() > limit:
            self._set_places(self._places - 1)
            return self._full(limit)
        refusal = self._enter_address(ws)
        if refusal is not None:
            self._set_places(self._places - 1)
        return refusal

    def _enter_address(self, ws: "Recorded") -> Refusal | None:
        limit = self._limits.connections_per_ip
        client = ws.client
        if limit is None or client is None:
            return None
        address = one_client(client.host)
        if not self._claim(TallyKind.IP, address, limit):
            detail = f"There are {limit} connections of your address, its limit"
            return Refusal(429, detail, "connections_per_ip", RETRY_LATER)
        self._addresses[ws] = address
        return None

    def enter_user(self, ws: "Recorded", user_id: str) -> None:
        """Claim a place for a connection that has turned out to be a user's, until `leave`.

        Raises:
            TooManyConnections: there is none.
        """
        limit = self._limits.connections_per_user
        if limit is None or self._users.get(ws, "") == user_id:
            return
        if user_id and not self._claim(TallyKind.USER, user_id, limit):
            raise TooManyConnections(f"there are {limit} connections of this user, the limit")
        self._leave_user(ws)
        if user_id:  # an empty one is nobody's
            self._users[ws] = user_id

    def _claim(self, kind: TallyKind, key: str, limit: int) -> bool:
        tallies = self._ledger().tallies
        tallies.add(kind, key)
        if tallies.count(kind, key) <= limit:
            return True
        tallies.remove(kind, key)
        return False

    def leave(self, ws: "Recorded") -> None:
        """Give back what was claimed for a handshake that `enter` let in; once."""
        self._set_places(self._places - 1)
        address = self._addresses.pop(ws, None)
        if address is not None:
            self._ledger().tallies.remove(TallyKind.IP, address)
        self._leave_user(ws)

    def _leave_user(self, ws: "Recorded") -> None:
        user_id = self._users.pop(ws, None)
        if user_id is not None:
            self._ledger().tallies.remove(TallyKind.USER, user_id)

    def _set_places(self, number: int) -> None:
        self._places = number
        self._ledger().say_connections(number)


def size_refusal(limits: AdmissionLimits, scope: Scope) -> Refusal | None:
    """Return what is against the size of a request: of its headers, or of its path and query."""
    path = scope.get("raw_path") or scope["path"]
    url_bytes = len(path) + len(scope.get("query_string") or b"")
    if url_bytes > limits.url_bytes:
        detail = f"Path and query are {url_bytes} bytes, the limit is {limits.url_bytes}"
        return Refusal(414, detail, "url_size")
    header_bytes = 0
    for name, value in scope["headers"]:
        header_bytes += len(name) + len(value)
    if header_bytes > limits.header_bytes:
        detail = f"The headers are {header_bytes} bytes, the limit is {limits.header_bytes}"
        return Refusal(431, detail, "header_size")
    return None
