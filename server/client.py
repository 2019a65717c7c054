"""Owns the asyncio client of the realtime protocol (docs/protocol.md), with the surface of
switchboard.js; it knows nothing of the server beside that.

It needs the package `websockets`: `pip install 'switchboard-server[client]'`.
"""

import asyncio
import inspect
import random
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal

import msgspec

from server.client_room import ClientError, Emitter, Event, Joined, Message, Room

try:
    from websockets.asyncio.client import ClientConnection
    from websockets.asyncio.client import connect as _connect
    from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
    from websockets.typing import Subprotocol
except ImportError:
    raise ImportError(
        "server.client needs websockets: pip install 'switchboard-server[client]'"
    ) from None

SUBPROTOCOL = "switchboard.v1"
FINAL_CODES = frozenset({1003, 1009, 4501, 4502, 4503})
FINAL_STATUSES = frozenset({400, 403, 404})
STABLE_S = 10.0  # a connection that lasted so long was a good one
LATE_S = 0.25  # how long a close may take

__all__ = ["Client", "ClientError", "Joined", "Message", "Room"]

State = Literal["connecting", "open", "waiting", "closed"]


class Client(Emitter):
    """A connection that comes back by itself, with its rooms; used with `async with`.

    Args:
        url: of the endpoint, such as "wss://example.org/realtime".
        data: for the app's `authorize`; a function, async or not, is called each time.
        get_token: is called, async or not, before each connection and before a token ends.
        headers: of the handshake.
        first_backoff_s, max_backoff_s: the longest first wait before coming back, and of all.
        timeout_s: for the handshake, and for the answer to a request.
        buffer: messages of a room that wait here for its reader. When it is full the rest stays
            with the server, and is asked for when the reader has come so far.

    Attributes:
        state: connecting, open, waiting (for the next attempt) or closed.
        id, user: of this connection, as the server has it.

    Events, see `on`: `state` (state, reason, retry_in_s), `connected`, `closed` (code, reason),
    `broadcast` (data), `broadcasts_missed`, `token_failed` (error).

    Example:
        async with Client("ws://127.0.0.1:8000/realtime") as client:
            tea = client.room("tea")
            await tea.join()
            await tea.publish({"text": "hello"})
            async for message in tea:
                print(message.data)
    """

    def __init__(
        self,
        url: str,
        *,
        data: Any = None,
        get_token: Callable[[], Any] | None = None,
        headers: dict[str, str] | None = None,
        first_backoff_s: float = 1.0,
        max_backoff_s: float = 20.0,
        timeout_s: float = 10.0,
        buffer: int = 1000,
    ) -> None:
        super().__init__()
        if buffer < 1:
            raise ValueError("buffer must be at least 1 message")
        self.state: State = "connecting"
        self.id: str | None = None
        self.user: str | None = None
        self.buffer = buffer
        self._url, self._data, self._get_token, self._headers = url, data, get_token, headers
        self._backoff_s = (first_backoff_s, max_backoff_s)
        self._timeout_s = timeout_s
        self._rooms: dict[str, Room] = {}
        self._requests: dict[int, asyncio.Future[Event]] = {}
        self._last_id = 0
        self._ws: ClientConnection | None = None
        self._end: ClientError | None = None
        self._retry_after_s = 0.0
        self._is_heard = True
        self._settled = asyncio.Event()  # it is not connecting: it has, or could not
        self._task: asyncio.Task[None] | None = None
        self._helpers: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Client":
        self._task = asyncio.create_task(self._live())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def room(self, name: str) -> "Room":
        """Return the room of that name; one object for each name."""
        return self._rooms.setdefault(name, Room(self, name))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """End it for good; may be called again."""
        self._finish(ClientError("closed", "the client was closed", close_code=code))
        ws, task = self._ws, self._task
        if ws is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timeout_s):
                    await ws.close(code, reason)
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait([task])

    @property
    def ended(self) -> ClientError | None:
        """Why it has ended for good; None while it has not."""
        return self._end

    # -- requests ------------------------------------------------------------------------------

    async def request(self, kind: str, **fields: Any) -> Event:
        """Send a request and return its answer; while it is connecting, wait for that first.

        Raises:
            ClientError: the answer is an error, or there was none.
        """
        if self.state == "connecting":
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timeout_s):
                    await self._settled.wait()
        if self.state != "open":
            if self._end is not None:
                raise self._end
            raise ClientError("not_connected", "there is no connection just now", retry=True)
        return await self._ask(kind, fields)

    async def _ask(self, kind: str, fields: Event) -> Event:
        assert self._ws is not None
        self._last_id = id = self._last_id + 1
        answer: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._requests[id] = answer
        try:
            async with asyncio.timeout(self._timeout_s):
                frame = msgspec.json.encode({"type": kind, "id": id, **fields})
                await self._ws.send(frame, text=True)
                return await answer
        except TimeoutError:
            raise ClientError("timeout", f"no answer to {kind} in time", retry=True) from None
        except ConnectionClosed:
            raise ClientError("lost", "the connection was lost", retry=True) from None
        finally:
            self._requests.pop(id, None)

    def _answer(self, frame: Event) -> None:
        answer = self._requests.get(frame["id"])
        if answer is None or answer.done():
            return
        if frame["type"] == "error":
            error = ClientError(frame["code"], frame["message"], retry=frame["retry"])
            answer.set_exception(error)
        else:
            answer.set_result(frame)

    # -- the life of a connection --------------------------------------------------------------

    async def _live(self) -> None:
        attempts = 0
        while True:
            self._become("connecting")
            began_s, reason = time.monotonic(), ""
            try:
                code, reason = await self._connection()
                if code in FINAL_CODES:
                    self._finish(ClientError("closed", reason or str(code), close_code=code))
            except ClientError as error:
                reason = str(error)
                if not error.retry:
                    self._finish(error)
            finally:
                self._let_go(reason)
            if self._end is not None:
                return
            if time.monotonic() - began_s > STABLE_S:
                attempts = 0
            most_s = min(self._backoff_s[1], self._backoff_s[0] * 2**attempts)
            attempts += 1
            # Anything up to a limit, so that not all come at once.
            wait_s = self._retry_after_s + most_s * random.random()
            self._become("waiting", reason, wait_s)
            await asyncio.sleep(wait_s)

    async def _connection(self) -> tuple[int, str]:
        """Connect and stay until it ends; returns its code and reason."""
        self._retry_after_s = 0.0
        try:
            self._ws = await _connect(
                self._url,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                additional_headers=self._headers,
                open_timeout=self._timeout_s,
                close_timeout=LATE_S,
                ping_interval=None,  # the protocol has pings of its own
                max_size=None,
                compression=None,
            )
        except InvalidStatus as error:
            raise self._refused(error) from None
        except (OSError, TimeoutError, InvalidHandshake, EOFError) as error:
            raise ClientError("lost", f"no connection: {error}", retry=True) from None
        reader = asyncio.create_task(self._read(self._ws))
        try:
            await self._introduce()
            await reader
        except ClientError as error:
            if error.code != "lost":
                raise
        finally:
            reader.cancel()
            await self._ws.close()
        return self._ws.close_code or 1006, self._ws.close_reason or ""

    def _refused(self, error: InvalidStatus) -> ClientError:
        status = error.response.status_code
        after = error.response.headers.get("Retry-After", "")
        self._retry_after_s = float(after) if after.isdigit() else 0.0
        can_retry = status not in FINAL_STATUSES and (status != 401 or self._get_token is not None)
        return ClientError("refused", f"the handshake was refused: {status}", retry=can_retry)

    async def _introduce(self) -> None:
        fields: Event = {"data": await _value_of(self._data)}
        if self._get_token is not None:
            try:
                fields["token"] = await _value_of(self._get_token)
            except Exception as error:
                self.emit("token_failed", error=error)
                raise ClientError("no_token", f"no token: {error}", retry=True) from error
        connected = await self._ask("connect", fields)
        self.id, self.user, self._is_heard = connected["client"], connected.get("user"), True
        self.help(self._beat(connected["ping_interval_s"]))
        if self._get_token is not None and connected.get("expires_in_s") is not None:
            self.help(self._refresh(connected["expires_in_s"]))
        self._become("open")
        self.emit("connected", **connected)
        for room in tuple(self._rooms.values()):
            room.on_connected()

    async def _read(self, ws: ClientConnection) -> None:
        problem = ClientError("lost", "the connection was lost", retry=True)
        try:
            async for data in ws:
                self._take(_frame_of(data))
        except ConnectionClosed:
            pass
        except ClientError as error:
            problem = error
        for answer in self._requests.values():
            if not answer.done():
                answer.set_exception(problem)
        if problem.code != "lost":
            raise problem

    def _take(self, frame: Event) -> None:
        self._is_heard = True
        room = self._rooms.get(frame.get("room", ""))
        if frame.get("id") is not None:
            if frame["type"] == "joined" and room is not None:
                room.on_joined(frame)  # before any message that follows it
            self._answer(frame)
        elif frame["type"] == "broadcast":
            self.emit("broadcast", **frame)
        elif frame["type"] == "missed" and frame["what"] == "broadcasts":
            self.emit("broadcasts_missed", **frame)
        elif room is not None:
            room.take(frame)

    async def _beat(self, interval_s: float) -> None:
        """Ping; without an answer to the last one the server is lost, whatever TCP thinks."""
        assert self._ws is not None
        while True:
            await asyncio.sleep(interval_s)
            if not self._is_heard:
                self._ws.transport.abort()
                return
            self._is_heard = False
            with suppress(ConnectionClosed):
                await self._ws.send('{"type":"ping"}')

    async def _refresh(self, seconds: float | None) -> None:
        while seconds is not None:
            early_s = min(30.0, seconds / 2) * random.uniform(0.5, 1)
            await asyncio.sleep(max(1.0, seconds - early_s))
            try:
                token = await _value_of(self._get_token)
                seconds = (await self.request("refresh", token=token)).get("expires_in_s")
            except Exception as error:  # the one before counts on until it ends: then 4003
                self.emit("token_failed", error=error)
                return

    def help(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside; it ends with the connection at the latest."""
        task = asyncio.create_task(work)
        self._helpers.add(task)
        task.add_done_callback(self._helpers.discard)

    def _let_go(self, reason: str) -> None:
        self._ws = None
        for task in tuple(self._helpers):
            task.cancel()
        for answer in self._requests.values():
            if not answer.done():
                answer.set_exception(ClientError("lost", reason or "lost", retry=True))
                answer.exception()  # who asked may have gone

    def _finish(self, error: ClientError) -> None:
        if self._end is not None:
            return
        self._end = error
        self._become("closed", str(error))
        for room in self._rooms.values():
            room.on_end(error)
        self.emit("closed", code=error.close_code, reason=str(error))

    def _become(self, state: State, reason: str = "", retry_in_s: float = 0.0) -> None:
        if self.state != "closed":
            self.state = state
            if state == "connecting":
                self._settled.clear()
            else:
                self._settled.set()
            self.emit("state", state=state, reason=reason, retry_in_s=retry_in_s)


async def _value_of(given: Any) -> Any:
    """Call what is a function, and await what it returns."""
    value = given() if callable(given) else given
    return await value if inspect.isawaitable(value) else value


def _frame_of(data: str | bytes) -> Event:
    """Return a frame.

    Raises:
        ClientError: it is none: whatever is there, it does not speak the protocol.
    """
    try:
        frame = msgspec.json.decode(data, type=Event)
    except msgspec.DecodeError:
        frame = {}
    if not isinstance(frame.get("type"), str):
        raise ClientError("protocol", f"what came is no frame of {SUBPROTOCOL}", retry=True)
    return frame
