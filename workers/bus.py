"""Owns the port that the server has to do with rooms by: who publishes, reads and is a member.

`segment_bus` is behind it on one machine, `memory_bus` in tests; what any bus must do is in
tests/workers/bus_contract.py.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from workers.journal import ConnectionId
from workers.publisher import Message, Position
from workers.registry import Row
from workers.room_tables import Kind

RECORDS_A_TURN = 256  # then the loop goes on with what else it has
GIVE_WAY_S = 0.001

OnMessage = Callable[[Message], bool]
"""Takes a message; True asks for a pause of about a millisecond before the next."""
OnMissed = Callable[[str | None], None]
"""Takes the name of a room whose members missed messages; None: broadcasts were missed."""


class Bus(Protocol):
    """What the server knows of the bus.

    Attributes:
        is_giving_way: whether a pause was asked for, and goes on.
    """

    is_giving_way: bool

    def listen(self, on_message: OnMessage, on_missed: OnMissed) -> None:
        """Say who takes messages for rooms that were entered, and broadcasts; in their order."""

    async def publish(
        self, room: str, kind: Kind, payload: bytes, *, excluded: Sequence[ConnectionId] = ()
    ) -> Position:
        """Publish; when it returns, the own members have it unless the bus gives way."""

    async def broadcast(
        self, route: int, kind: Kind, payload: bytes, *, excluded: Sequence[ConnectionId] = ()
    ) -> None:
        """Publish to the connections of a route (0: all), on all workers."""

    async def enter(self, room: str, row: int | None) -> int:
        """Enter a connection, by its row, as a member; returns a ticket for `leave`.

        None: the worker itself, which counts as one more and is none of `members`.
        """

    def leave(self, room: str, ticket: int) -> None:
        """End a membership, once."""

    def seen(self, room: str) -> Position:
        """Return up to where messages of a room that was entered were taken."""

    def position(self, room: str) -> Position | None: ...

    def count(self, room: str) -> int: ...

    def members(self, room: str) -> list[Row]: ...

    def history(
        self,
        room: str,
        *,
        epoch: int | None = None,
        since: int = 0,
        until: int | None = None,
        limit: int | None = None,
        not_before_ns: int = 0,
    ) -> list[Message]: ...

    def note(self, name: str, number: int = 1) -> None:
        """Count `delivered`, `recovered`, `not_recovered` or `incomplete`."""

    def poll(self) -> None:
        """Read what is new, now; nothing more if there is a rest for the loop's next turn."""

    def keep_watch(self) -> None:
        """See to it that what is new is read in the loop that runs."""
