"""Owns an attack on a server: who attacks, who stands by, and what must be true when it is over.

Whatever is sent, clients that have nothing to do with it are answered in time, the memory of the
server stays bounded, no worker ends, the log tells nothing that is secret and has no error that is
not expected, and the books balance with what the attackers have seen.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.attacks.books import Books, read_books
from tests.attacks.keys import leaked, secret
from tests.support.processes import children, wait_until
from tests.support.raw import RawClient, Response, handshake_request
from tests.support.servers import Server

MIB = 1 << 20
BYSTANDER = "/bystander"
OF_BYSTANDERS = "127.0.0.99"
ANSWER_S = 2.0
"""A bystander has its answer by then, if the machine has nothing else to do than this attack."""
MEMORY_MIB = 32
"""What the server may grow by in an attack that does not say more."""

GONE_S = 30.0
"""All that attackers have left to do is done by then, on a busy machine."""

_PAGE = 4096
_PAUSE_S = 0.005
_ROUNDS = 3
_SECRET_HEADERS = ("authorization", "cookie", "sec-websocket-protocol", "x-api-key")


class Bystander(threading.Thread):
    """A client that echoes without end.

    Attributes:
        worker: the process that serves it.
        slowest_s: the longest echo since `look`.
        problem: what has ended it.
    """

    def __init__(self, client: RawClient, worker: int) -> None:
        super().__init__(name=f"bystander of {worker}", daemon=True)
        self.worker = worker
        self.slowest_s = 0.0
        self.problem: BaseException | None = None
        self._rounds = 0
        self._looked_at = 0
        self._client = client
        self._enough = threading.Event()
        self.start()

    def run(self) -> None:
        try:
            while not self._enough.wait(_PAUSE_S):
                started_s = time.monotonic()
                self._client.send_text(str(self._rounds))
                assert self._client.read_text() == str(self._rounds)
                self.slowest_s = max(self.slowest_s, time.monotonic() - started_s)
                self._rounds += 1
        except BaseException as problem:
            self.problem = problem
        finally:
            self._client.drop()

    def leave(self) -> None:
        self._enough.set()
        self.join()

    def look(self) -> None:
        """Look at it from now on."""
        self.slowest_s, self._looked_at = 0.0, self._rounds

    def is_answered(self) -> None:
        """Assert that since then it has been answered, several times."""
        wait_until(
            lambda: self.problem or self._rounds > self._looked_at + _ROUNDS,
            message=f"the {self.name} is answered",
        )
        assert self.problem is None, f"the {self.name}: {self.problem!r}"


class Watch(threading.Thread):
    """Watches an attack: the memory of the server, and how busy the machine is with other things.

    Attributes:
        peak: the most resident memory of the supervisor and its workers, added up.
        late_s: the longest that this thread, which has next to nothing to do, had to wait for.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(name="watch", daemon=True)
        self._pid = pid
        self._enough = threading.Event()
        self.late_s = 0.0
        self.base = self.peak = self._resident_bytes()
        self.start()

    def run(self) -> None:
        last_s = time.monotonic()
        while not self._enough.wait(_PAUSE_S):
            self.peak = max(self.peak, self._resident_bytes())
            now_s = time.monotonic()
            self.late_s, last_s = max(self.late_s, now_s - last_s - _PAUSE_S), now_s

    def leave(self) -> None:
        self._enough.set()
        self.join()
        self.peak = max(self.peak, self._resident_bytes())

    @property
    def growth_mib(self) -> float:
        return (self.peak - self.base) / MIB

    def _resident_bytes(self) -> int:
        return sum(map(_resident_bytes, [self._pid, *children(self._pid)]))


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except OSError:  # it has ended; `Arena.attack` finds that out
        return 0


