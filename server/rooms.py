"""Owns who is a member of what in this worker, joins with recovery, and delivery to many.

A message is encoded once when it is published and once more for members of another codec, and is
handed to every member without waiting for any. How it gets to the worker is the bus's matter, and
how it gets to those that are idle is `audience`'s.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from server import slow
from server.audience import Audience, Group
from server.backlog import PATIENCE_S
from server.close_codes import CloseCode
from server.encodings import Encoded, Encoding, encoded, payload_of
from server.exceptions import WebSocketDisconnect
from server.recovery import TooSlow, id_of, recover, wanted_place
from server.retention import Retention
from server.room import Joined, Published, epoch_text, is_shadow
from workers.bus import GIVE_WAY_S, Bus
from workers.journal import ConnectionId
from workers.publisher import Message, key_of
from workers.registry import id_text

if TYPE_CHECKING:
    from server.connection import Connection
    from server.runtime import AppRuntime
    from server.websocket import WebSocket

log = logging.getLogger("switchboard.rooms")
_TURN_EVERY = 32  # publishes

RoomHandler = Callable[..., Awaitable[None] | None]
EVENTS = ("join", "leave", "missed")


class Listener(Protocol):
    """What hears a room in a worker without being a connection."""

    def heard(self, message: Message) -> bool:
        """Take a message; True asks for a pause of about a millisecond before the next."""

    def missed(self) -> None:
        """Be told that messages were lost, because this worker was too far behind."""


class Rooms:
    """The memberships of this worker's connections, and the delivery to them.

    Attributes:
        retention: what is kept of which room's history.
        handlers: called for each event with the connection and the room's name.
    """

    def __init__(self, runtime: "AppRuntime") -> None:
        self._runtime = runtime
        self._bus: Bus | None = None
        self._live: dict[str, Audience] = {}
        self._unsettled: set[Group] = set()
        self._listeners: dict[str | None, Listener] = {}
        self._paused: set[tuple[WebSocket, str]] = set()  # they have missed messages
        self._kicking: dict[WebSocket, asyncio.Task[None]] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self._published = 0
        self._lagging: dict[str | None, set[WebSocket]] = {}  # by room; None: in broadcasts
        self.retention = Retention()
        self.handlers: dict[str, list[RoomHandler]] = {event: [] for event in EVENTS}

    @property
    def bus(self) -> Bus:
        """The bus of this worker, made at its first use."""
        bus = self._bus
        if bus is None:
            bus = self._bus = self._runtime.make_bus()
            bus.listen(self._deliver, self._tell_missed)
        return bus

    # -- members ---------------------------------------------------------------------------------

    async def join(
        self,
        ws: "WebSocket",
        name: str,
        since: int | None,
        epoch: str | None,
        welcome: Callable[[Joined], Encoded] | None = None,
    ) -> Joined:
        """Make `ws` a member; see `WebSocket.join`.

        Args:
            welcome: what is sent after all that was missed, and before all that is new.
        """
        wanted = wanted_place(since, epoch)
        is_member = name in ws._rooms
        if is_member and (ws, name) not in self._paused:
            # Up to there it has all: what is published meanwhile still comes.
            is_joining = ws._rooms[name] is None
            position = self.bus.position(name) if is_joining else self.bus.seen(name)
            assert position is not None, "a room with a member has an entry"
            joined = Joined(epoch_text(position.epoch), position.offset, recovered=False)
            self._welcome(ws, joined, welcome)
            return joined
        if not is_member:
            await self._enter(ws, name)
        try:
            recovered = wanted is not None and await recover(self, ws, name, *wanted)
        except TooSlow:
            await ws.kick(CloseCode.TRY_AGAIN_LATER, "missed messages")
            raise ws._disconnect() from None
        # Nothing may be awaited between the last look at the position and this.
        position = self.bus.seen(name)
        self._paused.discard((ws, name))
        if (live := self._live.get(name)) is None:
            live = self._live[name] = Audience()
        live.add(ws)
        joined = Joined(epoch_text(position.epoch), position.offset, recovered)
        self._welcome(ws, joined, welcome)
        if wanted is not None:
            self.bus.note("recovered" if recovered else "not_recovered")
        if not is_member:
            await self._call("join", ws, name)
        return joined

    async def _enter(self, ws: "WebSocket", name: str) -> None:
        assert ws.entry is not None, "it was accepted"
        assert ws.entry.row is not None, "its view still runs"
        ws._rooms[name] = None
        try:
            ticket = await self.bus.enter(name, ws.entry.row)
        except BaseException:
            ws._rooms.pop(name, None)
            raise
        if ws.has_ended or name not in ws._rooms:  # meanwhile
            ws._rooms.pop(name, None)
            self.bus.leave(name, ticket)
            raise ws._disconnect()
        ws._rooms[name] = ticket

    def _welcome(
        self, ws: "WebSocket", joined: Joined, welcome: Callable[[Joined], Encoded] | None
    ) -> None:
        if welcome is not None and not ws.push(*welcome(joined)):
            self._cut_off(ws)

    async def leave(self, ws: "WebSocket", name: str) -> None:
        """End a membership, if there is one."""
        if self._drop(ws, name):
            await self._call("leave", ws, name)

    async def leave_all(self, ws: "WebSocket") -> None:
        """End all memberships of a connection that is ending."""
        left = [name for name in tuple(ws._rooms) if self._drop(ws, name)]
        for lagging in self._lagging.values():
            lagging.discard(ws)
        for name in left:
            await self._call("leave", ws, name)

    async def attend(self, name: str, listener: Listener) -> None:
        """Have what is published to a room heard in this worker, for as long as it lives.

        Args:
            name: from `channel_of`; the worker counts as a member.

        Raises:
            DirectoryFull: there is no place for another room.
            JournalStalled: a stopped process holds the journal.
        """
        assert name not in self._listeners, "one listener a room"
        self._listeners[name] = listener
        try:
            await self.bus.enter(name, None)
        except BaseException:
            del self._listeners[name]
            raise

    def _drop(self, ws: "WebSocket", name: str) -> bool:
        if name not in ws._rooms:
            return False
        ticket = ws._rooms.pop(name)
        self._paused.discard((ws, name))
        self._mute(ws, name)
        if name in self._lagging:
            self._lagging[name].discard(ws)
        if ticket is None:  # it is just joining
            return False
        self.bus.leave(name, ticket)
        return True

    def _mute(self, ws: "WebSocket", name: str) -> None:
        live = self._live.get(name)
        if live is not None:
            live.discard(ws)
            if not live:
                del self._live[name]

    async def _call(self, event: str, ws: "WebSocket", name: str | None) -> None:
        if name is not None and is_shadow(name):
            return
        for handler in self.handlers[event]:
            result = handler(ws, name)
            if result is not None:
                await result

    # -- publishing ------------------------------------------------------------------------------

    async def publish(self, name: str, message: Any, exclude: Any) -> Published:
        """Publish to a room; see `Room.publish`."""
        kind, payload = payload_of(message)
        position = await self.bus.publish(name, kind, payload, excluded=_ids(exclude))
        await self._give_way(name)
        return Published(epoch_text(position.epoch), position.offset)

    async def broadcast(self, message: Any, route: str | None, exclude: Any) -> None:
        """Publish to all connections, or to those of a route."""
        kind, payload = payload_of(message)
        key = 0 if route is None else key_of(route)
        await self.bus.broadcast(key, kind, payload, excluded=_ids(exclude))
        await self._give_way(None)

    async def _give_way(self, room: str | None) -> None:
        """Now and then let the loop turn, and wait for members that lag but read.

        A publisher that never lets the loop and the host's threads run would fill the windows of
        peers that read well.
        """
        self._published += 1
        if self._published % _TURN_EVERY == 0:
            await asyncio.sleep(0)
        if room in self._lagging:
            await self._wait_for_lagging(room)

    async def _wait_for_lagging(self, room: str | None) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while (lagging := self._lagging.get(room)) is not None and time.monotonic() < deadline:
            if any(ws._outbox.is_worth_waiting_for() for ws in tuple(lagging)):
                await asyncio.sleep(GIVE_WAY_S)
            else:
                self._lagging.pop(room, None)

    def kept(self, name: str, since: int, limit: int) -> list[Message]:
        """Return the last messages of a room that are kept."""
        keep = self.retention.of(name)
        if keep.messages is not None:
            limit = min(limit, keep.messages)
        not_before_ns = keep.not_before_ns()
        return self.bus.history(name, since=since, limit=limit, not_before_ns=not_before_ns)

    # -- delivery --------------------------------------------------------------------------------

    def _deliver(self, message: Message) -> bool:
        """Hand a message to its members; True if one has begun to lag, and is to be waited for."""
        if message.room is None:
            lagging = self._broadcast(message)
        elif (listener := self._listeners.get(message.room)) is not None:
            return listener.heard(message)
        elif (audience := self._live.get(message.room)) is not None:
            lagging = self._hand_over(message, audience)
        else:
            return False
        if not lagging:
            return False
        self._lagging.setdefault(message.room, set()).update(lagging)
        return True

    def _broadcast(self, message: Message) -> list["WebSocket"]:
        """Hand a message to all connections, or to those of its route."""
        audience = Audience()
        early = []
        for ws in self._of_route(message.epoch):
            if ws.is_open:
                audience.add(ws)
            elif ws.is_being_accepted:
                early.append(ws)
        try:
            return self._hand_over(message, audience, early)
        finally:
            self.settle()  # nobody keeps this audience

    def _of_route(self, key: int) -> list["WebSocket"]:
        connections = self._runtime.connections
        if not key:
            return list(connections)
        return [ws for ws in connections if key_of(ws.route.pattern.text) == key]

    def _hand_over(
        self, message: Message, audience: Audience, early: Sequence["WebSocket"] = ()
    ) -> list["WebSocket"]:
        """Send to all without awaiting; return those that are to be waited for."""
        excluded: list[Connection] = []
        if message.excluded:
            excluded = self._runtime.ledger.find([id_text(*id) for id in message.excluded])
        lagging: list[WebSocket] = []
        delivered = 0
        events: dict[Encoding, Encoded | None] = {}
        for group in audience.groups():
            event = events[group.encoding] = encoded(group.encoding, message)
            if event is None:  # the log says why
                continue
            self._unsettled.add(group)
            reached, others = group.forward(*event, [ws for ws in excluded if ws.is_open])
            delivered += reached
            for ws in others:
                delivered += self._hand_to(ws, event, lagging)
        for ws in early:
            if ws.encoding not in events:
                events[ws.encoding] = encoded(ws.encoding, message)
            event = events[ws.encoding]
            if ws not in excluded and event is not None:
                delivered += self._hand_to(ws, event, lagging)
        self.bus.note("delivered", delivered)
        return lagging

    def _hand_to(self, ws: "WebSocket", event: Encoded, lagging: list["WebSocket"]) -> bool:
        """Send to one that is not idle, by its route's policy; False if it is gone."""
        if ws in self._kicking:
            return False
        try:
            if not ws.hand_over(*event):
                self._close(ws, slow.disconnect(ws))
        except (WebSocketDisconnect, RuntimeError):
            # It left, or was closed, a moment ago; its own handler notices.
            return False
        if ws.is_lagging:
            lagging.append(ws)
        return True

    def settle(self) -> None:
        """Bring the connections' own counts up to date with what was sent to many."""
        unsettled = self._unsettled
        while unsettled:
            unsettled.pop().settle()

    def _cut_off(self, ws: "WebSocket") -> None:
        """Disconnect one that has no room for what it must be told."""
        if ws not in self._kicking:
            slow.count_disconnect(ws)
            self._close(ws, slow.disconnect(ws))

    def _close(self, ws: "WebSocket", close: Coroutine[Any, Any, None]) -> None:
        """Close from outside its view; it leaves its rooms at once."""
        left = [name for name in tuple(ws._rooms) if self._drop(ws, name)]
        task = asyncio.get_running_loop().create_task(self._end(ws, close, left))
        self._kicking[ws] = task
        task.add_done_callback(lambda _: self._kicking.pop(ws, None))

    async def _end(
        self, ws: "WebSocket", close: Coroutine[Any, Any, None], left: Sequence[str]
    ) -> None:
        await close
        for name in left:
            await self._call("leave", ws, name)

    # -- what the ring has overtaken -------------------------------------------------------------

    def _tell_missed(self, name: str | None) -> None:
        """Tell members that they have missed messages; see `App.on`."""
        if (listener := self._listeners.get(name)) is not None:
            listener.missed()
            return
        members = list(self._live.get(name, ()) if name is not None else self._runtime.connections)
        where = "broadcasts" if name is None else f"room {name!r}"
        log.warning("%s: messages were lost to %d connections: too far behind", where, len(members))
        self.bus.note("incomplete", len(members))
        for ws in members:
            if ws in self._kicking:
                continue
            if (told := ws.encoding.missed(name)) is not None:
                self._pause(ws, name, told)
            elif not self.handlers["missed"]:
                self._close(ws, ws.kick(CloseCode.TRY_AGAIN_LATER, "missed messages"))
                continue
            task = asyncio.get_running_loop().create_task(self._call("missed", ws, name))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    def _pause(self, ws: "WebSocket", name: str | None, told: Encoded) -> None:
        """Tell a member, and hand it nothing more of a room until it joins again."""
        if name is not None and not is_shadow(name):
            self._paused.add((ws, name))
            self._mute(ws, name)
        if not ws.push(*told) and not ws.has_ended:
            self._cut_off(ws)


def _ids(exclude: Any) -> list[ConnectionId]:
    """Return the ids of the connections that are not to get a message."""
    if exclude is None:
        return []
    several = exclude if isinstance(exclude, Collection) else (exclude,)
    return [id for ws in several if (id := id_of(ws)) is not None]
