"""Owns the frames of the realtime protocol and their limits; knows no connection and no codec.

docs/protocol.md says what each is for. An optional field that is None is left out.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

LARGEST = 2**53 - 1
"""Up to there an integer is exact in JavaScript."""
ROOM_BYTES = 254  # one less than the directory takes: a room's shadow has a longer name
HISTORY_MESSAGES = 1000
HISTORY_BYTES = 1 << 20
PRESENCE_MEMBERS = 1000
DEPTH = 100

Number = Annotated[int, Meta(ge=0, le=LARGEST)]
Epoch = Annotated[str, Meta(max_length=32)]
Count = Annotated[int, Meta(ge=1, le=HISTORY_MESSAGES)]


class Request(msgspec.Struct, tag_field="type", forbid_unknown_fields=True, kw_only=True):
    """A frame from a client."""

    id: Number


class Connect(Request, tag="connect"):
    """The first frame; `data` is for the app."""

    data: Any = None
    token: str | None = None


class Refresh(Request, tag="refresh"):
    """Bring a newer token."""

    token: str


class Join(Request, tag="join"):
    """Become a member, and be sent what was missed."""

    room: str
    since: Number | None = None
    epoch: Epoch | None = None


class Leave(Request, tag="leave"):
    """End a membership."""

    room: str


class Publish(Request, tag="publish"):
    """Publish to a room; `data` is still encoded."""

    room: str
    data: msgspec.Raw


class AskPresence(Request, tag="presence"):
    """Ask who is in a room."""

    room: str


class AskHistory(Request, tag="history"):
    """Ask for messages of a room that are kept."""

    room: str
    since: Number | None = None
    limit: Count | None = None


class Ping(msgspec.Struct, tag_field="type", tag="ping", forbid_unknown_fields=True, kw_only=True):
    """Say that the client is there."""

    id: Number | None = None


FromClient = Connect | Refresh | Join | Leave | Publish | AskPresence | AskHistory | Ping
FROM_CLIENT = {
    str(kind.__struct_config__.tag): kind
    for kind in (Connect, Refresh, Join, Leave, Publish, AskPresence, AskHistory, Ping)
}


class Frame(msgspec.Struct, tag_field="type", omit_defaults=True, kw_only=True):
    """A frame from the server."""


class Limits(msgspec.Struct):
    """What a client may do at most."""

    message_bytes: int
    rooms: int
    room_bytes: int = ROOM_BYTES
    history: int = HISTORY_MESSAGES
    presence: int = PRESENCE_MEMBERS


class Connected(Frame, tag="connected", kw_only=True):
    """Answers `connect`."""

    id: int
    client: str
    user: str | None = None
    expires_in_s: float | None = None
    ping_interval_s: float
    timeout_s: float
    limits: Limits


class Refreshed(Frame, tag="refreshed", kw_only=True):
    """Answers `refresh`."""

    id: int
    expires_in_s: float | None = None


class Joined(Frame, tag="joined"):
    """Answers `join`."""

    id: int
    room: str
    epoch: str
    offset: int
    recovered: bool


class Left(Frame, tag="left"):
    """Answers `leave`."""

    id: int
    room: str


class Published(Frame, tag="published"):
    """Answers `publish`."""

    id: int
    epoch: str
    offset: int


class Member(msgspec.Struct, omit_defaults=True):
    """A connection in a room."""

    client: str
    user: str | None = None


class Presence(Frame, tag="presence"):
    """Answers `presence`."""

    id: int
    room: str
    count: int
    members: list[Member]


class Kept(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A message of a room's history."""

    offset: int
    data: Any
    base64: bool = False
    published_at: float


class History(Frame, tag="history"):
    """Answers `history`."""

    id: int
    room: str
    epoch: str
    offset: int
    messages: list[Kept]


class Pong(Frame, tag="pong"):
    """Answers `ping`."""

    id: int | None = None


class Error(Frame, tag="error", kw_only=True):
    """Answers a request that failed."""

    id: int | None = None
    code: str
    message: str
    retry: bool


class Message(Frame, tag="message"):
    """What was published to a room."""

    room: str
    offset: int
    data: Any
    base64: bool = False


class Broadcast(Frame, tag="broadcast"):
    """What the app has sent to all its connections."""

    data: Any
    base64: bool = False


class MemberJoined(Frame, tag="member_joined"):
    """Somebody has joined a room."""

    room: str
    client: str
    user: str | None = None


class MemberLeft(Frame, tag="member_left"):
    """Somebody has left a room."""

    room: str
    client: str
    user: str | None = None


class Missed(Frame, tag="missed"):
    """The worker was overtaken."""

    what: str
    room: str | None = None


FROM_SERVER = {
    str(kind.__struct_config__.tag): kind
    for kind in (
        *(Connected, Refreshed, Joined, Left, Published, Presence, History, Pong, Error),
        *(Message, Broadcast, MemberJoined, MemberLeft, Missed),
    )
}
