"""Owns whose connection it is: the identity of its client, and the deadlines that come of it.

It knows limits and identities; it does not know events, nor how a connection is closed.
"""

from math import inf
from typing import TYPE_CHECKING

from server.auth.identity import Identity
from server.exceptions import TooManyConnections
from server.gate import Gate
from server.handshake import Scope
from server.recorded import Recorded
from server.watch import Watch

if TYPE_CHECKING:
    from server.runtime import AppRuntime
    from server.websocket_route import WebSocketRoute


class Owned(Recorded):
    """A connection, and who is at its other end.

    Attributes:
        identity: who authentication has found the client to be; None: nobody, or not yet.
        fallback_subprotocol: is accepted when no other is.
    """

    __slots__ = ("_app", "_gate", "_watch", "fallback_subprotocol", "identity")

    def __init__(self, scope: Scope, route: "WebSocketRoute", app: "AppRuntime") -> None:
        super().__init__(scope, route, app.ledger)
        self._app = app
        self._gate: Gate = app.policy.gate(route)
        self._watch: Watch | None = None
        self.identity: Identity | None = None
        self.fallback_subprotocol: str | None = None

    def become(self, identity: Identity | None) -> None:
        """Take note of who the client is, anew if that was known.

        Raises:
            TooManyConnections: this user has as many as may be.
        """
        if identity is None:
            return
        if identity.user_id is not None:
            self.user_id = identity.user_id
        self.identity = identity
        self.context.pop("permissions", None)
        self.context.update(identity.context())
        if self.entry is not None and self.entry.row is not None:  # it was accepted before
            self._watch_over()

    def _claim_user(self, user_id: str) -> None:
        if self not in self._app.running:
            return  # it has ended: nobody would give back what a task that is left claims
        try:
            self._app.admission.enter_user(self, user_id)
        except TooManyConnections:
            self.limited("connections_per_user")
            raise

    def _watch_over(self) -> None:
        """See to it that this ends in time: its token, its age, its silence."""
        limits, identity = self._gate.limits, self.identity
        expires_at_s = None if identity is None else identity.expires_at_s
        if self._watch is None:
            if (expires_at_s, limits.idle_timeout_s, limits.lifetime_s) == (None, None, None):
                return
            self._watch = Watch(self, limits)
        self._watch.expires_at_s = inf if expires_at_s is None else expires_at_s
        self._watch.begin()

    async def kick(self, code: int, reason: str = "") -> None:
        """Close; `connection` knows how."""
        raise NotImplementedError

    def unwatch(self) -> None:
        """Let go of the deadlines: the view has ended."""
        if self._watch is not None:
            self._watch.end()
