"""Owns the errors and close codes of the realtime protocol; knows no frame and no connection."""

from server.close_codes import OWN_CODES, UNAUTHORIZED, CloseCode
from workers.journal import MessageTooLarge
from workers.journal_lock import JournalStalled
from workers.memberships import MembershipsFull
from workers.room_directory import DirectoryFull

ERRORS: dict[str, tuple[bool, str]] = {
    "malformed": (False, "this cannot be decoded"),
    "invalid_frame": (False, "the frame is not valid"),
    "unknown_type": (False, "there is no such frame"),
    "connect_expected": (False, "the first frame is connect"),
    "unauthorized": (False, "the app does not let this client in"),
    "bad_token": (False, "the token is no good; the one before counts on"),
    "too_many_connections": (True, "this user has as many connections as may be"),
    "already_connected": (False, "connect came before"),
    "forbidden": (False, "the app does not let this client do that"),
    "bad_room": (False, "that cannot name a room"),
    "bad_data": (False, "this data cannot be published"),
    "too_large": (False, "the data is larger than the server's journal takes"),
    "too_many_rooms": (False, "the client is in as many rooms as it may be"),
    "not_member": (False, "this is for members of the room: join it first"),
    "no_presence": (False, "there is no presence in this room"),
    "rooms_full": (True, "the server has no place for another room now"),
    "memberships_full": (True, "the worker has no place for another member now"),
    "stalled": (True, "publishing stands still now"),
}
"""By code: whether the request may succeed later, and the message if there is none that says more.

docs/protocol.md lists them.
"""

CLOSE_CODES = OWN_CODES
"""Those that the protocol uses beside the registered ones, with their reasons."""

CLOSED_BY = {"unauthorized": UNAUTHORIZED, "too_many_connections": CloseCode.POLICY_VIOLATION}
"""The codes that errors before `connected` close with; all others: BAD_CONNECT."""

FAILURES: dict[type[Exception], str] = {
    DirectoryFull: "rooms_full",
    MembershipsFull: "memberships_full",
    JournalStalled: "stalled",
    MessageTooLarge: "too_large",
}
"""What rooms raise when the server is at a limit, and the error that a client gets for it."""

_MESSAGE_CHARACTERS = 200


class Refused(Exception):
    """A request that is answered with an error.

    Attributes:
        code: one of `ERRORS`.
        message: for a developer.
        id: of the request, if it is known.
    """

    def __init__(self, code: str, message: str = "", id: int | None = None) -> None:
        self.code = code
        self.message = (message or ERRORS[code][1])[:_MESSAGE_CHARACTERS]
        self.id = id
        super().__init__(code, self.message)

    @property
    def retry(self) -> bool:
        """Whether the same request may succeed later."""
        return ERRORS[self.code][0]
