"""Owns the vocabulary of the conformance table: what a case is and what a client can do in one.

A case is data. `play` runs it on any host; it knows clients only through `hosts`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.conformance.base import KEY_HEADER
from tests.conformance.hosts import Connect, Host, Peer, PeerClosed, Refused

ANY_REASON: Any = re.compile("", re.DOTALL)


class Differs:
    """A value (or a list of steps) that is not the same on every host, and why.

    Args:
        because: the reason; shown when the case fails.
        otherwise: the value on hosts that are not named.
        by_host: by name of the host; `testing` names both test clients, `wire` both servers.
    """

    def __init__(self, because: str, otherwise: Any, **by_host: Any) -> None:
        self.because = because
        self.otherwise = otherwise
        self.by_host = by_host

    def __repr__(self) -> str:
        return f"<differs because {self.because}>"

    def on(self, host: Host) -> Any:
        kind = "wire" if host.is_wire else "testing"
        return self.by_host.get(host.name, self.by_host.get(kind, self.otherwise))


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        source: the rows of the guides' tables, the decisions and the table cells it stands for.
        path: where peer "a" connects before the first step; {key} and {authority} are filled in.
        notes: exactly what the views note, in this order.
        raises: what the app raised into its host, as "Type: text"; the text may be left out.
    """

    name: str
    source: str
    path: Any
    steps: tuple[Any, ...]
    headers: Mapping[str, str] = field(default_factory=dict)
    subprotocols: Sequence[str] = ()
    notes: Any = ()
    raises: Any = ()


def case(name: str, source: str, path: Any, *steps: Any, **options: Any) -> Case:
    return Case(name, source, path, steps, **options)


class Run:
    """One case on one host."""

    def __init__(self, case: Case, host: Host, connect: Connect) -> None:
        self.case = case
        self.host = host
        self.key = uuid4().hex
        self.peers: dict[str, Peer] = {}
        self._connect = connect

    def value(self, value: Any) -> Any:
        """Choose what counts on this host, and fill in {key} and {authority}."""
        if isinstance(value, Differs):
            return self.value(value.on(self.host))
        if isinstance(value, str):
            return value.replace("{key}", self.key).replace("{authority}", self.host.authority)
        if isinstance(value, dict):
            return {name: self.value(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.value(item) for item in value)
        return value

    async def connect(
        self,
        path: Any,
        headers: Mapping[str, str] | None = None,
        subprotocols: Sequence[str] = (),
        *,
        is_watched: bool = True,
    ) -> Peer:
        merged = {**(headers or {}), **({KEY_HEADER: self.key} if is_watched else {})}
        return await self._connect(self.value(path), self.value(merged), tuple(subprotocols))

    async def connect_first(self) -> Peer:
        return await self.connect(self.case.path, self.case.headers, self.case.subprotocols)

    async def report(self) -> dict[str, list[str]]:
        """What the server kept of this case, after all its connections have ended."""
        peer = await self.connect("/watch/{key}", is_watched=False)
        answer = json.loads(await peer.receive())
        await peer.end()
        return answer  # type: ignore[no-any-return]


class Step:
    """Something that a client does or sees."""

    async def play(self, run: Run) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Connects(Step):
    """Another client connects."""

    peer: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)

    async def play(self, run: Run) -> None:
        run.peers[self.peer] = await run.connect(self.path, self.headers)


@dataclass(frozen=True)
class Denied(Step):
    """The handshake is answered with an HTTP status; must be the first step.

    Attributes:
        body: must be contained in the body.
        headers: must be among the headers.
    """

    status: Any = 403
    body: Any = ""
    headers: Any = field(default_factory=dict)

    async def play(self, run: Run) -> None:
        try:
            await run.connect_first()
        except Refused as refused:
            answer = refused
        else:
            raise AssertionError("the handshake was accepted")
        assert answer.status == run.value(self.status)
        assert run.value(self.body) in answer.body
        assert run.value(self.headers).items() <= answer.headers.items()


@dataclass(frozen=True)
class Sends(Step):
    """A text frame for a str, a binary one for bytes."""

    payload: str | bytes
    peer: str = "a"

    async def play(self, run: Run) -> None:
        await run.peers[self.peer].send(run.value(self.payload))


