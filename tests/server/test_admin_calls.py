"""What the key lets programs do on the admin port, over a real host, segment and doorbells."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from httpx2 import AsyncClient

from server.admin import CALLS, admin_app
from server.admin.bodies import MAX_BATCH
from server.admin.calls import METHODS
from tests.server.admin_client import BEARER, KEY, client, ok, published, refused, url
from tests.server.test_connections import Worker, all_heard, base, listening, segment, workers
from tests.support.embedded import embedded
from workers.journal import Journal
from workers.journal_lock import JournalStalled
from workers.publisher import Message, Publisher
from workers.room_tables import Kind
from workers.segment import Segment
from workers.segment_bus import SegmentBus

__all__ = ["base", "client", "segment", "url", "workers"]  # fixtures

LARGE = 64 * 1024 * 8 // 8  # an eighth of the ring, and so more than the limit


# -- the key -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CALLS)
async def test_without_a_configured_key_all_are_refused_with_the_remedy(
    segment: Segment, path: str
) -> None:
    async with (
        embedded(admin_app(segment)) as url,
        AsyncClient(base_url=url.replace("ws:", "http:"), headers=BEARER) as client,
    ):
        error = refused(await client.request(METHODS[path][0], path), 403)
        assert "SWITCHBOARD_ADMIN_KEY" in error
        assert "--admin-key-file" in error
        assert KEY not in error
        assert (await client.get("/metrics")).status_code == 200


@pytest.mark.parametrize("path", CALLS)
async def test_a_wrong_key_does_nothing(url: str, segment: Segment, path: str) -> None:
    wrong: list[list[tuple[str, str]]] = [
        [],
        [("authorization", "")],
        [("authorization", KEY)],
        [("authorization", "Bearer")],
        [("authorization", f"Bearer {KEY}x")],
        [("authorization", f"Bearer {KEY[:-1]}")],
        [("authorization", f"Bearer {KEY.upper()}")],
        [("authorization", f"Basic {KEY}")],
        [("authorization", f"Bearer {KEY}"), ("authorization", f"Bearer {KEY}")],
    ]
    async with AsyncClient(base_url=url, trust_env=False) as client:
        for headers in wrong:
            method = METHODS[path][0]
            body = json.dumps({"room": "tea", "data": 1}).encode() if method == "POST" else b""
            response = await client.request(
                method, path, content=body, headers=[*headers, ("content-type", "application/json")]
            )
            assert KEY not in refused(response, 401)
            assert response.headers["www-authenticate"] == 'Bearer realm="switchboard"'
    assert published(segment) == []


async def test_the_pages_stay_open(url: str) -> None:
    async with AsyncClient(base_url=url, trust_env=False) as client:
        for path in ("/", "/metrics", "/healthz", "/status", "/routes", "/connections"):
            assert (await client.get(path)).status_code == 200


async def test_another_host_name_is_refused_with_the_key_too(client: AsyncClient) -> None:
    response = await client.post("/publish", json={}, headers={"host": "evil.example"})
    assert "is not allowed here" in refused(response, 403)


@pytest.mark.parametrize("path", CALLS)
async def test_each_has_its_method(client: AsyncClient, path: str) -> None:
    other = {"POST": "GET", "GET": "POST"}[METHODS[path][0]]
    assert (await client.request(other, path)).status_code == 405


# -- publish -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"data": {"a": [1, None]}}, (Kind.JSON, '{"a":[1,null]}')),
        ({"data": None}, (Kind.JSON, "null")),
        ({"data": "hello"}, (Kind.JSON, '"hello"')),
        ({"data": "hello", "kind": "json"}, (Kind.JSON, '"hello"')),
        ({"data": "hällo", "kind": "text"}, (Kind.TEXT, "hällo")),
        ({"data": "", "kind": "text"}, (Kind.TEXT, "")),
        ({"data": 2**80}, (Kind.JSON, str(2**80))),
    ],
)
async def test_a_message_is_published(
    client: AsyncClient, segment: Segment, body: Any, expected: Any
) -> None:
    place = await ok(await client.post("/publish", json={"room": "tea", **body}))
    reader = Publisher(segment)
    assert reader.position("tea") == (int(place["epoch"], 16), 1)
    reader.close()
    assert place["offset"] == 1
    assert published(segment) == [expected]


async def test_members_on_each_worker_are_rung(
    client: AsyncClient, segment: Segment, workers: list[Worker]
) -> None:
    got: list[tuple[int, Any]] = []

    def take(at: int, message: Message) -> bool:
        got.append((at, message.data))
        return False

    buses = [SegmentBus(segment, worker.slot) for worker in workers[:2]]
    for at, bus in enumerate(buses):
        bus.listen(partial(take, at), lambda _: None)
        await bus.enter("tea", 0)
    with listening(workers):
        await ok(await client.post("/publish", json={"room": "tea", "data": 1}))
        await all_heard(segment, workers)
    assert [len(worker.heard) for worker in workers] == [2, 2, 1]  # the end is one of them
    for bus in buses:
        bus.poll()
        bus.close()
    assert got == [(0, "1"), (1, "1")]


@pytest.mark.parametrize(
    ("content", "status", "error"),
    [
        (b"", 400, "the body is no JSON"),
        (b"{", 400, "the body is no JSON"),
        (b'{"room": "\xff"}', 400, "the body is no JSON: Invalid UTF-8"),
        (b'{"room": "tea", "data": ' + b"[" * 9000 + b"]" * 9000 + b"}", 400, "too deep"),
        (b"[]", 422, "Expected `object`, got `array`"),
        (b'{"room": "tea"}', 422, "missing required field `data`"),
        (b'{"data": 1}', 422, "missing required field `room`"),
        (b'{"room": 1, "data": 1}', 422, "Expected `str`, got `int` - at `$.room`"),
        (b'{"room": "tea", "data": 1, "rom": 1}', 422, "unknown field `rom`"),
        (b'{"room": "tea", "data": 1, "kind": "xml"}', 422, "at `$.kind`"),
        (b'{"room": "tea", "data": 1, "kind": "text"}', 422, "at `$.data`"),
        (b'{"room": "", "data": 1}', 422, "room: a room name has 1 to 255 bytes, not 0"),
        (b'{"room": "' + b"x" * 256 + b'", "data": 1}', 422, "room: a room name has 1 to 255"),
        (b'{"room": "a\\u0000", "data": 1}', 422, "room: room name"),
        (b'{"batch": 1}', 422, "at `$.batch`"),
        (b'{"batch": [], "room": "tea"}', 422, "unknown field `room`"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_published(
    client: AsyncClient, segment: Segment, content: bytes, status: int, error: str
) -> None:
    headers = {"content-type": "application/json"}
    response = await client.post("/publish", content=content, headers=headers)
    assert error.lower() in refused(response, status).lower()
    assert Journal(segment).records == 0


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=application/json", 415),
        ("text/plain; application/json", 415),
    ],
)
async def test_a_form_of_another_site_is_refused(
    client: AsyncClient, content_type: str, status: int
) -> None:
    response = await client.post(
        "/publish", content=b'{"room":"tea","data":1}', headers={"content-type": content_type}
    )
    assert response.status_code == status


@pytest.mark.parametrize("is_chunked", [False, True])
async def test_a_large_body_is_refused_with_the_limit(
    client: AsyncClient, segment: Segment, is_chunked: bool
) -> None:
    """Whether its length was said before or not."""

    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"room": "tea", "data": "'
        for _ in range(9):
            yield b"x" * (LARGE // 8)
        yield b'"}'

    content = chunks() if is_chunked else b"".join([chunk async for chunk in chunks()])
    response = await client.post(
        "/publish", content=content, headers={"content-type": "application/json"}
    )
    limit = Journal(segment).limit_bytes
    assert f"the limit is {limit} bytes" in refused(response, 413)
    assert response.headers["connection"] == "close"
    assert (await client.get("/presence?room=tea")).status_code == 200
    assert published(segment) == []


async def test_a_message_that_grows_over_the_limit_is_refused(
    client: AsyncClient, segment: Segment
) -> None:
    """1e15 takes less than what it is encoded as."""
    number = Journal(segment).limit_bytes // 5 - 20
    content = b'{"room":"tea","data":[' + b"1e15," * number + b"1]}"
    headers = {"content-type": "application/json"}
    response = await client.post("/publish", content=content, headers=headers)
    assert "cannot be published, the limit is" in refused(response, 413)


async def test_a_room_too_many(
    client: AsyncClient, segment: Segment, workers: list[Worker]
) -> None:
    """Every place is taken by rooms with members; others make way."""
    bus = SegmentBus(segment, workers[0].slot)
    with listening(workers):
        for number in range(bus.directory.capacity):
            await bus.enter(f"room {number}", 0)
        response = await client.post("/publish", json={"room": "one more", "data": 1})
    bus.close()
    assert "raise --rooms" in refused(response, 507)


async def test_a_stalled_journal(client: AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch does not wait for it with each message."""
    tries = 0

    async def publish(*_: Any, **__: Any) -> None:
        nonlocal tries
        tries += 1
        raise JournalStalled(4711)

    monkeypatch.setattr(Publisher, "publish", publish)
    item = {"room": "tea", "data": 1}
    response = await client.post("/publish", json=item)
    assert "locked by process 4711" in refused(response, 503)
    assert response.headers["retry-after"] == "1"
    results = (await ok(await client.post("/publish", json={"batch": [item] * 5})))["results"]
    assert [result["error"]["code"] for result in results] == [503] * 5
    assert tries == 2


