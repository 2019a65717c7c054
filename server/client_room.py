"""Owns a room as `server.client` has it: its messages, its place, and how it is joined again.

It sends through the client that has it, and does not know how that one connects.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from server.client import Client

Event = dict[str, Any]
Listener = Callable[[Event], object]


class ClientError(Exception):
    """A request that failed, or a connection that ended for good.

    Attributes:
        code: of docs/protocol.md, or not_connected, lost, timeout, left, closed.
        retry: whether the same request may succeed a little later.
        close_code: with which the connection ended, 0 if that was not the reason.
    """

    def __init__(self, code: str, message: str, *, retry: bool = False, close_code: int = 0):
        super().__init__(message)
        self.code = code
        self.retry = retry
        self.close_code = close_code


class Message(NamedTuple):
    """What was published to a room.

    Attributes:
        data: JSON; base64 text, if it was bytes.
    """

    offset: int
    data: Any


class Joined(NamedTuple):
    """What a join found.

    Attributes:
        recovered: whether all that was missed since the last time comes, or has come.
        returning: whether the room was joined before; if it is not recovered then, what is known
            of it is out of date.
    """

    epoch: str
    offset: int
    recovered: bool
    returning: bool


class Emitter:
    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}

    def on(self, name: str, listener: Listener) -> Callable[[], None]:
        """Call `listener` with each event of a name; returns a function that ends it."""
        listeners = self._listeners.setdefault(name, [])
        listeners.append(listener)
        return lambda: listeners.remove(listener) if listener in listeners else None

    def emit(self, name: str, **event: Any) -> None:
        """Tell the listeners."""
        for listener in tuple(self._listeners.get(name, ())):
            try:
                listener(event)
            except Exception as error:  # one listener's fault is none of the others'
                context = {"message": f"a listener of {name!r} failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)


class Room(Emitter):
    """A room: iterate over it for its messages, each once and in order.

    It is joined again after each loss, with what was missed, until `leave`.

    Attributes:
        offset, epoch: of the last message that was taken.

    Events, see `on`: `joined` (epoch, offset, recovered, returning), `member_joined` and
    `member_left` (client, user), `presence_missed`, `failed` (error: it cannot be joined again).
    """

    def __init__(self, client: "Client", name: str) -> None:
        super().__init__()
        self.name = name
        self.offset: int | None = None
        self.epoch: str | None = None
        self._client = client
        self._is_wanted = self._is_joined = self._is_full = False
        self._is_skipping = False  # what comes now has a gap before it, and will come again
        self._waiters: list[asyncio.Future[Joined]] = []
        self._messages: deque[Message] = deque()
        self._arrival: asyncio.Future[None] | None = None
        self._end: ClientError | None = None
        self._failures = 0

    async def join(self, *, since: int | None = None, epoch: str | None = None) -> Joined:
        """Be in the room from now on; returns with the first answer.

        Args:
            since, epoch: a place that was kept: what came after it comes first.

        Raises:
            ClientError: it cannot be joined.
        """
        if (ended := self._client.ended) is not None:
            raise ended
        if self._is_joined:
            return Joined(self.epoch or "", self.offset or 0, recovered=False, returning=True)
        if since is not None:
            self.offset, self.epoch = since, epoch
        self._end = None
        waiter: asyncio.Future[Joined] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        if not self._is_wanted:
            self._is_wanted = True
            self.on_connected()
        return await waiter

    async def leave(self) -> None:
        """Be in it no longer; whoever iterates over it comes to an end."""
        was_wanted, self._is_wanted = self._is_wanted, False
        self._stop(ClientError("left", "the room was left"))
        if was_wanted and self._client.state == "open":
            await self._client.request("leave", room=self.name)

    async def publish(self, data: Any) -> tuple[str, int]:
        """Publish; returns the epoch and the offset.

        While the client connects it waits for that, but is not kept for later. After the codes
        `lost` and `timeout` it may have been published.

        Raises:
            ClientError: as `Client.request`.
        """
        answer = await self._client.request("publish", room=self.name, data=data)
        return answer["epoch"], answer["offset"]

    async def presence(self) -> Event:
        """Return who is here: `count` and `members`. Raises ClientError."""
        return await self._client.request("presence", room=self.name)

    async def history(self, *, since: int = 0, limit: int = 100) -> Event:
        """Return what was said: `epoch`, `offset` and `messages`. Raises ClientError."""
        return await self._client.request("history", room=self.name, since=since, limit=limit)

    async def __aiter__(self) -> AsyncIterator[Message]:
        while True:
            while not self._messages:
                if self._end is not None:
                    if self._end.code in ("left", "closed") and self._end.close_code in (0, 1000):
                        return
                    raise self._end
                if self._is_full:
                    self._is_full = False
                    self._client.help(self._enter(is_left_first=True))
                self._arrival = asyncio.get_running_loop().create_future()
                await self._arrival
            yield self._messages.popleft()

    # -- for the client ------------------------------------------------------------------------

    def on_connected(self) -> None:
        """Join, if somebody wants that, and has read what came before."""
        self._is_joined = self._is_skipping = False
        if self._is_wanted and self._client.state == "open" and not self._is_full:
            self._client.help(self._enter())

    async def _enter(self, *, is_left_first: bool = False) -> None:
        place = {} if self.epoch is None else {"since": self.offset, "epoch": self.epoch}
        try:
            if is_left_first:
                await self._client.request("leave", room=self.name)
                self._is_skipping = False  # what comes from now on begins where we were
            await self._client.request("join", room=self.name, **place)
        except ClientError as error:
            if error.code in ("lost", "not_connected") or not self._is_wanted:
                return  # joined again when it is back
            if error.retry:
                self._failures += 1
                await asyncio.sleep(min(20, 2**self._failures) * random.uniform(0.5, 1))
                self.on_connected()
                return
            self._is_wanted = False
            self._stop(error)
            self.emit("failed", error=error)

    def on_joined(self, frame: Event) -> None:
        """Take note of where the room is."""
        joined = Joined(frame["epoch"], frame["offset"], frame["recovered"], self.epoch is not None)
        self.epoch = joined.epoch
        if not self._is_skipping:  # else there is more, to be asked for later
            if not joined.recovered or self.offset is None or joined.offset > self.offset:
                self.offset = joined.offset
            self._is_joined = True
        self._failures = 0
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(joined)
        self._waiters.clear()
        self.emit("joined", **joined._asdict())

    def take(self, frame: Event) -> None:
        """Take what came of the room."""
        if not self._is_wanted:
            return
        kind = frame["type"]
        if kind == "message":
            self._take_message(frame)
        elif kind == "missed" and frame["what"] == "messages":
            self._client.help(self._enter())
        elif kind == "missed":
            self.emit("presence_missed", **frame)
        else:
            self.emit(kind, **frame)

    def _take_message(self, frame: Event) -> None:
        if self._is_skipping or (self.offset is not None and frame["offset"] <= self.offset):
            return
        if len(self._messages) >= self._client.buffer:
            self._is_full = self._is_skipping = True
            return
        self.offset = frame["offset"]
        self._messages.append(Message(frame["offset"], frame["data"]))
        self._wake()

    def on_end(self, error: ClientError) -> None:
        """Hear that the client has ended for good."""
        self._is_wanted = False
        self._stop(error)

    def _stop(self, error: ClientError) -> None:
        self._is_joined = self._is_full = self._is_skipping = False
        self._end = error
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(error)
        self._waiters.clear()
        self._wake()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
