"""Owns the admin port with a key, a client that has it, and what is read behind its back."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx2 import AsyncClient, Response

from server.admin import admin_app
from tests.server.test_connections import Worker
from tests.support.embedded import embedded
from workers.publisher import Publisher
from workers.room_tables import Kind
from workers.segment import Segment

KEY = "k-0123456789abcdef"
BEARER = {"authorization": f"Bearer {KEY}"}


@pytest.fixture
async def url(segment: Segment, workers: list[Worker]) -> AsyncIterator[str]:
    async with embedded(admin_app(segment, key=KEY)) as url:
        yield url.replace("ws:", "http:")


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncClient]:
    """A client that has the key."""
    async with AsyncClient(base_url=url, headers=BEARER, trust_env=False) as client:
        yield client


def published(segment: Segment, room: str = "tea") -> list[tuple[Kind, Any]]:
    """What the room's history is, as another process reads it."""
    reader = Publisher(segment)
    found = [(message.kind, message.data) for message in reader.history(room)]
    reader.close()
    return found


async def ok(response: Response) -> Any:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def refused(response: Response, status: int) -> str:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert isinstance(error, str)
    assert "\n" not in error
    return error
