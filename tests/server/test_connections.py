"""All workers' connections, over a real segment and real doorbells; only the workers are played."""

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from server import connections as module
from server.connections import Connections, DisconnectFailed, describe, has_route
from server.recorded import USER_BYTES
from tests.workers.memory_support import private, shared
from workers.counters import CounterTable
from workers.doorbell import Disconnect, Doorbell, Wake, deliver, ring
from workers.layout import Sizes, SlotState
from workers.registry import SlotRows
from workers.segment import Segment
from workers.slots import OwnSlot, Slots

SIZES = Sizes(workers=3, slots=6, rows_per_slot=4000, routes=8)
END = Disconnect([], 1000, "the end of what a test sends")


class Worker:
    """What a worker writes into the segment, and what its doorbell hears."""

    def __init__(self, segment: Segment, index: int, generation: int) -> None:
        self.slot = Slots(segment).assign(index, generation)
        Slots(segment).set_pid(self.slot, os.getpid())
        self.own = OwnSlot(segment, self.slot)
        self.rows = SlotRows(segment, self.slot, generation)
        self.counters = CounterTable(segment, self.slot)
        self.heard: list[Any] = []
        self._segment = segment
        self.beat()

    def beat(self, age_s: float = 0.0, state: SlotState = SlotState.READY) -> None:
        self.own.set_state(state)
        self.own.beat(time.monotonic_ns() - int(age_s * 1e9), 0)

    def connect(self, route: str = "/chat", user: str = "", path: str = "/chat") -> str:
        """Enter a connection; returns its id."""
        index = self._segment.route_index(route)
        row = self.rows.claim(index, "192.0.2.1:5000", path, user)
        self.counters.route(index).opened()
        return self.rows.id_of(row)

    @property
    def asked(self) -> list[str]:
        """The ids it was asked to disconnect."""
        return [id for message in self.heard for id in getattr(message, "ids", [])]

    @contextmanager
    def doorbell(self) -> Iterator[Doorbell]:
        assert self._segment.path is not None
        bell = Doorbell(self._segment.path.parent, self.slot)
        try:
            yield bell
        finally:
            bell.close()


