"""Owns one connection of a load generator: it opens, sends, receives and ends; it counts nothing.

It is made for many of them in one process. Each message is handed to the connection's owner as
soon as it is there, by gevent's loop. Only who opens or closes one waits, in its own greenlet.
"""

import logging
import time
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from gevent.event import Event

from loadtest import frames
from loadtest.addresses import Target
from loadtest.link import CLOSED, CLOSING, CONNECTING, OPEN, SHAKING, ConnectFailed, Link

LOST = 1006
By = Literal["server", "client", "lost", "dropped", ""]
_log = logging.getLogger(__name__)


class NotOpen(Exception):
    """There is no connection to send on."""


class Owner(Protocol):
    """Who has a connection. It is called by gevent's loop, so it must not wait.

    An attempt to connect leads to one of `on_opened` and `on_failed`, whatever becomes of the
    greenlet that made it, and `on_opened` to one `on_closed`: that is where to count.
    """

    def on_opened(self) -> None:
        """Hear that there is a connection."""

    def on_failed(self, failure: ConnectFailed) -> None:
        """Hear that there will be none."""

    def on_message(self, payload: bytes, now_ns: int) -> None:
        """Take a message; now_ns is the time when it was read, of `time.monotonic_ns`."""

    def on_closed(self) -> None:
        """Hear that an open connection has ended, in whatever way."""


