"""Owns what an app offers of rooms: their handles, broadcast, history, the ready-made endpoint.

How messages travel is the matter of `rooms`, what the endpoint speaks of `realtime`.
"""

from collections.abc import Collection
from typing import Any, Unpack

from server.realtime.endpoint import Endpoint, HasPresence, RealtimeOptions
from server.realtime.hooks import Hook, Hooks
from server.realtime.presence import attach
from server.retention import Keep
from server.room import Room, check_room_name
from server.routes import Router
from server.runtime import AppRuntime
from server.static import client_script
from server.websocket import WebSocket


class RoomApp(Router):
    """A router with rooms."""

    def __init__(self, runtime: AppRuntime) -> None:
        super().__init__()
        self.runtime = runtime

    def room(self, name: str) -> Room:
        """Return the handle of a room.

        Raises:
            TypeError, ValueError: not a room name.
        """
        check_room_name(name)
        return Room(self.runtime.rooms, name)

    async def broadcast(
        self, message: Any, *, route: str | None = None, exclude: Collection[WebSocket] = ()
    ) -> None:
        """Send `message` to every connection, on whatever worker.

        Args:
            route: only connections of this route pattern, such as "/chat/{channel}".
            exclude: connections that do not get it.

        Raises:
            ValueError: there is no such route.
            TypeError, MessageTooLarge, JournalStalled: as `Room.publish`.
        """
        if route is not None and all(route != one.pattern.text for one in self.websocket_list):
            raise ValueError(f"there is no route {route!r} to broadcast to")
        await self.runtime.rooms.broadcast(message, route, exclude)

    def retain(
        self, pattern: str, *, messages: int | None = None, age_s: float | None = None
    ) -> None:
        """Bound the history of rooms: what is beyond is neither in it nor recovered.

        Args:
            pattern: of their names, such as "chat/*"; the first that was given and fits counts.
            messages: at most so many of the last; 0 keeps none.
            age_s: none that is older, in seconds.

        Raises:
            ValueError: a bound below zero.
        """
        self.runtime.rooms.retention.add(pattern, Keep(messages, age_s))

    # -- the ready-made endpoint ---------------------------------------------------------------

    def realtime(
        self,
        path: str,
        *,
        authorize: Hook | None = None,
        can_join: Hook | None = None,
        can_publish: Hook | None = None,
        can_see_presence: Hook | None = None,
        presence: HasPresence = True,
        max_rooms: int = 100,
        connect_timeout_s: float = 10.0,
        ping_interval_s: float = 25.0,
        **options: Unpack[RealtimeOptions],
    ) -> None:
        """Serve rooms to clients at `path`, over the protocol of docs/protocol.md.

        Without hooks **anybody may connect, join, publish and see everywhere**. They may be async.
        False, or a PermissionError, refuses.

        Args:
            authorize: `(ws, data)` with the data of the client's `connect`; returns whose
                connection it is, None if that does not matter, or False.
            can_join: `(ws, room)`; whether the client may be a member, and read.
            can_publish: `(ws, room, data)`; in any room, joined or not.
            can_see_presence: `(ws, room)`; whether it may know who else is in the room.
            presence: whether rooms have presence, or a function of a room's name that says so.
            max_rooms: that a client may be in.
            connect_timeout_s: a client that has not sent `connect` by then is closed.
            ping_interval_s: clients send something so often; after thrice that they are closed.
            options: auth, guards, allowed_origins, limits, max_message_size, name, as those of
                other routes. With `auth` a token may also come in the data of `connect`.

        Raises:
            RouteError: the pattern is bad or taken.
            ValueError: a limit that is not above 0.
        """
        endpoint = Endpoint(
            Hooks(authorize, can_join, can_publish, can_see_presence),
            presence=presence,
            max_rooms=max_rooms,
            connect_timeout_s=connect_timeout_s,
            ping_interval_s=ping_interval_s,
        )
        options.setdefault("name", "realtime")
        self._add_reading(path, endpoint.serve, **options)
        attach(self.runtime.rooms)

    def serve_client(self, path: str = "/switchboard.js") -> None:
        """Serve the JavaScript client of `realtime`, an ES module, on a path.

        It goes with this version of the server; docs/guide/clients.md tells how to use it.

        Raises:
            RouteError: the path is no path, or taken.
        """
        self.route(path, methods=["GET", "HEAD"])(client_script)
