"""Switchboard: a WebSocket server that keeps many connections across worker processes.

These are the public names; everything else may change. See docs/ for guides and reference.
"""

# ruff: noqa: E402 - the order of these two lines is their point
from server.shadowing import require_our_workers

require_our_workers()

from server.app import App, BoltAPI
from server.close_codes import (
    WEBSOCKET_CLOSE_CODES,
    WS_1000_NORMAL_CLOSURE,
    WS_1001_GOING_AWAY,
    WS_1002_PROTOCOL_ERROR,
    WS_1003_UNSUPPORTED_DATA,
    WS_1005_NO_STATUS_RCVD,
    WS_1006_ABNORMAL_CLOSURE,
    WS_1007_INVALID_FRAME_PAYLOAD_DATA,
    WS_1008_POLICY_VIOLATION,
    WS_1009_MESSAGE_TOO_BIG,
    WS_1010_MANDATORY_EXT,
    WS_1011_INTERNAL_ERROR,
    WS_1012_SERVICE_RESTART,
    WS_1013_TRY_AGAIN_LATER,
    WS_1014_BAD_GATEWAY,
    WS_1015_TLS_HANDSHAKE,
    CloseCode,
)
from server.exceptions import (
    ExpectedAsync,
    InvalidMessage,
    MessageRateExceeded,
    MessageTooBig,
    ParameterError,
    ProviderDeclarationError,
    ProviderDoesNotExist,
    ProviderError,
    RecursiveProviderError,
    RouteError,
    SettingsError,
    TooManyConnections,
    TooManyRooms,
    UnexpectedFrame,
    UnknownScope,
    WebSocketClose,
    WebSocketDisconnect,
    WebSocketException,
)
from server.limits import AdmissionLimits, ConnectionLimits
from server.params import Cookie, Depends, Header, Query
from server.providers import Provider, discover_providers, override_provider, provider, useprovider
from server.rates import rate_limit
from server.room import Joined, Published, Room, RoomMessage
from server.routes import Router
from server.states import WebSocketState
from server.websocket import WebSocket

__version__ = "0.1.0"

__all__ = [
    "WEBSOCKET_CLOSE_CODES",
    "WS_1000_NORMAL_CLOSURE",
    "WS_1001_GOING_AWAY",
    "WS_1002_PROTOCOL_ERROR",
    "WS_1003_UNSUPPORTED_DATA",
    "WS_1005_NO_STATUS_RCVD",
    "WS_1006_ABNORMAL_CLOSURE",
    "WS_1007_INVALID_FRAME_PAYLOAD_DATA",
    "WS_1008_POLICY_VIOLATION",
    "WS_1009_MESSAGE_TOO_BIG",
    "WS_1010_MANDATORY_EXT",
    "WS_1011_INTERNAL_ERROR",
    "WS_1012_SERVICE_RESTART",
    "WS_1013_TRY_AGAIN_LATER",
    "WS_1014_BAD_GATEWAY",
    "WS_1015_TLS_HANDSHAKE",
    "AdmissionLimits",
    "App",
    "BoltAPI",
    "CloseCode",
    "ConnectionLimits",
    "Cookie",
    "Depends",
    "ExpectedAsync",
    "Header",
    "InvalidMessage",
    "Joined",
    "MessageRateExceeded",
    "MessageTooBig",
    "ParameterError",
    "Provider",
    "ProviderDeclarationError",
    "ProviderDoesNotExist",
    "ProviderError",
    "Published",
    "Query",
    "RecursiveProviderError",
    "Room",
    "RoomMessage",
    "RouteError",
    "Router",
    "SettingsError",
    "TooManyConnections",
    "TooManyRooms",
    "UnexpectedFrame",
    "UnknownScope",
    "WebSocket",
    "WebSocketClose",
    "WebSocketDisconnect",
    "WebSocketException",
    "WebSocketState",
    "discover_providers",
    "override_provider",
    "provider",
    "rate_limit",
    "useprovider",
]
