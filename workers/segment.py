"""Owns the mapped file that the processes of one server share, and its directory.

Knows where the header's words are; slots, counters and rows have modules of their own.
"""

import mmap
import os
import secrets
import shutil
import struct
import time
from collections.abc import Sequence
from pathlib import Path

from workers.directories import FILE_NAME, pid_namespace, socket_path, start_time
from workers.layout import (
    CODES,
    HEADER,
    LABEL,
    MAGIC,
    OTHER,
    STATUSES,
    VERSION,
    WORD_BYTES,
    Layout,
    ServerState,
    Sizes,
    cut,
    places,
)
from workers.mappings import make_file, make_private, room_problem

OTHER_NAME = "other"

_SOCKET_PATH_BYTES = 107  # unix(7): sun_path without its last zero
_AT = places(HEADER)
_WORDS = {field.name: field.words for field in (*HEADER, *LABEL)}
_SALT = slice(_AT["salt"] * WORD_BYTES, (_AT["salt"] + _WORDS["salt"]) * WORD_BYTES)
_SIZES = (
    "workers",
    "slots",
    "rows_per_slot",
    "routes",
    "rooms",
    "memberships_per_slot",
    "ring_words",
)


class SegmentError(Exception):
    """The segment cannot be made or used; one line for a person, with the way out."""


