"""Owns the state of one connection: accepting, refusing and closing it, and who did what.

It speaks ASGI events to its transport; it does not know message types, providers or the view.
docs/topics/websocket.md has the table of methods and states that this, `exchange` and `websocket`
implement.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from server import slow
from server.answered import Answered
from server.close_codes import CloseCode, check_close
from server.codecs import CODECS, JSON, Codec, json_bytes
from server.encodings import BARE, Encoding
from server.exceptions import WebSocketDisconnect
from server.flow import flow_of
from server.handshake import HeaderPairs, Scope, accept_headers, check_status
from server.inbox import Inbox
from server.outbox import Outbox, make_outbox, take_nothing
from server.states import CONNECTED, Phase, WebSocketState, refusal
from server.transport import (
    Event,
    Receive,
    Send,
    is_eager,
)

if TYPE_CHECKING:
    from server.runtime import AppRuntime
    from server.websocket_route import WebSocketRoute

_FAULT: Event = {"type": "websocket.close", "code": 1002, "reason": "invalid or oversized frame"}
log = logging.getLogger("switchboard.connection")


class Connection(Answered):
    """One connection and its state.

    Attributes:
        offer: sends an event of that many bytes without waiting; False if `post` has to.
    """

    __slots__ = (
        "__weakref__",
        "_accepted_with",
        "_close_finished",
        "_connect_event_given",
        "_eager",
        "_early",
        "_flow",
        "_free_size",
        "_handling_since_s",
        "_inbox",
        "_max_message_size",
        "_outbox",
        "_receive",
        "_rooms",
        "_send",
        "_unsent_close",
        "encoding",
        "offer",
    )
    _inbox: Inbox
    _outbox: Outbox

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, route: "WebSocketRoute", app: "AppRuntime"
    ) -> None:
        super().__init__(scope, route, app)
        self._receive = receive
        self._send = send
        self._eager = False
        self.encoding: Encoding = BARE[route.codec or JSON]
        self._max_message_size = route.max_message_size or app.max_message_size
        self._flow = flow_of(self._gate.limits)
        # Up to that size nothing else is looked at.
        self._free_size = self._max_message_size if self._flow is None else -1
        self._accepted_with: tuple[str | None, list[tuple[bytes, bytes]]] | None = None
        self._connect_event_given = False
        self._early: list[tuple[Event, int]] | None = None  # for many, and it is being accepted
        self._close_finished: asyncio.Event | None = None
        self._unsent_close: Event | None = None
        self._rooms: dict[str, int | None] = {}  # to the bus's ticket, None while it is joining
        self._handling_since_s = 0.0
        self.offer: Callable[[Event, int], bool] = take_nothing

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.path!r} {self._phase.name}>"

    # -- state ---------------------------------------------------------------------------------

    @property
    def state(self) -> WebSocketState:
        """CONNECTING before accept, CONNECTED after it, DISCONNECTED after either side closed."""
        return WebSocketState(min(self._phase, WebSocketState.DISCONNECTED))

    application_state = state

    @property
    def is_open(self) -> bool:
        """Accepted, and closed by neither side."""
        return self._phase is CONNECTED

    @property
    def has_ended(self) -> bool:
        """Closed by either side (or refused)."""
        return self._phase >= Phase.CLOSED

    @property
    def client_state(self) -> WebSocketState:
        """The peer's side: it counts as connected from its handshake on."""
        return WebSocketState(max(self.state, WebSocketState.CONNECTED))

    @property
    def max_message_size(self) -> int:
        """Bytes, over which a message closes with 1009."""
        return self._max_message_size

    @property
    def messages_sent(self) -> int:
        """Messages handed to the host so far."""
        if self._accepted_with is None:
            return 0
        self._app.rooms.settle()
        return self._outbox.messages

    @property
    def bytes_sent(self) -> int:
        """Their payload bytes."""
        if self._accepted_with is None:
            return 0
        self._app.rooms.settle()
        return self._outbox.size_bytes

    @property
    def waiting(self) -> tuple[int, int]:
        """Messages and payload bytes that wait for a peer that reads slowly."""
        return self._outbox.waiting if self._accepted_with else (0, 0)

    @property
    def codec(self) -> Codec:
        """The encoding of structured messages on this connection."""
        return self.encoding.codec

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol this connection was accepted with."""
        return self._accepted_with[0] if self._accepted_with else None

    # -- accept ------------------------------------------------------------------------

    async def accept(
        self, subprotocol: str | None = None, headers: HeaderPairs | None = None
    ) -> None:
        """Accept the handshake. Again with no or equal arguments it does nothing.

        Args:
            subprotocol: one of those the client offered.
            headers: for the 101 response; granian cannot send them and warns once.

        Raises:
            ValueError: a subprotocol not offered, or a header the handshake owns.
            RuntimeError: accepted differently before, or closed already.
            WebSocketDisconnect: the peer left meanwhile.
            ServerUnavailable: full, or draining; the handshake was refused with 503.
        """
        if self.has_ended:
            self._refuse("accept()")
        has_choice = subprotocol is not None
        if subprotocol is None:
            subprotocol = self.fallback_subprotocol
        self.check_subprotocol(subprotocol)
        wanted = (subprotocol, accept_headers(headers))
        if self._phase is CONNECTED:
            if (has_choice or wanted[1]) and wanted != self._accepted_with:
                raise RuntimeError("accept() again with another subprotocol or other headers")
            return
        if self._is_accepting:
            raise RuntimeError("accept() while another task is accepting")
        await self._app.admit(self)  # may refuse it; else another task has no turn meanwhile
        self._is_accepting = True
        try:
            await self._accept(wanted)
        finally:
            self._is_accepting = False
            self._note_answer()

    async def _accept(self, wanted: tuple[str | None, list[tuple[bytes, bytes]]]) -> None:
        subprotocol, headers = wanted
        event = {"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers}
        if self.route.codec is None and subprotocol in CODECS:
            self.encoding = BARE[CODECS[subprotocol]]
        # The peer may have its answer before this task goes on: what is sent to all then is for it.
        self._early = []
        try:
            awaitable = self._send(event)
            self._eager = is_eager(awaitable)
            if headers and self._eager:
                self._app.warn_accept_headers_dropped()
            async with asyncio.timeout(self._app.limits.send_timeout_s):
                await awaitable
        except (TimeoutError, RuntimeError, OSError):
            self._lost()
            raise self._disconnect() from None
        except BaseException:  # cancelled: nobody knows whether the peer has its answer
            self._lost(by_peer=False)
            raise
        self._accepted_with = wanted
        self._inbox = Inbox(self._receive)
        self._outbox = make_outbox(
            self._send,
            self.route.bounds(self._app.limits),
            awaitable,
            is_replacing=self.route.slow_consumer == slow.LATEST,
        )
        self._phase = CONNECTED
        self.offer = self._outbox.offer
        early, self._early = self._early, None
        self._watch_over()
        self._send_early(early)

    def _send_early(self, early: list[tuple[Event, int]]) -> None:
        """Send what was for many while this was being accepted; `exchange` knows how."""

    # -- refuse --------------------------------------------------------------------------------

    async def reject(self, code: int = 403) -> None:
        """Refuse the handshake with an HTTP status; after accept close with 1008 and warn.

        It does not end the view, which must return after it.

        Args:
            code: 400-599; hosts without the denial extension answer 403.
        """
        if not 400 <= code <= 599:
            raise ValueError(f"reject code {code} is not an HTTP error status (400-599)")
        if self._phase is Phase.CONNECTING:
            await self.deny(code, {"detail": "Forbidden" if code == 403 else "Rejected"})
        elif self._phase is CONNECTED:
            log.warning("%s: reject() after accept(), closing with 1008", self.route.pattern.text)
            await self.close(CloseCode.POLICY_VIOLATION)
        elif self._phase is Phase.CLOSED:
            self._refuse("reject()")

    async def deny(
        self,
        status: int,
        body: Any = None,
        headers: HeaderPairs | None = None,
        *,
        close_code: int | None = None,
    ) -> None:
        """Answer the handshake with an HTTP status and a JSON body instead of accepting.

        Args:
            close_code: for hosts that answer 403 whatever it is; default: the status.

        Raises:
            ValueError: a status outside of 200-599, or a header that cannot be.
            RuntimeError: the handshake has been answered already.
        """
        raw = [(b"content-type", b"application/json"), *accept_headers(headers)]
        await self.answer(status, raw, json_bytes(body), close_code=close_code)

    async def answer(
        self,
        status: int,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        *,
        close_code: int | None = None,
    ) -> None:
        """Do what `deny` does, with a body of any kind."""
        await self.decided()
        if self._phase is not Phase.CONNECTING:
            raise RuntimeError("deny() after the handshake was answered")
        check_status(status)
        self._phase = Phase.CLOSED
        self._note_answer()
        self.close_code = status
        self._ledger.refuse(self.route, status if self.has_denial_response else 403)
        if not self.has_denial_response:
            await self._send({"type": "websocket.close", "code": close_code or status})
            return
        await self._send(
            {"type": "websocket.http.response.start", "status": status, "headers": headers}
        )
        await self._send({"type": "websocket.http.response.body", "body": body})

    # -- close ---------------------------------------------------------------------------------

    async def close(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close with `code`; before accept it refuses the handshake. No-op after the peer left.

        Messages sent before still go out first. Bounded by `close_timeout_s`.

        Raises:
            ValueError: a code that may not be sent, or a reason over 123 bytes.
            RuntimeError: closed before.
        """
        check_close(code, reason)
        if self._phase is Phase.CLOSED:
            raise RuntimeError("close() again: the WebSocket is closed; see ensure_closed()")
        await self._shut(code, reason, Phase.CLOSED)

    async def ensure_closed(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close unless that has happened already, by whichever side."""
        check_close(code, reason)
        await self._shut(code, reason, Phase.CLOSED)

    async def kick(self, code: int, reason: str = "") -> None:
        """Close from outside the handler, which then sees WebSocketDisconnect with this code."""
        check_close(code, reason)
        await self._shut(code, reason, Phase.LEFT)

    async def _shut(self, code: int, reason: str, after: Phase) -> None:
        await self.decided()
        if self._phase is Phase.CONNECTING:
            self._phase = after
            self._note_answer()
            self.close_code, self.close_reason = int(code), reason
            self._ledger.refuse(self.route, 403)
            await self._send({"type": "websocket.close", "code": int(code), "reason": reason})
        if self._phase is not CONNECTED or self._notice_disconnect():
            return
        self._leave(after, int(code), reason, by_peer=False)
        self._close_finished = asyncio.Event()
        self._unsent_close = {"type": "websocket.close", "code": int(code), "reason": reason}
        try:
            # On granian a close waits for a pending receive for ever.
            self._inbox.cancel()
            await self._send_close()
        finally:
            self._outbox.abandon()
            self._close_finished.set()

    async def _send_close(self) -> None:
        if (event := self._unsent_close) is not None:
            if not await self._outbox.close(event):
                self._app.stats["close_not_taken"] += 1
            self._unsent_close = None

    def give_up(self) -> None:
        """Wait no longer for a peer that does not take its close frame."""
        self._unsent_close = None

    async def settled(self) -> None:
        """End of the view: wait for a close in another task, let go of what was not sent.

        granian reports faults of the peer (bad UTF-8, over 64 MiB) as 1005 and tells it nothing.
        A close frame still reaches it then, and goes nowhere after a real disconnect.
        """
        if self._close_finished is not None:
            await self._close_finished.wait()
            # Still there if the task that closed was cancelled: granian would keep the descriptor.
            await self._send_close()
        elif self._phase is Phase.LEFT and self._accepted_with is not None:
            await self._outbox.finish()
            if self._eager and self.close_code == CloseCode.NO_STATUS_RECEIVED:
                await self._outbox.close(_FAULT)

    def _leave(self, phase: Phase, code: int, reason: str, *, by_peer: bool) -> None:
        self._phase = phase
        self.offer = take_nothing
        if self._accepted_with is not None:
            self._outbox.shut()
        self.close_code, self.close_reason = code, reason
        self.is_closed_by_peer = by_peer
        self._ledger.closing(self)

    def _lost(self, *, by_peer: bool = True) -> None:
        self._leave(Phase.LEFT, CloseCode.ABNORMAL_CLOSURE.value, "", by_peer=by_peer)

    def _left(self, event: Event) -> None:
        code = int(event.get("code") or CloseCode.NO_STATUS_RECEIVED)
        self._leave(Phase.LEFT, code, event.get("reason") or "", by_peer=True)
        self._inbox.let_go()

    def _disconnect(self) -> WebSocketDisconnect:
        return WebSocketDisconnect(self.close_code or CloseCode.ABNORMAL_CLOSURE, self.close_reason)

    def _notice_disconnect(self) -> bool:
        """Take note of a disconnect that no receive has reported yet."""
        if (event := self._inbox.disconnect_event()) is not None:
            self._left(event)
        return event is not None

    def _refuse(self, action: str) -> NoReturn:
        """Say why `action` cannot be done on a connection that is not open."""
        if self._phase is Phase.LEFT:
            raise self._disconnect()
        raise refusal(action, self._phase)
