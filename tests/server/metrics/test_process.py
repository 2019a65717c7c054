"""What a process uses, as the kernel tells it, for real processes."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.metrics.process import _count_files, process_use

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc here")

# It takes a name that a careless reader of /proc/<pid>/stat stumbles over.
CHILD = """
import sys
from pathlib import Path

Path("/proc/self/comm").write_text("a) S (b 1 2 3")
print("named", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", CHILD]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "named\n"
        yield process
        process.kill()


def test_memory_counts_in_bytes() -> None:
    """Memory that is written to is resident."""
    before = process_use(os.getpid())
    block = bytearray(b"x") * (64 << 20)
    after = process_use(os.getpid())
    assert before is not None
    assert after is not None
    assert after.resident_bytes - before.resident_bytes == pytest.approx(len(block), rel=0.1)


def test_cpu_counts_in_seconds() -> None:
    """It is the time that the process itself is told."""
    while time.process_time() < 0.1:
        pass
    before = time.process_time()
    use = process_use(os.getpid())
    after = time.process_time()
    assert use is not None
    assert before - 0.03 <= use.cpu_s <= after + 0.03  # it is told in hundredths


def test_files_are_those_that_are_open(tmp_path: Path) -> None:
    before = process_use(os.getpid())
    files = [(tmp_path / str(number)).open("w") for number in range(20)]
    after = process_use(os.getpid())
    for file in files:
        file.close()
    assert before is not None
    assert after is not None
    assert after.open_files - before.open_files == 20
    assert after.max_files == resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_files_are_listed_where_the_kernel_does_not_count_them(tmp_path: Path) -> None:
    """As before Linux 6.2, where the size of the folder is 0; /proc/<pid>/ns is such a folder."""
    folder = Path("/proc/self/ns")
    assert folder.stat().st_size == 0
    assert _count_files(folder) == len(os.listdir(folder)) > 0


def test_a_process_of_another_name_is_read(child: subprocess.Popen[str]) -> None:
    """Brackets, spaces and numbers in its name change nothing."""
    use = process_use(child.pid)
    assert use is not None
    assert use.resident_bytes > 1 << 20
    assert use.cpu_s < 5
    assert 3 <= use.open_files < 20


def test_a_process_that_has_just_gone_is_none(child: subprocess.Popen[str]) -> None:
    """Dead and not yet waited for, and waited for: neither is an error."""
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process_use(child.pid) is None
    child.wait()
    assert process_use(child.pid) is None
