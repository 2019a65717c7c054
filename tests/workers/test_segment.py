"""The mapped file: what is in it, who may use it, and every way in which it cannot be had."""

import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.processes import own_bytes
from tests.workers.memory_support import (
    CODES,
    ROUTES,
    SMALL,
    STATUSES,
    private,
    process,
    put_word,
    shared,
)
from workers import layout
from workers.directories import directory_for
from workers.layout import WORD_BYTES, Layout, ServerState, Sizes
from workers.registry import SlotRows
from workers.segment import Segment, SegmentError

MIB = 2**20


def test_what_the_maker_writes_everybody_reads(tmp_path: Path) -> None:
    with shared(tmp_path) as made:
        assert made.path is not None
        made.server_state = ServerState.SERVING
        made.admin_port = 9090
        made.count_restart(1)
        made.count_restart(1)
        read = Segment.attach(made.path, writable=False)
        assert read.sizes == SMALL
        assert read.epoch == made.epoch > 0
        assert read.created_ns == made.created_ns > 0
        assert read.supervisor_pid == os.getpid()
        assert (read.app, read.host, read.port) == ("chat:app", "127.0.0.1", 8000)
        assert (read.server_state, read.admin_port) == (ServerState.SERVING, 9090)
        assert [read.restarts(index) for index in range(3)] == [0, 2, 0]
        assert read.routes == ["other", *ROUTES]
        assert read.codes == [0, *CODES]
        assert read.statuses == [0, *STATUSES]
        read.close()


def test_what_an_attached_writer_writes_the_maker_reads(tmp_path: Path) -> None:
    with shared(tmp_path) as made:
        assert made.path is not None
        writer = Segment.attach(made.path, writable=True)
        last = made.layout.size_bytes // WORD_BYTES - 1
        writer.words[last] = 2**64 - 1
        assert made.words[last] == 2**64 - 1
        assert bytes(made.bytes[-8:]) == b"\xff" * 8
        writer.close()


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    with shared(tmp_path) as made:
        assert made.path is not None
        made.path.chmod(0o400)
        reader = Segment.attach(made.path, writable=False)
        with pytest.raises(TypeError, match="read-only"):
            reader.server_state = ServerState.STOPPED
        reader.close()


def test_only_this_user_sees_it_and_all_of_it_is_allocated(tmp_path: Path) -> None:
    with shared(tmp_path) as made:
        assert made.path is not None
        directory = directory_for(tmp_path)
        assert directory == tmp_path / f"switchboard-{os.geteuid()}-{os.getpid()}"
        assert made.path == directory / "segment"
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
        assert made.path.stat().st_size == made.layout.size_bytes
        assert made.path.stat().st_blocks * 512 >= made.layout.size_bytes


def test_no_two_segments_have_the_same_epoch() -> None:
    assert len({private().epoch for _ in range(10)}) == 10


def test_every_segment_has_a_secret_of_its_own_that_all_its_processes_know(tmp_path: Path) -> None:
    salts = {private().salt for _ in range(10)}
    assert len(salts) == 10
    assert {len(salt) for salt in salts} == {16}
    with shared(tmp_path) as made:
        assert made.path is not None
        reader = Segment.attach(made.path, writable=False)
        assert reader.salt == made.salt
        assert made.server_state == ServerState.STARTING  # it wrote no further than its field
        reader.close()


# Labels


def test_labels_have_indices() -> None:
    segment = private()
    assert [segment.route_index(name) for name in ("other", *ROUTES)] == [0, 1, 2]
    assert [segment.route_name(index) for index in range(3)] == ["other", *ROUTES]
    assert [segment.code_index(code) for code in (1000, 1006)] == [1, 2]
    assert [segment.status_index(status) for status in (403, 503)] == [1, 2]


def test_what_has_no_label_is_other() -> None:
    segment = private()
    assert segment.route_index("/nowhere") == 0
    assert segment.code_index(4999) == 0
    assert segment.status_index(418) == 0


