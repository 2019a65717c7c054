"""The live board over HTTP: what it shows, who may look and act, what other sites cannot do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from httpx2 import AsyncClient

from server.admin import admin_app
from tests.server.test_connections import Worker, base, segment, workers
from tests.support.embedded import embedded
from workers.segment import Segment

__all__ = ["base", "segment", "workers"]  # fixtures

KEY = "k-0123456789abcdef"
BEARER = {"authorization": f"Bearer {KEY}"}
OWN = {"x-switchboard-board": "1", "content-type": "application/json"}


@asynccontextmanager
async def board(segment: Segment, **options: Any) -> AsyncIterator[AsyncClient]:
    async with (
        embedded(admin_app(segment, **options)) as url,
        AsyncClient(base_url=url.replace("ws:", "http:"), trust_env=False) as client,
    ):
        yield client


@pytest.fixture
async def client(segment: Segment, workers: list[Worker]) -> AsyncIterator[AsyncClient]:
    """Of a port that only this machine reaches, without a key."""
    async with board(segment) as client:
        yield client


# -- what it shows -----------------------------------------------------------------------------


async def test_the_page_brings_all_it_needs_and_runs_nothing_else(client: AsyncClient) -> None:
    kinds = {"/board": "text/html", "/board/board.js": "javascript", "/board/board.css": "text/css"}
    for path, kind in kinds.items():
        answer = await client.get(path)
        assert answer.status_code == 200
        assert kind in answer.headers["content-type"]
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert "http:" not in answer.text.replace("http://www.w3.org", "")


async def test_the_data(client: AsyncClient, workers: list[Worker]) -> None:
    workers[0].connect()
    workers[2].connect()
    data = (await client.get("/board/data")).json()
    assert [row["worker"] for row in data["server"]["workers"]] == [0, 1, 2]
    assert data["connections"]["total"] == len(data["connections"]["shown"]) == 2
    assert {"opened", "open", "closed", "refused"} <= set(data["routes"][0])
    assert (data["rooms"]["total"], data["rooms"]["largest"]) == (0, [])
    assert data["needs_key"] is False


async def test_a_search_looks_at_all_that_names_a_connection(
    client: AsyncClient, workers: list[Worker]
) -> None:
    workers[0].connect(user="Ada Lovelace")
    workers[1].connect(user="ben")
    for text, count in (("lovelace", 1), ("ADA", 1), ("nobody", 0), ("", 2)):
        found = (await client.get("/board/data", params={"q": text})).json()["connections"]
        assert (text, found["total"]) == (text, count)
    found = (await client.get("/board/data?worker=1")).json()["connections"]
    assert [row["user"] for row in found["shown"]] == ["ben"]


async def test_no_more_rows_than_a_person_reads(client: AsyncClient, workers: list[Worker]) -> None:
    for number in range(230):
        workers[number % 3].connect(user=f"user {number}")
    found = (await client.get("/board/data")).json()["connections"]
    assert (found["total"], len(found["shown"])) == (230, 200)
    assert found["shown"][0]["user"] == "user 229"  # the newest first


@pytest.mark.parametrize(
    ("query", "text"),
    [("worker=9", "worker: must be"), ("who=x", "who: there is no"), (f"q={'x' * 101}", "q: is l")],
)
async def test_a_bad_query_is_named(client: AsyncClient, query: str, text: str) -> None:
    answer = await client.get(f"/board/data?{query}")
    assert answer.status_code == 400
    assert text in answer.json()["error"]


# -- who may -----------------------------------------------------------------------------------


async def test_a_port_that_a_network_reaches_shows_nothing_without_the_key(
    segment: Segment, workers: list[Worker]
) -> None:
    async with board(segment, allowed_hosts=None, key=KEY) as client:
        assert (await client.get("/board")).status_code == 200  # only the empty page
        assert (await client.get("/board/data")).status_code == 401
        wrong = {"authorization": "Bearer wrong-0123456789"}
        assert (await client.get("/board/data", headers=wrong)).status_code == 401
        data = await client.get("/board/data", headers=BEARER)
        assert data.json()["needs_key"] is True
    async with board(segment, allowed_hosts=None) as client:
        answer = await client.get("/board/data")
        assert answer.status_code == 403
        assert "SWITCHBOARD_ADMIN_KEY" in answer.json()["error"]


@pytest.mark.parametrize("path", ["/board/disconnect", "/board/drain"])
async def test_with_a_key_only_who_has_it_may_act(
    segment: Segment, workers: list[Worker], path: str
) -> None:
    async with board(segment, key=KEY) as client:
        assert (await client.get("/board/data")).status_code == 200
        assert (await client.post(path, json={}, headers=OWN)).status_code == 401
        with_key = await client.post(path, json={}, headers={**OWN, **BEARER})
        assert with_key.status_code == 422  # it was looked at
        assert (await client.post(path, json={}, headers=BEARER)).status_code == 403


FOREIGN = [
    {},
    {"x-switchboard-board": "0"},
    {**OWN, "origin": "https://evil.example"},
    {**OWN, "origin": "null"},
    {**OWN, "sec-fetch-site": "cross-site"},
    {**OWN, "sec-fetch-site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("path", ["/board/disconnect", "/board/drain"])
async def test_another_site_cannot_act(
    client: AsyncClient, path: str, headers: dict[str, str]
) -> None:
    answer = await client.post(path, json={"pid": 1, "id": "1-1"}, headers=headers)
    assert answer.status_code == 403


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_form_cannot_either(client: AsyncClient, kind: str) -> None:
    headers = {**OWN, "content-type": kind}
    answer = await client.post("/board/drain", content=b"{}", headers=headers)
    assert answer.status_code == 415


async def test_a_browser_that_asks_first_is_not_allowed(client: AsyncClient) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    answer = await client.options("/board/drain", headers=headers)
    assert answer.status_code == 405
    assert "access-control-allow-origin" not in answer.headers


# -- acting ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"id": "7-7"}, 410, "there is no connection '7-7'"),
        ({"id": "nonsense"}, 422, "no id of a connection"),
        ({"id": "1-1", "code": 1005}, 422, "1005"),
        ({"id": "1-1", "reason": "x" * 124}, 422, "123"),
        ({"id": "1-1", "who": "me"}, 422, "who"),
        ({}, 422, "id"),
    ],
)
async def test_a_bad_disconnect_is_named(
    client: AsyncClient, body: dict[str, Any], status: int, text: str
) -> None:
    answer = await client.post("/board/disconnect", json=body, headers=OWN)
    assert (answer.status_code, text in answer.json()["error"]) == (status, True), answer.text


async def test_a_drain_of_another_server_is_refused(client: AsyncClient) -> None:
    answer = await client.post("/board/drain", json={"pid": 1}, headers=OWN)
    assert answer.status_code == 409
    assert "look again" in answer.json()["error"]
