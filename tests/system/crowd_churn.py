"""Owns the comings and goings of a crowd on `crowd_app`: who joins where, who leaves how.

For each client that is to end it notes how the server has to count that. It knows no metrics.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server import close_codes
from tests.system.crowd import NO_CODE, Client, Crowd, until
from tests.system.crowd_app import OWN_CODES

TICK_S = 0.05
AT_ONCE = 200  # handshakes under way
PATHS = ("/feed", "/quiet", "/rooms/1", "/rooms/2")
REFUSING_PATHS = ("/gate/401", "/gate/429", "/gate/599", "/gate/open", "/broken", "/nowhere")
_ROUTES = {
    "feed": "/feed",
    "quiet": "/quiet",
    "rooms": "/rooms/{room}",
    "gate": "/gate/{status}",
    "broken": "/broken",
}
# Not 1014: for granian that is a fault of the client, and it says 1002.
REGISTERED = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013)
ORDERS = {
    "return": (1000, "server"),
    "close 1000": (1000, "server"),
    "close 4001": (4001, "server"),
    "close 4777": (4777, "server"),
    "throw 1008": (1008, "server"),
    "throw 4002": (4002, "server"),
    "fail": (1011, "server"),
}

Farewell = tuple[int, str]
"""A close code and an initiator."""


def route_of(path: str) -> str:
    """Return the label of the route that takes a path."""
    return _ROUTES.get(path.split("/")[1], "unmatched")


def label_of(code: int) -> str:
    """Return the label that a close code is counted by."""
    known = {*REGISTERED, NO_CODE, *OWN_CODES, *close_codes.OWN_CODES}
    return str(code) if code in known else "other"


def pid_of(client: Client) -> int | None:
    """Return the process that serves a client; None until it has said so."""
    return int(str(client.messages[0]).split()[0]) if client.messages else None


def id_of(client: Client) -> str | None:
    """Return its id in the registry; None until it was told."""
    return str(client.messages[0]).split()[1] if client.messages else None


class Churn:
    """Keeps a crowd at a size, while some of it end in all the ways there are.

    Attributes:
        farewells: how the end of each client that was made to end has to be counted.
    """

    def __init__(self, crowd: Crowd, *, size: int, ends_per_s: int, chance: random.Random) -> None:
        self.farewells: dict[Client, Farewell] = {}
        self._crowd = crowd
        self._size = size
        self._ends_a_tick = max(1, round(ends_per_s * TICK_S))
        self._chance = chance
        self._present: list[Client] = []
        self._joining = 0

    @property
    def present(self) -> list[Client]:
        """Those that are connected, have been told who serves them, and are to stay."""
        self._present = [client for client in self._present if client.is_open]
        return [
            client for client in self._present if client.messages and client not in self.farewells
        ]

    async def fill(self) -> None:
        """Bring everybody in."""
        paths = self._chance.choices(PATHS, k=self._size)
        self._present.extend(await self._crowd.connect_each(paths))
        await until(lambda: len(self.present) == self._size, message="all have been told")

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Let people come and go during the context, and calm down after it."""
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(self._run(tasks))
            yield
            running.cancel()
        await self.calm_down()

    async def calm_down(self) -> None:
        """Wait until who came has been told, and who left is gone."""
        await until(self._nobody_is_on_the_way, message="all ends are seen")

    async def _run(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            missing = self._size - len(self._present) - self._joining
            for _ in range(min(missing, AT_ONCE - self._joining)):
                self._join(tasks, self._chance.choice(PATHS))
            self._join(tasks, self._chance.choice(REFUSING_PATHS))
            present = self.present
            for client in self._chance.sample(present, min(self._ends_a_tick, len(present))):
                self.end(client)
            await asyncio.sleep(TICK_S)

    def _join(self, tasks: asyncio.TaskGroup, path: str) -> None:
        self._joining += 1
        tasks.create_task(self._enter(path))

    async def _enter(self, path: str) -> None:
        entered = await self._crowd.connect(1, path)
        self._present.extend(entered)
        self._joining -= 1

    def end(self, client: Client) -> None:
        """Make a client's connection end, by one side or the other."""
        match self._chance.randrange(5):
            case 0:
                self._say_close(client, self._chance.choice(REGISTERED))
            case 1:
                self._say_close(client, self._chance.randrange(3000, 5000))
            case 2:
                self._say_close(client, self._chance.choice([None, *OWN_CODES]))
            case 3:
                order = self._chance.choice([*ORDERS])
                self.farewells[client] = ORDERS[order]
                client.send(order)
            case _:
                # granian cannot tell it from a close without a code.
                self.farewells[client] = (NO_CODE, "client")
                client.reset()

    def _say_close(self, client: Client, code: int | None) -> None:
        self.farewells[client] = (NO_CODE if code is None else code, "client")
        client.say_close(code)

    def _nobody_is_on_the_way(self) -> bool:
        arrived = all(client.messages or client.end for client in self._present)
        return arrived and all(client.gone.done() for client in self.farewells)