# -- batches -----------------------------------------------------------------------------------


async def test_a_batch_is_answered_item_by_item_in_order(
    client: AsyncClient, segment: Segment
) -> None:
    batch: list[Any] = [{"room": "tea", "data": number} for number in range(300)]
    batch[7] = {"room": "tea"}
    batch[8] = {"room": "", "data": 1}
    batch[9] = 3
    batch[250]["room"] = "coffee"
    results = (await ok(await client.post("/publish", json={"batch": batch})))["results"]
    codes = {at: r["error"]["code"] for at, r in enumerate(results) if "error" in r}
    assert codes == {7: 422, 8: 422, 9: 422}
    assert results[7]["error"]["message"] == "Object missing required field `data`"
    in_tea = [at for at in range(300) if at not in (7, 8, 9, 250)]
    assert [results[at]["offset"] for at in in_tea] == [*range(1, len(in_tea) + 1)]
    assert published(segment, "coffee") == [(Kind.JSON, "250")]
    assert [data for _, data in published(segment)] == [str(at) for at in in_tea]


async def test_a_batch_has_a_limit(client: AsyncClient, segment: Segment) -> None:
    item = {"room": "tea", "data": 1}
    assert await ok(await client.post("/publish", json={"batch": []})) == {"results": []}
    response = await client.post("/publish", json={"batch": [item] * (MAX_BATCH + 1)})
    assert refused(response, 422) == "batch: has 1001 messages, the limit is 1000"
    assert published(segment) == []
    found = await ok(await client.post("/publish", json={"batch": [item] * MAX_BATCH}))
    assert len(found["results"]) == MAX_BATCH


