"""Owns the Switchboard application that keeps no books: what `overhead` measures the other against.

Off are the rows of the registry, all counters, the sweep, the line at the end of a connection (it
is served with `--log-level warning`), and in the code that runs for each message the statements
that count it or time its handling. These are cut out of the product's own functions when this
module is imported, so that all else stays what it is. Left on are the heartbeat, the admin port,
and what has another purpose too: the size of a message, which has a limit.
"""

import ast
import inspect
import textwrap
from collections.abc import Sequence
from typing import Any

from benchmarks.apps.switchboard_app import echo
from server import App
from server.connection import Connection
from server.ledger import Ledger
from server.outbox import PipelinedOutbox
from server.recorded import Recorded
from server.websocket import WebSocket
from server.websocket_route import WebSocketRoute
from workers.segment import Segment

_COUNTS = {"messages_received", "bytes_received", "messages", "size_bytes"}
_TIMES = {"_handling_since_s", "messages_received"}  # every 16th message is timed
_RECORDING = {
    WebSocket: ("_take_payload", "_payload", "_payloads", "_open_event", "_count"),
    PipelinedOutbox: ("offer", "_append"),
}


class _WithoutRecording(ast.NodeTransformer):
    """Removes `self.messages += 1` and its like, and every `if` that is about them."""

    def __init__(self) -> None:
        self.removed = 0

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST | None:
        if isinstance(node.target, ast.Attribute) and node.target.attr in _COUNTS:
            self.removed += 1
            return None
        return node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        names = {part.attr for part in ast.walk(node.test) if isinstance(part, ast.Attribute)}
        if names & _TIMES:
            self.removed += 1
            return None
        return self.generic_visit(node)


def _cut(owner: type, name: str) -> None:
    """Put in the place of a method the same one without what records.

    Raises:
        RuntimeError: it has nothing of that kind any more, so this module is out of date.
    """
    function = getattr(owner, name)
    transformer = _WithoutRecording()
    tree = transformer.visit(ast.parse(textwrap.dedent(inspect.getsource(function))))
    if not transformer.removed:
        raise RuntimeError(f"{owner.__name__}.{name} records nothing: look at {__name__}")
    made: dict[str, Any] = {}
    code = compile(ast.fix_missing_locations(tree), inspect.getfile(function), "exec")
    exec(code, function.__globals__, made)  # noqa: S102 - our own source, less some statements
    setattr(owner, name, made[name])


class NoLedger(Ledger):
    """Writes nothing."""

    def enter(self, ws: Connection) -> None:
        """Let it in."""

    def closing(self, ws: Recorded) -> None:
        """Show nothing."""

    def leave(self, ws: Connection) -> None:
        """Let it go, without a line."""

    def show_user(self, ws: Recorded) -> None:
        """Show nothing."""

    def find(self, ids: Sequence[str]) -> list[Connection]:
        """Know nobody."""
        return []

    def refuse(self, route: WebSocketRoute | None, status: int) -> None:
        """Count nothing."""

    def error(self, route: WebSocketRoute) -> None:
        """Count nothing."""

    def slow(self, route: WebSocketRoute, policy: str) -> None:
        """Count nothing."""

    def limited(self, route: WebSocketRoute | None, limit: str) -> None:
        """Count nothing."""


class UnrecordedApp(App):
    """An app whose place in the server comes with a ledger that writes nothing."""

    def adopt(
        self, segment: Segment, slot_number: int, *, generation: int, worker_index: int
    ) -> None:
        """Take the place."""
        self.runtime.adopt(NoLedger(segment, slot_number, generation, worker_index=worker_index))


for _owner, _names in _RECORDING.items():
    for _name in _names:
        _cut(_owner, _name)

app = UnrecordedApp()
app.websocket("/echo")(echo)