class Segment:
    """The shared memory of one server, mapped into this process.

    Writers keep views of their own. `close` cannot take those back: they stay good, and the
    mapping goes with the last of them.

    Attributes:
        path: of the file; None if the memory is private.
        sizes, layout: what there is room for, and where it is.
        words, bytes: the same memory as 64-bit words and as bytes.
        epoch: a number that no other segment has.
    """

    def __init__(self, memory: mmap.mmap, layout: Layout, path: Path | None) -> None:
        self.path = path
        self.layout = layout
        self.sizes = layout.sizes
        self.bytes = memoryview(memory)
        self.words = self.bytes.cast("Q")
        self.epoch = 0
        self._memory = memory
        self._maker: int | None = None
        # Labels by index and indices by label, as far as this process has learnt them.
        self._routes: list[str] = []
        self._route_indices: dict[str, int] = {}
        self._codes: dict[int, int] = {}
        self._statuses: dict[int, int] = {}

    @classmethod
    def create(
        cls,
        directory: Path,
        sizes: Sizes,
        *,
        routes: Sequence[str],
        codes: Sequence[int],
        statuses: Sequence[int],
        app: str = "",
        host: str = "",
        port: int = 0,
    ) -> "Segment":
        """Make the directory and in it the file, all of which is allocated at once.

        Labels that find no room are counted as `other`, which is always the first of them.

        Raises:
            SegmentError: there is no room, or the directory cannot be made; nothing is left.
        """
        layout = Layout(sizes)
        if len(os.fsencode(socket_path(directory, sizes.slots - 1))) > _SOCKET_PATH_BYTES:
            raise SegmentError(f"the path {directory} is too long: choose another --runtime-dir")
        try:
            directory.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise SegmentError(
                f"cannot make {directory}: {error.strerror}; choose another --runtime-dir"
            ) from None
        path = directory / FILE_NAME
        try:
            memory = make_file(path, layout.size_bytes)
        except OSError as error:
            shutil.rmtree(directory, ignore_errors=True)
            problem = room_problem(directory.parent, layout.size_bytes, error)
            raise SegmentError(problem) from None
        segment = cls(memory, layout, path)
        segment._fill(routes, codes, statuses, app, host, port)
        return segment

    @classmethod
    def private(
        cls,
        sizes: Sizes,
        *,
        routes: Sequence[str] = (),
        codes: Sequence[int] = (),
        statuses: Sequence[int] = (),
    ) -> "Segment":
        """Return a segment of this process alone; what is not used costs no memory."""
        layout = Layout(sizes)
        segment = cls(make_private(layout.size_bytes), layout, None)
        segment._fill(routes, codes, statuses, "", "", 0)
        return segment

    @classmethod
    def attach(cls, path: Path, *, writable: bool) -> "Segment":
        """Map the segment of a running server.

        Raises:
            SegmentError: it is not there, not whole, or of another version.
        """
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        try:
            with path.open("r+b" if writable else "rb") as file:
                memory = mmap.mmap(file.fileno(), 0, access=access)
        except (OSError, ValueError) as error:  # ValueError: an empty file
            problem = getattr(error, "strerror", None) or "it is empty"
            raise SegmentError(f"no segment at {path}: {problem}; is the server running?") from None
        segment = cls(memory, _check(memory, path), path)
        segment._learn()
        return segment

    def _fill(
        self,
        routes: Sequence[str],
        codes: Sequence[int],
        statuses: Sequence[int],
        app: str,
        host: str,
        port: int,
    ) -> None:
        words = self.words
        self._maker = os.getpid()
        words[_AT["version"]] = VERSION
        words[_AT["supervisor_pid"]] = self._maker
        words[_AT["supervisor_started"]] = start_time(self._maker) or 0
        words[_AT["pid_namespace"]] = pid_namespace()
        words[_AT["size_bytes"]] = self.layout.size_bytes
        for name in _SIZES:
            words[_AT[name]] = getattr(self.sizes, name)
        words[_AT["created_ns"]] = time.time_ns()
        words[_AT["epoch"]] = secrets.randbits(63)
        self.bytes[_SALT] = secrets.token_bytes(_SALT.stop - _SALT.start)
        words[_AT["port"]] = port
        self._put_text(_AT["app"], _WORDS["app"], app)
        self._put_text(_AT["host"], _WORDS["host"], host)
        self._put_numbers("codes", codes, CODES)
        self._put_numbers("statuses", statuses, STATUSES)
        self.add_routes([OTHER_NAME, *routes])
        words[_AT["magic"]] = MAGIC
        self._learn()

    def _put_numbers(self, name: str, numbers: Sequence[int], room: int) -> None:
        labels = list(dict.fromkeys([OTHER, *numbers]))[:room]
        for index, number in enumerate(labels):
            self.words[_AT[name] + index] = number
        self.words[_AT[f"{name}_used"]] = len(labels)

    def _put_text(self, at: int, words: int, text: str) -> None:
        encoded = cut(text, (words - 1) * WORD_BYTES)
        start = (at + 1) * WORD_BYTES
        self.bytes[start : start + len(encoded)] = encoded
        self.words[at] = len(encoded)

    def _text(self, at: int) -> str:
        start = (at + 1) * WORD_BYTES
        return bytes(self.bytes[start : start + self.words[at]]).decode()

    def _learn(self) -> None:
        """Take over the labels and the epoch that the header has now."""
        self.epoch = self.words[_AT["epoch"]]
        self._codes = self._numbers("codes")
        self._statuses = self._numbers("statuses")
        self._learn_routes()

    def _numbers(self, name: str) -> dict[int, int]:
        start = _AT[name]
        numbers = self.words[start : start + self.words[_AT[f"{name}_used"]]]
        return {number: index for index, number in enumerate(numbers)}

    def _learn_routes(self) -> None:
        """Take over the routes that the supervisor has added, if it has."""
        for index in range(len(self._routes), self.words[_AT["routes_used"]]):
            name = self._text(self.layout.label(index))
            self._routes.append(name)
            self._route_indices[name] = index

    def add_routes(self, names: Sequence[str]) -> None:
        """Give routes a label, as far as there is room; the supervisor only."""
        self._learn_routes()
        for name in names:
            index = len(self._routes)
            if _label(name) in self._route_indices or index == self.sizes.routes:
                continue
            self._put_text(self.layout.label(index), _WORDS["name"], name)
            self.words[_AT["routes_used"]] = index + 1
            self._learn_routes()

    @property
    def routes(self) -> list[str]:
        """The labels of routes by their index; the first is `other`."""
        self._learn_routes()
        return self._routes.copy()

    @property
    def codes(self) -> list[int]:
        """The close codes by their index; the first is 0, for any other."""
        return list(self._codes)

    @property
    def statuses(self) -> list[int]:
        """The HTTP statuses by their index; the first is 0, for any other."""
        return list(self._statuses)

    def route_index(self, name: str) -> int:
        """Return the index of a route's label; 0 if it has none."""
        name = _label(name)
        if name not in self._route_indices:
            self._learn_routes()
        return self._route_indices.get(name, OTHER)

    def route_name(self, index: int) -> str:
        """Return the label with this index."""
        if index >= len(self._routes):
            self._learn_routes()
        return self._routes[index]

    def code_index(self, code: int) -> int:
        """Return the index of a close code; 0 if it has no label."""
        return self._codes.get(code, OTHER)

    def status_index(self, status: int) -> int:
        """Return the index of an HTTP status; 0 if it has no label."""
        return self._statuses.get(status, OTHER)

    @property
    def server_state(self) -> ServerState:
        """What the supervisor says of the server; set by the supervisor only."""
        return ServerState(self.words[_AT["server_state"]])

    @server_state.setter
    def server_state(self, state: ServerState) -> None:
        self.words[_AT["server_state"]] = state

    @property
    def admin_port(self) -> int:
        """Where metrics are served; 0 nowhere. Set by the supervisor only."""
        return self.words[_AT["admin_port"]]

    @admin_port.setter
    def admin_port(self, port: int) -> None:
        self.words[_AT["admin_port"]] = port

    @property
    def port(self) -> int:
        """Where clients connect."""
        return self.words[_AT["port"]]

    @property
    def host(self) -> str:
        """The address that clients connect to."""
        return self._text(_AT["host"])

    @property
    def app(self) -> str:
        """The reference of the app, as it was given to `serve`."""
        return self._text(_AT["app"])

    @property
    def supervisor_pid(self) -> int:
        """The process that made the segment."""
        return self.words[_AT["supervisor_pid"]]

    @property
    def salt(self) -> bytes:
        """The secret that keys are hashed with, so that nobody outside finds two with one hash."""
        return bytes(self.bytes[_SALT])

    @property
    def created_ns(self) -> int:
        """When the segment was made, in unix nanoseconds."""
        return self.words[_AT["created_ns"]]

    def restarts(self, index: int) -> int:
        """Return how often the worker with this index was started again."""
        return self.words[_AT["restarts"] + index]

    def count_restart(self, index: int) -> None:
        """Count that the worker with this index was started again; the supervisor only."""
        self.words[_AT["restarts"] + index] += 1

    @property
    def reloads_done(self) -> int:
        """How many reloads have replaced every worker."""
        return self.words[_AT["reloads_done"]]

    @property
    def reloads_failed(self) -> int:
        """How many reloads were given up."""
        return self.words[_AT["reloads_failed"]]

    def count_reload(self, *, succeeded: bool) -> None:
        """Count a reload; the supervisor only."""
        self.words[_AT["reloads_done" if succeeded else "reloads_failed"]] += 1

    def close(self) -> None:
        """Let go of the memory; may be called again."""
        self.words.release()
        self.bytes.release()
        try:
            self._memory.close()
        except BufferError:  # a writer still has a view
            pass

    def remove(self) -> None:
        """Remove the file, the sockets and the directory; nothing in a process that is no maker."""
        if self.path is not None and self._maker == os.getpid():
            shutil.rmtree(self.path.parent, ignore_errors=True)


def _label(name: str) -> str:
    """Return as much of a route's name as its label holds."""
    return cut(name, (_WORDS["name"] - 1) * WORD_BYTES).decode()


def _check(memory: mmap.mmap, path: Path) -> Layout:
    """Return the layout of what is mapped. Raises SegmentError: it cannot be used."""
    try:
        if _word(memory, "magic") != MAGIC:
            raise SegmentError(f"{path} is no segment: name that of a running server")
        version = _word(memory, "version")
        if version != VERSION:
            raise SegmentError(
                f"{path} has version {version} and this program reads {VERSION}: use the program"
                " that runs the server, or start the server again with this one"
            )
        layout = Layout(Sizes(*(_word(memory, name) for name in _SIZES)))
        if layout.size_bytes == len(memory):
            return layout
    except (struct.error, ValueError):  # too short, or sizes that there cannot be
        pass
    raise SegmentError(f"{path} is not whole: start the server again")


def _word(memory: mmap.mmap, name: str) -> int:
    number: int = struct.unpack_from("Q", memory, _AT[name] * WORD_BYTES)[0]
    return number