@dataclass(frozen=True)
class SendsJson(Step):
    """JSON in a text frame."""

    message: Any
    peer: str = "a"

    async def play(self, run: Run) -> None:
        await run.peers[self.peer].send(json.dumps(run.value(self.message)))


@dataclass(frozen=True)
class Gets(Step):
    """The next message is this one: a text frame for a str, a binary one for bytes."""

    payload: Any
    peer: str = "a"

    async def play(self, run: Run) -> None:
        got = await run.peers[self.peer].receive()
        assert got == run.value(self.payload)


@dataclass(frozen=True)
class GetsJson(Step):
    """The next message is a text frame with this JSON."""

    message: Any
    peer: str = "a"

    async def play(self, run: Run) -> None:
        got = await run.peers[self.peer].receive()
        assert isinstance(got, str)
        assert json.loads(got) == run.value(self.message)


@dataclass(frozen=True)
class Closed(Step):
    """The server closes, with nothing sent before."""

    code: Any
    reason: Any = ""
    peer: str = "a"

    async def play(self, run: Run) -> None:
        try:
            got = await run.peers[self.peer].receive()
        except PeerClosed as closed:
            answer = closed
        else:
            raise AssertionError(f"expected a close, got the message {got!r}")
        assert answer.code == run.value(self.code)
        reason = run.value(self.reason)
        if isinstance(reason, str):
            assert answer.reason == reason
        else:
            assert reason.search(answer.reason), answer.reason


@dataclass(frozen=True)
class Leaves(Step):
    """The client closes; without a code in the frame if `code` is None."""

    code: int | None = 1000
    reason: str = ""
    peer: str = "a"

    async def play(self, run: Run) -> None:
        await run.peers[self.peer].leave(self.code, self.reason)


@dataclass(frozen=True)
class Vanishes(Step):
    """The client's connection breaks without a close frame."""

    peer: str = "a"

    async def play(self, run: Run) -> None:
        await run.peers[self.peer].vanish()


@dataclass(frozen=True)
class Accepted(Step):
    """What the client got with the handshake."""

    subprotocol: Any = None
    headers: Any = field(default_factory=dict)
    peer: str = "a"

    async def play(self, run: Run) -> None:
        peer = run.peers[self.peer]
        assert peer.subprotocol == run.value(self.subprotocol)
        assert run.value(self.headers).items() <= peer.headers.items()


@dataclass(frozen=True)
class Logs(Step):
    """The server has printed this, once; None where nothing is printed."""

    text: Any

    async def play(self, run: Run) -> None:
        text = run.value(self.text)
        if text is not None:
            assert run.host.printed(text).count(text) == 1


async def play(case: Case, host: Host) -> None:
    """Run a case and check everything that the server kept of it."""
    with host.session(raises_at_entry=not _is_denied(case)) as connect:
        run = Run(case, host, connect)
        async with AsyncExitStack() as stack:
            surfaced: list[str] = []

            async def end_all() -> None:
                for peer in run.peers.values():
                    surfaced.extend(await peer.end())

            stack.push_async_callback(end_all)
            await _play_steps(run)
        report = await run.report()
    assert report["notes"] == list(run.value(case.notes))
    expected = [run.value(case.raises)] if isinstance(run.value(case.raises), str) else []
    assert _matches(report["raised"], expected), f"{report['raised']} instead of {expected}"
    if not host.is_wire and not _is_denied(case) and expected != ["CancelledError"]:
        assert _matches(surfaced, expected), f"{surfaced} came up instead of {expected}"


def _is_denied(case: Case) -> bool:
    return bool(case.steps) and isinstance(case.steps[0], Denied)


async def _play_steps(run: Run) -> None:
    if not _is_denied(run.case):
        run.peers["a"] = await run.connect_first()
    steps = [run.value(step) for step in run.case.steps]
    flat = [one for step in steps for one in (step if isinstance(step, list) else [step])]
    for number, step in enumerate(flat, 1):
        try:
            await step.play(run)
        except BaseException as error:
            error.add_note(f"step {number}: {step!r}")
            raise


def _matches(raised: Sequence[str], expected: Sequence[str]) -> bool:
    return len(raised) == len(expected) and all(
        got == wanted or got.startswith(wanted + ":")
        for got, wanted in zip(raised, expected, strict=True)
    )
