"""Test clients that run an app in this process: one for plain tests, one for async tests.

Both drive the app through ASGI events, as a host does, with no socket; every wait is bounded.
"""

from server.testing.client import TestClient
from server.testing.session import ConnectionClosed, HandshakeRejected, WebSocketTestClient

WebSocketClient = WebSocketTestClient

__all__ = [
    "ConnectionClosed",
    "HandshakeRejected",
    "TestClient",
    "WebSocketClient",
    "WebSocketTestClient",
]
