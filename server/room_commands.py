"""Owns the commands about the rooms of a running server: publish, rooms.

As those of `server.control`, they find it by its segment, and need no worker to answer.
"""

import json
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from server.codecs import JSON, json_bytes
from server.control import AsJson, ControlError, Pid, RuntimeDir, running_server
from server.printing import count, fail, print_table, printable, say, span
from server.room import check_room_name, epoch_text, is_shadow
from workers.directories import DEFAULT_BASE
from workers.journal import Journal, MessageTooLarge
from workers.journal_lock import JournalStalled
from workers.publisher import Publisher
from workers.room_directory import DirectoryFull, RoomDirectory
from workers.room_tables import Kind
from workers.segment import Segment

ROOM_COLUMNS = ("room", "members", "offset", "last", "epoch")
STDIN = Path("-")

Room = Annotated[str, Parameter(help="The room.")]
Text = Annotated[str | None, Parameter(help="It, as JSON.", allow_leading_hyphen=True)]
AsText = Annotated[
    bool, Parameter(name="--text", negative="", help="It is text and goes as it is, not as JSON.")
]
File = Annotated[
    Path | None,
    Parameter(
        name="--file",
        help="Read it from this file; - is standard input.",
        allow_leading_hyphen=True,
    ),
]


def publish(
    room: Room,
    message: Text = None,
    /,
    *,
    as_text: AsText = False,
    file: File = None,
    pid: Pid = None,
    runtime_dir: RuntimeDir = DEFAULT_BASE,
) -> int:
    """Publish a message to a room of a running server, whether or not it has members."""
    try:
        check_room_name(room)
    except ValueError as error:
        raise ControlError(str(error)) from None
    kind, payload = _payload(_given(message, file), as_text=as_text)
    with (
        running_server(runtime_dir, pid, writable=True) as segment,
        closing(Publisher(segment)) as publisher,
    ):
        try:
            place = publisher.publish_now(room, kind, payload)
        except MessageTooLarge as error:
            raise ControlError(str(error)) from None
        except (DirectoryFull, JournalStalled) as error:
            return fail(str(error))
    say(f"room {room}: offset {place.offset}")
    return 0


def _given(message: str | None, file: Path | None) -> bytes:
    if (message is None) == (file is None):
        raise ControlError("what? give the message, or --file, and not both")
    if message is not None:
        return message.encode("utf-8", "surrogateescape")  # as it was typed
    assert file is not None
    try:
        return sys.stdin.buffer.read() if file == STDIN else file.read_bytes()
    except OSError as error:
        raise ControlError(f"--file {file}: {error.strerror}") from None


def _payload(data: bytes, *, as_text: bool) -> tuple[Kind, bytes]:
    try:
        if as_text:
            data.decode()
            return Kind.TEXT, data
        return Kind.JSON, json_bytes(JSON.decode(data))
    except UnicodeDecodeError as error:
        raise ControlError(f"the message is no UTF-8: {error.reason}") from None
    except msgspec.DecodeError as error:
        raise ControlError(
            f"the message is no JSON ({error}): quote it for the shell, as in"
            """ '{"text": "hello"}' or '"hello"', or send it as it is with --text"""
        ) from None


def rooms(
    *, as_json: AsJson = False, pid: Pid = None, runtime_dir: RuntimeDir = DEFAULT_BASE
) -> int:
    """List the rooms of a running server, those with the most members first."""
    with running_server(runtime_dir, pid) as segment:
        found = sorted(describe_rooms(segment), key=lambda room: (-room["members"], room["room"]))
    if as_json:
        say(json.dumps({"total": len(found), "rooms": found}, indent=2))
        return 0
    print_table(ROOM_COLUMNS, [_cells(room) for room in found])
    members = sum(room["members"] for room in found)
    say(f"{count(len(found), 'room')}, {count(members, 'membership')}")
    return 0


def describe_rooms(segment: Segment) -> list[dict[str, Any]]:
    """Return all rooms in plain values, in no order; those that go meanwhile are left out.

    `silent_s` is how long ago the last message was published, or else the room was made.
    """
    directory, journal = RoomDirectory(segment), Journal(segment)
    now_ns = time.time_ns()
    found: list[dict[str, Any]] = []
    for entry in directory.entries():
        epoch = directory.epoch(entry)
        room: dict[str, Any] = {
            "room": directory.name(entry).decode("utf-8", "replace"),
            "members": sum(directory.members(entry)),
            "offset": journal.last_offset(entry, epoch),
            "epoch": epoch_text(epoch),
            "silent_s": round(max(0, now_ns - directory.last_ns(entry)) / 1e9, 3),
        }
        # With another epoch it is another room by now.
        if directory.epoch(entry) == epoch and not is_shadow(room["room"]):
            found.append(room)
    return found


def _cells(room: dict[str, Any]) -> list[str]:
    last = f"{span(room['silent_s'])} ago" if room["offset"] else "-"
    numbers = [str(room["members"]), str(room["offset"])]
    return [printable(room["room"]), *numbers, last, room["epoch"]]