# -- a request that is sent again --------------------------------------------------------------


async def test_what_is_sent_again_is_done_once(client: AsyncClient, segment: Segment) -> None:
    headers = {"idempotency-key": "order 17"}
    body = {"room": "tea", "data": 1}
    answers = await asyncio.gather(
        *(client.post("/publish", json=body, headers=headers) for _ in range(20))
    )
    assert {answer.text for answer in answers} == {answers[0].text}
    assert [answer.status_code for answer in answers] == [200] * 20
    replayed = [answer for answer in answers if "idempotency-replayed" in answer.headers]
    assert len(replayed) == 19
    assert len(published(segment)) == 1


async def test_a_key_is_of_one_request(client: AsyncClient, segment: Segment) -> None:
    headers = {"idempotency-key": "17"}
    await ok(await client.post("/publish", json={"room": "tea", "data": 1}, headers=headers))
    for path, body in (("/publish", {"room": "tea", "data": 2}), ("/broadcast", {"data": 1})):
        response = await client.post(path, json=body, headers=headers)
        assert "was sent with another request" in refused(response, 422)
    for key in ("", "x" * 256):
        response = await client.post(
            "/publish", json={"room": "tea", "data": 1}, headers={"idempotency-key": key}
        )
        assert "has 1 to 255 characters" in refused(response, 422)
    assert len(published(segment)) == 1


async def test_what_was_refused_can_be_mended_under_its_key(
    client: AsyncClient, segment: Segment
) -> None:
    headers = {"idempotency-key": "17"}
    refused(await client.post("/publish", json={"room": "tea"}, headers=headers), 422)
    await ok(await client.post("/publish", json={"room": "tea", "data": 1}, headers=headers))
    assert len(published(segment)) == 1
