"""The board's page, its data and its acts, over a real host, segment and doorbells."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from httpx2 import AsyncClient

from server.admin import admin_app
from server.admin import operators as module
from server.admin.board import FILES, MAX_ROWS
from server.admin.operators import HEADER
from tests.server.admin_client import BEARER, KEY, refused
from tests.server.test_connections import Worker, all_heard, base, listening, segment, workers
from tests.support.embedded import embedded
from workers.doorbell import Disconnect
from workers.layout import CLIENT, CRASH, ServerState
from workers.room_directory import RoomDirectory
from workers.segment import Segment

__all__ = ["base", "segment", "workers"]  # fixtures

ACTS = ("/board/disconnect", "/board/drain")
JSON_TYPE = "application/json"


class Board:
    """A client of the board, and how often a drain was begun."""

    def __init__(self, url: str, client: AsyncClient, drains: list[int]) -> None:
        self.url = url
        self.client = client
        self.drains = drains

    @property
    def page_headers(self) -> dict[str, str]:
        """What the page's own script has a browser send."""
        return {"origin": self.url, HEADER: "1", "sec-fetch-site": "same-origin"}

    async def data(self, **query: Any) -> Any:
        response = await self.client.get("/board/data", params=query)
        assert response.status_code == 200, response.text
        return response.json()

    async def act(self, path: str, body: Any, **headers: str) -> Any:
        return await self.client.post(path, json=body, headers={**self.page_headers, **headers})


@asynccontextmanager
async def opened(segment: Segment, **options: Any) -> AsyncIterator[Board]:
    drains: list[int] = []
    app = admin_app(segment, begin_drain=lambda: drains.append(1), **options)
    async with embedded(app) as ws_url:
        url = ws_url.replace("ws:", "http:")
        async with AsyncClient(base_url=url, trust_env=False) as client:
            yield Board(url, client, drains)


@pytest.fixture
async def board(segment: Segment, workers: list[Worker]) -> AsyncIterator[Board]:
    """On loopback, without a key."""
    segment.server_state = ServerState.SERVING
    async with opened(segment) as board:
        yield board


# -- the page ----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES)
async def test_the_files_of_the_page_allow_no_script_but_their_own(board: Board, path: str) -> None:
    response = await board.client.get(path)
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    for part in ("frame-ancestors 'none'", "form-action 'none'", "base-uri 'none'"):
        assert part in policy
    assert "unsafe" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"
    assert response.headers["cache-control"] == "no-store"
    for outside in ("http://", "https://", "innerHTML", "<script>", "style="):
        assert outside not in response.text
    assert (await board.client.post(path)).status_code == 405


async def test_a_browser_finds_it_from_the_index(board: Board) -> None:
    assert "/board " in (await board.client.get("/")).text
    index = await board.client.get("/", headers={"accept": "text/html"})
    assert '<a href="/board">' in index.text


# -- the data ----------------------------------------------------------------------------------


async def test_all_that_it_shows(board: Board, segment: Segment, workers: list[Worker]) -> None:
    workers[0].connect("/chat", "ada")
    workers[1].connect("/feed", "ben")
    counters = workers[1].counters.route(segment.route_index("/feed"))
    counters.opened()
    counters.closed(segment.code_index(1000), CLIENT, 1.0)
    counters.opened()
    counters.closed(segment.code_index(1006), CRASH, 1.0)
    entry = RoomDirectory(segment).enter(b"tea", time.time_ns())
    RoomDirectory(segment).enter(b"empty", time.time_ns())
    RoomDirectory(segment).set_members(entry, 0, 2)

    data = await board.data()

    assert data["asks_key"] == "nothing"
    assert [row["worker"] for row in data["server"]["workers"]] == [0, 1, 2]
    assert all(row["memory_bytes"] > 1 << 20 for row in data["server"]["workers"])
    feed = next(row for row in data["routes"] if row["route"] == "/feed")
    assert (feed["open"], feed["opened"], feed["closed"]) == (1, 3, 2)
    normal, abnormal = data["closes"]
    assert (normal["code"], normal["client"], normal["name"]) == (1000, 1, "Normal closure")
    assert (abnormal["code"], abnormal["crash"]) == (1006, 1)
    assert data["rooms"]["total"] == 2
    assert [(row["room"], row["members"]) for row in data["rooms"]["rows"]] == [
        ("tea", 2),
        ("empty", 0),
    ]
    assert [row["user"] for row in data["connections"]["rows"]] == ["ben", "ada"]


