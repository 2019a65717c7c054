"""Whether the server is alive and ready, as a segment with real writers tells it."""

import os
from pathlib import Path

import pytest

from server.health import HEARTBEAT_BOUND_S, health, readiness, status
from tests.server.test_connections import SIZES, Worker, base, segment, workers
from workers.layout import ServerState, SlotState
from workers.segment import Segment
from workers.slots import Slots

__all__ = ["base", "segment", "workers"]  # fixtures


@pytest.fixture
def serving(segment: Segment) -> Segment:
    segment.server_state = ServerState.SERVING
    return segment


def test_it_is_healthy_whatever_it_does(segment: Segment) -> None:
    for state in ServerState:
        segment.server_state = state
        assert health(segment) == {"status": "ok", "state": state.name.lower()}


def test_it_is_ready_with_all_workers(serving: Segment, workers: list[Worker]) -> None:
    assert readiness(serving) == (True, {"status": "ready", "ready": 3, "wanted": 3})


def test_it_is_degraded_with_some_and_unready_with_none(
    serving: Segment, workers: list[Worker]
) -> None:
    workers[0].beat(state=SlotState.DRAINING)
    assert readiness(serving) == (True, {"status": "degraded", "ready": 2, "wanted": 3})
    Slots(serving).mark_dead(workers[1].slot)
    Slots(serving).mark_dead(workers[2].slot)
    assert readiness(serving) == (False, {"status": "unready", "ready": 0, "wanted": 3})


@pytest.mark.parametrize("state", [ServerState.STARTING, ServerState.DRAINING, ServerState.STOPPED])
def test_it_is_not_ready_before_and_after_it_serves(
    segment: Segment, workers: list[Worker], state: ServerState
) -> None:
    segment.server_state = state
    is_ready, details = readiness(segment)
    assert (is_ready, details["status"]) == (False, state.name.lower())


def test_a_worker_whose_loop_hangs_does_not_count(serving: Segment, workers: list[Worker]) -> None:
    workers[0].beat(age_s=HEARTBEAT_BOUND_S - 1)
    assert readiness(serving)[1]["ready"] == 3
    workers[0].beat(age_s=HEARTBEAT_BOUND_S + 1)
    assert readiness(serving)[1]["ready"] == 2
    workers[0].own.beat(0, 0)  # it never turned
    assert readiness(serving)[1]["ready"] == 2


def test_a_reload_with_two_workers_of_an_index_is_not_more_than_ready(
    serving: Segment, workers: list[Worker]
) -> None:
    new = Worker(serving, 0, generation=20)
    assert readiness(serving)[1] == {"status": "ready", "ready": 3, "wanted": 3}
    Slots(serving).mark_dead(workers[1].slot)
    assert readiness(serving)[1] == {"status": "degraded", "ready": 2, "wanted": 3}
    assert new.slot not in [worker.slot for worker in workers]


def test_the_status_has_the_server_and_its_workers(serving: Segment, workers: list[Worker]) -> None:
    workers[1].connect()
    workers[1].own.beat(1, 2_500_000)
    serving.admin_port = 9464
    serving.count_restart(1)
    serving.count_reload(succeeded=True)
    Slots(serving).mark_dead(workers[2].slot)
    Slots(serving).release(workers[2].slot)
    starting = Slots(serving).assign(2, generation=20)

    found = status(serving)

    rows = found.pop("workers")
    assert 0 <= found.pop("uptime_s") < 60
    assert found == {
        "status": "degraded",
        "ready": 1,
        "wanted": 3,
        "state": "serving",
        "app": "chat:app",
        "address": "127.0.0.1:8000",
        "admin_port": 9464,
        "pid": os.getpid(),
        "epoch": serving.epoch,
        "connections": 1,
        "reloads": {"done": 1, "failed": 0},
    }
    assert [(row["worker"], row["state"]) for row in rows] == [
        (0, "ready"),
        (1, "ready"),
        (2, "starting"),
    ]
    assert 0 <= rows[1].pop("uptime_s") < 60
    assert rows[1].pop("heartbeat_age_s") > 10
    assert rows[1] == {
        "worker": 1,
        "slot": workers[1].slot,
        "generation": 11,
        "pid": os.getpid(),
        "state": "ready",
        "connections": 1,
        "restarts": 1,
        "lag_s": 0.0025,
    }
    assert (rows[2]["slot"], rows[2]["heartbeat_age_s"]) == (starting, None)


def test_an_ipv6_address_is_written_as_in_a_url(base: Path) -> None:
    made = Segment.create(base / "v6", SIZES, routes=[], codes=[], statuses=[], host="::1", port=80)
    try:
        assert status(made)["address"] == "[::1]:80"
    finally:
        made.close()
        made.remove()
