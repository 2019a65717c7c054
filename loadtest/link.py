"""Owns the bytes of a connection: TCP, TLS, what is under way in both directions. No WebSocket.

No greenlet reads: gevent's loop calls `_on_readable`, so an idle connection is a socket and a
watcher. TLS is done in memory, so that one way of reading serves both.
"""

import _socket
import errno
import socket
import ssl
from typing import Any

from gevent import get_hub

from loadtest.addresses import Target, TargetError
from loadtest.results import Limit

CONNECTING, SECURING, SHAKING, OPEN, CLOSING, CLOSED = range(6)
"""The states of a connection; what is from SHAKING on is the matter of `client`."""

_READ, _WRITE = 1, 2
_READ_BYTES = 65_536
_FULL_BYTES = 1 << 20
_BIND_ADDRESS_NO_PORT = 24  # linux/in.h; the port is chosen for the pair of addresses
_RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER: on, for 0 s
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


class ConnectFailed(Exception):
    """There is no connection; the text says why, without anything that differs between clients.

    Attributes:
        status: of HTTP, if that was the answer.
        limit: of this machine, if that was the reason.
    """

    def __init__(self, text: str, *, status: int | None = None, limit: Limit | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.limit = limit


class Link:
    """A connection, without what is said over it: `client.WebSocket` completes it.

    Attributes:
        state: CONNECTING, SECURING (TLS), SHAKING (hands), OPEN, CLOSING (we sent a close frame),
            CLOSED.
    """

    __slots__ = ("_outgoing", "_reader", "_socket", "_tls", "_writer", "state")

    def __init__(self) -> None:
        self.state = CLOSED
        self._socket: Any = None
        self._reader: Any = None
        self._writer: Any = None
        self._tls: _Tls | None = None
        self._outgoing: bytearray | None = None

    # -- what the other half does --------------------------------------------------------------

    def _shake(self) -> None:
        """Begin the handshake: there is a way for bytes."""
        raise NotImplementedError

    def _take(self, data: bytes) -> None:
        """Take what came."""
        raise NotImplementedError

    def _lose(self, error: OSError | None) -> None:
        """Hear that the server has ended TCP or TLS; with the error, if there was one."""
        raise NotImplementedError

    def _fail(self, failure: ConnectFailed) -> None:
        """Hear that there will be no connection, unless there is one already."""
        raise NotImplementedError

    # -- open ----------------------------------------------------------------------------------

    def _start(self, target: Target, receive_buffer_bytes: int) -> None:
        """Begin to connect."""
        self.state = CONNECTING
        try:
            self._connect(target, receive_buffer_bytes)
        except TargetError as error:
            self._fail(ConnectFailed(str(error)))
        except OSError as error:
            self._fail(_explain(error, target))

    def _connect(self, target: Target, receive_buffer_bytes: int) -> None:
        family, address = target.place()
        self._tls = _Tls(target) if target.tls else None
        self._socket = _socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        source = target.source()
        if source is not None:
            self._socket.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            self._socket.bind((source, 0))
        loop = get_hub().loop
        self._reader = loop.io(self._socket.fileno(), _READ)
        problem = self._socket.connect_ex(address)
        if problem == errno.EINPROGRESS:
            self._writer = loop.io(self._socket.fileno(), _WRITE)
            self._writer.start(self._on_connected, target)
        elif problem:
            raise OSError(problem, errno.errorcode[problem])
        else:
            self._on_link()

    def _on_connected(self, target: Target) -> None:
        self._stop_writing()
        problem = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if problem:
            self._fail(_explain(OSError(problem, errno.errorcode[problem]), target))
        else:
            self._on_link()

    def _on_link(self) -> None:
        self._reader.start(self._on_readable)
        if self._tls is None:
            self.state = SHAKING
            self._shake()
        else:
            self.state = SECURING
            self._secure(self._tls)

    def _secure(self, tls: "_Tls") -> None:
        try:
            is_done = tls.shake()
        except ssl.SSLCertVerificationError as error:
            self._push(tls.pending())
            self._fail(ConnectFailed(f"the certificate is not good: {error.verify_message}"))
            return
        except ssl.SSLError as error:
            text = f"TLS failed: {error.reason or error}"
            if error.reason in _NO_TLS:
                text = "the server speaks no TLS: is it ws://?"
            self._fail(ConnectFailed(text))
            return
        self._push(tls.pending())
        if is_done and self.state == SECURING:
            self.state = SHAKING
            self._shake()

    # -- send ----------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether a MiB or more waits for a server that does not read."""
        return self._outgoing is not None and len(self._outgoing) >= _FULL_BYTES

    def _write(self, data: bytes) -> None:
        if self._tls is not None:
            data = self._tls.encrypt(data)
        self._push(data)

    def _push(self, data: bytes) -> None:
        if self._outgoing is not None:
            self._outgoing += data
            return
        try:
            sent = self._socket.send(data) if data else 0
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._lose(error)
            return
        if sent < len(data):
            self._outgoing = bytearray(data[sent:])
            self._writer = get_hub().loop.io(self._socket.fileno(), _WRITE)
            self._writer.start(self._on_writable)

    def _on_writable(self) -> None:
        data, self._outgoing = self._outgoing, None
        self._stop_writing()
        if data:
            self._push(bytes(data))

    def _stop_writing(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    # -- receive -------------------------------------------------------------------------------

    def pause(self) -> None:
        """Do not read until `resume`, or `read`."""
        if self._reader is not None:
            self._reader.stop()

    def resume(self) -> None:
        """Read again."""
        if self._reader is not None:
            self._reader.start(self._on_readable)

    def read(self, size: int) -> None:
        """Read at most so many bytes, while it is paused."""
        if self._socket is not None:
            self._on_readable(size)

    def _on_readable(self, size: int = _READ_BYTES) -> None:
        try:
            data = self._socket.recv(size)
        except BlockingIOError:
            return
        except OSError as error:
            self._lose(error)
            return
        if not data:
            self._lose(None)
        elif self._tls is not None:
            self._take_encrypted(self._tls, data)
        else:
            self._take(data)

    def _take_encrypted(self, tls: "_Tls", data: bytes) -> None:
        tls.incoming.write(data)
        if self.state == SECURING:
            self._secure(tls)
        while self.state in (SHAKING, OPEN, CLOSING):
            try:
                data = tls.read()
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as error:
                self._lose(error)
                break
            if not data:
                self._lose(None)
                break
            self._take(data)
        if self._socket is not None:
            self._push(tls.pending())

    # -- end -----------------------------------------------------------------------------------

    def _reset(self) -> None:
        """Let the end be a RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    def _let_go(self) -> None:
        self._stop_writing()
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
        closing, self._socket = self._socket, None
        if closing is not None:
            closing.close()
        self._outgoing = self._tls = None


class _Tls:
    """TLS from memory to memory."""

    __slots__ = ("_object", "_outgoing", "incoming")

    def __init__(self, target: Target) -> None:
        assert target.tls is not None
        self.incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = target.tls.wrap_bio(
            self.incoming, self._outgoing, server_hostname=target.host
        )

    def shake(self) -> bool:
        """Go on with the handshake; returns whether it is done."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def read(self) -> bytes:
        return self._object.read(_READ_BYTES)

    def encrypt(self, data: bytes) -> bytes:
        self._object.write(data)
        return self._outgoing.read()

    def pending(self) -> bytes:
        """Return what is to be sent besides messages."""
        return self._outgoing.read()


def _explain(error: OSError, target: Target) -> ConnectFailed:
    number = error.errno
    if number == errno.ECONNREFUSED:
        return ConnectFailed(f"nobody listens at {target.authority}")
    if number in (errno.EMFILE, errno.ENFILE):
        return ConnectFailed("the generator may open no more files", limit="file limit")
    if number in (errno.EADDRNOTAVAIL, errno.EADDRINUSE):
        return ConnectFailed("the generator has no free port", limit="ports")
    if number in (errno.ENOMEM, errno.ENOBUFS):
        return ConnectFailed("the generator has no memory", limit="memory")
    return ConnectFailed(f"no connection: {error.strerror}")
