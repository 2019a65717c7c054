"""`server.client` against real servers: it comes back, misses nothing, and gives up when due."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import jwt
import pytest

from server.client import Client, ClientError, Joined, Room
from tests.browser.support import workers_of
from tests.clients.codes import reconnects
from tests.clients.support import KEY, served
from tests.support.servers import ROOT, Server, free_port

pytestmark = [pytest.mark.e2e, pytest.mark.anyio, pytest.mark.timeout(90)]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


def realtime(server: Server, **options: Any) -> Client:
    return Client(f"{server.url}/realtime", first_backoff_s=0.1, **options)


async def happened(condition: Any, timeout_s: float = 20) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - of a client, which has no event for it
            await asyncio.sleep(0.01)


async def take(room: Room, count: int) -> list[Any]:
    found: list[Any] = []
    async with asyncio.timeout(30):
        async for message in room:
            found.append(message.data)
            if len(found) == count:
                break
    return found


async def test_talk_presence_and_history(server: Server) -> None:
    async with realtime(server) as ada, realtime(server) as ben:
        here, there = ada.room("py-tea"), ben.room("py-tea")
        arrivals: list[Any] = []
        here.on("member_joined", arrivals.append)
        assert await here.join() == Joined(here.epoch or "", 0, recovered=False, returning=False)
        await there.join()
        assert await there.publish({"text": "hello"}) == (here.epoch, 1)
        assert await take(here, 1) == [{"text": "hello"}]
        assert (await here.presence())["count"] == 2
        history = await here.history()
        assert [one["data"] for one in history["messages"]] == [{"text": "hello"}]
        await happened(lambda: arrivals)
        assert arrivals[0]["client"] == ben.id
        await there.leave()
        assert (await here.presence())["count"] == 1


async def test_a_request_waits_for_the_connection_that_is_being_made(server: Server) -> None:
    """A script that only publishes need not know when it is connected."""
    async with realtime(server) as client:
        said = [client.room("py-early").publish(number) for number in range(3)]
        assert [offset for _, offset in await asyncio.gather(*said)] == [1, 2, 3]


async def test_a_request_where_nobody_is_fails_with_the_attempt() -> None:
    async with Client(f"ws://127.0.0.1:{free_port()}/realtime", first_backoff_s=60) as client:
        with pytest.raises(ClientError) as caught:
            await asyncio.wait_for(client.room("r").publish(1), 5)
    assert (caught.value.code, caught.value.retry) == ("not_connected", True)


async def test_a_request_waits_no_longer_than_a_handshake_may_take() -> None:
    """Here nobody answers, and nobody refuses."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/realtime"
        async with Client(url, timeout_s=0.3) as client:
            with pytest.raises(ClientError, match="there is no connection just now"):
                await asyncio.wait_for(client.room("r").publish(1), 5)


async def test_a_killed_worker_costs_no_message() -> None:
    with served() as server:
        async with realtime(server) as ear, realtime(server) as mouth:
            joins: list[Any] = []
            ear.room("r").on("joined", joins.append)
            await ear.room("r").join()
            await mouth.room("r").join()
            reading = asyncio.create_task(read_until(ear.room("r"), 149))
            victims = workers_of(server)
            for number in range(150):
                if number in (30, 60, 90):
                    os.kill(victims.pop(), signal.SIGKILL)
                await say_surely(mouth.room("r"), number)
            heard = await asyncio.wait_for(reading, 30)
            # The last return may have brought the last message, and says so after it.
            await happened(lambda: len(joins) >= 2)
    assert list(dict.fromkeys(heard)) == list(range(150))
    assert len(heard) <= 153  # one whose answer was lost was said again
    assert all(one["recovered"] for one in joins[1:])


async def read_until(room: Room, last: int) -> list[int]:
    heard = []
    async for message in room:
        heard.append(message.data)
        if message.data == last:
            break
    return heard


async def say_surely(room: Room, number: int) -> None:
    while True:
        try:
            await room.publish(number)
            return
        except ClientError as error:
            if not error.retry:
                raise
            await asyncio.sleep(0.02)


async def test_what_does_not_fit_is_asked_for_later(server: Server) -> None:
    """A reader that is slow holds up nobody, and loses nothing."""
    async with realtime(server, buffer=25) as slow, realtime(server) as mouth:
        room = slow.room("py-slow")
        await room.join()
        await mouth.room("py-slow").join()
        for number in range(100):
            await mouth.room("py-slow").publish(number)
        await happened(lambda: len(room._messages) == 25)
        assert (await slow.room("py-slow").presence())["count"] == 2
        speaking = asyncio.create_task(say_all(mouth.room("py-slow"), range(100, 300)))
        assert await take(room, 300) == list(range(300))
        await speaking


async def say_all(room: Room, numbers: range) -> None:
    for number in numbers:
        await room.publish(number)


