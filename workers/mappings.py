"""Owns the making of memory: a file allocated whole, or private memory; knows not what is in it."""

import mmap
import os
import shutil
from pathlib import Path

_MIB = 2**20


def make_file(path: Path, size_bytes: int) -> mmap.mmap:
    """Make a file, allocate all of it, and map it.

    Raises:
        OSError: it is there already, or there is no room; a file may be left.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
        return mmap.mmap(descriptor, size_bytes)
    finally:
        os.close(descriptor)


def make_private(size_bytes: int) -> mmap.mmap:
    """Return memory of this process alone; what is not used costs nothing."""
    memory = mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):  # one row in use would cost 2 MiB
        try:
            memory.madvise(mmap.MADV_NOHUGEPAGE)
        except OSError:  # a kernel without huge pages
            pass
    return memory


def room_problem(base: Path, size_bytes: int, error: OSError) -> str:
    """Return what to say, in one line, when a segment cannot be allocated below `base`."""
    free_bytes = shutil.disk_usage(base).free
    return (
        f"{base} cannot hold the segment ({error.strerror}): it needs"
        f" {size_bytes / _MIB:.1f} MiB, {free_bytes / _MIB:.1f} MiB are free; take fewer"
        " --registry-rows, a smaller --journal-mib, a bigger /dev/shm (docker: --shm-size), or"
        " another --runtime-dir"
    )
