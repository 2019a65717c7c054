"""Owns the states of a connection, as the guides have them and as the code tells them apart."""

from enum import IntEnum


class WebSocketState(IntEnum):
    """The three states of both guides."""

    CONNECTING = 0
    CONNECTED = 1
    DISCONNECTED = 2


class Phase(IntEnum):
    """The states the code tells apart; DISCONNECTED is two, as the methods differ."""

    CONNECTING = 0
    CONNECTED = 1
    CLOSED = 2  # by this side: close(), reject(), deny()
    LEFT = 3  # the peer went, or the server ended the connection under the handler


CONNECTED = Phase.CONNECTED


def refusal(action: str, phase: Phase) -> RuntimeError:
    """Return the error for using a connection before accept or after it was closed."""
    if phase is Phase.CONNECTING:
        return RuntimeError(f"{action} before accept(): call await ws.accept() first")
    return RuntimeError(f"{action} after close() or reject(): return from the view instead")
