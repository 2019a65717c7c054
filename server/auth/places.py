"""Owns where a client may put its token; knows nothing of what a token means."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where one backend looks for a token, in this order; None is nowhere.

    Attributes:
        cookie: the name of a cookie.
        header: the name of a header, lower case.
        schemes: that may stand before the token in the header, lower case; none is needed.
        subprotocol: offered in Sec-WebSocket-Protocol right before the token, such as "bearer".
        query_param: of the query string; of WebSockets only, which a browser gives no header.
        first_message_s: seconds in which the first message has to bring the token, if none of the
            others has one; None: no message is waited for.
    """

    cookie: str | None = None
    header: str | None = "authorization"
    schemes: tuple[str, ...] = ("bearer",)
    subprotocol: str | None = None
    query_param: str | None = None
    first_message_s: float | None = None