def employ(segment: Segment, count: int = 3) -> list[Worker]:
    return [Worker(segment, index, generation=10 + index) for index in range(count)]


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory with a name short enough for sockets in it."""
    with tempfile.TemporaryDirectory(prefix="sb-") as folder:
        yield Path(folder)


@pytest.fixture
def segment(base: Path) -> Iterator[Segment]:
    with shared(base, SIZES) as segment:
        yield segment


@pytest.fixture
def workers(segment: Segment) -> list[Worker]:
    return employ(segment)


@contextmanager
def listening(workers: Sequence[Worker]) -> Iterator[None]:
    """Have the workers hear their doorbells in the running loop."""
    loop = asyncio.get_running_loop()
    bells = [worker.doorbell() for worker in workers]
    try:
        for worker, bell in zip(workers, bells, strict=True):
            bell.__enter__().listen(loop, worker.heard.append)
        yield
    finally:
        for bell in bells:
            bell.__exit__(None, None, None)


async def all_heard(segment: Segment, workers: Sequence[Worker]) -> None:
    """Return when each worker has heard all that was sent to it before."""
    assert segment.path is not None
    for worker in workers:
        assert await deliver(segment.path.parent, worker.slot, END, 5)
    async with asyncio.timeout(5):
        while not all(END in worker.heard for worker in workers):  # noqa: ASYNC110
            await asyncio.sleep(0.001)


# -- listing -----------------------------------------------------------------------------------


def test_those_of_all_workers_are_counted_listed_and_filtered(
    segment: Segment, workers: list[Worker]
) -> None:
    first, second, _ = workers
    ada = {first.connect("/chat", "ada"), second.connect("/feed", "ada")}
    ben = second.connect("/feed", "ben")
    nobody = second.connect("/chat")
    connections = Connections(segment)

    assert connections.count() == len(connections) == 4
    assert {row.id for row in connections} == {*ada, ben, nobody}
    assert connections.count(user="ada") == 2
    assert {row.id for row in connections.list(user="ada")} == ada
    assert [row.id for row in connections.list(route="/feed", user="ben", worker=1)] == [ben]
    assert connections.count(route="/feed", worker=0) == 0
    assert [row.id for row in connections.list(user="")] == [nobody]
    assert connections.list(route="/nothing") == []
    assert [row.worker for row in connections.list(route="/feed")] == [1, 1]


def test_a_limit_gives_the_first_of_them(segment: Segment, workers: list[Worker]) -> None:
    for worker in workers:
        for _ in range(3):
            worker.connect()
    connections = Connections(segment)
    assert connections.list(limit=4) == connections.list()[:4]
    assert connections.list(limit=0) == []


def test_one_is_found_by_its_id_until_it_has_ended(segment: Segment, workers: list[Worker]) -> None:
    workers[1].connect(user="ada")
    id = workers[1].connect(user="ben")
    connections = Connections(segment)
    row = connections.get(id)
    assert row is not None
    assert (row.id, row.user, row.worker) == (id, "ben", 1)
    workers[1].rows.free(1)
    assert connections.get(id) is None
    with pytest.raises(ValueError, match="no id of a connection"):
        connections.get("ben")


def test_an_app_without_a_supervisor_has_connections_too() -> None:
    segment = private()
    (worker,) = employ(segment, 1)
    id = worker.connect("/feed", "ada")
    assert [row.id for row in Connections(segment)] == [id]


def test_a_route_is_known_by_its_pattern(segment: Segment) -> None:
    assert has_route(segment, "/chat")
    assert has_route(segment, "other")
    assert not has_route(segment, "/chat/")


def test_a_row_in_plain_values(segment: Segment, workers: list[Worker]) -> None:
    worker = workers[2]
    id = worker.connect("/feed", "ada", "/feed/7")
    (row,) = Connections(segment)
    worker.rows.update(0, time.time_ns() - 65 * 10**9, 1, 2, 30, 40)
    worker.rows.set_closing(0)
    (row,) = Connections(segment)
    plain = describe(row)
    assert 0 <= plain.pop("age_s") < 5
    assert 65 <= plain.pop("idle_s") < 70
    assert plain == {
        "id": id,
        "route": "/feed",
        "path": "/feed/7",
        "client": "192.0.2.1:5000",
        "user": "ada",
        "worker": 2,
        "connected_at": row.connected_ns / 1e9,
        "messages_received": 1,
        "messages_sent": 2,
        "bytes_received": 30,
        "bytes_sent": 40,
        "is_closing": True,
    }


# -- disconnecting -----------------------------------------------------------------------------


async def test_a_user_is_disconnected_on_all_workers(
    segment: Segment, workers: list[Worker]
) -> None:
    ada = [worker.connect(user="ada") for worker in workers for _ in range(2)]
    for worker in workers:
        worker.connect(user="ben")
    with listening(workers):
        asked = await Connections(segment).disconnect(user="ada", code=4001, reason="signed out")
        await all_heard(segment, workers)
    assert asked == 6
    assert [id for worker in workers for id in worker.asked] == ada
    for worker in workers:
        assert worker.heard == [Disconnect(worker.asked, 4001, "signed out"), END]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"id": "11-2"}, ["11-2"]),
        ({"id": "99-1"}, []),
        ({"route": "/feed"}, ["10-2", "11-2", "12-2"]),
        ({"worker": 2}, ["12-1", "12-2"]),
        ({"worker": 1, "route": "/chat", "user": "ada"}, ["11-1"]),
        ({"everyone": True}, ["10-1", "10-2", "11-1", "11-2", "12-1", "12-2"]),
    ],
)
async def test_filters_say_who(
    segment: Segment, workers: list[Worker], filters: dict[str, Any], expected: list[str]
) -> None:
    for worker in workers:
        worker.connect("/chat", "ada")
        worker.connect("/feed", "ada")
    with listening(workers):
        assert await Connections(segment).disconnect(**filters) == len(expected)
        await all_heard(segment, workers)
    assert [id for worker in workers for id in worker.asked] == expected
    for worker in workers:
        assert {message.code for message in worker.heard[:-1]} <= {1008}


@pytest.mark.parametrize(
    ("arguments", "error", "problem"),
    [
        ({}, ValueError, "without a filter: give user, id, route or worker, or everyone=True"),
        ({"user": None}, ValueError, "without a filter"),
        ({"user": ""}, ValueError, "empty user"),
        ({"user": "x" * 65}, ValueError, "over 64 bytes"),
        ({"user": "ada", "everyone": True}, ValueError, "takes no filter, but user was given"),
        ({"id": "ada"}, ValueError, "no id of a connection"),
        ({"everyone": True, "code": 1006}, ValueError, "1006 may not be sent"),
        ({"everyone": True, "reason": "x" * 124}, ValueError, "the limit is 123"),
        ({"everyone": True, "code": "4001"}, TypeError, "must be an int"),
    ],
)
async def test_what_cannot_be_meant_disconnects_nobody(
    segment: Segment,
    workers: list[Worker],
    arguments: dict[str, Any],
    error: type[Exception],
    problem: str,
) -> None:
    for worker in workers:
        worker.connect()
    with listening(workers):
        with pytest.raises(error, match=problem):
            await Connections(segment).disconnect(**arguments)
        await all_heard(segment, workers)
    assert [worker.asked for worker in workers] == [[], [], []]


def test_a_row_holds_a_user_id_of_the_bytes_that_disconnect_takes(
    segment: Segment, workers: list[Worker]
) -> None:
    workers[0].connect(user="x" * USER_BYTES)
    workers[0].connect(user="y" * (USER_BYTES + 1))
    assert {len(row.user) for row in Connections(segment)} == {USER_BYTES}


async def test_a_connection_that_closes_already_is_left_alone(
    segment: Segment, workers: list[Worker]
) -> None:
    workers[0].connect()
    id = workers[0].connect()
    workers[0].rows.set_closing(0)
    with listening(workers):
        assert await Connections(segment).disconnect(everyone=True) == 1
        await all_heard(segment, workers)
    assert workers[0].asked == [id]


async def test_a_worker_closes_its_own_without_its_doorbell(
    segment: Segment, workers: list[Worker]
) -> None:
    mine, theirs = workers[0].connect(), workers[1].connect()
    local: list[Disconnect] = []
    connections = Connections(segment, local_slot=workers[0].slot, local=local.append)
    with listening(workers):
        assert await connections.disconnect(everyone=True, code=4002, reason="bye") == 2
        await all_heard(segment, workers)
    assert local == [Disconnect([mine], 4002, "bye")]
    assert (workers[0].asked, workers[1].asked) == ([], [theirs])


async def test_an_app_without_a_supervisor_needs_no_doorbell() -> None:
    segment = private()
    (worker,) = employ(segment, 1)
    id = worker.connect()
    local: list[Disconnect] = []
    connections = Connections(segment, local_slot=worker.slot, local=local.append)
    assert await connections.disconnect(everyone=True) == 1
    assert local == [Disconnect([id], 1008, "")]


async def test_thousands_are_asked_once_each(segment: Segment, workers: list[Worker]) -> None:
    """More than fits into one datagram."""
    ids = [worker.connect() for worker in workers for _ in range(4000)]
    with listening(workers):
        assert await Connections(segment).disconnect(everyone=True) == len(ids)
        await all_heard(segment, workers)
    assert [id for worker in workers for id in worker.asked] == ids
    assert all(len(worker.heard) > 2 for worker in workers)


# -- workers that do not take it ---------------------------------------------------------------


def fill(segment: Segment, worker: Worker) -> None:
    assert segment.path is not None
    while ring(segment.path.parent, worker.slot, Wake()):
        pass


async def test_a_worker_that_does_not_listen_is_named_and_the_others_are_asked(
    segment: Segment, workers: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DELIVERY_TIMEOUT_S", 0.2)
    for worker in workers:
        worker.connect()
    # One is stuck: its queue is full. One is alive and has no doorbell. One is well.
    with listening(workers[2:]), workers[0].doorbell():
        fill(segment, workers[0])
        with pytest.raises(DisconnectFailed) as caught:
            await Connections(segment).disconnect(everyone=True)
        await all_heard(segment, workers[2:])
    assert str(caught.value) == (
        "workers 0, 1 did not take the request within 0.2 s (connections asked to close: 1);"
        " see `python -m server status`, then try again"
    )
    assert (caught.value.workers, caught.value.asked) == ([0, 1], 1)
    assert len(workers[2].asked) == 1


async def test_a_worker_that_is_late_is_waited_for(segment: Segment, workers: list[Worker]) -> None:
    id = workers[0].connect()
    with workers[0].doorbell() as bell:
        fill(segment, workers[0])
        asking = asyncio.create_task(Connections(segment).disconnect(everyone=True))
        await asyncio.sleep(0.05)
        assert not asking.done()
        bell.listen(asyncio.get_running_loop(), workers[0].heard.append)
        assert await asking == 1
        await all_heard(segment, workers[:1])
    assert workers[0].asked == [id]


@pytest.mark.parametrize("end", ["dead", "reaped", "replaced"])
async def test_a_worker_that_died_has_no_connection_left_to_close(
    segment: Segment, workers: list[Worker], end: str
) -> None:
    """It is no failure, and nobody waits for it."""
    workers[0].connect()
    with listening(workers[1:]):
        asking = asyncio.create_task(Connections(segment).disconnect(everyone=True))
        await asyncio.sleep(0.02)
        slots = Slots(segment)
        slots.mark_dead(workers[0].slot)
        if end != "dead":
            slots.release(workers[0].slot)
        if end == "replaced":
            assert slots.assign(0, generation=20) == workers[0].slot
        async with asyncio.timeout(1):
            assert await asking == 0
