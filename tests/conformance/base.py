"""Owns the app under test and how views tell what no peer can see; knows no case.

Every connection of a case carries the case's key in a header. What a view notes, and what the app
raised into its host, is kept under that key until the case has read it at `/watch/{key}`.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable
from typing import Any, ClassVar

from server import App, WebSocket, WebSocketException

KEY_HEADER = "x-case"
WAIT_S = 10.0

app = App("conformance")


class Watch:
    """An ASGI middleware that keeps what became of the connections of each case.

    It passes `receive` and `send` on as they are, so it takes nothing from the host.
    """

    open: ClassVar[defaultdict[str, set[object]]] = defaultdict(set)
    notes: ClassVar[defaultdict[str, list[str]]] = defaultdict(list)
    raised: ClassVar[defaultdict[str, list[str]]] = defaultdict(list)
    ended: ClassVar[defaultdict[str, asyncio.Event]] = defaultdict(asyncio.Event)
    noted: ClassVar[defaultdict[str, asyncio.Event]] = defaultdict(asyncio.Event)
    signals: ClassVar[defaultdict[str, asyncio.Event]] = defaultdict(asyncio.Event)

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        key = key_of(scope)
        if key is None:
            await self.app(scope, receive, send)
            return
        connection = object()
        self.open[key].add(connection)
        try:
            await self.app(scope, receive, send)
        except BaseException as error:
            self.raised[key].append(f"{type(error).__name__}: {error}")
            raise
        finally:
            self.open[key].remove(connection)
            self.ended[key].set()

    @classmethod
    async def until_ended(cls, key: str) -> dict[str, Any]:
        """Wait until no connection of the case is left; then tell and forget all about it."""
        async with asyncio.timeout(WAIT_S):
            while cls.open[key]:
                cls.ended[key].clear()
                await cls.ended[key].wait()
        report = {"notes": cls.notes.pop(key, []), "raised": cls.raised.pop(key, [])}
        for table in (cls.open, cls.ended, cls.noted, cls.signals):
            table.pop(key, None)
        return report


class Sessions:
    """Stands for a session middleware: gives every connection under `/session` a session."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket" and scope["path"].startswith("/session"):
            scope["session"] = {"user": "ann"}
        await self.app(scope, receive, send)


class Wrapping:
    """Wraps `receive` and `send` under `/wrapped`, so they are plain coroutines on every host."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket" or not scope["path"].startswith("/wrapped"):
            await self.app(scope, receive, send)
            return

        async def wrapped_receive() -> Any:
            return await receive()

        async def wrapped_send(event: Any) -> None:
            await send(event)

        await self.app(scope, wrapped_receive, wrapped_send)


class OldHost:
    """Under `/old-host`, takes away the host's extension for refusing with any HTTP status.

    What the app closes the handshake with is noted, as no peer can see it.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket" or not scope["path"].startswith("/old-host"):
            await self.app(scope, receive, send)
            return

        async def noting_send(event: Any) -> None:
            Watch.notes[key_of(scope) or ""].append(f"{event['type']} {event.get('code')}")
            await send(event)

        extensions = dict(scope["extensions"])
        extensions.pop("websocket.http.response")
        await self.app({**scope, "extensions": extensions}, receive, noting_send)


app.add_middleware(OldHost)
app.add_middleware(Wrapping)
app.add_middleware(Sessions)
app.add_middleware(Watch)


@app.websocket_route("/watch/{key}", value_type="json")
async def watch(ws: WebSocket, key: str) -> None:
    await ws.send(await Watch.until_ended(key))


@app.websocket_route("/signal")
async def signal(ws: WebSocket) -> None:
    """Let the view of the same case that awaits `signalled` go on."""
    Watch.signals[case_key(ws)].set()


@app.websocket_route("/notes", send_type="json")
async def notes(ws: WebSocket, count: int) -> None:
    """Tell what has been noted so far, as soon as it is `count` things."""
    key = case_key(ws)
    async with asyncio.timeout(WAIT_S):
        while len(Watch.notes[key]) < count:
            Watch.noted[key].clear()
            await Watch.noted[key].wait()
    await ws.send(Watch.notes[key])


async def signalled(ws: WebSocket) -> None:
    async with asyncio.timeout(WAIT_S):
        await Watch.signals[case_key(ws)].wait()


def key_of(scope: Any) -> str | None:
    if scope["type"] != "websocket":
        return None
    for name, value in scope["headers"]:
        if name.lower() == KEY_HEADER.encode():
            return str(value.decode())
    return None


def case_key(ws: WebSocket) -> str:
    return ws.headers[KEY_HEADER]


def note(ws: WebSocket, text: str) -> None:
    """Keep `text` for the case, which must expect it."""
    Watch.notes[case_key(ws)].append(text)
    Watch.noted[case_key(ws)].set()


async def outcome(call: Awaitable[Any] | AsyncIterator[Any]) -> str:
    """Tell in one line what a call did: "ok", "ok <value>", or what it raised.

    An async iterator is run to its end and gives the list of its items.
    """
    try:
        if isinstance(call, AsyncIterator):
            result: Any = [item async for item in call]
        else:
            result = await call
    except Exception as error:
        return described(error)
    return "ok" if result is None else f"ok {result!r}"


def described(error: BaseException) -> str:
    """The type, and the code of what has one."""
    name = type(error).__name__
    return f"{name}({error.code})" if isinstance(error, WebSocketException) else name
