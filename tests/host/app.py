"""Owns a bare ASGI app that does to granian what each host fact is about; it imports none of ours.

`/{probe}?{tag}` runs a probe; `GET /result?{tag}` gives what it found out, `GET /wake?{tag}` lets
it go on.
"""

import asyncio
import json
import os
from collections import defaultdict
from typing import Any

MESSAGES = 10_000
CHUNK = b"x" * 65_536

results: defaultdict[str, dict[str, Any]] = defaultdict(dict)
events: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
shared: list[Any] = []


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await _answer(scope, send)
    elif scope["type"] == "websocket":
        tag = scope["query_string"].decode()
        probe = globals()[scope["path"].strip("/")]
        await receive()
        await probe(tag, scope, receive, send)
        results[tag]["returned"] = True
    else:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})


async def _answer(scope: Any, send: Any) -> None:
    tag = scope["query_string"].decode()
    body: Any = os.getpid() if scope["path"] == "/pid" else results[tag]
    if scope["path"] == "/wake":
        events[tag].set()
    start = {"type": "http.response.start", "status": 200, "headers": []}
    await send(start)
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


async def _accept(send: Any) -> None:
    await send({"type": "websocket.accept"})


def _text(text: object) -> dict[str, Any]:
    return {"type": "websocket.send", "text": str(text)}


def _close(code: int) -> dict[str, Any]:
    return {"type": "websocket.close", "code": code, "reason": "by the probe"}


# -- sends -------------------------------------------------------------------------------------


async def unawaited(tag: str, scope: Any, receive: Any, send: Any) -> None:
    accepting = send({"type": "websocket.accept"})
    await accepting
    sending = send(_text("not awaited"))
    results[tag]["same type"] = type(sending) is type(accepting)
    results[tag]["methods"] = [
        name for name in ("done", "cancel", "result", "add_done_callback") if hasattr(sending, name)
    ]
    await receive()
    results[tag]["done"] = sending.done()


async def chain(tag: str, scope: Any, receive: Any, send: Any) -> None:
    """Start each send from the callback of the one before it."""
    await _accept(send)
    numbers = iter(range(MESSAGES))
    results[tag]["started"] = 0

    def start(_: Any) -> None:
        number = next(numbers, None)
        if number is not None:
            results[tag]["started"] += 1
            send(_text(number)).add_done_callback(start)

    start(None)
    await receive()


async def share(tag: str, scope: Any, receive: Any, send: Any) -> None:
    """Send one dict to everybody as soon as somebody says something."""
    await _accept(send)
    shared.append(send)
    event = await receive()
    if event["type"] == "websocket.receive":
        message = _text("the same")
        sends = [other(message) for other in shared]
        for sending in sends:
            await sending
        results[tag]["unchanged"] = message == _text("the same")
    await receive()


async def wrong_type(tag: str, scope: Any, receive: Any, send: Any) -> None:
    await _accept(send)
    await send({"type": "websocket.send", "text": 5})
    await send({"type": "websocket.send", "bytes": 5.0})
    await receive()


async def callbacks(tag: str, scope: Any, receive: Any, send: Any) -> None:
    await _accept(send)
    pending = receive()
    called: list[str] = []
    pending.add_done_callback(lambda _: called.append("first"))
    pending.add_done_callback(lambda _: called.append("second"))
    await send(_text("ready"))
    await events[tag].wait()
    results[tag] |= {"done": pending.done(), "called": called}


async def called_back(tag: str, scope: Any, receive: Any, send: Any) -> None:
    """Ask for callbacks of what is done already, and of what is cancelled."""
    await _accept(send)
    cancelled = receive()
    done = send(_text("ready"))
    await done
    called: list[str] = []
    done.add_done_callback(lambda _: called.append(_who("done")))
    cancelled.add_done_callback(lambda _: called.append(_who("cancelled")))
    cancelled.cancel()
    results[tag]["at once"] = [*called]
    await asyncio.sleep(0.1)
    results[tag]["later"] = sorted(called)


