"""Owns what is done about a client that reads too slowly for what is sent to many.

A policy hands one message to an outbox and returns how many messages its client will not get
because of that. It never waits. What a view sends to its own client waits for room and is not
dropped; see `Connection.post`.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from server.close_codes import CloseCode
from server.transport import Event

if TYPE_CHECKING:
    from server.connection import Connection
    from server.outbox import Outbox

log = logging.getLogger("switchboard.connection")
DISCONNECT = "disconnect"
LATEST = "latest"


def _refuse(outbox: "Outbox", event: Event, size_bytes: int) -> int:
    """Leave out a message that finds the outbox full."""
    return 0 if outbox.enqueue(event, size_bytes) else 1


def _drop_oldest(outbox: "Outbox", event: Event, size_bytes: int) -> int:
    """Drop the oldest until there is room; when only the view's own are left, the new one."""
    lost = 0
    while not outbox.enqueue(event, size_bytes):
        lost += 1
        if not outbox.drop_oldest():
            break
    return lost


def _keep_latest(outbox: "Outbox", event: Event, size_bytes: int) -> int:
    """Put it in the place of the one that waits, which is all that ever does.

    It is queued beside a full window of the view's own too: or the newest would be the one lost.
    """
    replaced = outbox.drop_oldest()
    outbox.enqueue(event, size_bytes, even_if_full=True)
    return int(replaced)


POLICIES: dict[str, Callable[["Outbox", Event, int], int]] = {
    DISCONNECT: _refuse,
    "drop_oldest": _drop_oldest,
    "drop_newest": _refuse,
    LATEST: _keep_latest,
}


def lose(ws: "Connection", messages: int) -> bool:
    """Count and log that a client lost so many messages; False if it is to be disconnected."""
    policy = ws.route.slow_consumer
    if policy == DISCONNECT:
        count_disconnect(ws)
        return False
    ws._outbox.overflow()
    if not ws.messages_dropped:
        log.warning("%s: slow consumer, messages are dropped (%s)", ws.route.pattern.text, policy)
    ws.messages_dropped += messages
    for _ in range(messages):
        ws._ledger.slow(ws.route, policy)
    return True


def count_disconnect(ws: "Connection") -> None:
    """Count and log a client that is about to be disconnected for not reading."""
    ws._app.count_slow_consumer(ws.route)
    log.warning("%s: slow consumer closed with 1013", ws.route.pattern.text)


async def disconnect(ws: "Connection") -> None:
    """Close with 1013. What waits is let go of first: it would not be read in time, either."""
    ws._outbox.abandon()
    await ws.kick(CloseCode.TRY_AGAIN_LATER, "slow consumer")
