"""Owns what one WebSocket route is: its view and its options, checked when it is registered.

It does not know which router it is in, nor how a connection runs.
"""

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from re import Pattern as Regex
from typing import Any, TypedDict

from server.auth.access import Access
from server.auth.guards import GuardLike
from server.auth.identity import Backend
from server.codecs import CODECS, Codec
from server.exceptions import ExpectedAsync, RouteError
from server.limits import ConnectionLimits
from server.origin import Origins
from server.routing import Pattern
from server.slow import DISCONNECT, POLICIES
from server.transport import TransportLimits

View = Callable[..., Any]
CloseCodes = Collection[int] | Callable[..., Any]
"""Codes, or the builtin `all`."""
OriginList = Sequence[str | Regex[str]]

_WORDS = ("text", "bytes", "json", "event")


class RouteOptions(TypedDict, total=False):
    """What both decorators take beside what they differ in.

    Keys:
        codec: "json" or "msgpack" for structured types; None lets the subprotocol choose.
        subprotocols: accepted when the client offers one of them.
        max_message_size: bytes, over which a message closes with 1009; None: the app's.
        slow_consumer: what a message to many does that finds a client's outbox full:
            "disconnect" closes that client (1013), "drop_oldest" and "drop_newest" drop messages
            to many, "latest" keeps one of them waiting at most, the newest.
        outbox_messages, outbox_bytes: how many messages, and how many bytes of payload, may wait
            for a client; None: the settings' `window_messages` and `window_bytes`.
        auth: backends that are tried in order to find out who a client is; None: the app's.
        guards: what a client must be, from left to right; None: the app's.
        allowed_origins: of pages on other hosts that may connect; None: the app's.
        limits: of a connection; None: the app's.
        name: of the route, in `python -m server routes`.
    """

    codec: str | None
    subprotocols: Sequence[str]
    max_message_size: int | None
    slow_consumer: str
    outbox_messages: int | None
    outbox_bytes: int | None
    auth: Sequence[Backend] | None
    guards: Sequence[GuardLike] | None
    allowed_origins: OriginList | None
    limits: ConnectionLimits | None
    name: str | None


@dataclass(frozen=True, eq=False)
class WebSocketRoute:
    """One WebSocket route, as registered.

    Attributes:
        receive_type, send_type: "text", "bytes", "json", "event", or a type msgspec decodes.
        caught_close_codes: disconnects that are silenced; the builtin `all` means every code.
        silences_at_exit: whether a caught disconnect may leave the view; a manual
            `websocket_route` catches only inside `async with ws`, as Bocadillo's does.
        codec: None lets the accepted subprotocol choose, JSON otherwise.
        subprotocols: offered to clients when the route accepts by itself.
        max_message_size: bytes; None takes the app's.
        slow_consumer: the name of one of `slow.POLICIES`.
        outbox_messages, outbox_bytes: what may wait for a client; None takes the settings'.
        access: who may come in; what it leaves open is the app's.
        origins: whose pages may connect; None takes the app's.
        limits: of a connection; None takes the app's.
        reads_token: whether the view takes the token out of the first message by itself.
    """

    pattern: Pattern
    view: View
    auto_accept: bool
    receive_type: Any
    send_type: Any
    caught_close_codes: CloseCodes
    silences_at_exit: bool
    codec: Codec | None
    subprotocols: tuple[str, ...]
    max_message_size: int | None
    slow_consumer: str
    outbox_messages: int | None
    outbox_bytes: int | None
    access: Access
    origins: Origins | None
    limits: ConnectionLimits | None
    reads_token: bool
    name: str

    def catches(self, code: int) -> bool:
        """Whether a disconnect with `code` is silenced."""
        codes = self.caught_close_codes
        return codes is all or (isinstance(codes, Collection) and code in codes)

    def bounds(self, limits: TransportLimits) -> TransportLimits:
        """Return the limits of a connection on this route, given those of the app."""
        messages = self.outbox_messages or limits.window_messages
        size_bytes = self.outbox_bytes or limits.window_bytes
        if (messages, size_bytes) == (limits.window_messages, limits.window_bytes):
            return limits
        return replace(limits, window_messages=messages, window_bytes=size_bytes)