async def test_each_close_code_is_obeyed(server: Server) -> None:
    async def comes_back(code: int) -> tuple[bool, list[Any]]:
        client = Client(f"{server.url}/close/{code}", first_backoff_s=0.02, max_backoff_s=0.04)
        connected: list[Any] = []
        closed: list[Any] = []
        client.on("connected", connected.append)
        client.on("closed", closed.append)
        async with client:
            await happened(lambda: len(connected) > 1 or closed)
            return len(connected) > 1, list(closed)

    expected = reconnects()
    for code, is_expected in expected.items():
        is_back, closed = await comes_back(code)
        assert is_back is is_expected, code
        assert closed == ([] if is_expected else [{"code": code, "reason": f"as asked: {code}"}])


def token(life_s: float) -> str:
    return jwt.encode({"sub": "ada", "exp": int(time.time() + life_s)}, KEY, "HS256")


async def test_tokens_are_renewed(server: Server) -> None:
    given: list[str] = []

    async def get_token() -> str:
        given.append(token(3))
        return given[-1]

    client = Client(f"{server.url}/tokens", get_token=get_token)
    states: list[Any] = []
    client.on("state", lambda event: states.append(event["state"]))
    async with client:
        await happened(lambda: len(given) >= 4)
        assert client.user == "ada"
        assert states == ["connecting", "open"]


async def test_a_connection_that_ends_with_its_token_comes_back_with_another(
    server: Server,
) -> None:
    asked: list[int] = []

    def get_token() -> str:
        asked.append(1)
        if len(asked) == 2:
            raise RuntimeError("no token now")
        return token(2.5)

    client = Client(f"{server.url}/tokens", get_token=get_token, first_backoff_s=0.05)
    failed: list[Any] = []
    connected: list[Any] = []
    client.on("token_failed", failed.append)
    client.on("connected", connected.append)
    async with client:
        await happened(lambda: len(connected) == 2)
    assert [str(event["error"]) for event in failed] == ["no token now"]


async def test_a_refusal_is_final_and_said_to_all_who_wait(server: Server) -> None:
    async with Client(f"{server.url}/tokens", get_token=lambda: "no token") as client:
        with pytest.raises(ClientError) as refused:
            await client.room("r").join()
        assert (refused.value.code, refused.value.retry) == ("unauthorized", False)
        with pytest.raises(ClientError):
            await client.room("r").publish("x")
        assert client.state == "closed"


async def test_a_wrong_path_is_final(server: Server) -> None:
    async with Client(f"{server.url}/nowhere") as client:
        with pytest.raises(ClientError, match=r"the handshake was refused: 40[34]"):
            await client.room("r").join()


async def test_an_endpoint_that_speaks_another_language_is_tried_again(server: Server) -> None:
    client = Client(f"{server.url}/babble", first_backoff_s=0.01)
    states: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    client.on("state", lambda event: states.put_nowait((event["state"], event["reason"])))
    async with client, asyncio.timeout(10):
        for _ in range(2):
            while (state := await states.get())[0] != "waiting":
                pass
            assert state[1] == "what came is no frame of switchboard.v1"


async def test_a_forbidden_room_is_an_error(server: Server) -> None:
    async with realtime(server) as client:
        with pytest.raises(ClientError) as refused:
            await client.room("forbidden").join()
        assert refused.value.code == "forbidden"
        await client.room("py-open").join()


async def test_it_waits_longer_each_time_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.client.random.random", lambda: 1.0)
    url = f"ws://127.0.0.1:{free_port()}/realtime"
    client = Client(url, first_backoff_s=0.01, max_backoff_s=0.05)
    waits: list[float] = []
    client.on(
        "state", lambda event: waits.append(event["retry_in_s"]) if event["retry_in_s"] else None
    )
    async with client:
        with pytest.raises(ClientError) as refused:
            await client.room("r").publish("x")
        assert (refused.value.code, refused.value.retry) == ("not_connected", True)
        await happened(lambda: len(waits) >= 5)
    assert waits[:5] == [0.01, 0.02, 0.04, 0.05, 0.05]


async def test_a_cancelled_request_and_reader_leave_nothing_behind(server: Server) -> None:
    before = asyncio.all_tasks()
    async with realtime(server) as client:
        room = client.room("py-cancel")
        await room.join()
        reading = asyncio.create_task(take(room, 1))
        asking = asyncio.create_task(room.presence())
        await asyncio.sleep(0)
        for task in (reading, asking):
            task.cancel()
        await asyncio.wait([reading, asking])
        await room.publish("after")
        assert await take(room, 1) == ["after"]
    await happened(lambda: asyncio.all_tasks() == before, 5)


async def test_reading_ends_when_the_room_is_left_or_the_client_closed(server: Server) -> None:
    async with realtime(server) as client:
        left, closed = client.room("py-left"), client.room("py-closed")
        await left.join()
        await closed.join()
        readers = [asyncio.create_task(take(room, 1)) for room in (left, closed)]
        await asyncio.sleep(0)
        await left.leave()
        assert await asyncio.wait_for(readers[0], 5) == []
    assert await asyncio.wait_for(readers[1], 5) == []


def test_without_websockets_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['websockets'] = None; import server; import server.client"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'switchboard-server[client]'" in done.stderr.splitlines()[-1]


def test_the_server_does_not_load_it() -> None:
    code = "import sys, server; sys.exit('websockets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
