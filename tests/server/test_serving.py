"""What a worker does with an app of anybody's: it serves it, and leaves it alone otherwise."""

import sys
from typing import Any

import pytest

from server import App, serving
from server.settings import Settings
from workers.doorbell import Wake
from workers.layout import Sizes
from workers.segment import Segment
from workers.slots import Slots
from workers.worker import Place

app = App()


async def foreign(scope: Any, receive: Any, send: Any) -> None: ...


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(serving, "configure", lambda *_, **__: None)  # the logs are this process's
    sizes = Sizes(workers=1, slots=1, rows_per_slot=16, routes=4)
    segment = Segment.private(sizes, routes=["/"], codes=[1000], statuses=[403])
    return Place(segment, Slots(segment).assign(0, 7), generation=7, index=0)


async def test_a_foreign_app_is_served_as_it_is(place: Place) -> None:
    served = serving.load(serving.options(f"{__name__}:foreign", Settings()), place)
    assert served.asgi is foreign
    served.handle_message(Wake())
    await served.drain(drain_s=0.1, is_replaced=False)


@pytest.mark.parametrize("is_replaced", [True, False])
async def test_ours_gets_its_place_and_is_drained(
    place: Place, monkeypatch: pytest.MonkeyPatch, is_replaced: bool
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "app", App())
    served = serving.load(serving.options(f"{__name__}:app", Settings()), place)
    assert served.asgi == app.call
    assert app.runtime.ledger.segment is place.segment
    served.handle_message(Wake())
    await served.drain(drain_s=0.1, is_replaced=is_replaced)
    assert app.runtime.is_refusing


def test_one_that_cannot_be_used_ends_the_worker_with_one_line(place: Place) -> None:
    with pytest.raises(SystemExit, match=r"^module '.*' has no attribute 'nosuch'") as caught:
        serving.load(serving.options(f"{__name__}:nosuch", Settings()), place)
    assert "\n" not in str(caught.value)


def test_no_worker_is_told_the_key(place: Place) -> None:
    settings = Settings(admin_key="a secret of the admin port", admin_key_file="/a/secret/file")
    told = serving.options(f"{__name__}:app", settings)
    assert "secret" not in str(told)
    assert told["settings"]["admission"]["connections"] is None
