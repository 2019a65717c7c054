"""Broadcast, disconnect, presence and history on the admin port, over real doorbells."""

from typing import Any

import pytest
from httpx2 import AsyncClient

from server.room import epoch_text
from tests.server.admin_client import client, ok, refused, url
from tests.server.test_connections import Worker, all_heard, base, listening, segment, workers
from workers.doorbell import Disconnect
from workers.journal import Journal
from workers.publisher import Publisher, key_of
from workers.room_tables import Kind
from workers.segment import Segment
from workers.segment_bus import SegmentBus

__all__ = ["base", "client", "segment", "url", "workers"]  # fixtures


# -- broadcast, disconnect ---------------------------------------------------------------------


async def test_a_broadcast_is_of_a_route_or_of_all(client: AsyncClient, segment: Segment) -> None:
    journal = Journal(segment)
    assert await ok(await client.post("/broadcast", json={"data": 1})) == {}
    body = {"data": "x", "kind": "text", "route": "/feed"}
    assert await ok(await client.post("/broadcast", json=body)) == {}
    first = journal.header(0)
    second = journal.header(first.words)
    assert [(h.kind, h.epoch) for h in (first, second)] == [
        (Kind.JSON, 0),
        (Kind.TEXT, key_of("/feed")),
    ]
    for route in ("/fed", "other", "unmatched", ""):
        response = await client.post("/broadcast", json={"data": 1, "route": route})
        assert refused(response, 422) == f"route: there is no route {route!r}: see /routes"
    assert journal.records == 2


async def test_a_user_is_disconnected_on_all_workers(
    client: AsyncClient, segment: Segment, workers: list[Worker]
) -> None:
    ids = [worker.connect(user="ada") for worker in workers]
    workers[0].connect(user="ben")
    with listening(workers):
        body = {"user": "ada", "code": 4001, "reason": "signed out"}
        assert await ok(await client.post("/disconnect", json=body)) == {"asked": 3}
        await all_heard(segment, workers)
    assert [worker.heard[0] for worker in workers] == [
        Disconnect([id], 4001, "signed out") for id in ids
    ]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "without a filter"),
        ({"user": None}, "without a filter"),
        ({"user": ""}, "empty user"),
        ({"user": "ada", "everyone": True}, "takes no filter"),
        ({"user": "ada", "code": 1006}, "1006 may not be sent"),
        ({"user": "ada", "code": "4001"}, "at `$.code`"),
        ({"user": "ada", "reason": "x" * 124}, "the limit is 123"),
        ({"id": "ada"}, "no id of a connection"),
        ({"worker": 3}, "worker: there is no worker 3: 0 to 2"),
        ({"route": "/fed"}, "route: there is no route '/fed'"),
        ({"users": "ada"}, "unknown field `users`"),
    ],
)
async def test_a_disconnect_that_cannot_be_meant_is_refused(
    client: AsyncClient, workers: list[Worker], body: Any, error: str
) -> None:
    workers[0].connect(user="ada")
    assert error in refused(await client.post("/disconnect", json=body), 422)
    assert workers[0].asked == []


async def test_a_worker_that_does_not_listen_is_named(
    client: AsyncClient, workers: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.connections.DELIVERY_TIMEOUT_S", 0.1)
    workers[1].connect(user="ada")
    response = await client.post("/disconnect", json={"user": "ada"})
    assert "worker 1 did not take the request" in refused(response, 503)


# -- presence, history -------------------------------------------------------------------------


async def test_presence_is_of_all_workers(
    client: AsyncClient, segment: Segment, workers: list[Worker]
) -> None:
    buses = [SegmentBus(segment, worker.slot) for worker in workers]
    ids = []
    with listening(workers):
        for worker, bus in zip(workers, buses, strict=True):
            for row in range(2):
                ids.append(worker.connect(user="ada"))
                await bus.enter("tea", row)
    for bus in buses:
        bus.close()
    found = await ok(await client.get("/presence?room=tea"))
    assert (found["room"], found["count"]) == ("tea", 6)
    assert [member["id"] for member in found["members"]] == ids
    assert [member["worker"] for member in found["members"]] == [0, 0, 1, 1, 2, 2]
    assert {member["user"] for member in found["members"]} == {"ada"}
    page = await ok(await client.get("/presence?room=tea&limit=2&offset=3"))
    assert [member["id"] for member in page["members"]] == ids[3:5]
    only = await ok(await client.get("/presence?room=tea&limit=0"))
    assert only == {"room": "tea", "count": 6, "members": []}
    empty = await ok(await client.get("/presence?room=nobody"))
    assert empty == {"room": "nobody", "count": 0, "members": []}


async def test_history_is_what_was_published(client: AsyncClient, segment: Segment) -> None:
    publisher = Publisher(segment)
    publisher.publish_now("tea", Kind.JSON, b'{"a":1}')
    publisher.publish_now("tea", Kind.TEXT, "hä".encode())
    epoch, last = publisher.publish_now("tea", Kind.BYTES, b"\x00\xff")
    publisher.close()
    found = await ok(await client.get("/history?room=tea"))
    assert (found["room"], found["epoch"], found["offset"]) == ("tea", epoch_text(epoch), last)
    assert [(m["offset"], m["kind"], m["data"]) for m in found["messages"]] == [
        (1, "json", {"a": 1}),
        (2, "text", "hä"),
        (3, "bytes", "AP8="),
    ]
    assert {m["epoch"] for m in found["messages"]} == {epoch_text(epoch)}
    times = [m["published_at"] for m in found["messages"]]
    assert times == sorted(times)

    async def offsets(query: str) -> list[int]:
        found = await ok(await client.get(f"/history?room=tea&{query}"))
        return [message["offset"] for message in found["messages"]]

    assert await offsets("since=1") == [2, 3]
    assert await offsets("limit=1") == [3]
    assert await offsets(f"since=2&epoch={epoch_text(epoch)}") == [3]
    assert await offsets("epoch=abc") == []
    assert await ok(await client.get("/history?room=nobody")) == {
        "room": "nobody",
        "epoch": None,
        "offset": 0,
        "messages": [],
    }


@pytest.mark.parametrize("page", ["/presence", "/history"])
@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        ("", 400, "room: is missing"),
        ("room=", 422, "room: a room name has 1 to 255 bytes"),
        ("room=tea&limit=1001", 400, "limit: must be a whole number"),
        ("room=tea&rooms=tea", 400, "rooms: there is no such parameter"),
    ],
)
async def test_a_bad_parameter_is_named(
    client: AsyncClient, page: str, query: str, status: int, error: str
) -> None:
    assert refused(await client.get(f"{page}?{query}"), status).startswith(error)
