"""Owns a client manager of python-socketio over our rooms: its rooms work across workers.

The workers publish what they emit to a room of their own, which each of them hears; so every client
of a Socket.IO room sees the same order, whichever worker it is on. What is sent to whom is
python-socketio's matter.
"""

import asyncio
import base64
import logging
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from server.app import App
from server.close_codes import CloseCode
from server.mounted import OURS
from server.room import channel_of
from workers.journal_lock import JournalStalled
from workers.publisher import Message
from workers.room_directory import DirectoryFull, encode_name

try:
    from socketio.async_pubsub_manager import AsyncPubSubManager
    from socketio.packet import Packet as Codec
except ImportError:
    raise ImportError(
        "server.contrib.socketio needs python-socketio: pip install 'switchboard-server[socketio]'"
    ) from None

log = logging.getLogger("switchboard.socketio")

PAUSE_AT = 1_000  # messages that wait: then the journal keeps those that come
LIMIT = 20_000  # a pause only slows what comes
RETRY_S = 5.0

Packet = dict[str, Any]
_channels: WeakKeyDictionary[App, set[str]] = WeakKeyDictionary()
"""Those that are taken."""


class BusManager(AsyncPubSubManager):  # type: ignore[misc]
    """The clients of one worker, and the way to those of all others.

    Give it as `client_manager` to one `socketio.AsyncServer`, and mount that in the same app.

    Args:
        app: the app in whose workers it runs.
        channel: another name for each Socket.IO server of an app.
        options: those of `socketio.AsyncPubSubManager` but for `write_only`: to emit from outside
            of the workers, call an HTTP route of the app.

    Raises:
        ValueError: the channel is taken or no name of a room, or an option cannot be.

    Example:
        sio = socketio.AsyncServer(
            async_mode="asgi", client_manager=BusManager(app), transports=["websocket"]
        )
        app.mount("/socket.io", socketio.ASGIApp(sio, socketio_path=None))
    """

    name = "switchboard"

    def __init__(self, app: App, channel: str = "socketio", **options: Any) -> None:
        if options.pop("write_only", False):
            raise ValueError("write_only: only the workers of the app reach its rooms")
        self._room = channel_of(channel)
        encode_name(self._room)
        taken = _channels.setdefault(app, set())
        if channel in taken:
            raise ValueError(f"channel {channel!r} is taken: give each Socket.IO server its own")
        super().__init__(channel=channel, **options)
        taken.add(channel)
        self._rooms = app.runtime.rooms
        self._is_attending = False
        self._renew()
        app.on("startup")(self._start)

    def _renew(self) -> None:
        """Begin anew in the loop that runs; an earlier one has ended, with all that waited."""
        self._entering = asyncio.Lock()
        self._heard: deque[Message] = deque()
        self._news = asyncio.Event()
        self._handled = 0  # the offset of the last that was
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def _start(self) -> None:
        """Hear from the start of the worker on: it may call clients of others before it has any."""
        if self.server is None:
            return
        self._renew()
        with suppress(DirectoryFull, JournalStalled):  # `_listen` says so, and tries again
            await self._attend()
            self._handled = self._rooms.bus.seen(self._room).offset
        self.server.manager_initialized = True  # it would do the next at its first client
        self.initialize()

    # -- what python-socketio asks for -----------------------------------------------------------

    def set_server(self, server: Any) -> None:
        """Take in the server, at its making.

        Raises:
            ValueError: it would serve long polling.
        """
        if "polling" in server.eio.transports:
            raise ValueError(
                "requests of long polling go to several workers: AsyncServer needs"
                ' transports=["websocket"]'
            )
        super().set_server(server)
        server.eio.send_packet = self._send_packet

    async def _send_packet(self, sid: str, packet: Any) -> None:
        """Do what python-engineio does, but end a client that went silent beside.

        It would do that here, and call the `disconnect` handler, which may take its time, or emit
        and so wait for whoever is just sending.
        """
        eio = self.server.eio
        socket = eio.sockets.get(sid)
        pinged_s = None if socket is None or socket.closed else socket.last_ping
        if pinged_s and time.time() - pinged_s > eio.ping_timeout:
            self.server.start_background_task(self._end_silent, socket)
        else:
            await type(eio).send_packet(eio, sid, packet)

    async def _end_silent(self, socket: Any) -> None:
        if not (socket.closed or socket.closing):  # by an earlier packet's
            await socket.check_ping_timeout()

    async def connect(self, sid: str, namespace: str) -> Any:
        """Take in a client, when this worker hears what the others emit."""
        await self._attend()
        return await super().connect(sid, namespace)

    async def _return_callback(
        self, host_id: str, sid: str, namespace: str, callback_id: int, *args: Any
    ) -> None:
        """Bring an acknowledgement back to the worker that asked; bytes travel as in an emit."""
        if host_id == self.host_id or not Codec.data_is_binary([*args]):
            await super()._return_callback(host_id, sid, namespace, callback_id, *args)
            return
        data, attachments = Codec.deconstruct_binary([*args])
        parts = [base64.b64encode(part).decode() for part in attachments]
        packet = {"method": "callback", "host_id": host_id, "sid": sid, "namespace": namespace}
        await self._publish({**packet, "id": callback_id, "args": data, "attachments": parts})

    async def _publish(self, data: Packet) -> None:
        """Publish to all workers; when it returns, the own clients have it queued.

        Raises:
            MessageTooLarge: it takes more than an eighth of the journal; nobody got it.
            DirectoryFull, JournalStalled: as `Room.publish`.
        """
        published = await self._rooms.publish(self._room, self.json.dumps(data), None)
        if not self._is_attending or published.offset <= self._handled:
            return
        waiting = self._waiting[published.offset] = asyncio.get_running_loop().create_future()
        try:
            await waiting
        finally:
            self._waiting.pop(published.offset, None)

    async def _listen(self) -> AsyncIterator[Packet]:
        """Yield what was published, and mark it as handled when the next is asked for."""
        while not self._is_attending:
            try:
                await self._attend()
            except Exception as error:
                log.error("Socket.IO clients hear nothing: %s; next try in %g s", error, RETRY_S)
                await asyncio.sleep(RETRY_S)
        while True:
            while self._heard:
                message = self._heard.popleft()
                try:
                    packet = self.json.loads(message.data)
                    if packet["method"] == "emit" and packet["host_id"] == self.host_id:
                        await super()._handle_emit(packet)  # its turn has come here, too
                    else:
                        yield packet
                except Exception:
                    log.exception("a Socket.IO event was not handed over")
                self._done(message.offset)
            self._news.clear()
            await self._news.wait()

    async def _handle_emit(self, message: Packet) -> None:
        """Emit what another worker has published; the own comes by the same way."""
        if message["host_id"] != self.host_id:
            await super()._handle_emit(message)

    # Code of the user runs in these, and may emit: whoever hears must not wait for it.

    async def _handle_callback(self, message: Packet) -> None:
        if "attachments" in message:
            parts = [base64.b64decode(part) for part in message["attachments"]]
            message = {**message, "args": Codec.reconstruct_binary(message["args"], parts)}
        self.server.start_background_task(super()._handle_callback, message)

    async def _handle_disconnect(self, message: Packet) -> None:
        self.server.start_background_task(super()._handle_disconnect, message)

    # -- what the worker hears -------------------------------------------------------------------

    async def _attend(self) -> None:
        async with self._entering:
            if not self._is_attending:
                await self._rooms.attend(self._room, self)
                self._is_attending = True
                # What was published before is not heard, and nobody need wait for it.
                self._handled = self._rooms.bus.seen(self._room).offset

    def heard(self, message: Message) -> bool:
        """Take a message in its turn; see `rooms.Listener`."""
        self._heard.append(message)
        self._news.set()
        if len(self._heard) > LIMIT:
            self.missed()
        return len(self._heard) > PAUSE_AT

    def missed(self) -> None:
        """Have all clients connect again: only so do they learn that something is missing."""
        self._heard.clear()
        for offset in [*self._waiting]:
            self._done(offset)
        environs = self.server.environ.values()
        clients = [environ["asgi.scope"][OURS] for environ in environs]
        log.warning("Socket.IO events were lost to %d clients: too far behind", len(clients))
        code, reason = CloseCode.TRY_AGAIN_LATER, "missed messages"
        for client in clients:
            self.server.start_background_task(client.kick, code, reason)

    def _done(self, offset: int) -> None:
        self._handled = max(self._handled, offset)
        waiting = self._waiting.pop(offset, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)