class Attack:
    """What is done to a server, and what its books have to say of it afterwards.

    What attackers see of their handshakes is noted by itself; the rest a test says with `limits`
    and `fails`.

    Attributes:
        opened: connections, by route.
        refused: handshakes that the app has refused, by route and status.
    """

    def __init__(self, arena: "Arena", stack: ExitStack) -> None:
        self.arena = arena
        self.opened: Counter[str] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()
        self._limited: Counter[tuple[str, str]] = Counter()
        self._may_be_limited: Counter[tuple[str, str]] = Counter()
        self._errors: Counter[str] = Counter()
        self._stack = stack
        self._lock = threading.Lock()

    def client(self, source: str | None = None) -> RawClient:
        """Return a client that is not connected to any route; it is dropped after the attack."""
        return self.keep(RawClient(self.arena.port, source=source))

    def keep(self, client: RawClient) -> RawClient:
        """Keep a client open until the end of the attack, and return it."""
        self._stack.callback(client.drop)
        return client

    def handshake(
        self,
        path: str,
        headers: Iterable[str] = (),
        *,
        source: str | None = None,
        route: str | None = None,
    ) -> tuple[RawClient, Response]:
        """Ask for a WebSocket; see `request`."""
        client = self.client(source)
        return client, self.request(
            client, handshake_request(path, headers), route or path.partition("?")[0]
        )

    def request(self, client: RawClient, data: bytes, route: str | None) -> Response:
        """Send a handshake as it stands, remember its secrets, and note the answer.

        Args:
            route: whose it is; None: the app is never to see it.
        """
        remember(data)
        response = client.request(data)
        self.note(route, response.status)
        return response

    def note(self, route: str | None, status: int) -> None:
        """Note the answer to a handshake; from any thread."""
        if route is None:
            assert status != 101
            return
        with self._lock:
            if status == 101:
                self.opened[route] += 1
            else:
                self.refused[route, str(status)] += 1

    def connect(
        self,
        path: str,
        headers: Iterable[str] = (),
        *,
        source: str | None = None,
        route: str | None = None,
    ) -> RawClient:
        """Return a client whose handshake has succeeded."""
        client, response = self.handshake(path, headers, source=source, route=route)
        assert response.status == 101, response
        return client

    def limits(self, route: str, limit: str, count: int = 1) -> None:
        """Say that a limit stops so much."""
        self._limited[route, limit] += count

    def may_limit(self, route: str, limit: str, at_most: int) -> None:
        """Say that a limit may stop so much, or less: it depends on who is faster."""
        self._may_be_limited[route, limit] += at_most

    def fails(self, route: str, count: int = 1) -> None:
        """Say that so many views on a route end with an exception that is documented as one."""
        self._errors[route] += count

    # -- afterwards ----------------------------------------------------------------------------

    def check_books(self, before: Books) -> None:
        """Assert that the server has counted what the attackers have seen."""
        others = self.arena.bystanders

        def settled() -> Books | None:
            books = read_books(self.arena.admin_port)
            assert not (wrong := books.unbalanced()), wrong
            return books if books.open.total() == len(others) else None

        after = wait_until(settled, GONE_S, message="all attackers are let go of")
        found = after.since(before)
        assert found.opened == self.opened, (found.opened, self.opened)
        assert found.refused == self.refused, (found.refused, self.refused)
        limited, more = self._limited, self._may_be_limited
        assert found.limited - more <= limited <= found.limited, (found.limited, limited, more)
        assert found.errors == self._errors, (found.errors, self._errors)
        assert not any(by == "crash" for _, _, by in found.closed), found.closed

    def check_log(self, offset: int) -> None:
        """Assert that the log has nothing secret, and of errors those that are expected."""

        def errors(log: str) -> list[dict[str, Any]]:
            assert not (secrets := leaked(log)), secrets
            # The last line may be under way; all others are JSON.
            lines = (json.loads(line) for line in log.rpartition("\n")[0].splitlines())
            return [line for line in lines if line["level"] in ("error", "critical")]

        expected = self._errors.total()
        wait_until(
            lambda: len(errors(self.arena.log()[offset:])) >= expected, message="errors are logged"
        )
        log = self.arena.log()[offset:]
        found = errors(log)
        assert len(found) == expected, found
        assert log.count("Traceback") == expected, log


class Arena:
    """A server that is attacked, with bystanders on each of its workers.

    Attributes:
        port, admin_port: where it listens.
        workers: its processes.
    """

    def __init__(self, server: Server, admin_port: int, stack: ExitStack) -> None:
        self.server = server
        self.port = server.port
        self.admin_port = admin_port
        self.workers = children(server.process.pid)
        self.bystanders: list[Bystander] = []
        while len(self.bystanders) < len(self.workers):
            self._place_bystander(stack)

    def _place_bystander(self, stack: ExitStack) -> None:
        client = RawClient(self.port, source=OF_BYSTANDERS)
        if client.handshake(BYSTANDER).status == 101:
            worker = int(client.read_text())
            if all(other.worker != worker for other in self.bystanders):
                self.bystanders.append(bystander := Bystander(client, worker))
                stack.callback(bystander.leave)
                return
            client.close()
        client.drop()

    def log(self) -> str:
        """Return all that the server has printed."""
        return self.server.output()

    def books(self) -> Books:
        """Return them as they are now."""
        return read_books(self.admin_port)

    @contextmanager
    def attack(self, *, memory_mib: int = MEMORY_MIB) -> Iterator[Attack]:
        """Attack within; afterwards all that must hold is checked.

        Args:
            memory_mib: what the server may grow by, at any moment of it.
        """
        before, offset = self._when_quiet(), len(self.log())
        for bystander in self.bystanders:
            bystander.look()
        watch = Watch(self.server.process.pid)
        try:
            with ExitStack() as stack:
                attack = Attack(self, stack)
                yield attack
                for bystander in self.bystanders:
                    bystander.is_answered()
        finally:
            watch.leave()
        slowest_s = max(bystander.slowest_s for bystander in self.bystanders)
        seen = f"grew {watch.growth_mib:.1f} MiB, slowest answer {slowest_s:.3f} s"
        print(seen)  # noqa: T201
        assert watch.growth_mib < memory_mib, seen
        assert slowest_s < ANSWER_S + watch.late_s, seen
        workers = children(self.server.process.pid)
        assert workers == self.workers, f"{self.workers} are now {workers}:\n{self.log()}"
        attack.check_books(before)
        attack.check_log(offset)

    def _when_quiet(self) -> Books:
        """Return the books once only bystanders are open: what came before is over."""

        def quiet() -> Books | None:
            books = self.books()
            return books if books.open.total() == len(self.bystanders) else None

        return wait_until(quiet, GONE_S, message="nobody but bystanders")


def remember(request: bytes) -> None:
    """Remember what is secret in a request: its query string, and what identifies its client."""
    head = request.partition(b"\r\n\r\n")[0].decode("latin-1")
    line, *headers = head.split("\r\n")
    path = line.split(" ")[1]
    for pair in path.partition("?")[2].split("&"):
        secret(pair)
        secret(pair.partition("=")[2])
    for name, _, value in (header.partition(":") for header in headers):
        if name.lower() in _SECRET_HEADERS:
            for part in value.replace(",", " ").replace(";", " ").replace("=", " ").split():
                secret(part)


def detail(response: Response) -> Any:
    """Return what a refusal of the app says; nothing for any other answer."""
    return json.loads(response.body)["detail"] if response.body else None
