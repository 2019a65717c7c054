"""Which directories are those of living servers, with real processes that live and die."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.processes import is_alive, wait_until
from tests.workers.memory_support import process, put_word, shared
from workers.directories import DEFAULT_BASE, directory_for, find_running, remove_stale, start_time
from workers.segment import Segment

SERVES = """\
import sys
from pathlib import Path
from tests.workers.memory_support import shared
with shared(Path(sys.argv[1])) as segment:
    print(segment.path, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another server's supervisor, which has its segment below the test's directory."""
    with process("-c", SERVES, str(tmp_path)) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child


def kill(child: subprocess.Popen[str]) -> None:
    child.kill()
    wait_until(lambda: not is_alive(child.pid))


def test_the_segments_of_living_servers_are_found(
    tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    with shared(tmp_path) as ours:
        theirs = directory_for(tmp_path, other.pid) / "segment"
        assert set(find_running(tmp_path)) == {ours.path, theirs}
        reader = Segment.attach(theirs, writable=False)
        assert reader.supervisor_pid == other.pid
        reader.close()
        kill(other)
        assert find_running(tmp_path) == [ours.path]


def test_a_dead_servers_directory_is_removed_and_no_other(
    tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    """Even while its parent has not waited for it."""
    theirs = directory_for(tmp_path, other.pid)
    (theirs / "slot-0.sock").touch()
    with shared(tmp_path) as ours:
        assert remove_stale(tmp_path) == []
        kill(other)
        assert remove_stale(tmp_path) == [theirs]
        assert not theirs.exists()
        assert ours.path is not None
        assert ours.path.exists()
        assert remove_stale(tmp_path) == []


def test_a_server_that_ended_well_leaves_nothing(
    tmp_path: Path, other: subprocess.Popen[str]
) -> None:
    other.communicate("", timeout=30)
    assert list(tmp_path.iterdir()) == []


def test_a_process_id_that_was_used_again_is_recognised(tmp_path: Path) -> None:
    """The supervisor's pid lives, but it is not the process that made the segment."""
    with shared(tmp_path) as ours:
        assert ours.path is not None
        started = start_time(os.getpid())
        assert started is not None
        put_word(ours.path, "supervisor_started", started - 1)
        assert find_running(tmp_path) == []
        assert remove_stale(tmp_path) == [ours.path.parent]


def test_a_server_of_another_version_is_found_and_kept(tmp_path: Path) -> None:
    with shared(tmp_path) as ours:
        assert ours.path is not None
        put_word(ours.path, "version", 99)
        assert find_running(tmp_path) == [ours.path]
        assert remove_stale(tmp_path) == []


def test_what_another_container_has_in_the_same_memory_is_left_alone(tmp_path: Path) -> None:
    """Its process ids mean nothing here."""
    with shared(tmp_path) as ours:
        assert ours.path is not None
        put_word(ours.path, "pid_namespace", 1)
        put_word(ours.path, "supervisor_pid", dead_pid())
        assert find_running(tmp_path) == []
        assert remove_stale(tmp_path) == []


def dead_pid() -> int:
    """Return the id of a process that has ended and was waited for."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.mark.parametrize("content", [None, b"", b"half"])
def test_a_directory_without_a_whole_header_is_judged_by_its_name(
    tmp_path: Path, content: bytes | None
) -> None:
    """A living process may be about to write it."""
    stale, young = directory_for(tmp_path, dead_pid()), directory_for(tmp_path)
    for path in (stale, young):
        path.mkdir()
        if content is not None:
            (path / "segment").write_bytes(content)
    assert find_running(tmp_path) == []
    assert remove_stale(tmp_path) == [stale]
    assert list(tmp_path.iterdir()) == [young]


def test_what_is_no_servers_directory_is_left_alone(tmp_path: Path) -> None:
    pid = dead_pid()
    uid = os.geteuid()
    for name in (f"switchboard-{uid}-x", f"switchboard-{uid + 1}-{pid}", "switchboard", f"{pid}"):
        (tmp_path / name).mkdir()
    (tmp_path / f"switchboard-{uid}-{pid}").touch()
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / f"switchboard-{uid}-0{pid}").symlink_to(target)
    before = sorted(tmp_path.iterdir())
    assert remove_stale(tmp_path) == []
    assert sorted(tmp_path.iterdir()) == before


def test_two_starts_may_remove_the_same_directories(tmp_path: Path) -> None:
    pid = dead_pid()
    for round_ in range(20):
        stale = directory_for(tmp_path, pid)
        stale.mkdir()
        for number in range(50):
            (stale / f"slot-{number}.sock").touch()
        with ThreadPoolExecutor(2) as pool:
            both = list(pool.map(remove_stale, [tmp_path, tmp_path]))
        assert [stale] in both, round_
        assert not stale.exists()


def test_a_base_that_is_not_there_has_no_servers(tmp_path: Path) -> None:
    assert find_running(tmp_path / "nothing") == []
    assert remove_stale(tmp_path / "nothing") == []


def test_shared_memory_is_the_default() -> None:
    assert str(DEFAULT_BASE) == "/dev/shm"


def test_start_time_tells_processes_apart(other: subprocess.Popen[str]) -> None:
    """A process that has ended has none, whether or not it was waited for."""
    ours, theirs = start_time(os.getpid()), start_time(other.pid)
    assert ours is not None
    assert theirs is not None
    assert ours < theirs
    kill(other)
    assert start_time(other.pid) is None
    other.wait()
    assert start_time(other.pid) is None