class WebSocket(Link):
    """A connection.

    Attributes:
        subprotocol: that the server chose.
        code, reason: how it ended: of the server's close frame (1005: it had none), or 1006.
        ended_by: who began it; "lost": there was no close frame.
    """

    __slots__ = (
        "_changed",
        "_deadline_s",
        "_fragments",
        "_key",
        "_owner",
        "_request",
        "_rest",
        "_subprotocols",
        "code",
        "ended_by",
        "reason",
        "subprotocol",
    )

    def __init__(self, owner: Owner) -> None:
        super().__init__()
        self.subprotocol: str | None = None
        self.code = 0
        self.reason = ""
        self.ended_by: By = ""
        self._owner = owner
        self._changed: Any = None
        self._deadline_s = 0.0
        self._rest = b""
        self._fragments: list[bytes] | None = None

    # -- open ----------------------------------------------------------------------------------

    def connect(
        self,
        target: Target,
        path: str,
        *,
        subprotocols: Sequence[str] = (),
        headers: Sequence[str] = (),
        timeout_s: float = 10.0,
        receive_buffer_bytes: int = 0,
    ) -> bool:
        """Open it, and wait until it is open, or will not be; returns whether it is.

        If the greenlet is killed meanwhile, it goes on opening: `close` sees to it.
        """
        self.code, self.reason, self.ended_by = 0, "", ""
        self._deadline_s = time.monotonic() + timeout_s
        self._key, self._subprotocols = frames.make_key(), subprotocols
        self._request = frames.request(
            target.prefix + path, target.authority, self._key, subprotocols, headers
        )
        self._start(target, receive_buffer_bytes)
        return self.wait_opened()

    def wait_opened(self) -> bool:
        """Wait until it is open, or will not be; returns whether it is."""
        while self.state < OPEN:
            remaining_s = self._deadline_s - time.monotonic()
            if remaining_s <= 0 or not self._wait(remaining_s):
                late = "no connection in time"
                if self.state > CONNECTING:
                    late = "no answer to the handshake in time"
                self._fail(ConnectFailed(late))
        return self.state == OPEN

    def _shake(self) -> None:
        self._write(self._request)

    def _take_answer(self, data: bytes) -> bytes:
        """Read the answer to the handshake; returns what came behind a 101."""
        data = self._rest + data
        head, found, rest = data.partition(b"\r\n\r\n")
        if not found:
            self._rest = data
            if len(data) > frames.HEAD_BYTES or not b"HTTP/1.".startswith(data[:7]):
                self._fail(ConnectFailed("the answer is no HTTP"))
            return b""
        self._rest = b""
        try:
            answer = frames.Answer(head, self._key, self._subprotocols)
        except frames.ProtocolError as error:
            self._fail(ConnectFailed(str(error)))
            return b""
        if answer.status != 101:
            text = f"refused with {answer.status}"
            self._fail(ConnectFailed(text, status=answer.status))
            return b""
        del self._request, self._key, self._subprotocols
        self.subprotocol = answer.subprotocol
        self.state = OPEN
        self._owner.on_opened()
        self._tell()
        return rest

    def _fail(self, failure: ConnectFailed) -> None:
        if self.state < OPEN:
            self.state = CLOSED
            self._let_go()
            self._owner.on_failed(failure)
            self._tell()

    # -- send ----------------------------------------------------------------------------------

    def send(self, payload: bytes, first: int = frames.TEXT) -> None:
        """Send a message; what the kernel does not take waits here, so look at `is_full`.

        Raises:
            NotOpen: there is no connection, or it is being closed.
        """
        if self.state != OPEN:
            raise NotOpen
        self._write(frames.frame(first, payload))

    # -- receive -------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        try:
            self._take_all(data, time.monotonic_ns())
        except frames.ProtocolError as error:
            self._break(str(error))
        except Exception:
            _log.exception("A message could not be taken")
            self._break("the generator failed")

    def _take_all(self, data: bytes, now_ns: int) -> None:
        if self.state == SHAKING:
            data = self._take_answer(data)
        if self._rest:
            data = self._rest + data
        place, size, on_message = 0, len(data), self._owner.on_message
        while size - place >= 2 and self.state != CLOSED:
            first, length, start = data[place], data[place + 1], place + 2
            if length > 125:
                start, length = _long_length(data, start, length)
            end = start + length
            if end > size:
                break
            place = end
            if first in (frames.TEXT, frames.BINARY):
                on_message(data[start:end], now_ns)
            else:
                self._take_other(first, data[start:end], now_ns)
        self._rest = data[place:] if place < size else b""

    def _take_other(self, first: int, payload: bytes, now_ns: int) -> None:
        """Take a control frame, or a part of a message."""
        if first == frames.CLOSE:
            self._take_close(payload)
        elif first == frames.PING:
            self._write(frames.frame(frames.PONG, payload))
        elif first in (0x01, 0x02) and self._fragments is None:
            self._fragments = [payload]
        elif first in (0x00, 0x80) and self._fragments is not None:
            self._fragments.append(payload)
            if first == 0x80:
                whole, self._fragments = b"".join(self._fragments), None
                self._owner.on_message(whole, now_ns)
        elif first != frames.PONG:
            raise frames.ProtocolError(f"a frame that begins with {first:#04x}")

    # -- end -----------------------------------------------------------------------------------

    def begin_close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame; what the server answers, and sends before that, is still taken."""
        if self.state == OPEN:
            self.state = CLOSING
            self._write(frames.close_frame(code, reason))

    def close(self, code: int = 1000, reason: str = "", *, timeout_s: float = 5.0) -> None:
        """Close it, also if it is just being opened, and wait for the answer."""
        if self.state < OPEN:
            self.wait_opened()
        self.begin_close(code, reason)
        self.wait_closed(time.monotonic() + timeout_s)

    def wait_closed(self, deadline_s: float) -> None:
        """Wait for the server's answer to a close frame; without one it is lost."""
        while self.state == CLOSING:
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0 or not self._wait(remaining_s):
                self._finish(LOST, "no answer to the close frame", "lost")

    def drop(self) -> None:
        """Vanish with a RST, as a client does whose network or battery goes."""
        if self.state < OPEN:
            self._fail(ConnectFailed("given up"))
        elif self.state != CLOSED:
            self._reset()
            self._finish(LOST, "", "dropped")

    def _take_close(self, payload: bytes) -> None:
        code, reason = frames.read_close(payload)
        by: By = "client" if self.state == CLOSING else "server"
        if by == "server":
            self._write(frames.close_frame(code))
        self._finish(code, reason, by)

    def _lose(self, error: OSError | None) -> None:
        if self.state < OPEN:
            text = "the server ended the connection before it answered the handshake"
            self._fail(ConnectFailed(text))
        else:
            self._finish(LOST, (error.strerror or str(error)) if error else "", "lost")

    def _break(self, reason: str) -> None:
        """End what has gone wrong."""
        if self.state < OPEN:
            self._fail(ConnectFailed(reason))
        elif self.state != CLOSED:
            self._write(frames.close_frame(1002))
            self._finish(LOST, reason, "lost")

    def _finish(self, code: int, reason: str, by: By) -> None:
        if self.state != CLOSED:
            self.code, self.reason, self.ended_by, self.state = code, reason, by, CLOSED
            self._let_go()
            self._owner.on_closed()
            self._tell()

    def _let_go(self) -> None:
        super()._let_go()
        self._rest, self._fragments = b"", None

    def _wait(self, timeout_s: float) -> bool:
        """Wait for another state."""
        if self._changed is None:
            self._changed = Event()
        return bool(self._changed.wait(timeout_s))

    def _tell(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()


def _long_length(data: bytes, start: int, length: int) -> tuple[int, int]:
    """Read the longer forms of a length; returns where the payload begins, and its size."""
    if length > 127:
        raise frames.ProtocolError("a masked frame")
    width = 2 if length == 126 else 8
    if len(data) < start + width:
        return start, len(data)  # more than there is
    return start + width, int.from_bytes(data[start : start + width], "big")
