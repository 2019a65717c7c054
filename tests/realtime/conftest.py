"""Owns the hosts of the realtime tests: this process and granian, in both encodings."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.realtime.app import make_app
from tests.realtime.support import JSON, MSGPACK, Host, InProcess, Wire
from tests.support import servers
from tests.support.servers import Server

APP = "tests.realtime.app:app"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def granian() -> Iterator[Server]:
    """One worker with the app of these tests."""
    with servers.granian(APP) as server:
        yield server


@pytest.fixture(
    params=[
        "process-json",
        "process-msgpack",
        pytest.param("granian-json", marks=pytest.mark.e2e),
        pytest.param("granian-msgpack", marks=pytest.mark.e2e),
    ]
)
async def host(request: Any) -> AsyncIterator[Host]:
    """Each of the hosts."""
    name, _, encoding = request.param.partition("-")
    subprotocol = JSON if encoding == "json" else MSGPACK
    if name == "granian":
        url = request.getfixturevalue("granian").url
        host = Host(lambda path, offers: Wire.open(url, path, offers), subprotocol)
    else:
        app = make_app()
        host = Host(lambda path, offers: InProcess.open(app, path, offers), subprotocol)
    yield host
    await host.close()


@pytest.fixture(params=[JSON, MSGPACK])
async def local(request: Any) -> AsyncIterator[Host]:
    """An app in this process, as `local.app`, in each encoding."""
    app = make_app()
    host = Host(lambda path, offers: InProcess.open(app, path, offers), request.param, app)
    yield host
    await host.close()