def test_routes_that_are_added_reach_processes_that_are_attached(tmp_path: Path) -> None:
    with shared(tmp_path) as made:
        assert made.path is not None
        worker = Segment.attach(made.path, writable=True)
        reader = Segment.attach(made.path, writable=False)
        made.add_routes(["/feed", "/late", "/later"])
        assert made.routes == ["other", "/chat", "/feed", "/late", "/later"]
        assert worker.route_index("/later") == 4
        assert reader.route_name(3) == "/late"
        assert reader.routes == made.routes
        worker.close()
        reader.close()


def test_more_labels_than_there_is_room_for_are_other() -> None:
    sizes = Sizes(workers=1, slots=1, rows_per_slot=1, routes=3)
    many = range(1, 200)
    segment = Segment.private(
        sizes, routes=[f"/{n}" for n in many], codes=list(many), statuses=list(many)
    )
    segment.add_routes(["/x"])
    assert segment.routes == ["other", "/1", "/2"]
    assert segment.route_index("/3") == segment.route_index("/x") == 0
    assert (segment.codes, segment.code_index(layout.CODES)) == (list(range(layout.CODES)), 0)
    assert (segment.statuses, segment.status_index(32)) == (list(range(32)), 0)


def test_a_route_longer_than_its_label_is_found_by_its_full_name() -> None:
    segment = private()
    name = "/" + "ä" * 100
    segment.add_routes([name])
    assert segment.route_index(name) == 3
    assert segment.route_name(3) == "/" + "ä" * 59


# The end


def test_a_view_that_a_writer_still_has_stays_good(tmp_path: Path) -> None:
    """A connection may end after the segment was closed: its worker must not fail over that."""
    with shared(tmp_path) as segment:
        rows = SlotRows(segment, 0, 1)
        row = rows.claim(0, "client", "/")
        segment.close()
        segment.close()
        rows.update(row, 1, 2, 3, 4, 5)
        rows.free(row)
        with pytest.raises(ValueError, match="released"):
            segment.words[0]


def test_removing_takes_the_sockets_along(tmp_path: Path) -> None:
    with shared(tmp_path) as segment:
        (directory_for(tmp_path) / "slot-0.sock").touch()
        segment.remove()
        assert list(tmp_path.iterdir()) == []
        segment.remove()


FORKS = """\
import os, sys
from pathlib import Path
from tests.workers.memory_support import shared
with shared(Path(sys.argv[1])) as made:
    if child := os.fork():
        os.waitpid(child, 0)
        print(made.path.exists())
"""


def test_only_its_maker_removes_it(tmp_path: Path) -> None:
    """A worker may be a fork of the supervisor, and unwinds the same stack."""
    with shared(tmp_path) as made:
        assert made.path is not None
        attached = Segment.attach(made.path, writable=True)
        attached.remove()
        attached.close()
        assert made.path.exists()
    with process("-c", FORKS, str(tmp_path)) as child:
        assert child.communicate(timeout=30)[0] == "True\n"
    assert list(tmp_path.iterdir()) == []


# Private


def test_private_memory_costs_nothing_until_it_is_used() -> None:
    before = own_bytes(os.getpid())
    segment = Segment.private(Sizes(workers=1, slots=2, rows_per_slot=1_000_000, routes=64))
    rows = SlotRows(segment, 1, 1)
    rows.claim(0, "client", "/")
    assert segment.layout.size_bytes > 600 * MIB
    assert own_bytes(os.getpid()) - before < 4 * MIB
    assert segment.path is None
    segment.remove()
    segment.close()


# What cannot be had


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 4096)


