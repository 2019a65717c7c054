"""Joining, recovery, history, retention, events, and what cannot name or fit a room."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from server import App, Joined, WebSocket
from server.ledger import Ledger
from server.limits import ConnectionLimits
from server.retention import Keep, Retention
from server.testing import WebSocketTestClient
from server.testing.session import make_scope
from workers import journal_lock, segment_bus
from workers.journal import MessageTooLarge
from workers.journal_lock import JournalLock, JournalStalled
from workers.layout import Labels, Sizes
from workers.memberships import MembershipsFull
from workers.publisher import Publisher
from workers.room_directory import DirectoryFull
from workers.room_tables import Kind
from workers.segment import Segment
from workers.slots import Slots

Order = Callable[[WebSocket], Any]


class Commanded:
    """An app whose view does what a test asks, one thing after another, and keeps what came."""

    def __init__(self, app: App | None = None) -> None:
        self.app = app or App()
        self.orders: asyncio.Queue[tuple[Order, asyncio.Future[Any]] | None] = asyncio.Queue()

        @self.app.websocket_route("/")
        async def view(ws: WebSocket) -> None:
            while (next_ := await self.orders.get()) is not None:
                order, outcome = next_
                try:
                    outcome.set_result(await order(ws))
                except Exception as error:
                    outcome.set_exception(error)

    async def do(self, order: Order) -> Any:
        """Have the view of the one connection do it; returns or raises what came of it."""
        outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.orders.put_nowait((order, outcome))
        return await asyncio.wait_for(outcome, 10)


@asynccontextmanager
async def commanded(app: App | None = None) -> AsyncIterator[tuple[Commanded, WebSocketTestClient]]:
    one = Commanded(app)
    async with WebSocketTestClient(one.app, "/") as client:
        yield one, client
        one.orders.put_nowait(None)  # the view ends


def small(app: App, **sizes: int) -> App:
    """Give an app a segment of its own in which little fits."""
    room = Sizes(workers=1, slots=1, rows_per_slot=8, routes=4, **sizes)
    segment = Segment.private(room, **Labels(["/"], [], [])._asdict())
    app.runtime.adopt(Ledger(segment, Slots(segment).assign(0, 1), 1))
    return app


async def publish(app: App, count: int, room: str = "tea", first: int = 0) -> None:
    for number in range(first, first + count):
        await app.room(room).publish(str(number))


# -- places ----------------------------------------------------------------------------------------


async def test_a_publish_returns_its_place_and_a_join_the_one_before_what_comes() -> None:
    async with commanded() as (one, client):
        first = await one.app.room("tea").publish("before")
        joined = await one.do(lambda ws: ws.join("tea"))
        assert joined == Joined(first.epoch, 1, recovered=False)
        again = await one.do(lambda ws: ws.join("tea"))
        assert again == joined
        second = await one.app.room("tea").publish("after")
        assert (second.epoch, second.offset) == (first.epoch, 2)
        assert await client.receive_text() == "after"


async def test_epochs_are_text_that_javascript_can_keep() -> None:
    app = App()
    published = await app.room("tea").publish("x")
    assert isinstance(published.epoch, str)
    assert int(published.epoch, 16) > 0


# -- recovery --------------------------------------------------------------------------------------


async def test_what_was_missed_comes_first_and_once() -> None:
    async with commanded() as (one, client):
        await publish(one.app, 5)
        place = await one.app.room("tea").publish("5")
        joined = await one.do(lambda ws: ws.join("tea", since=2, epoch=place.epoch))
        assert joined == Joined(place.epoch, 6, recovered=True)
        await one.app.room("tea").publish("live")
        got = [await client.receive_text() for _ in range(5)]
        assert got == ["2", "3", "4", "5", "live"]


async def test_nothing_missed_is_recovered_too() -> None:
    async with commanded() as (one, client):
        place = await one.app.room("tea").publish("0")
        joined = await one.do(lambda ws: ws.join("tea", since=1, epoch=place.epoch))
        assert joined.recovered
        await one.app.room("tea").publish("live")
        assert await client.receive_text() == "live"


async def test_a_client_that_comes_from_a_worker_that_has_read_further_is_recovered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        segment_bus, "RECORDS_A_TURN", 1
    )  # so that this one has not read all at once
    app = App()
    outcome: asyncio.Future[Joined] = asyncio.get_running_loop().create_future()

    @app.websocket_route("/late")
    async def late(ws: WebSocket, epoch: str) -> None:
        outside = Publisher(app.runtime.ledger.segment)
        # Nothing has told this worker yet, and the client has had both elsewhere.
        for text in (b"one", b"two"):
            outside.publish_now("tea", Kind.TEXT, text)
        outcome.set_result(await ws.join("tea", since=2, epoch=epoch))

    async with commanded(app) as (one, client):
        first = await one.do(lambda ws: ws.join("tea"))
        async with WebSocketTestClient(app, f"/late?epoch={first.epoch}"):
            joined = await asyncio.wait_for(outcome, 10)
        assert joined == Joined(first.epoch, 2, recovered=True)
        assert [await client.receive_text(), await client.receive_text()] == ["one", "two"]


async def test_who_is_just_being_accepted_gets_a_broadcast() -> None:
    app = App()

    @app.websocket("/")
    async def view(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive_text()

    sent: list[Any] = []
    events: asyncio.Queue[Any] = asyncio.Queue()
    events.put_nowait({"type": "websocket.connect"})

    async def send(event: Any) -> None:
        sent.append(event)
        if event["type"] == "websocket.accept":
            # Its peer has the answer by now; the view goes on only after this.
            await app.broadcast("hello")

    serving = asyncio.create_task(app(make_scope("/"), events.get, send))
    async with asyncio.timeout(10):
        while len(sent) < 2:  # noqa: ASYNC110 - the app sends it, in this loop
            await asyncio.sleep(0)
    assert sent[1] == {"type": "websocket.send", "text": "hello"}
    events.put_nowait({"type": "websocket.disconnect", "code": 1000})
    await serving


@pytest.mark.parametrize(
    ("since", "epoch"),
    [(0, "another"), (0, "0"), (0, "-1"), (7, None), (2**70, None)],
    ids=["no epoch", "another epoch", "a negative epoch", "the future", "a huge offset"],
)
async def test_a_place_that_is_none_sends_nothing(since: int, epoch: str | None) -> None:
    async with commanded() as (one, client):
        place = await one.app.room("tea").publish("0")
        joined = await one.do(lambda ws: ws.join("tea", since=since, epoch=epoch or place.epoch))
        assert joined == Joined(place.epoch, 1, recovered=False)
        await one.app.room("tea").publish("live")
        assert await client.receive_text() == "live"


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"since": 1}, TypeError, "since and epoch together"),
        ({"epoch": "1"}, TypeError, "since and epoch together"),
        ({"since": "1", "epoch": "1"}, TypeError, "since must be an int, not str"),
        ({"since": True, "epoch": "1"}, TypeError, "since must be an int, not bool"),
        ({"since": 1, "epoch": 1}, TypeError, "an epoch is the str that a join returned, not int"),
        ({"since": -1, "epoch": "1"}, ValueError, "an offset, 0 or more, not -1"),
    ],
)
async def test_a_wrong_place_is_refused_and_nobody_joins(
    arguments: dict[str, Any], error: type[Exception], says: str
) -> None:
    async with commanded() as (one, _):
        with pytest.raises(error, match=says):
            await one.do(lambda ws: ws.join("tea", **arguments))
        assert one.app.room("tea").count() == 0
        assert await one.do(_rooms) == frozenset()


async def _rooms(ws: WebSocket) -> frozenset[str]:
    return ws.rooms


async def test_more_than_a_window_is_recovered_while_others_go_on_publishing() -> None:
    async with commanded() as (one, client):
        await publish(one.app, 2_000)
        place = await one.app.room("tea").publish("2000")
        joining = asyncio.create_task(one.do(lambda ws: ws.join("tea", since=0, epoch=place.epoch)))
        got = []
        for number in range(2_001):
            got.append(await client.receive_text())
            if number % 10 == 0:
                await one.app.room("tea").publish(str(2_001 + number // 10))
        joined = await joining
        assert joined.recovered
        await one.app.room("tea").publish("last")
        while got[-1] != "last":
            got.append(await client.receive_text())
        assert got == [*map(str, range(2_202)), "last"]


async def test_what_the_ring_has_overwritten_is_not_recovered_in_part() -> None:
    app = small(App(), ring_words=512)
    async with commanded(app) as (one, client):
        await publish(app, 100)
        place = await app.room("tea").publish("100")
        joined = await one.do(lambda ws: ws.join("tea", since=50, epoch=place.epoch))
        assert joined == Joined(place.epoch, 101, recovered=False)
        last = await one.do(lambda ws: ws.join("other"))
        assert not last.recovered
        await app.room("tea").publish("live")
        assert await client.receive_text() == "live"


# -- history and retention -------------------------------------------------------------------------


async def test_history_has_what_was_published_in_its_order() -> None:
    room = App().room("tea")
    await room.publish("text")
    await room.publish(b"bytes")
    await room.publish({"a": [1, None]})
    messages = room.history()
    assert [message.data for message in messages] == ["text", b"bytes", {"a": [1, None]}]
    assert [message.offset for message in messages] == [1, 2, 3]
    assert messages[0].published_at <= messages[2].published_at
    assert [message.offset for message in room.history(since=1)] == [2, 3]
    assert [message.offset for message in room.history(limit=1)] == [3]
    assert App().room("never").history() == []


async def test_only_so_many_are_kept_for_history_and_recovery() -> None:
    app = App()
    app.retain("tea", messages=3)
    app.retain("t*", messages=0)
    async with commanded(app) as (one, client):
        await publish(app, 10)
        assert [message.data for message in app.room("tea").history()] == ["7", "8", "9"]
        await publish(app, 10, "toast")
        assert app.room("toast").history() == []
        epoch = app.room("tea").history()[0].epoch
        joined = await one.do(lambda ws: ws.join("tea", since=7, epoch=epoch))
        assert joined.recovered
        assert [await client.receive_text() for _ in range(3)] == ["7", "8", "9"]
        await one.do(lambda ws: ws.leave("tea"))
        assert not (await one.do(lambda ws: ws.join("tea", since=6, epoch=epoch))).recovered


async def test_what_is_too_old_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    app = App()
    app.retain("*", age_s=60)
    room = app.room("tea")
    await room.publish("old")
    (old,) = room.history()
    monkeypatch.setattr("server.rooms.time.time_ns", lambda: int((old.published_at + 61) * 1e9))
    assert room.history() == []


def test_the_first_pattern_that_fits_counts() -> None:
    retention = Retention()
    retention.add("chat/[ab]*", Keep(1))
    retention.add("chat/*", Keep(2))
    assert retention.of("chat/all") == Keep(1)
    assert retention.of("chat/tea") == Keep(2)
    assert retention.of("tea") == Keep()
    with pytest.raises(ValueError, match="messages=-1"):
        App().retain("*", messages=-1)
    with pytest.raises(ValueError, match="age_s=nan"):
        App().retain("*", age_s=float("nan"))


# -- events ----------------------------------------------------------------------------------------


async def test_joins_and_leaves_are_told() -> None:
    app, told = App(), []

    @app.on("join")
    async def joined(ws: WebSocket, room: str) -> None:
        told.append(("join", room, app.room(room).count()))

    @app.on("leave")
    def left(ws: WebSocket, room: str) -> None:
        told.append(("leave", room, app.room(room).count()))

    async with commanded(app) as (one, _):
        for room in ("a", "b"):
            await one.do(partial(WebSocket.join, room=room))
        await one.do(lambda ws: ws.join("a"))
        await one.do(lambda ws: ws.leave("a"))
        await one.do(lambda ws: ws.leave("a"))
    assert told == [("join", "a", 1), ("join", "b", 1), ("leave", "a", 0), ("leave", "b", 0)]


# -- what cannot be --------------------------------------------------------------------------------


async def test_a_message_over_an_eighth_of_the_journal_is_refused_and_goes_to_nobody() -> None:
    app = small(App(), ring_words=1 << 16)
    async with commanded(app) as (one, client):
        await one.do(lambda ws: ws.join("tea"))
        limit = (1 << 16) * 8 // 8
        with pytest.raises(MessageTooLarge, match=r"\d+ bytes cannot be published, the limit is"):
            await app.room("tea").publish("x" * limit)
        with pytest.raises(MessageTooLarge):
            await app.broadcast(b"x" * 100_000_000)
        assert (await app.room("tea").publish("fits")).offset == 1
        assert await client.receive_text() == "fits"


async def test_a_message_without_a_json_form_goes_to_nobody() -> None:
    app = App()
    with pytest.raises(TypeError):
        await app.room("tea").publish(object())
    assert app.room("tea").history() == []


async def test_more_rooms_than_fit() -> None:
    app = small(App(), rooms=16, memberships_per_slot=64)
    async with commanded(app) as (one, _):
        rooms = [f"room {number}" for number in range(16)]
        for room in rooms:
            await one.do(partial(WebSocket.join, room=room))
        with pytest.raises(DirectoryFull, match="raise --rooms"):
            await one.do(lambda ws: ws.join("one more"))
        with pytest.raises(DirectoryFull):
            await app.room("one more").publish("x")
        assert await one.do(_rooms) == frozenset(rooms)
        await one.do(lambda ws: ws.leave("room 3"))
        await one.do(lambda ws: ws.join("one more"))
        assert app.room("one more").count() == 1


async def test_joining_ten_thousand_rooms_ends_at_the_limit_and_frees_them_all() -> None:
    app = App(limits=ConnectionLimits(rooms=None))
    small(app, rooms=16_384, memberships_per_slot=5_000)

    async def join_all(ws: WebSocket) -> None:
        for number in range(10_000):
            await ws.join(f"room {number}")

    async with commanded(app) as (one, _):
        with pytest.raises(MembershipsFull, match=r"5000 memberships.*raise --memberships"):
            await one.do(join_all)
        assert len(await one.do(_rooms)) == 5_000
        assert app.room("room 5000").count() == 0
        assert app.room("room 4999").count() == 1
    assert app.room("room 4999").count() == 0


async def test_a_stopped_holder_of_the_lock_is_named_and_nothing_is_published(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal_lock, "TIMEOUT_S", 0.05)
    monkeypatch.setattr(JournalLock, "try_acquire", lambda self: False)
    monkeypatch.setattr(JournalLock, "holder", lambda self: 4711)
    async with commanded() as (one, _):
        with pytest.raises(JournalStalled, match=r"locked by process 4711 for 0\.05 s"):
            await one.app.room("tea").publish("x")
        with pytest.raises(JournalStalled):
            await one.do(lambda ws: ws.join("tea"))
        assert await one.do(_rooms) == frozenset()


async def test_a_broadcast_to_no_route_is_refused() -> None:
    with pytest.raises(ValueError, match="no route '/nowhere' to broadcast to"):
        await App().broadcast("x", route="/nowhere")
