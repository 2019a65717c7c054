"""Owns the WebSocket close codes: their names and which may be sent; knows no connection.

Source: RFC 6455 section 7.4 and the IANA "WebSocket Close Code Number Registry".
"""

from collections.abc import Mapping
from enum import IntEnum

from workers.layout import CODES

MAX_REASON_BYTES = 123  # RFC 6455 section 5.5: a control frame carries 125 bytes, 2 are the code.


class CloseCode(IntEnum):
    """Registered close codes under the names of both guides; equal values are aliases."""

    NORMAL_CLOSURE = 1000
    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RECEIVED = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_FRAME_PAYLOAD_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVER_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015


WS_1000_NORMAL_CLOSURE = CloseCode.NORMAL_CLOSURE
WS_1001_GOING_AWAY = CloseCode.GOING_AWAY
WS_1002_PROTOCOL_ERROR = CloseCode.PROTOCOL_ERROR
WS_1003_UNSUPPORTED_DATA = CloseCode.UNSUPPORTED_DATA
WS_1005_NO_STATUS_RCVD = CloseCode.NO_STATUS_RECEIVED
WS_1006_ABNORMAL_CLOSURE = CloseCode.ABNORMAL_CLOSURE
WS_1007_INVALID_FRAME_PAYLOAD_DATA = CloseCode.INVALID_FRAME_PAYLOAD_DATA
WS_1008_POLICY_VIOLATION = CloseCode.POLICY_VIOLATION
WS_1009_MESSAGE_TOO_BIG = CloseCode.MESSAGE_TOO_BIG
WS_1010_MANDATORY_EXT = CloseCode.MANDATORY_EXTENSION
WS_1011_INTERNAL_ERROR = CloseCode.INTERNAL_ERROR
WS_1012_SERVICE_RESTART = CloseCode.SERVICE_RESTART
WS_1013_TRY_AGAIN_LATER = CloseCode.TRY_AGAIN_LATER
WS_1014_BAD_GATEWAY = CloseCode.BAD_GATEWAY
WS_1015_TLS_HANDSHAKE = CloseCode.TLS_HANDSHAKE

WEBSOCKET_CLOSE_CODES: dict[int, str] = {
    1000: "Normal Closure",
    1001: "Going Away",
    1002: "Protocol Error",
    1003: "Unsupported Data",
    1005: "No Status Received",
    1006: "Abnormal Closure",
    1007: "Invalid Frame Payload Data",
    1008: "Policy Violation",
    1009: "Message Too Big",
    1010: "Mandatory Extension",
    1011: "Internal Error",
    1015: "TLS Handshake",
}
"""The twelve codes that Bocadillo listed, with their meaning."""

NOT_HEARD, NOTHING_SAID, TOKEN_EXPIRED, LIFETIME_OVER = 4001, 4002, 4003, 4004
BAD_CONNECT, UNAUTHORIZED, FORBIDDEN = 4501, 4502, 4503
OWN_CODES = {
    NOT_HEARD: "Not Heard Of",
    NOTHING_SAID: "Nothing Said In Time",
    TOKEN_EXPIRED: "Token Expired",
    LIFETIME_OVER: "Lifetime Over",
    BAD_CONNECT: "No Valid Connect",
    UNAUTHORIZED: "Unauthorized",
    FORBIDDEN: "Forbidden",
}
"""Those the server sends by itself beside the registered ones, with their reasons.

A client may connect again after those below 4500, and not after the others.
"""


def is_sendable(code: int) -> bool:
    """Tell whether `code` may stand in a close frame (RFC 6455 section 7.4.1 and 7.4.2)."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


def check_close(code: object, reason: object) -> None:
    """Refuse a close that no peer may be sent.

    Args:
        code: 1000-1003, 1007-1014 or 3000-4999.
        reason: at most 123 bytes of UTF-8.

    Raises:
        TypeError: `code` is not an int or `reason` not a str.
        ValueError: either is outside those limits.
    """
    if not isinstance(code, int) or isinstance(code, bool):
        raise TypeError(f"close code must be an int, not {type(code).__name__}")
    if not isinstance(reason, str):
        raise TypeError(f"close reason must be a str, not {type(reason).__name__}")
    if not is_sendable(code):
        raise ValueError(
            f"close code {int(code)} may not be sent: use 1000-1003, 1007-1014 or 3000-4999"
            " (4000-4999 for your own)"
        )
    size = len(reason.encode("utf-8", "surrogatepass"))
    if size > MAX_REASON_BYTES:
        raise ValueError(
            f"close reason is {size} bytes, the limit is {MAX_REASON_BYTES}: shorten it"
            " (see truncate_reason)"
        )
    try:
        reason.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"close reason is not valid UTF-8: {error.reason}") from error


def check_close_codes(codes: Mapping[int, str]) -> dict[int, str]:
    """Return the close codes that an app declares.

    Raises:
        TypeError: one is no int.
        ValueError: one may not be sent, or they are too many to be counted.
    """
    for code in codes:
        check_close(code, "")
    counted = {code.value for code in CloseCode} | OWN_CODES.keys()
    limit = CODES - 1 - len(counted)  # and `other`
    if len(codes.keys() - counted) > limit:
        raise ValueError(f"close_codes has {len(codes)} codes, the limit is {limit}")
    return dict(codes)


def truncate_reason(reason: str) -> str:
    """Cut `reason` to what fits a close frame, without splitting a character."""
    data = reason.encode("utf-8", "replace")
    if len(data) <= MAX_REASON_BYTES:
        return data.decode()
    return data[: MAX_REASON_BYTES - 3].decode("utf-8", "ignore") + "..."
