"""Owns the passing of events over an open connection: the next one in, and those that go out.

What the state allows is `connection`'s matter, what is in an event is `websocket`'s, and what is
done about a peer that reads too slowly is `slow`'s.
"""

from server import slow
from server.connection import Connection
from server.states import CONNECTED
from server.transport import Event, PeerGone, ReceiveGivenUp, SendTimeout


class Exchange(Connection):
    """A connection, and the events that pass over it while it is open."""

    __slots__ = ()

    async def next_event(self) -> Event:
        """Return the next event of an open connection, a disconnect event included.

        Raises:
            RuntimeError: not accepted yet, closed from this side, or another task is receiving.
            WebSocketDisconnect: the connection was closed while this task waited.
        """
        if self._phase is not CONNECTED:
            self._refuse("receive")
        inbox = self._inbox
        try:
            while not inbox.pending.done():
                await inbox.arrival()
            event = inbox.take()
        except ReceiveGivenUp:
            raise self._disconnect() from None
        if event["type"] == "websocket.disconnect":
            self._left(event)
        return event

    async def post(self, event: Event, size_bytes: int) -> None:
        """Send what `offer` did not take; a peer that reads nothing in time is closed (1013).

        Raises:
            WebSocketDisconnect: the peer is gone, or was closed for not reading.
            RuntimeError: not accepted yet, or closed from this side.
        """
        if self._phase is not CONNECTED:
            self._refuse("send")
        if self._notice_disconnect():
            raise self._disconnect()
        try:
            await self._outbox.put(event, size_bytes)
        except PeerGone:
            await self._inbox.settle(self._app.limits.close_timeout_s)
            self._peer_gone()
        except SendTimeout:
            slow.count_disconnect(self)
            await slow.disconnect(self)
            raise self._disconnect() from None

    def hand_over(self, event: Event, size_bytes: int) -> bool:
        """Send what goes to many, never waiting; False if this one has to be cut off (`slow`).

        Raises:
            WebSocketDisconnect, RuntimeError: as `post`.
        """
        if self._phase is not CONNECTED:
            if self._early is None:
                self._refuse("send")
            return self._keep_early(event, size_bytes)
        try:
            lost = slow.POLICIES[self.route.slow_consumer](self._outbox, event, size_bytes)
        except PeerGone:
            return self._peer_gone()
        return not lost or slow.lose(self, lost)

    @property
    def is_being_accepted(self) -> bool:
        """Whether what is for many is kept until its peer has its answer."""
        return self._early is not None

    def _keep_early(self, event: Event, size_bytes: int) -> bool:
        assert self._early is not None
        if len(self._early) < self._app.limits.window_messages:
            self._early.append((event, size_bytes))
        else:
            self.messages_dropped += 1
            self._ledger.slow(self.route, "full")
        return True

    def _send_early(self, early: list[tuple[Event, int]]) -> None:
        for event, size_bytes in early:
            if self._phase is CONNECTED:
                self.hand_over(event, size_bytes)

    @property
    def is_lagging(self) -> bool:
        """Whether its peer has begun to read too slowly, but reads on."""
        if self._accepted_with is None:
            return False
        outbox = self._outbox
        return outbox.filling_since is not None and outbox.is_worth_waiting_for()

    def push(self, event: Event, size_bytes: int) -> bool:
        """Send what must not be dropped, never waiting; False if that cannot be."""
        return self._phase is CONNECTED and self._outbox.push(event, size_bytes)

    def _peer_gone(self) -> bool:
        """A send found nobody: say so, with the code the peer left if it is known by now.

        granian knows before its disconnect event, which has the code, is here. That send is
        lost either way; the next one, or the receive, reports the code.
        """
        if self._phase is CONNECTED and not self._notice_disconnect():
            if self._eager:
                return True
            self._lost()
        raise self._disconnect()