def make_websocket_route(
    pattern: Pattern,
    view: View,
    *,
    auto_accept: bool,
    types: tuple[Any, Any],
    caught: CloseCodes,
    silences_at_exit: bool,
    codec: str | None = None,
    subprotocols: Sequence[str] = (),
    max_message_size: int | None = None,
    slow_consumer: str = DISCONNECT,
    outbox_messages: int | None = None,
    outbox_bytes: int | None = None,
    auth: Sequence[Backend] | None = None,
    guards: Sequence[GuardLike] | None = None,
    allowed_origins: OriginList | None = None,
    limits: ConnectionLimits | None = None,
    reads_token: bool = False,
    name: str | None = None,
) -> WebSocketRoute:
    """Return a route; the options are those of `RouteOptions`.

    Raises:
        RouteError: an option has an impossible value.
        ExpectedAsync: the view is not `async def`.
    """
    where = f"route {pattern.text!r}"
    if not inspect.iscoroutinefunction(view):
        raise ExpectedAsync(f"{where}: {view_name(view)!r} must be 'async def'")
    subprotocols = strings(where, "subprotocols", subprotocols)
    if codec is not None and codec not in CODECS:
        raise RouteError(f"{where}: codec {codec!r} is unknown, use one of {sorted(CODECS)}")
    if caught is not all and not (
        isinstance(caught, Collection) and all(isinstance(code, int) for code in caught)
    ):
        raise RouteError(f"{where}: caught_close_codes must be a tuple of codes, or all")
    if slow_consumer not in POLICIES:
        raise RouteError(
            f"{where}: slow_consumer {slow_consumer!r} is none of {', '.join(POLICIES)}"
        )
    _check_at_least_1(where, "max_message_size", max_message_size, "byte")
    _check_at_least_1(where, "outbox_messages", outbox_messages, "message")
    _check_at_least_1(where, "outbox_bytes", outbox_bytes, "byte")
    for type_ in types:
        _check_type(where, type_)
    structured = any(not isinstance(type_, str) or type_ == "json" for type_ in types)
    if structured and codec is None and not subprotocols:
        subprotocols = tuple(CODECS)
    return WebSocketRoute(
        pattern=pattern,
        view=view,
        auto_accept=auto_accept,
        receive_type=types[0],
        send_type=types[1],
        caught_close_codes=caught,
        silences_at_exit=silences_at_exit,
        codec=CODECS[codec] if codec else None,
        subprotocols=subprotocols,
        max_message_size=max_message_size,
        slow_consumer=slow_consumer,
        outbox_messages=outbox_messages,
        outbox_bytes=outbox_bytes,
        access=make_access(where, auth, guards),
        origins=make_origins(where, allowed_origins),
        limits=limits,
        reads_token=reads_token,
        name=name or view_name(view),
    )


def make_access(
    where: str,
    auth: Sequence[Backend] | None,
    guards: Sequence[GuardLike] | None,
) -> Access:
    """Return who may come in.

    Raises:
        RouteError: something in the lists is no backend or no guard.
    """
    try:
        return Access.of(auth, guards)
    except TypeError as error:
        raise RouteError(f"{where}: {error}") from None


def make_origins(where: str, allowed: OriginList | None) -> Origins | None:
    """Return whose pages may connect, None if nothing is said of it.

    Raises:
        RouteError: something in the list can be no origin.
    """
    try:
        return None if allowed is None else Origins(allowed)
    except (TypeError, ValueError) as error:
        raise RouteError(f"{where}: allowed_origins: {error}") from None


def view_name(view: View) -> str:
    """Return the name of a view; a functools.partial has none of its own."""
    return str(getattr(view, "__name__", view))


def strings(where: str, option: str, values: Sequence[str]) -> tuple[str, ...]:
    """Return a list of strings that is none itself: that is a sequence too, of its characters.

    Raises:
        RouteError: it is a string.
    """
    if isinstance(values, str):
        raise RouteError(f"{where}: {option} must be a list, such as [{values!r}]")
    return tuple(values)


def _check_at_least_1(where: str, option: str, value: int | None, unit: str) -> None:
    if value is not None and value < 1:
        raise RouteError(f"{where}: {option} must be at least 1 {unit}")


def _check_type(where: str, type_: Any) -> None:
    if isinstance(type_, str):
        if type_ not in _WORDS:
            raise RouteError(f"{where}: value type {type_!r} is none of {', '.join(_WORDS)}")
        return
    try:
        CODECS["json"].decoder(type_)
    except TypeError as error:
        raise RouteError(f"{where}: messages cannot have type {type_!r}: {error}") from None