def too_long(path: Path) -> None:
    os.truncate(path, path.stat().st_size + 1)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda path: put_word(path, "version", 1), "has version 1 and this program reads 3: use"),
        (lambda path: put_word(path, "magic", 0), "is no segment: name that of a running server"),
        (lambda path: path.write_bytes(b"x" * 9000), "is no segment: name"),
        (lambda path: path.write_bytes(b"x"), "is not whole: start the server again"),
        (lambda path: os.truncate(path, 64), "is not whole"),
        (cut_off, "is not whole"),
        (too_long, "is not whole"),
        (lambda path: put_word(path, "rows_per_slot", 65), "is not whole"),
        (lambda path: put_word(path, "slots", 0), "is not whole"),
        (lambda path: put_word(path, "rooms", 65), "is not whole"),
        (lambda path: put_word(path, "memberships_per_slot", 0), "is not whole"),
        (lambda path: put_word(path, "ring_words", 511), "is not whole"),
        (lambda path: path.write_bytes(b""), "it is empty; is the server running?"),
        (lambda path: path.unlink(), "No such file or directory; is the server running?"),
    ],
)
@pytest.mark.parametrize("writable", [True, False])
def test_a_file_that_cannot_be_used(
    tmp_path: Path, damage: Callable[[Path], object], problem: str, writable: bool
) -> None:
    """Each is one line that says what to do."""
    with shared(tmp_path) as made:
        copy = tmp_path / "copy"
        assert made.path is not None
        shutil.copy(made.path, copy)
        Segment.attach(copy, writable=writable).close()
        damage(copy)
        with pytest.raises(SegmentError) as caught:
            Segment.attach(copy, writable=writable)
    assert problem in str(caught.value)
    assert str(copy) in str(caught.value)
    assert "\n" not in str(caught.value)


def make(directory: Path, sizes: Sizes = SMALL) -> Segment:
    return Segment.create(directory, sizes, routes=(), codes=(), statuses=())


def test_a_directory_that_is_there_already_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(SegmentError, match="File exists; choose another --runtime-dir"):
        make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SegmentError, match="Not a directory; choose another --runtime-dir"):
        make(tmp_path / "file" / "below")


def test_a_path_too_long_for_its_sockets(tmp_path: Path) -> None:
    with pytest.raises(SegmentError, match="is too long: choose another --runtime-dir"):
        make(tmp_path / ("x" * 100))
    assert list(tmp_path.iterdir()) == []


FILLS = """\
import resource, sys
from pathlib import Path
from workers.layout import Sizes
from workers.segment import Segment, SegmentError
if sys.argv[2:]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
sizes = Sizes(workers=1, slots=2, rows_per_slot=16384, routes=8)
try:
    Segment.create(Path(sys.argv[1]) / "below", sizes, routes=[], codes=[], statuses=[])
except SegmentError as error:
    print(error)
print(list(Path(sys.argv[1]).iterdir()))
"""
NEEDED_MIB = Layout(Sizes(workers=1, slots=2, rows_per_slot=16384, routes=8)).size_bytes / MIB


def test_a_file_system_that_is_too_small_says_so_at_once_and_keeps_nothing(tmp_path: Path) -> None:
    """In a mount namespace, with a tmpfs of 2 MiB."""
    own_mounts = ("unshare", "--user", "--map-root-user", "--mount")
    mount = ("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path))
    try:
        subprocess.run([*own_mounts, *mount], check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no tmpfs can be mounted here: {error}")
    before = (*own_mounts, "sh", "-c", f'{" ".join(mount)} && exec "$@"', "sh")
    with process("-c", FILLS, str(tmp_path), before=before) as child:
        problem, left = child.communicate(timeout=30)[0].splitlines()
    assert problem == (
        f"{tmp_path} cannot hold the segment (No space left on device): it needs {NEEDED_MIB:.1f}"
        " MiB, 2.0 MiB are free; take fewer --registry-rows, a smaller --journal-mib, a bigger"
        " /dev/shm (docker: --shm-size), or another --runtime-dir"
    )
    assert left == "[]"


def test_a_file_limit_that_is_too_small_is_no_different(tmp_path: Path) -> None:
    with process("-c", FILLS, str(tmp_path), str(MIB)) as child:
        problem, left = child.communicate(timeout=30)[0].splitlines()
    assert "cannot hold the segment (File too large): it needs" in problem
    assert left == "[]"