async def test_rows_are_bounded_and_the_newest_are_first(
    board: Board, workers: list[Worker]
) -> None:
    ids = [worker.connect(user="ada") for _ in range(100) for worker in workers]
    found = (await board.data())["connections"]
    assert (found["total"], found["matched"]) == (300, 300)
    assert [row["id"] for row in found["rows"]] == ids[::-1][:MAX_ROWS]
    found = (await board.data(search="ADA", limit=5))["connections"]
    assert (found["matched"], [row["id"] for row in found["rows"]]) == (300, ids[::-1][:5])


@pytest.mark.parametrize(
    ("field", "search", "expected"),
    [
        ("any", "grace", ["grace"]),
        ("any", "FEED", ["ada"]),
        ("user", "a", ["grace", "ada"]),
        ("user", "chat", []),
        ("route", "/feed", ["ada"]),
        ("path", "/chat", ["grace", "ada"]),
        ("client", "192.0.2.1", ["grace", "ada"]),
        ("client", "192.0.2.2", []),
        ("id", "11-1", ["grace"]),
        ("id", "11-2", []),
        ("worker", "0", ["ada"]),
        ("any", "  ", ["grace", "ada"]),
    ],
)
async def test_searching(
    board: Board, workers: list[Worker], field: str, search: str, expected: list[str]
) -> None:
    workers[0].connect("/feed", "ada")
    workers[1].connect("/chat", "grace")
    found = (await board.data(field=field, search=search))["connections"]
    assert [row["user"] for row in found["rows"]] == expected
    assert (found["matched"], found["total"]) == (len(expected), 2)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("field=age", "field: must be one of any, id, user"),
        ("search=" + "x" * 257, "search: has 257 characters, the limit is 256"),
        ("field=id&search=ada", "search: 'ada' is no id of a connection: it looks like 3-17"),
        ("field=worker&search=3", "search: there is no worker '3': 0 to 2"),
        ("field=worker&search=-1", "search: there is no worker '-1'"),
        ("limit=201", "limit: must be a whole number, 1 to 200"),
        ("user=ada", "user: there is no such parameter: use search, field, limit"),
    ],
)
async def test_a_bad_query_is_named(board: Board, query: str, error: str) -> None:
    response = await board.client.get(f"/board/data?{query}")
    assert refused(response, 400).startswith(error)


# -- who may read ------------------------------------------------------------------------------


async def test_reading_on_loopback_needs_no_key(segment: Segment, workers: list[Worker]) -> None:
    async with opened(segment, key=KEY) as board:
        assert (await board.data())["asks_key"] == "acts"
        evil = await board.client.get("/board/data", headers={"host": "evil.example"})
        assert "is not allowed here" in refused(evil, 403)


async def test_reading_from_a_network_needs_the_key(
    segment: Segment, workers: list[Worker]
) -> None:
    async with opened(segment, allowed_hosts=None, key=KEY) as board:
        assert (await board.client.get("/board")).status_code == 200  # it asks for the key
        refused(await board.client.get("/board/data"), 401)
        right = await board.client.get("/board/data", headers=BEARER)
        assert right.json()["asks_key"] == "all"
    async with opened(segment, allowed_hosts=None) as board:
        assert "--admin-key-file" in refused(await board.client.get("/board/data"), 403)
        for path in ACTS:
            assert "--admin-key-file" in refused(await board.act(path, {}), 403)
        assert board.drains == []


# -- acting ------------------------------------------------------------------------------------


async def test_the_page_disconnects(board: Board, segment: Segment, workers: list[Worker]) -> None:
    id = workers[1].connect()
    with listening(workers):
        answer = await board.act("/board/disconnect", {"id": id, "code": 4503, "reason": "bye"})
        await all_heard(segment, workers)
    assert answer.json() == {"asked": 1}
    assert workers[1].heard[0] == Disconnect([id], 4503, "bye")


async def test_the_page_drains_once(board: Board, workers: list[Worker]) -> None:
    workers[1].connect()
    for _ in range(2):  # a second signal would end the server at once
        answer = await board.act("/board/drain", {})
        assert answer.json() == {"state": "draining", "connections": 1}
    assert board.drains == [1]


async def test_a_draining_server_is_not_signalled(board: Board, segment: Segment) -> None:
    segment.server_state = ServerState.DRAINING
    assert (await board.act("/board/drain", {})).status_code == 200
    assert board.drains == []


