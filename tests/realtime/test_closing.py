"""Each way in which the server refuses or closes a realtime connection."""

import asyncio
import json
from typing import Any

import pytest

from server.transport import TransportLimits
from tests.realtime.app import make_app
from tests.realtime.support import JSON, MSGPACK, Host, InProcess, Refused, covers, new_room
from tests.support import raw
from tests.support.servers import Server


@covers("status 400")
@pytest.mark.parametrize("offers", [(), ("json",), ("switchboard.v2", "Switchboard.v1")])
async def test_a_client_that_offers_no_subprotocol_is_refused(host: Host, offers: tuple[str, ...]):
    """The answer says what to offer."""
    with pytest.raises(Refused) as refused:
        await host.link("/open", *offers)

    assert refused.value.status == 400
    assert json.loads(refused.value.body)["subprotocols"] == [JSON, MSGPACK]


@covers("status 403")
async def test_another_path(host: Host):
    with pytest.raises(Refused) as refused:
        await host.link("/nowhere", JSON)
    assert refused.value.status == 403


@covers("status 503")
async def test_a_server_that_stops(local: Host):
    await local.app.drain(code=1001, drain_s=0.1, refuse=True)
    with pytest.raises(Refused) as refused:
        await local.link("/open", JSON)
    assert refused.value.status == 503


@covers("subprotocol switchboard.v1", "subprotocol switchboard.v1.msgpack")
async def test_the_first_subprotocol_of_the_client_is_taken(host: Host):
    link = await host.link("/open", "other", MSGPACK, JSON)
    await link.send(b"\x82\xa4type\xa7connect\xa2id\x01")
    assert isinstance(await link.receive(), bytes)


@covers("error connect_expected", "close 4501")
@pytest.mark.parametrize("type_", ["ping", "join", "publish", "history"])
async def test_connect_comes_first(host: Host, type_: str):
    peer = await host.peer("/open")
    fields: dict[str, Any] = {} if type_ == "ping" else {"room": "x"}
    answer = await peer.ask(type_, **fields, **({"data": 1} if type_ == "publish" else {}))

    assert (answer["code"], answer["retry"]) == ("connect_expected", False)
    assert (await peer.until_closed()).code == 4501


@pytest.mark.parametrize("code", ["malformed", "invalid_frame", "unknown_type"])
async def test_a_first_frame_that_is_none(host: Host, code: str):
    peer = await host.peer("/open")
    if code == "malformed":
        await peer.link.send("{" if peer.is_json else b"\xc1")
    else:
        await peer.send("connect" if code == "invalid_frame" else "hello", colour="x")

    await peer.expect(type="error", code=code)
    assert (await peer.until_closed()).code == 4501


@covers("error unauthorized", "close 4502")
async def test_unauthorized(host: Host):
    peer = await host.peer("/guarded")
    answer = await peer.ask("connect", data={"no": "name"})

    assert (answer["code"], answer["retry"]) == ("unauthorized", False)
    assert (await peer.until_closed()).code == 4502


@covers("close 1011")
async def test_an_error_in_a_hook(host: Host):
    peer = await host.peer("/guarded")
    await peer.send("connect", data="broken")
    assert (await peer.until_closed()).code == 1011


@pytest.mark.parametrize("user", [True, 7, "x" * 65])
async def test_authorize_returns_what_is_no_user(user: Any):
    app = make_app()
    app.realtime("/odd", authorize=lambda ws, data: user)
    host = Host(lambda path, offers: InProcess.open(app, path, offers), JSON)
    peer = await host.peer("/odd")
    await peer.send("connect")
    assert (await peer.until_closed()).code == 1011
    await host.close()


@covers("close 4002")
async def test_no_connect_in_time(host: Host):
    peer = await host.peer("/hasty")
    assert (await peer.until_closed()).code == 4002


@covers("close 4001")
async def test_a_silent_client(host: Host):
    """One that pings stays."""
    silent, loud = await host.connect("/fast"), await host.connect("/fast")

    async def ping() -> None:
        while True:
            await loud.ask("ping")
            await asyncio.sleep(0.3)

    pinging = asyncio.create_task(ping())
    assert (await silent.until_closed()).code == 4001
    assert not pinging.done()
    pinging.cancel()
    await asyncio.wait([pinging])
    await loud.ask("ping")


async def test_a_client_is_not_silent_while_the_server_is_busy_with_it():
    app = make_app()
    go_on = asyncio.Event()

    async def slow(ws: object, *_: object) -> bool:
        await go_on.wait()
        return True

    app.realtime("/slow", authorize=None, can_join=slow, ping_interval_s=0.5)
    host = Host(lambda path, offers: InProcess.open(app, path, offers), JSON)
    witness, peer = await host.connect("/slow"), await host.connect("/slow")
    await peer.send("join", room="x")
    assert (await witness.until_closed()).code == 4001

    go_on.set()
    await peer.expect(type="joined")
    await host.close()


@covers("close 1003")
async def test_the_other_kind_of_frame(host: Host):
    peer = await host.connect()
    await peer.link.send(b"{}" if peer.is_json else "{}")
    assert (await peer.until_closed()).code == 1003


@covers("close 1009")
async def test_a_large_frame(host: Host):
    peer = await host.connect("/small")
    await peer.send("publish", room="x", data="x" * 1000)
    assert (await peer.until_closed()).code == 1009


@covers("close 1001", "close 1012")
@pytest.mark.parametrize("code", [1001, 1012])
async def test_a_drain(local: Host, code: int):
    peer = await local.member(new_room())
    drained = asyncio.create_task(local.app.drain(code=code, drain_s=5, refuse=True))
    assert (await peer.until_closed()).code == code
    await drained


@covers("close 1013")
async def test_a_client_that_reads_too_slowly():
    """The others get everything."""
    app = make_app()
    app.configure(TransportLimits(window_messages=4, close_timeout_s=0.2))
    gate = asyncio.Event()
    gate.set()

    async def slow_app(scope: Any, receive: Any, send: Any) -> None:
        async def slow_send(event: Any) -> None:
            await gate.wait()
            await send(event)

        await app(scope, receive, slow_send)

    slow_host = Host(lambda path, offers: InProcess.open(slow_app, path, offers), JSON)
    host = Host(lambda path, offers: InProcess.open(app, path, offers), JSON)
    room = new_room()
    slow = await slow_host.member(room, "/quiet")
    reader, publisher = await host.member(room, "/quiet"), await host.connect("/quiet")

    gate.clear()
    for number in range(10):
        await publisher.ask("publish", room=room, data=number)
    for number in range(10):
        await reader.expect(type="message", data=number)
    assert app.room(room).count() == 1
    gate.set()
    assert (await slow.until_closed()).code == 1013
    for one in (slow_host, host):
        await one.close()


@covers("close 1002")
@pytest.mark.e2e
def test_text_that_is_no_utf8(granian: Server):
    with raw.connect(granian.port, "/open", [f"Sec-WebSocket-Protocol: {JSON}"]) as client:
        client.send_frame(raw.Op.TEXT, b"\xff")
        close = client.next_close()
    assert close is not None
    assert close.code == 1002