def _who(name: str) -> str:
    return f"{name} in {'the loop' if asyncio.current_task() is None else 'a task'}"


async def stall(tag: str, scope: Any, receive: Any, send: Any) -> None:
    """Send to a peer that does not read; then, as our code does, cancel, close, return."""
    await _accept(send)
    receiving = receive()
    sends = [send({"type": "websocket.send", "bytes": CHUNK}) for _ in range(128)]
    await _until_stuck(sends)
    results[tag]["not done"] = sum(not sending.done() for sending in sends)
    receiving.cancel()
    for sending in sends:
        sending.cancel()
    closing = asyncio.ensure_future(_wait(send(_close(1013))))
    await asyncio.wait([closing], timeout=0.3)
    results[tag]["closed in time"] = closing.done()
    closing.cancel()


async def leave_stalled(tag: str, scope: Any, receive: Any, send: Any) -> None:
    """The same, but only return."""
    await _accept(send)
    await _until_stuck([send({"type": "websocket.send", "bytes": CHUNK}) for _ in range(128)])


async def _until_stuck(sends: list[Any]) -> None:
    await sends[0]
    before = -1
    while before != (done := sum(sending.done() for sending in sends)):
        before = done
        await asyncio.sleep(0.1)


async def _wait(awaitable: Any) -> None:
    await awaitable


# -- receives and closes -----------------------------------------------------------------------


async def close_while_receiving(tag: str, scope: Any, receive: Any, send: Any) -> None:
    await _accept(send)
    receiving = receive()
    closing = send(_close(4001))
    await events[tag].wait()
    results[tag]["closed before"] = closing.done()
    receiving.cancel()
    await closing
    results[tag]["closed after"] = closing.done()


async def cancel_then_close(tag: str, scope: Any, receive: Any, send: Any) -> None:
    await _accept(send)
    receiving = receive()
    await events[tag].wait()
    started = asyncio.get_running_loop().time()
    receiving.cancel()
    await send(_close(4002))
    results[tag]["seconds"] = asyncio.get_running_loop().time() - started


async def disconnect(tag: str, scope: Any, receive: Any, send: Any) -> None:
    """Tell the disconnect event, then send a close nevertheless."""
    await _accept(send)
    results[tag]["event"] = await receive()
    await _send_late(tag, send)
    await send(_close(1002))


async def send_after_close(tag: str, scope: Any, receive: Any, send: Any) -> None:
    await _accept(send)
    await send(_close(1000))
    await _send_late(tag, send)


async def _send_late(tag: str, send: Any) -> None:
    late = send(_text("too late"))
    results[tag]["late has done"] = hasattr(late, "done")
    results[tag]["late gives"] = await late


async def no_receive(tag: str, scope: Any, receive: Any, send: Any) -> None:
    """Receive only when woken."""
    await _accept(send)
    await events[tag].wait()
    await receive()


async def fail(tag: str, scope: Any, receive: Any, send: Any) -> None:
    await _accept(send)
    raise LookupError("on purpose")


# -- handshakes --------------------------------------------------------------------------------


async def accept_with_headers(tag: str, scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"x-probe", b"1")]
    await send({"type": "websocket.accept", "subprotocol": "not-offered", "headers": headers})
    await receive()


async def close_unaccepted(tag: str, scope: Any, receive: Any, send: Any) -> None:
    await send(_close(4003))
    results[tag]["closed"] = True
    await events[tag].wait()


async def deny(tag: str, scope: Any, receive: Any, send: Any) -> None:
    results[tag]["extension"] = "websocket.http.response" in scope["extensions"]
    headers = [(b"retry-after", b"3")]
    await send({"type": "websocket.http.response.start", "status": 429, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b"slowly"})


async def look(tag: str, scope: Any, receive: Any, send: Any) -> None:
    await _accept(send)
    results[tag]["method"] = scope.get("method")
    results[tag]["port type"] = type(scope["client"][1]).__name__
    await receive()