async def test_programs_drain_with_the_key(segment: Segment, workers: list[Worker]) -> None:
    async with opened(segment, key=KEY) as board:
        refused(await board.client.post("/drain", json={}), 401)
        answer = await board.client.post("/drain", json={}, headers=BEARER)
        assert answer.json() == {"state": "draining", "connections": 0}
        assert board.drains == [1]


@pytest.mark.parametrize("path", ACTS)
async def test_with_a_key_acting_needs_it(
    segment: Segment, workers: list[Worker], path: str
) -> None:
    async with opened(segment, key=KEY) as board:
        body = {"everyone": True} if "disconnect" in path else {}
        assert "the key is missing or wrong" in refused(await board.act(path, body), 401)
        wrong = await board.act(path, body, authorization=f"Bearer {KEY}x")
        assert "the key is missing or wrong" in refused(wrong, 401)
        assert (await board.act(path, body, **BEARER)).status_code == 200


FORGED = [
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": ""},
    {"origin": "http://localhost:1"},  # another port is another site's
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "none"},
    {HEADER: ""},
    {HEADER: "0"},
]


@pytest.mark.parametrize("path", ACTS)
@pytest.mark.parametrize("headers", FORGED, ids=str)
async def test_a_page_of_another_site_does_nothing(
    board: Board, path: str, headers: dict[str, str]
) -> None:
    response = await board.act(path, {"everyone": True}, **headers)
    refused(response, 403)
    assert response.headers["connection"] == "close"
    assert board.drains == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_form_does_nothing(board: Board, kind: str) -> None:
    """What a page of another site can send without being asked about it (CORS)."""
    port = board.client.base_url.port
    for more, status in (("", b"403"), (f"{HEADER}: 1\r\nOrigin: {board.url}\r\n", b"415")):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /board/drain HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 2\r\n"
        writer.write(f"{head}{more}Content-Type: {kind}\r\nConnection: close\r\n\r\n{{}}".encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert answer.split()[1] == status, answer
    assert board.drains == []


@pytest.mark.parametrize("path", ACTS)
async def test_a_browser_is_not_told_that_other_sites_may(board: Board, path: str) -> None:
    """Its question before a request with headers of its own (a preflight)."""
    asks = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    for method in ("OPTIONS", "GET", "PUT"):
        response = await board.client.request(method, path, headers=asks)
        assert response.status_code == 405
        assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize("owner", [12345, None])
async def test_other_users_of_the_machine_do_nothing(
    board: Board, monkeypatch: pytest.MonkeyPatch, owner: int | None
) -> None:
    """Nor does a proxy, which is another user, for all of a network."""
    monkeypatch.setattr(module, "_owner", lambda client, server: owner)
    error = refused(await board.act("/board/drain", {}), 403)
    assert "only the user who runs the server acts here" in error
    assert board.drains == []


@pytest.mark.parametrize(
    ("path", "body", "status", "error"),
    [
        ("/board/disconnect", {}, 422, "disconnect() without a filter"),
        ("/board/disconnect", {"id": "ada"}, 422, "'ada' is no id"),
        ("/board/disconnect", {"id": "1-1", "code": 1006}, 422, "close code 1006 may not be sent"),
        ("/board/disconnect", {"id": "1-1", "reason": "x" * 124}, 422, "close reason is 124 bytes"),
        ("/board/disconnect", {"who": "ada"}, 422, "unknown field"),
        ("/board/drain", {"now": True}, 422, "unknown field"),
        ("/board/drain", [], 422, "Expected `object`"),
    ],
)
async def test_a_bad_act_is_named(
    board: Board, path: str, body: Any, status: int, error: str
) -> None:
    assert error in refused(await board.act(path, body), status)
    assert board.drains == []


async def test_a_body_has_a_bound(board: Board) -> None:
    large = json.dumps({"id": "1-1", "reason": "x" * 70_000})
    headers = {**board.page_headers, "content-type": JSON_TYPE}
    response = await board.client.post("/board/disconnect", content=large, headers=headers)
    assert "the limit is 65536 bytes" in refused(response, 413)


async def test_the_owner_of_a_connection_is_found_by_both_ends(board: Board) -> None:
    port = board.client.base_url.port
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    client, server = writer.get_extra_info("sockname"), ("127.0.0.1", port)
    assert module._owner(client, server) == os.getuid()
    assert module._owner(("127.0.0.2", client[1]), server) is None
    assert module._owner(client, ("127.0.0.2", port)) is None
    assert module._owner(("a name", client[1]), server) is None
    writer.close()
    await writer.wait_closed()
    assert module._owner(client, server) is None
