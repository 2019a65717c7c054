"""The admin port's app on a real granian, asked by a real client over a real segment."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx2 import AsyncClient

from server.admin import BOARD, CALLS, LOOPBACK_HOSTS, PAGES, admin_app, hosts_for
from tests.server.test_connections import Worker, base, segment, workers
from tests.support.embedded import embedded
from workers.layout import CLIENT, CRASH, SERVER, ServerState, SlotState
from workers.segment import Segment

__all__ = ["base", "segment", "workers"]  # fixtures

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@pytest.fixture
async def client(segment: Segment, workers: list[Worker]) -> AsyncIterator[AsyncClient]:
    """A client of a serving server with three workers."""
    segment.server_state = ServerState.SERVING
    async with (
        embedded(admin_app(segment)) as url,
        AsyncClient(base_url=url.replace("ws:", "http:"), trust_env=False) as client,
    ):
        yield client


async def get(client: AsyncClient, path: str) -> Any:
    response = await client.get(path)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


# -- pages -------------------------------------------------------------------------------------


async def test_the_index_names_all_pages_and_each_answers(client: AsyncClient) -> None:
    index = await client.get("/")
    assert index.headers["content-type"] == "text/plain; charset=utf-8"
    for path in PAGES:
        assert path in index.text
        assert (await client.get(path)).status_code == 200


async def test_health_is_that_it_answers(client: AsyncClient, segment: Segment) -> None:
    segment.server_state = ServerState.DRAINING
    assert await get(client, "/healthz") == {"status": "ok", "state": "draining"}


async def test_readiness_is_a_status_code(
    client: AsyncClient, segment: Segment, workers: list[Worker]
) -> None:
    assert await get(client, "/readyz") == {"status": "ready", "ready": 3, "wanted": 3}
    workers[0].beat(state=SlotState.DRAINING)
    assert await get(client, "/readyz") == {"status": "degraded", "ready": 2, "wanted": 3}
    segment.server_state = ServerState.DRAINING
    response = await client.get("/readyz")
    assert response.status_code == 503
    assert response.json() == {"status": "draining", "ready": 2, "wanted": 3}


async def test_the_status(client: AsyncClient, workers: list[Worker]) -> None:
    workers[2].connect()
    found = await get(client, "/status")
    assert (found["app"], found["address"]) == ("chat:app", "127.0.0.1:8000")
    assert [(row["worker"], row["connections"]) for row in found["workers"]] == [
        (0, 0),
        (1, 0),
        (2, 1),
    ]


async def test_metrics_come_in_the_format_that_is_asked_for(
    client: AsyncClient, workers: list[Worker]
) -> None:
    workers[0].connect("/feed")
    plain = await client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=")
    assert 'ws_connections_opened_total{route="/feed"} 1.0' in plain.text
    open_metrics = await client.get("/metrics", headers={"accept": OPENMETRICS})
    assert open_metrics.headers["content-type"].startswith(OPENMETRICS)
    assert open_metrics.text.endswith("# EOF\n")


async def test_the_books_of_a_route(
    client: AsyncClient, segment: Segment, workers: list[Worker]
) -> None:
    for worker in workers:
        for _ in range(4):
            worker.connect("/feed")
    code = segment.code_index
    counters = [worker.counters.route(segment.route_index("/feed")) for worker in workers]
    counters[0].closed(code(1000), CLIENT, 1.0)
    counters[1].closed(code(1000), SERVER, 1.0)
    counters[1].closed(code(1006), CRASH, 1.0)
    counters[2].closed(code(4999), CLIENT, 1.0)  # no label of its own
    counters[0].refused(segment.status_index(503))
    counters[2].refused(segment.status_index(418))

    chat, feed = (await get(client, "/routes"))["routes"]

    assert chat == {"route": "/chat", "opened": 0, "open": 0, "closed": {}, "refused": {}}
    assert feed == {
        "route": "/feed",
        "opened": 12,
        "open": 8,
        "closed": {"1000": 2, "1006": 1, "other": 1},
        "refused": {"503": 1, "other": 1},
    }
    assert feed["opened"] == feed["open"] + sum(feed["closed"].values())


async def test_routes_that_found_no_label_are_shown_once_there_are_any(
    client: AsyncClient, workers: list[Worker]
) -> None:
    workers[0].connect("/unheard-of")
    routes = (await get(client, "/routes"))["routes"]
    assert [(row["route"], row["open"]) for row in routes] == [
        ("other", 1),
        ("/chat", 0),
        ("/feed", 0),
    ]


# -- connections -------------------------------------------------------------------------------


async def test_connections_are_filtered(client: AsyncClient, workers: list[Worker]) -> None:
    workers[0].connect("/chat", "ada")
    id = workers[1].connect("/feed", "ada & ben")
    found = await get(client, "/connections?route=/feed&user=ada%20%26%20ben&worker=1")
    assert (found["total"], [row["id"] for row in found["connections"]]) == (1, [id])
    assert (await get(client, "/connections?user=eve")) == {"total": 0, "connections": []}
    assert (await get(client, "/connections"))["total"] == 2


async def test_pages_have_each_connection_once(client: AsyncClient, workers: list[Worker]) -> None:
    ids = [worker.connect(user="ada") for worker in workers for _ in range(50)]
    seen = []
    for offset in range(0, 160, 40):
        page = await get(client, f"/connections?user=ada&limit=40&offset={offset}")
        assert page["total"] == 150
        seen += [row["id"] for row in page["connections"]]
    assert seen == ids
    assert len((await get(client, "/connections"))["connections"]) == 100


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("limit=0", "limit: must be a whole number, 1 to 1000, not '0': get the others with of"),
        ("limit=1001", "limit: must be a whole number, 1 to 1000, not '1001': get the others "),
        ("limit=", "limit: must be a whole number, 1 to 1000, not ''"),
        ("limit=many", "limit: must be a whole number, 1 to 1000, not 'many'"),
        ("offset=-1", "offset: must be a whole number, 0 or more, not '-1'"),
        ("offset=" + "9" * 5000, "offset: must be a whole number, 0 or more, not '9999"),
        ("worker=3", "worker: must be a whole number, 0 to 2, not '3': see /status"),
        ("route=/caht", "route: there is no route '/caht': see /routes"),
        ("users=ada", "users: there is no such parameter: use route, user, worker, limit, offset"),
    ],
)
async def test_a_bad_parameter_is_named(client: AsyncClient, query: str, error: str) -> None:
    response = await client.get(f"/connections?{query}")
    assert response.status_code == 400
    assert response.json()["error"].startswith(error)


async def test_what_a_client_sent_as_its_path_is_data(
    client: AsyncClient, workers: list[Worker]
) -> None:
    workers[0].connect(path='/chat/\x1b[2J"<script>\ud800é')
    response = await client.get("/connections")
    assert response.headers["content-type"] == "application/json"
    assert json.loads(response.text)["connections"][0]["path"] == '/chat/\x1b[2J"<script>?é'


# -- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/nothing", "/metrics/", "//", "/connections/11-2"])
async def test_an_unknown_path_is_answered_with_those_there_are(
    client: AsyncClient, path: str
) -> None:
    response = await client.get(str(client.base_url) + path)
    assert response.status_code == 404
    paths = ["/", *PAGES, *BOARD, *CALLS]
    assert response.json() == {"error": f"there is nothing at {path!r}", "paths": paths}


@pytest.mark.parametrize("path", ["/", *PAGES])
async def test_it_can_only_be_read(client: AsyncClient, path: str) -> None:
    response = await client.post(path, json={})
    assert response.status_code == 405
    assert {*response.headers["allow"].split(", ")} == {"GET", "HEAD"}
    head = await client.head(path)
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:9464", 200),
        ("127.0.0.1:1", 200),
        ("[::1]", 200),
        ("[::1]:9464", 200),
        ("evil.example", 403),
        ("evil.example:9464", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost:evil", 403),
        ("192.0.2.1", 403),
        ("::1", 403),
        ("", 403),
    ],
)
async def test_a_page_of_another_name_reads_nothing(
    client: AsyncClient, host: str, status: int
) -> None:
    """DNS rebinding: the browser connects to 127.0.0.1 and names the page's own host."""
    response = await client.get("/healthz", headers={"host": host})
    assert response.status_code == status
    if status == 403:
        reason = response.json()["error"]
        assert "is not allowed here: use 127.0.0.1, [::1], localhost" in reason


async def test_a_request_of_two_names_or_none_reads_nothing(client: AsyncClient) -> None:
    for hosts in ("", "Host: localhost\r\nHost: evil.example\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", client.base_url.port)
        writer.write(f"GET /healthz HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert answer.split()[1] in (b"400", b"403"), answer
        assert b'"ok"' not in answer


async def test_a_port_open_to_a_network_answers_to_any_name(segment: Segment) -> None:
    async with (
        embedded(admin_app(segment, allowed_hosts=None)) as url,
        AsyncClient(base_url=url.replace("ws:", "http:"), trust_env=False) as client,
    ):
        response = await client.get("/healthz", headers={"host": "metrics.example"})
    assert response.status_code == 200


def test_which_names_an_address_answers_to() -> None:
    assert hosts_for("127.0.0.1") == hosts_for("::1") == LOOPBACK_HOSTS
    assert hosts_for("127.0.0.2") == LOOPBACK_HOSTS | {"127.0.0.2"}
    assert hosts_for("0.0.0.0") is hosts_for("192.0.2.1") is hosts_for("::") is None  # noqa: S104
