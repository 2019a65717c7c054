"""Owns every exception that handler code can meet; knows nothing of how they arise.

WebSocketException             a fault that ends the connection with its code
    WebSocketDisconnect        the peer is gone (or the server closed under the handler)
    WebSocketClose             raise it to close with a code and a reason
    UnexpectedFrame            a text frame where bytes were due, or the reverse (also TypeError)
    MessageTooBig              a message over the route's limit
    MessageRateExceeded        messages, or their bytes, faster than the limits let them come
    TooManyRooms               join() of one room more than the limit
    TooManyConnections         one connection more of an address or a user than the limit
    InvalidMessage             a typed message that does not validate (also msgspec.ValidationError)
    ServerUnavailable          accept() when the worker is full or draining; refused with 503
ParameterError                 a path, query, header or cookie value that does not convert
ExpectedAsync                  a WebSocket view that is not `async def` (also TypeError)
RouteError                     a pattern or route that cannot be registered (also ValueError)
ProviderError                  a provider that cannot be declared or resolved
    ProviderDoesNotExist
    UnknownScope
    ProviderDeclarationError
    RecursiveProviderError
SettingsError                  a setting, or the app to serve, that cannot be used
"""

import msgspec

from server.close_codes import CloseCode, check_close, truncate_reason


class WebSocketException(Exception):
    """Ends the view and closes the connection with `code` and `reason`.

    Attributes:
        http_status: what it is before accept.

    Raises:
        ValueError: the code may not be sent, or the reason is over 123 bytes.
    """

    http_status = 403

    def __init__(self, code: int = CloseCode.INTERNAL_ERROR, reason: str = "") -> None:
        check_close(code, reason)
        self._set(code, reason)

    def _set(self, code: int, reason: str) -> None:
        self.code = int(code)
        self.reason = reason
        Exception.__init__(self, self.code, reason)

    def __str__(self) -> str:
        return f"{self.code} {self.reason}".rstrip()


class WebSocketDisconnect(WebSocketException):
    """The peer is gone.

    `code` is what the peer sent, 1005 if it sent none, 1006 if a send found it gone; so any
    number may stand here, also one that may not be sent.
    """

    def __init__(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        self._set(code, reason)


class WebSocketClose(WebSocketException):
    """Raise it anywhere in a view to close with `code` and `reason`; before accept it refuses."""

    def __init__(self, code: int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        super().__init__(code, reason)


def sole_cause(error: BaseException | None, *others: type[BaseException]) -> BaseException | None:
    """Return the one thing that ended a task group, if it concerns a WebSocket, else `error`.

    Args:
        others: what does, beside `WebSocketException`.
    """
    if isinstance(error, BaseExceptionGroup):
        kinds: tuple[type[BaseException], ...] = (WebSocketException, *others)
        matching, rest = error.split(kinds)
        if matching is not None and rest is None:
            inner: BaseException = matching
            while isinstance(inner, BaseExceptionGroup):
                inner = inner.exceptions[0]
            return inner
    return error


class UnexpectedFrame(WebSocketException, TypeError):
    """The peer sent the other kind of frame (text or binary); closes with 1003."""

    def __init__(self, expected: str, got: str) -> None:
        super().__init__(CloseCode.UNSUPPORTED_DATA, f"expected a {expected} frame, got {got}")


class MessageTooBig(WebSocketException):
    """The peer sent a message over the route's `max_message_size`; closes with 1009."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            CloseCode.MESSAGE_TOO_BIG, f"message of {size_bytes} bytes, limit {limit_bytes}"
        )


class MessageRateExceeded(WebSocketException):
    """The peer sends faster than `messages_per_s` or `bytes_per_s`; closes with 1008."""

    def __init__(self, unit: str, limit_per_s: float) -> None:
        super().__init__(
            CloseCode.POLICY_VIOLATION, f"too many {unit}: the limit is {limit_per_s:g} a second"
        )


class TooManyRooms(WebSocketException):
    """The connection is in as many rooms as it may be; closes with 1008."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            CloseCode.POLICY_VIOLATION, f"a connection may be in {limit} rooms, the limit"
        )


class TooManyConnections(WebSocketException):
    """There are as many connections of this address or user as may be; 429, or closes with 1008."""

    http_status = 429

    def __init__(self, problem: str) -> None:
        super().__init__(CloseCode.POLICY_VIOLATION, truncate_reason(problem))


class InvalidMessage(WebSocketException, msgspec.ValidationError):
    """A message on a typed route does not decode or validate; closes with 1007.

    The reason names the field, as msgspec reports it.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(CloseCode.INVALID_FRAME_PAYLOAD_DATA, truncate_reason(problem))


class ServerUnavailable(WebSocketException):
    """The server takes no connection now (it is full, or draining); refused with 503."""

    def __init__(self, problem: str) -> None:
        super().__init__(CloseCode.TRY_AGAIN_LATER, truncate_reason(problem))


class ParameterError(Exception):
    """A request value is missing (422) or does not convert (400); refused before accept.

    Attributes:
        source: "path", "query", "header" or "cookie".
        name: the name on the wire.
        status: the HTTP status of the refusal.
    """

    def __init__(self, source: str, name: str, problem: str, status: int = 400) -> None:
        super().__init__(f"{source} parameter {name!r}: {problem}")
        self.source = source
        self.name = name
        self.problem = problem
        self.status = status


class ExpectedAsync(TypeError):
    """A WebSocket view must be defined with `async def`."""


class RouteError(ValueError):
    """A route cannot be registered: bad pattern, or the pattern is taken."""


class ProviderError(Exception):
    """A provider cannot be declared or resolved."""


class ProviderDoesNotExist(ProviderError):
    """`useprovider` names a provider that was never declared."""


class UnknownScope(ProviderError):
    """The scope is neither "request" nor "app"."""


class ProviderDeclarationError(ProviderError):
    """The declaration contradicts itself, such as a lazy provider of scope "app"."""


class RecursiveProviderError(ProviderError):
    """Providers need each other in a circle."""


class SettingsError(Exception):
    """A setting cannot be used; the message says which, why, and the way out in one line."""
