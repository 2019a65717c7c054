"""Owns what every bus promises, as tests; a subclass says how buses of one server are made."""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.workers.bus_support import Member, fill, overruns, say, texts, until
from workers.bus import GIVE_WAY_S, RECORDS_A_TURN, Bus
from workers.publisher import Message, Position
from workers.room_tables import Kind

World = Callable[[int], AbstractContextManager[list[Bus]]]
"""Buses of one server that keeps about so many messages."""


class BusContract:
    """Each test has a `world`."""

    async def test_a_message_arrives_as_it_was_published(self, world: World) -> None:
        with world(100) as buses:
            one, other = map(Member, buses)
            await one.bus.enter("a", 1)
            await other.bus.enter("a", 1)
            before_ns = time.time_ns()
            excluded = [(1, 2), (2**64 - 1, 3)]
            at = [
                await one.bus.publish("a", Kind.BYTES, b"\xff\0", excluded=excluded),
                await one.bus.publish("a", Kind.TEXT, "ä🙂".encode()),
                await one.bus.publish("a", Kind.JSON, b"", excluded=[]),
            ]
            await other.until_got(3)
            for member in (one, other):
                expected = [(b"\xff\0", tuple(excluded)), ("ä🙂", ()), ("", ())]
                assert [(m.data, m.excluded) for m in member.got] == expected
                assert [m.kind for m in member.got] == [Kind.BYTES, Kind.TEXT, Kind.JSON]
                assert [Position(m.epoch, m.offset) for m in member.got] == at
                assert [offset for _, offset in at] == [1, 2, 3]
                assert all(before_ns <= m.time_ns <= time.time_ns() for m in member.got)

    async def test_all_members_see_one_order(self, world: World) -> None:
        with world(1000) as buses:
            members = [Member(bus) for bus in buses]
            for member in members:
                await member.bus.enter("a", 1)
                await member.bus.enter("b", 1)

            async def talk(number: int) -> None:
                bus = buses[number % 2]
                for count in range(20):
                    await say(bus, f"{number}-{count}", room="ab"[count % 2])
                    if count % 10 == number:
                        await bus.broadcast(0, Kind.TEXT, f"{number}-all".encode())
                    await asyncio.sleep(0)

            await asyncio.gather(*map(talk, range(4)))
            total = 4 * 20 + 4 * 2
            await until(lambda: all(len(member.got) == total for member in members))
            assert members[0].got == members[1].got
            for room in ("a", "b", None):
                offsets = [m.offset for m in members[0].got if m.room == room]
                assert offsets == [*range(1, len(offsets) + 1)]
            assert not members[0].missed + members[1].missed

    async def test_the_own_members_have_it_when_publish_returns(self, world: World) -> None:
        with world(100) as buses:
            one = Member(buses[0])
            await one.bus.enter("a", 1)
            await say(one.bus, "now")
            assert one.texts == ["now"]
            await one.bus.broadcast(7, Kind.TEXT, b"to all")
            assert one.texts == ["now", "to all"]

    async def test_nothing_comes_before_enter_and_after_leave(self, world: World) -> None:
        with world(100) as buses:
            one, other = map(Member, buses)
            await say(other.bus, "early")
            ticket = await one.bus.enter("a", 1)
            assert one.bus.seen("a") == one.bus.position("a") == other.bus.position("a")
            await say(other.bus, "between")
            await one.until_got(1)
            await say(other.bus, "on its way")
            one.bus.leave("a", ticket)
            await say(other.bus, "late")
            again = await one.bus.enter("a", 1)
            await say(other.bus, "again")
            await until(lambda: len(one.got) > 1)
            one.bus.leave("a", again)
            assert one.texts == ["between", "again"]
            assert [m.offset for m in one.got] == [2, 5]
            assert one.missed == []

    async def test_rooms_of_others_are_not_heard(self, world: World) -> None:
        with world(100) as buses:
            one, other = map(Member, buses)
            await one.bus.enter("a", 1)
            await other.bus.enter("b", 1)
            await say(one.bus, "for b", room="b")
            await say(other.bus, "for a")
            await until(lambda: bool(one.got and other.got))
            assert (one.texts, other.texts) == (["for a"], ["for b"])

    async def test_a_member_more_or_less_changes_nothing_for_the_rest(self, world: World) -> None:
        """Each bus takes a message once, for as long as it has a member."""
        with world(100) as buses:
            one, other = map(Member, buses)
            tickets = [await one.bus.enter("a", row) for row in range(3)]
            assert len({*tickets}) == 3
            assert [bus.count("a") for bus in buses] == [3, 3]
            await other.bus.enter("a", 5)
            assert [bus.count("a") for bus in buses] == [4, 4]
            for left, ticket in enumerate(tickets, 1):
                await say(other.bus, f"{left}")
                await one.until_got(left)
                one.bus.leave("a", ticket)
                assert other.bus.count("a") == 4 - left
            await say(other.bus, "more")
            assert one.texts == ["1", "2", "3"]
            assert other.texts == ["1", "2", "3", "more"]

    async def test_a_worker_may_hear_a_room_itself(self, world: World) -> None:
        """It counts as a member and is none of those that can be named."""
        with world(100) as buses:
            one, other = map(Member, buses)
            ticket = await one.bus.enter("a", None)
            connection = await one.bus.enter("a", 1)
            assert (other.bus.count("a"), len(other.bus.members("a"))) == (2, 1)
            await say(other.bus, "for both")
            await one.until_got(1)
            one.bus.leave("a", connection)
            await say(other.bus, "for the worker")
            await one.until_got(2)
            one.bus.leave("a", ticket)
            assert other.bus.count("a") == 0
            await say(other.bus, "for nobody")
            assert one.texts == ["for both", "for the worker"]

    async def test_enter_while_another_task_enters_the_same_room(self, world: World) -> None:
        with world(100) as buses:
            one = Member(buses[0])
            tickets = await asyncio.gather(*(one.bus.enter("a", row) for row in range(4)))
            assert len({*tickets}) == 4
            assert one.bus.count("a") == 4
            for ticket in tickets:
                one.bus.leave("a", ticket)
            assert one.bus.count("a") == 0

    async def test_members_are_those_of_all_buses(self, world: World) -> None:
        with world(100) as buses:
            assert buses[0].members("a") == []
            first = await buses[0].enter("a", 0)
            await buses[0].enter("a", 1)
            await buses[1].enter("a", 0)
            await buses[1].enter("b", 1)
            for bus in buses:
                assert [(row.slot, row.client) for row in bus.members("a")] == [
                    (0, "0-0"), (0, "0-1"), (1, "1-0"),
                ]  # fmt: skip
            buses[0].leave("a", first)
            assert [row.client for row in buses[1].members("a")] == ["0-1", "1-0"]

    async def test_positions_and_history_agree(self, world: World) -> None:
        with world(100) as buses:
            one, other = map(Member, buses)
            assert one.bus.position("a") is None
            assert one.bus.history("a") == []
            await say(other.bus, "1", "2")
            await one.bus.enter("a", 1)
            seen = one.bus.seen("a")
            assert seen == other.bus.position("a") == Position(seen.epoch, 2)
            await say(one.bus, "3", "4", "5")
            await say(one.bus, "other", room="b")
            assert one.bus.seen("a") == one.bus.position("a") == Position(seen.epoch, 5)
            for bus in buses:
                assert texts(bus) == ["1", "2", "3", "4", "5"]
                assert texts(bus, epoch=seen.epoch, since=2) == ["3", "4", "5"]
                assert texts(bus, since=1, until=3) == ["2", "3"]
                assert texts(bus, limit=2) == ["4", "5"]
                assert texts(bus, until=4, limit=2) == ["3", "4"]
                assert texts(bus, limit=0) == texts(bus, since=5) == []
                assert texts(bus, epoch=seen.epoch + 1) == []
                third = bus.history("a")[2].time_ns
                assert texts(bus, not_before_ns=third)[-3:] == ["3", "4", "5"]
                assert texts(bus, not_before_ns=third + 10**12) == []
            assert bus.history("a")[2:] == one.got[:3]

    async def test_broadcasts_reach_every_bus_with_their_key(self, world: World) -> None:
        with world(100) as buses:
            members = [Member(bus) for bus in buses]
            await buses[0].broadcast(0, Kind.TEXT, b"all")
            await buses[1].broadcast(2**64 - 1, Kind.BYTES, b"\xff", excluded=[(3, 4)])
            for member in members:
                await member.until_got(2)
                assert [m[:5] for m in member.got] == [
                    (None, 0, 1, Kind.TEXT, "all"),
                    (None, 2**64 - 1, 2, Kind.BYTES, b"\xff"),
                ]
                assert member.got[1].excluded == ((3, 4),)

    async def test_what_comes_before_it_listens_is_kept(self, world: World) -> None:
        with world(100) as buses:
            await buses[0].broadcast(0, Kind.TEXT, b"early")
            await asyncio.sleep(0)
            member = Member(buses[1])
            await buses[0].broadcast(0, Kind.TEXT, b"late")
            await until(lambda: member.texts == ["early", "late"])
            assert member.missed == []

    async def test_a_listener_that_fails_loses_nothing_else(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(message: Message) -> bool:
            if message.data in ("2", "3"):
                raise OverflowError(message.data)
            return False

        with world(100) as buses, caplog.at_level(logging.CRITICAL):
            one, other = map(Member, buses)
            one.on_message = fail
            ticket = await one.bus.enter("a", 1)
            await say(one.bus, "1", "2")
            await say(other.bus, "3", "4", "5")
            await one.until_got(5)
            assert one.texts == ["1", "2", "3", "4", "5"]
            one.bus.leave("a", ticket)

    async def test_a_listener_that_leaves_meanwhile(self, world: World) -> None:
        with world(100) as buses:
            one, other = map(Member, buses)
            await one.bus.enter("b", 1)
            ticket = await one.bus.enter("a", 1)

            def leave(message: Message) -> bool:
                if message.data == "2":
                    one.bus.leave("a", ticket)
                return False

            one.on_message = leave
            await say(other.bus, "1", "2", "3")
            await say(other.bus, "end", room="b")
            await until(lambda: one.texts[-1:] == ["end"])
            assert one.texts == ["1", "2", "end"]

    async def test_a_pause_ends_by_itself(self, world: World) -> None:
        """Also if there was nothing more to read when it was asked for."""
        with world(100) as buses:
            one, other = map(Member, buses)
            await one.bus.enter("a", 1)
            one.on_message = lambda message: True
            asked = time.monotonic()
            await say(one.bus, "1")
            assert one.bus.is_giving_way
            await say(one.bus, "2")
            assert one.texts == ["1"]
            await say(other.bus, "3")
            for _ in range(3):
                one.bus.poll()
                await asyncio.sleep(0)
                if time.monotonic() - asked < GIVE_WAY_S:
                    assert one.texts == ["1"]
            await one.until_got(3)
            assert time.monotonic() - asked >= 2 * GIVE_WAY_S * 0.9
            one.on_message = lambda message: False
            await until(lambda: not one.bus.is_giving_way)
            await say(one.bus, "4")
            assert one.texts == ["1", "2", "3", "4"]

    async def test_a_backlog_lets_the_loop_run(self, world: World) -> None:
        with world(7 * RECORDS_A_TURN) as buses:
            one, other = map(Member, buses)
            await one.bus.enter("a", 1)
            count = 6 * RECORDS_A_TURN
            await say(other.bus, *map(str, range(count)))
            turns = [len(one.got)]
            async with asyncio.timeout(20):
                while len(one.got) < count:
                    await asyncio.sleep(0)
                    one.bus.poll()  # doorbells, of which there may be many in a turn
                    one.bus.poll()
                    turns.append(len(one.got))
            steps = {after - before for before, after in itertools.pairwise(turns)}
            assert max(steps) <= 2 * RECORDS_A_TURN  # the turn's own, and one that was rung for
            assert one.texts == [*map(str, range(count))]

    async def test_what_was_overtaken_is_told_where_it_is_missing(self, world: World) -> None:
        with world(30) as buses:
            one, other = map(Member, buses)
            for room in ("gone", "cut", "whole", "quiet", "left"):
                ticket = await one.bus.enter(room, 1)
            await say(one.bus, "before", room="quiet")
            assert one.texts == ["before"]
            one.got.clear()
            await say(other.bus, "lost", room="gone")
            await say(other.bus, "lost", room="left")
            one.bus.leave("left", ticket)
            await say(other.bus, *"abc", room="cut")
            await fill(other.bus, "cut")
            await say(other.bus, "kept", room="whole")
            await say(other.bus, "last", room="cut")
            one.bus.poll()
            await until(lambda: one.texts[-1:] == ["last"])
            assert one.missed == ["gone", "cut"]
            cut = [m.offset for m in one.got if m.room == "cut"]
            assert cut == [*range(cut[0], cut[0] + len(cut))]
            assert cut[0] > 4
            assert [m.data for m in one.got if m.room == "whole"] == ["kept"]
            assert one.bus.seen("gone") == one.bus.position("gone")
            for room in ("gone", "cut", "quiet"):
                await say(other.bus, "after", room=room)
            await until(lambda: one.texts[-3:] == ["after"] * 3)
            assert one.missed == ["gone", "cut"]
            assert overruns(one.bus) == 1

    @pytest.mark.parametrize("is_last_kept", [False, True])
    async def test_broadcasts_that_were_overtaken(self, world: World, is_last_kept: bool) -> None:
        with world(30) as buses:
            one, other = map(Member, buses)
            await other.bus.broadcast(0, Kind.TEXT, b"first")
            await one.until_got(1)
            await other.bus.broadcast(0, Kind.TEXT, b"lost")
            await fill(other.bus, "b")
            if is_last_kept:
                await other.bus.broadcast(0, Kind.TEXT, b"kept")
            one.bus.poll()
            await until(lambda: bool(one.missed))
            await one.until_got(1 + is_last_kept)
            await other.bus.broadcast(0, Kind.TEXT, b"after")
            await until(lambda: one.texts[-1:] == ["after"])
            assert one.missed == [None]
            assert one.texts == ["first", *["kept"] * is_last_kept, "after"]

    async def test_overtaken_without_a_loss(self, world: World) -> None:
        """Broadcasts that are all there still, and a room whose messages had been taken."""
        with world(30) as buses:
            one, other = map(Member, buses)
            await one.bus.enter("a", 1)
            await say(one.bus, "taken")
            await fill(other.bus, "b")
            await other.bus.broadcast(0, Kind.TEXT, b"kept")
            await say(other.bus, "kept")
            one.bus.poll()
            await one.until_got(3)
            assert one.texts == ["taken", "kept", "kept"]
            assert one.missed == []

    async def test_members_that_leave_because_they_missed(self, world: World) -> None:
        with world(30) as buses:
            one, other = map(Member, buses)
            tickets = {room: await one.bus.enter(room, 1) for room in ("a", "b", "c")}

            def leave(room: str | None) -> None:
                for name, ticket in tickets.items():
                    if name != "c":
                        one.bus.leave(name, ticket)
                tickets.clear()
                raise ValueError(room)

            one.on_missed = leave
            await say(other.bus, "lost", room="a")
            await say(other.bus, "lost", room="b")
            await fill(other.bus, "x")
            await say(other.bus, "kept", room="a")
            await say(other.bus, "kept", room="c")
            one.bus.poll()
            await one.until_got(1)
            assert one.texts == ["kept"]
            assert one.got[0].room == "c"
            assert len(one.missed) == 1
